"""Probabilities that mean what they say, sets that keep a promise, and answers only where the model is sure.

Drawn digits in four views, few labels; each test row lost about half of its views.
Run: python examples/prediction_sets.py
"""

import numpy as np

from polymodal import RobultClassifier, load_dataset
from polymodal.data import missingness
from polymodal.estimators import calibration_table, coverage_table
from polymodal.plots import coverage_bars, figure

digits = load_dataset("mfeat")
X, y = digits.rows(np.random.default_rng(0).permutation(2000))
X = {name: X[name] for name in ("pix", "fou", "zer", "mor")}


def part(start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Some of the rows and their labels."""
    return {name: x[start:stop] for name, x in X.items()}, y[start:stop]


train, labels = part(0, 800)
labels = np.where(np.arange(800) % 8, -1, labels)  # one in eight has a label
model = RobultClassifier(max_epochs=12, random_state=0, floors=False).fit(train, labels)
model.calibrate(*part(800, 1400))  # labelled rows that fit has not seen

complete, truth = part(1400, 2000)
new = missingness.apply(complete, missingness.completely_at_random(600, tuple(X), 0.5, seed=0))
sets = model.predict_set(new, alpha=0.1)  # (600, 10) bool: the digits that cannot be ruled out
print(f"the digit is in its set in {sets[np.arange(600), truth].mean():.1%} of the rows; promised: 90 %")
print(f"digits in a set: {sets.sum(axis=1).mean():.2f} on average, {sets.sum(axis=1).max()} at most")

answers = model.predict(new, abstain=0.1)  # masked where the set holds more than one digit
answered = ~np.ma.getmaskarray(answers)
wrong = (answers != truth)[answered].mean()
print(f"{answered.mean():.1%} of the rows are answered, {wrong:.1%} of them wrongly")

errors = calibration_table(model, complete, truth)  # of every combination, masked to it
print(errors[errors["metric"] == "ece"].groupby("method", sort=False)["value"].mean().round(3).to_string())
fig, ax = figure(10, 4)
coverage_bars(coverage_table(model, complete, truth, alpha=0.1), ax, alpha=0.1)
fig.savefig("coverage.png")
