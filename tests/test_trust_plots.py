"""Plots of trust: what is drawn is what the table says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from polymodal.conformal import risk_coverage
from polymodal.evaluation import COLUMNS, subsets
from polymodal.plots import COLOURS, coverage_bars, error_dots, figure, reliability_diagram, risk_curve


def reliability():
    rows = [
        (method, subset, low, low + 0.2, low + 0.1, low + shift, 10 * k + 1)
        for method, shift in (("uncalibrated", 0.0), ("temperature by pattern", 0.1))
        for subset in ("a", "observed")
        for k, low in enumerate((0.2, 0.4, 0.8))
    ]
    return pd.DataFrame(rows, columns=["method", "subset", "low", "high", "confidence", "accuracy", "n_rows"])


def test_a_reliability_diagram_has_a_line_a_method_and_markers_that_grow_with_their_rows():
    _, ax = figure()
    assert reliability_diagram(reliability(), ax, subset="a") is ax
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["uncalibrated"].get_xdata(), [0.3, 0.5, 0.9])
    np.testing.assert_allclose(lines["uncalibrated"].get_ydata(), [0.2, 0.4, 0.8])
    np.testing.assert_allclose(lines["temperature by pattern"].get_ydata(), [0.3, 0.5, 0.9])
    sizes = ax.collections[0].get_sizes()
    assert (np.diff(sizes) > 0).all()
    assert ax.get_title(loc="left") == "Reliability: a"


def test_a_reliability_diagram_of_one_method_and_of_observed_rows():
    _, ax = figure()
    table = reliability()
    table = table[table["method"] == "uncalibrated"].drop(columns="method")
    reliability_diagram(table, ax)
    assert len(ax.get_lines()) == 2
    assert "what it has" in ax.get_title(loc="left")


def coverages(spread=True):
    rng = np.random.default_rng(0)
    names = ["observed", "a+b+c", *("+".join(s) for s in subsets("abc")[:-1])]
    rows = []
    for seed in range(2):
        for i, name in enumerate(names):
            rows.append(("toy", "ours", seed, 1.0, name, "coverage", 0.88 + 0.01 * i))
            if spread:
                rows.append(("toy", "ours", seed, 1.0, name, "coverage_std", 0.01 + rng.random() / 100))
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("spread", [True, False])
def test_coverage_bars_are_the_means_with_broken_promises_in_another_colour(spread):
    _, ax = figure()
    table = coverages(spread)
    assert coverage_bars(table, ax, alpha=0.1) is ax
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels == ["a", "b", "c", "a+b", "a+c", "b+c", "a+b+c", "observed"]
    means = table[table["metric"] == "coverage"].groupby("subset")["value"].mean()
    for label, bar in zip(labels, ax.patches, strict=True):
        assert bar.get_height() == pytest.approx(100 * means[label])
        assert to_hex(bar.get_facecolor()) == COLOURS[0 if means[label] >= 0.9 else 1].lower()
    assert any(line.get_ydata()[0] == 90.0 for line in ax.get_lines())


def test_many_combinations_are_counted_instead_of_named():
    _, ax = figure()
    names = ["+".join(s) for s in subsets("abcdef")]
    coverage_bars(pd.DataFrame([("", "", 0, 1.0, n, "coverage", 0.9) for n in names], columns=COLUMNS), ax)
    assert ax.get_xlabel() == "63 combinations, by the number of modalities"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3", "4", "5", "6"]


def test_a_bar_a_hair_below_the_promise_is_not_hatched():
    _, ax = figure()
    rows = [("", "", 0, 1.0, name, "coverage", value) for name, value in (("a", 0.898), ("b", 0.894))]
    coverage_bars(pd.DataFrame(rows, columns=COLUMNS), ax)
    assert [bar.get_hatch() or "" for bar in ax.patches] == ["", "//"]


def test_error_dots_are_means_and_spreads_of_each_method():
    random = np.random.default_rng(0)
    names = ["observed", "a+b", "b", "a"]
    rows = [
        ("toy", method, seed, 1.0, name, metric, random.random())
        for method in ("one", "two")
        for seed in range(3)
        for name in names
        for metric in ("ece", "brier")
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    _, ax = figure()
    assert error_dots(table, ax, metric="brier") is ax
    own = table[(table["metric"] == "brier") & (table["method"] == "two")].groupby("subset")["value"]
    markers, _, (whiskers,) = ax.containers[1].lines
    np.testing.assert_allclose(markers.get_ydata(), own.mean()[["b", "a", "a+b"]].to_numpy())
    low, high = np.array(whiskers.get_segments())[:, :, 1].T
    np.testing.assert_allclose((high - low) / 2, own.std()[["b", "a", "a+b"]].to_numpy())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["b", "a", "a+b"]
    assert "brier" in ax.get_ylabel()


def test_the_risk_curve_is_the_table():
    _, ax = figure()
    table = risk_coverage(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    assert risk_curve(table, ax) is ax
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [0.0, 50.0, 100 / 3])
