"""Plots: what is drawn is what the table says; axes are labelled; nothing touches pyplot."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from polymodal.evaluation import COLUMNS, subsets
from polymodal.plots import (
    COLOURS,
    GREYS,
    critical_difference_diagram,
    figure,
    qq_reference,
    rate_curve,
    robustness_curve,
    subset_heatmap,
    training_curves,
)
from polymodal.ranking import critical_difference

NAMES = ("a", "b", "c")


def table(metric="accuracy", methods=("ours", "floor"), n_seeds=2):
    rng = np.random.default_rng(0)
    where = ["+".join(s) for s in subsets(NAMES)] + ["observed"] + [f"rate={r / 10:g}" for r in range(10)]
    rows = [
        ("toy", method, seed, 0.05, subset, metric, rng.random())
        for method in methods
        for seed in range(n_seeds)
        for subset in where
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def history(n=6, n_stages=2):
    return [
        {
            "stage": f"stage{i * n_stages // n}",
            "loss": 3.0 - 0.1 * i,
            "loss/supervised": 1.0,
            "loss/contrast": 2.0 - 0.1 * i,
            "validation_loss": None if i == 0 else 2.0,
        }
        | ({f"reference_quantile/{p:g}": i + p for p in (0.25, 0.5, 0.75)} if i else {})
        for i in range(n)
    ]


def line(ax, label):
    return next(line for line in ax.get_lines() if line.get_label() == label)


@pytest.mark.parametrize(("metric", "worst"), [("accuracy", "min"), ("log_loss", "max")])
def test_robustness_curve_draws_mean_and_worst_by_number_of_missing_modalities(metric, worst):
    values = table(metric)
    _, ax = figure()
    assert robustness_curve(values, ax) is ax
    ours = values[(values["method"] == "ours") & values["subset"].isin(["a+b", "a+c", "b+c"])]
    by_seed = ours.groupby("seed")["value"]
    mean, worse = line(ax, "ours"), ax.get_lines()[1]
    np.testing.assert_array_equal(mean.get_xdata(), [0, 1, 2])
    assert mean.get_ydata()[1] == pytest.approx(by_seed.mean().mean())
    assert worse.get_ydata()[1] == pytest.approx(by_seed.agg(worst).mean())
    assert worse.get_linestyle() == "--"
    assert ax.get_xlabel() == "missing modalities, of 3"
    assert "toy, 5 % of the labels, 2 seeds" in ax.get_title(loc="left")


def test_rate_curve_draws_the_rates():
    values = table()
    _, ax = figure()
    rate_curve(values, ax)
    expected = values[(values["method"] == "ours") & (values["subset"] == "rate=0.3")]["value"].mean()
    assert line(ax, "ours").get_xdata()[3] == pytest.approx(0.3)
    assert line(ax, "ours").get_ydata()[3] == pytest.approx(expected)


def test_units_directions_and_floors_are_seen():
    _, ax = figure()
    robustness_curve(table(), ax, floors={"floor"})
    assert ax.get_ylabel() == "accuracy [%]"
    assert ax.yaxis.get_major_formatter()(0.25, 0) == "25"
    assert line(ax, "ours").get_color() == COLOURS[0]
    assert line(ax, "floor").get_color() == GREYS[0]
    _, ax = figure()
    rate_curve(table("log_loss", n_seeds=1), ax)
    assert ax.get_ylabel() == "log loss, lower is better"
    assert "one seed" in ax.get_title(loc="left")


def test_heatmap_holds_the_means_and_a_dot_for_each_present_modality():
    values = table()
    _, ax = figure()
    subset_heatmap(values, ax)
    shown = ax.get_images()[0].get_array()
    expected = values[(values["method"] == "floor") & (values["subset"] == "a+c")]["value"].mean()
    assert shown.shape == (2, 7)
    assert shown[1, 4] == pytest.approx(100 * expected)
    dots = [collection.get_offsets()[:, 0].tolist() for collection in ax.collections]
    assert dots == [[0, 3, 4, 6], [1, 3, 5, 6], [2, 4, 5, 6]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ours", "floor", *NAMES]
    assert len(ax.texts) == 14


def test_training_curves_draw_terms_validation_and_stages():
    _, ax = figure()
    training_curves(history(), ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["supervised", "contrast", "sum, training", "validation"]
    np.testing.assert_allclose(line(ax, "sum, training").get_ydata(), [3.0 - 0.1 * i for i in range(6)])
    assert np.isnan(line(ax, "validation").get_ydata()[0])
    assert [text.get_text() for text in ax.texts] == ["stage0", "stage1"]
    _, ax = figure()
    training_curves([{"loss": 1.0}], ax)
    assert not ax.texts


def test_qq_plot_shows_the_last_and_the_first_epoch_that_have_quantiles():
    _, ax = figure()
    qq_reference(history(), ax)
    np.testing.assert_allclose(line(ax, "epoch 6").get_ydata(), [5.25, 5.5, 5.75])
    np.testing.assert_allclose(line(ax, "epoch 2").get_ydata(), [1.25, 1.5, 1.75])
    np.testing.assert_allclose(line(ax, "epoch 2").get_xdata(), [-0.6745, 0, 0.6745], atol=1e-4)
    _, ax = figure()
    qq_reference(history()[:2], ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["epoch 2", "Gaussian"]
    qq_reference([{"loss": 1.0}], figure()[1])  # nothing remembered: the diagonal alone


def test_legends_stand_beside_the_axes(tmp_path):
    fig, ax = figure()
    robustness_curve(table(methods=[f"method{i}" for i in range(10)]), ax)
    fig.savefig(tmp_path / "curve.png")
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= axes.x1
    assert legend.x1 <= 900
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_no_pyplot_and_no_matplotlib_before_a_figure():
    code = (
        "import sys, polymodal.plots as p; assert 'matplotlib' not in sys.modules; "
        "p.figure(); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_critical_difference_diagram_names_every_method_and_joins_those_alike():
    ranks = {"best": 1.2, "second": 1.9, "third": 3.0, "last": 3.9}
    _, ax = figure()
    values = pd.DataFrame(
        {"method": list(ranks)[::-1], "mean_rank": list(ranks.values())[::-1], "n_blocks": 30}
    )
    assert critical_difference_diagram(values, ax) is ax
    words = [text.get_text() for text in ax.texts]
    assert all(any(name in word and f"{rank:.2f}" in word for word in words) for name, rank in ranks.items())
    difference = critical_difference(4, 30)
    assert f"critical difference {difference:.2f}" in words
    bars = [line.get_xdata() for line in ax.get_lines() if line.get_linewidth() == 4]
    assert difference == pytest.approx(0.856, abs=0.001)  # joins the first two, and no others
    np.testing.assert_allclose(bars, [[1.16, 1.94]])
    assert "30 cells" in ax.get_title(loc="left")


def test_every_plot_takes_a_table_and_axes_and_is_found_in_one_place():
    import importlib
    import inspect
    import pkgutil

    from polymodal import plots

    found = set()
    for module in pkgutil.iter_modules(plots.__path__, "polymodal.plots."):
        for name, own in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            if own.__module__ == module.name and "ax" in (asked := list(inspect.signature(own).parameters)):
                if name.startswith("_") or own.__annotations__["return"] != "Axes":
                    continue
                found.add(name)
                assert "ax" in asked[:3]
                assert getattr(plots, name) is own
    assert found == set(plots.__all__) - {"COLOURS", "GREYS", "MARKERS", "figure", "panels"}
