"""The pictures of docs/gallery.md, from real data: mfeat and htad, and wesad where its folder is.

    python tools/gallery.py [--data DIR] [NAME ...]

Writes docs/gallery/NAME.png, all of them without a NAME. Those of wesad are left as they are without DIR.
Models are small and quickly trained: the page shows what the pictures look like; figures with their spread
are in experiments/. About two minutes of one core. The picture of the report needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from polymodal import MultimodalClassifier, PgMClassifier, RobultClassifier, explanation, plots
from polymodal.data import missingness, readers
from polymodal.estimators import (
    contribution_table,
    coverage_table,
    information_table,
    reliability_table,
    risk_table,
    shapley_table,
)

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "gallery"
MAX_BYTES = 150_000
Rows = tuple[dict[str, Any], np.ndarray]

DATA: dict[str, str | None] = {"folder": None}
"""Where the data sets lie that are not bundled."""


# ---- what is drawn -------------------------------------------------------------------------------


@cache
def digits() -> tuple[RobultClassifier, Rows]:
    """Robult on mfeat, 5 % of 1,200 labels, calibrated; and 400 rows that it has not seen."""
    data = readers.load("mfeat", None)
    order = np.random.default_rng(0).permutation(2000)
    X, y = data.rows(order[:1200])
    model = RobultClassifier(max_epochs=25, random_state=0).fit(X, np.where(np.arange(1200) % 20, -1, y))
    return model.calibrate(*data.rows(order[1200:1600])), data.rows(order[1600:])


@cache
def stress() -> tuple[PgMClassifier, Rows]:
    """PgM on wesad, and rows of other people."""
    data = readers.load("wesad", DATA["folder"])
    train, test = data.train_test(0, None)
    model = PgMClassifier(max_epochs=25, n_iterations=1, random_state=0, floors=False)
    return model.fit(*data.rows(train)), data.rows(test)


def compared(dataset: str, labels: float, methods: tuple[str, ...]) -> pd.DataFrame:
    """Rows of the comparison in experiments/robult."""
    table = pd.DataFrame(json.loads((ROOT / "experiments" / "robult" / "main.json").read_text()))
    table = table[(table["dataset"] == dataset) & (table["labels"] == labels)]
    return table[table["method"].isin(methods)].astype({"value": float})


FLOORS = ("late_fusion", "imputation_concat", "gradient_boosting")


# ---- pictures ------------------------------------------------------------------------------------


def robustness() -> Figure:
    """A metric against the number of missing inputs."""
    figure, ax = plots.figure(8, 4.2)
    table = compared("mfeat", 0.05, ("robult", "actionmae", "mmin", "late_fusion"))
    plots.robustness_curve(table, ax, metric="accuracy", floors=("late_fusion",))
    return figure


def rates() -> Figure:
    """A metric against the share of inputs lost at random."""
    figure, ax = plots.figure(8, 4.2)
    table = compared("htad", 1.0, ("robult", "actionmae", *FLOORS))
    plots.rate_curve(table, ax, metric="accuracy", floors=FLOORS)
    return figure


def combinations() -> Figure:
    """Every combination by method."""
    figure, ax = plots.figure(10, 4.2)
    table = compared("wesad", 1.0, ("robult", "actionmae", "mmin", *FLOORS))
    plots.subset_heatmap(table, ax, metric="macro_f1")
    return figure


def training() -> Figure:
    """Losses by epoch."""
    figure, ax = plots.figure(8, 4.2)
    plots.training_curves(digits()[0].history_, ax)
    return figure


def reliability() -> Figure:
    """Is it right as often as it says?"""
    model, rows = digits()
    table = reliability_table(model, *rows)
    figure, axes = plots.panels(2, width=5.6, height=4.0)
    for subset, ax in zip(("mor", "pix+fou+fac+zer+kar+mor"), axes, strict=True):
        plots.reliability_diagram(table, ax, subset=subset)
        ax.set_title(f"Reliability: {'mor alone' if subset == 'mor' else 'all six'}", loc="left", fontsize=10)
        ax.get_legend().set(visible=ax is axes[1])
    return figure


def coverage() -> Figure:
    """Do prediction sets keep their promise?"""
    model, rows = digits()
    figure, ax = plots.figure(9, 3.4)
    plots.coverage_bars(coverage_table(model, *rows, alpha=0.1), ax, alpha=0.1)
    return figure


def risk() -> Figure:
    """How often it is wrong if it may stay silent."""
    model, (X, y) = digits()
    X = missingness.apply(X, missingness.completely_at_random(len(y), tuple(X), 0.7, seed=0))
    figure, ax = plots.figure(7, 3.4)
    plots.risk_curve(risk_table(model, X, y), ax)
    return figure


def shapley() -> Figure:
    """What each input adds."""
    model, rows = digits()
    figure, ax = plots.figure(8, 2.8)
    plots.shapley_bars(shapley_table(model, *rows, dataset="mfeat"), ax)
    return figure


def waterfall() -> Figure:
    """One prediction, an input at a time."""
    model, (X, _) = digits()
    row = int(model.predict_proba({"mor": X["mor"], "fou": X["fou"]}).max(axis=1).argmin())
    table = contribution_table(model, {name: x[row : row + 1] for name, x in X.items()})
    figure, ax = plots.figure(8, 3.0)
    plots.waterfall(table, ax)
    return figure


def acquisition() -> Figure:
    """What to get next."""
    model, (X, _) = digits()
    table = model.acquisition_value({name: X[name] for name in ("fou", "mor")})
    spread = table.groupby("row")["value"].std()
    figure, ax = plots.figure(8, 2.4)
    plots.acquisition_ranking(table, ax, row=int(spread.idxmax()))
    return figure


def information() -> Figure:
    """What two inputs say alike, alone, and only together."""
    model, rows = digits()
    figure, ax = plots.figure(10, 6.0)
    plots.information_bars(information_table(model, *rows, source="features"), ax)
    return figure


def shares() -> Figure:
    """How PgM divides each input (wesad)."""
    model, (X, _) = stress()
    table = explanation.partition_table(model, X)
    figure, ax = plots.figure(9, 1.6 + 0.45 * len(table))
    plots.share_bars(table, ax)
    return figure


def gates() -> Figure:
    """Where PgM cuts along the width (wesad)."""
    model, (X, _) = stress()
    table = explanation.partition_gates(model, X)
    figure, axes = plots.panels(2, columns=1, width=8, height=2.8)
    for name, ax in zip(list(model.modalities_)[:2], axes, strict=True):
        plots.gate_curves(table, ax, modality=name)
    return figure


def features() -> Figure:
    """Uni-modal and paired features (wesad)."""
    model, (X, _) = stress()
    rows = np.arange(0, len(next(iter(X.values()))), 3)
    table = explanation.partition_features(model, {name: x[rows] for name, x in X.items()})
    figure, ax = plots.figure(8, 5.5)
    plots.feature_map(table, None, ax)
    return figure


# ---- the report ----------------------------------------------------------------------------------


def photograph(path: Path) -> None:
    """The top of a report of the default model on htad: a wide light screen and, beside it, a dark phone."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    data = readers.load("htad", None)
    X, y = data.rows(np.random.default_rng(0).permutation(len(data)))
    X = missingness.apply(X, missingness.completely_at_random(len(y), tuple(X), 0.2, seed=0))
    y = np.array(data.classes, dtype=object)[y]

    def part(start: int, stop: int) -> Rows:
        return {name: x[start:stop] for name, x in X.items()}, y[start:stop]

    train, labels = part(0, 600)
    model = MultimodalClassifier(random_state=0).fit(train, np.where(np.arange(600) % 2, labels, None))
    screens = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        page = Path(folder) / "report.html"
        model.calibrate(*part(600, 1000)).report(*part(1000, 1386), page, dataset="htad")
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (375, "dark")):
            tab = browser.new_page(viewport={"width": width, "height": 1500}, color_scheme=scheme)
            tab.goto(page.as_uri())
            screens.append(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
        browser.close()
    both = Image.new("RGB", (sum(s.width for s in screens) + 40, 1500), "white")
    both.paste(screens[0], (0, 0))
    both.paste(screens[1], (screens[0].width + 40, 0))
    small = both.resize((both.width * 6 // 10, 900), Image.Resampling.LANCZOS)
    palette = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    small.quantize(128, **palette).save(path, optimize=True)


OF_WESAD = ("shares", "gates", "features")
REPORT = "report"
PICTURES: dict[str, Callable[[], Figure]] = {
    draw.__name__: draw
    for draw in (
        *(robustness, rates, combinations, training, reliability, coverage, risk),
        *(shapley, waterfall, acquisition, information, shares, gates, features),
    )
}


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    args = parser.parse_args()
    if unknown := set(args.names) - {*PICTURES, REPORT}:
        parser.error(f"pictures are {', '.join(PICTURES)}; {', '.join(sorted(unknown))} came")
    DATA["folder"] = args.data
    OUT.mkdir(exist_ok=True)
    for name in args.names or [*PICTURES, REPORT]:
        if name in OF_WESAD and args.data is None:
            print(f"{name}: left as it is, for wesad needs --data")
            continue
        path = OUT / f"{name}.png"
        if name == REPORT:
            photograph(path)
        else:
            PICTURES[name]().savefig(path, facecolor="white")
        assert path.stat().st_size < MAX_BYTES, f"{path} is larger than {MAX_BYTES} bytes"
        print(path)


if __name__ == "__main__":
    main()
