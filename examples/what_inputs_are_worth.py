"""What each view of a digit adds, to all rows and to one; and which missing view to get next.

Run: python examples/what_inputs_are_worth.py
"""

import numpy as np

from polymodal import RobultClassifier, load_dataset
from polymodal.estimators import contribution_table, shapley_table
from polymodal.plots import acquisition_ranking, panels, shapley_bars, waterfall

digits = load_dataset("mfeat")
X, y = digits.rows(np.random.default_rng(0).permutation(2000))
X = {name: X[name] for name in ("pix", "fou", "zer", "mor")}


def part(start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Some of the rows and their labels."""
    return {name: x[start:stop] for name, x in X.items()}, y[start:stop]


train, labels = part(0, 800)
labels = np.where(np.arange(800) % 8, -1, labels)  # one in eight has a label
model = RobultClassifier(max_epochs=12, random_state=0, floors=False).fit(train, labels)
model.calibrate(*part(800, 1400))  # also teaches what a missing view is worth

new, truth = part(1400, 2000)
shapley = shapley_table(model, new, truth)  # of the accuracy; the values sum to what the model adds to chance
print(shapley[["modality", "value", "error"]].round(3).to_string(index=False))
one = {name: x[:1] for name, x in new.items()}
contributions = contribution_table(
    model, one
)  # of one prediction; model.shapley(new) for all rows as an array

known = {"mor": new["mor"]}  # six numbers a digit; all other views would have to be measured
table = model.acquisition_value(known)  # row, modality, value in nats, error, rank
first = table.loc[table["rank"] == 1, "modality"].value_counts(normalize=True)
print("to get next, share of the rows:", ", ".join(f"{name} {share:.0%}" for name, share in first.items()))

fig, (top, middle, bottom) = panels(3, columns=1, width=8, height=3)
shapley_bars(shapley, top)
waterfall(contributions, middle)
acquisition_ranking(table, bottom, row=0)
fig.savefig("worth.png")
