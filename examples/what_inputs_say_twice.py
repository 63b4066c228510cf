"""What two views of a digit say alike, alone, and only together, in bits: of the data, and of a model.

Run: python examples/what_inputs_say_twice.py
"""

import numpy as np
import pandas as pd

from polymodal import RobultClassifier, load_dataset
from polymodal.estimators import information_table
from polymodal.plots import figure, information_bars

digits = load_dataset("mfeat")
train, test = np.split(np.random.default_rng(0).permutation(2000), [800])
views = ("fou", "zer", "mor")  # Fourier coefficients, Zernike moments and morphological features
X, y = digits.rows(train)
model = RobultClassifier(max_epochs=12, random_state=0, floors=False).fit({v: X[v] for v in views}, y)

X, y = digits.rows(test)
X = {view: X[view] for view in views}
tables = [information_table(model, X, y, source=source) for source in ("features", "latents", "predictions")]
parts = ["redundancy", "unique_first", "unique_second", "synergy"]
print(pd.concat(tables)[["source", "first", "second", *parts]].round(2).to_string(index=False))
fig, ax = figure(height=3)
information_bars(tables[0], ax)
fig.savefig("information.png")
