"""All that is known of a fitted model on one page, report.html, which needs a browser and nothing else.

Sounds and movements of seven tasks at home. Run: python examples/write_a_report.py
"""

import numpy as np

from polymodal import RobultClassifier, load_dataset
from polymodal.data import missingness

tasks = load_dataset("htad")
X, y = tasks.rows(np.random.default_rng(0).permutation(1386))
y = np.array(tasks.classes)[y]
X = missingness.apply(X, missingness.completely_at_random(len(y), tuple(X), 0.2, seed=0))


def part(start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Some of the rows and their labels."""
    return {name: x[start:stop] for name, x in X.items()}, y[start:stop]


model = RobultClassifier(max_epochs=15, random_state=0).fit(*part(0, 600))
model.calibrate(*part(600, 1000))
facts = model.report(*part(1000, 1386), "report.html", dataset="htad")

print(" ".join(facts.topics["headline"].sentences))
table = facts.table("combinations", "combinations")  # each figure of the page is in a table
print(table[["subset", "n_rows", "value"]].round(3).to_string(index=False))
