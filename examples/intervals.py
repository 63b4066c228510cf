"""Intervals that hold the true value as often as promised, wider where the better input is missing.

The place of a digit on one axis of its shape, from two other views. Run: python examples/intervals.py
"""

import numpy as np

from polymodal import RobultRegressor, load_dataset

digits = load_dataset("mfeat")
X, _ = digits.rows(np.random.default_rng(0).permutation(2000))
y = X["mor"][:, 4]  # a morphological feature
X = {name: X[name] for name in ("fou", "zer")}  # Fourier coefficients and Zernike moments


def part(start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Some of the rows and their labels."""
    return {name: x[start:stop] for name, x in X.items()}, y[start:stop]


model = RobultRegressor(max_epochs=20, random_state=0, floors=False).fit(*part(0, 800))
model.calibrate(*part(800, 1400))
new, truth = part(1400, 2000)
for names in (["fou", "zer"], ["fou"], ["zer"]):  # what is not named is absent
    low, high = model.predict_interval({name: new[name] for name in names}, alpha=0.1).T
    inside = ((low <= truth) & (truth <= high)).mean()
    width = (high - low).mean() / truth.std()
    given = " and ".join(names)
    print(f"{given}: {inside:.1%} inside, promised 90 %; {width:.2f} standard deviations wide")
