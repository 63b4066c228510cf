"""What looks wrong with a model and its rows, in sentences: a sensor that fails where the model is used.

Sounds and movements of seven tasks at home. Run: python examples/health_of_a_fit.py
"""

import numpy as np

from polymodal import RobultClassifier, load_dataset
from polymodal.health import examine

tasks = load_dataset("htad")
train, test = np.split(np.random.default_rng(0).permutation(1386), [900])
model = RobultClassifier(max_epochs=15, random_state=0).fit(*tasks.rows(train))

X, y = tasks.rows(test)
print("as in training:", examine(model, X, y) or "nothing looks wrong")
X["audio"] = X["audio"].copy()
X["audio"][::2] = np.nan  # every second recording fails
for finding in examine(model, X, y):
    print(f"{finding.level}, {finding.topic}: {finding.sentence}")
    print("  figures:", {name: round(value, 3) for name, value in finding.evidence.items()})
