"""Evaluation: all combinations, late fusion against loops, tables and what they say."""

from io import StringIO
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from polymodal.errors import ConfigError
from polymodal.evaluation import (
    COLUMNS,
    aggregate,
    coverage,
    distinct_patterns,
    late_fusion,
    missing_masks,
    missing_rate_curve,
    show,
    subset_report,
    subsets,
    summarise,
)

NAMES = ("a", "b", "c")


def branches(n=40, n_classes=3, names=NAMES, seed=0, missing=0.3):
    """Branch predictions, better from name to name, NaN where absent; presence; labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    presence = rng.random((n, len(names))) >= missing
    result = {}
    for i, name in enumerate(names):
        score = np.exp(rng.normal(size=(n, n_classes)) + (0.5 + i) * np.eye(n_classes)[y])
        result[name] = np.where(presence[:, i : i + 1], score / score.sum(1, keepdims=True), np.nan)
    return result, presence, y


def report(seed=0, method="m", missing=0.3, **options):
    found, presence, y = branches(seed=seed, missing=missing)
    predict = late_fusion(found, np.full(3, 1 / 3))
    run = {"dataset": "toy", "method": method, "seed": seed, "labels": 0.05}
    return subset_report(predict, presence, NAMES, y, "multiclass", **run, **options)


def tidy(values, metric="accuracy", method="m", seed=0):
    """A tidy table from subset -> value."""
    return pd.DataFrame(
        [("toy", method, seed, 1.0, s, metric, v) for s, v in values.items()], columns=COLUMNS
    )


def statistics(table):
    found = summarise(table)
    return dict(zip(found["statistic"], found["value"], strict=True))


# ---- subsets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 9))
def test_up_to_eight_modalities_every_subset_is_listed(n):
    names = [f"m{i}" for i in range(n)]
    found = subsets(names)
    assert len(found) == len(set(found)) == 2**n - 1
    assert all(list(s) == [name for name in names if name in s] for s in found)
    assert [len(s) for s in found] == sorted(len(s) for s in found)
    assert found[:n] == [(name,) for name in names]


@pytest.mark.parametrize("n", [9, 12, 40])
def test_above_eight_they_are_sampled_with_singles_all_and_all_but_one(n):
    names = tuple(f"m{i}" for i in range(n))
    found = subsets(names, limit=100)
    assert len(found) == len(set(found)) == 100
    assert {(name,) for name in names} | {names} <= set(found)
    assert {tuple(x for x in names if x != name) for name in names} <= set(found)
    assert found == subsets(names, limit=100)
    assert found != subsets(names, limit=100, seed=1)


# ---- late fusion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_late_fusion_is_the_mean_of_present_branches(missing):
    found, presence, _ = branches(missing=missing)
    prior = np.array([0.2, 0.3, 0.5])
    fused = late_fusion(found, prior)
    every = fused.fuse(subsets(NAMES))
    for subset, together in zip(subsets(NAMES), every, strict=True):
        expected = np.empty((40, 3))
        for i in range(40):
            rows = [found[name][i] for name in subset if presence[i, NAMES.index(name)]]
            expected[i] = np.mean(rows, axis=0) if rows else prior
        np.testing.assert_allclose(fused(subset), expected, rtol=1e-12)
        np.testing.assert_allclose(together, expected, rtol=1e-12)


def test_a_subset_of_nothing_is_the_prior():
    found, _, _ = branches(missing=0.0)
    prior = np.array([0.2, 0.3, 0.5])
    np.testing.assert_array_equal(late_fusion(found, prior)(()), np.tile(prior, (40, 1)))


def test_late_fusion_leaves_the_branches_as_they_are():
    found, _, _ = branches()
    before = {name: value.copy() for name, value in found.items()}
    late_fusion(found, np.full(3, 1 / 3))(NAMES)
    for name, value in found.items():
        np.testing.assert_array_equal(value, before[name])


# ---- the report ----------------------------------------------------------------------------------


def test_a_subset_is_measured_on_the_rows_that_have_all_of_it():
    found, presence, y = branches()
    table = report(metrics=["accuracy"])
    assert list(table.columns) == COLUMNS
    value = table.set_index(["subset", "metric"])["value"]
    for size in (1, 2, 3):
        for index in combinations(range(3), size):
            rows = presence[:, index].all(axis=1)
            mean = np.mean([found[NAMES[i]][rows] for i in index], axis=0)
            name = "+".join(NAMES[i] for i in index)
            assert value[name, "n_rows"] == rows.sum()
            assert value[name, "accuracy"] == pytest.approx(np.mean(mean.argmax(1) == y[rows]))
    assert value["observed", "n_rows"] == 40


def test_a_combination_that_no_row_has_is_nan_and_said():
    found, presence, y = branches(missing=0.0)
    presence[:, 0] &= ~presence[:, 1]
    found["a"][:] = np.nan
    table = subset_report(late_fusion(found, np.ones(3) / 3), presence, NAMES, y, "multiclass")
    part = table[table["subset"] == "a+b"].set_index("metric")["value"]
    assert part["n_rows"] == 0
    assert np.isnan(part["accuracy"])
    assert table.attrs["subsets"] == "all 7 combinations of 3 modalities, 4 of them without a row"
    assert statistics(table[table["metric"].isin(["accuracy", "n_rows"])])["n_subsets"] == 3


def test_sampling_is_said_in_the_table_and_its_print():
    names = tuple(f"m{i}" for i in range(9))
    found, presence, y = branches(names=names, missing=0.0)
    table = subset_report(late_fusion(found, np.ones(3) / 3), presence, names, y, "multiclass", limit=40)
    assert table.attrs["subsets"] == "a sample of 40 of the 511 combinations of 9 modalities"
    assert "a sample of 40 of the 511 combinations of 9 modalities" in printed(table, width=200)


def test_predict_is_called_once_a_combination_and_never_for_absent_ones():
    called = []

    def predict(subset):
        called.append(subset)
        return np.full((4, 2), 0.5)

    presence = np.array([[True, False]] * 4)
    subset_report(predict, presence, ("a", "b"), np.array([0, 1, 0, 1]), "multiclass")
    assert called == [("a",), ("a", "b")]  # the second for the rows as observed


def test_an_unsuitable_metric_is_refused_before_any_prediction():
    with pytest.raises(ConfigError, match="'mae' is not defined"):
        subset_report(None, np.ones((1, 1), bool), ("a",), np.zeros(1, int), "multiclass", metrics=["mae"])


def test_regression_and_label_sets_are_reported_too():
    rng = np.random.default_rng(0)
    presence = np.ones((20, 2), bool)
    values = {name: rng.normal(size=(20, 1)) for name in "ab"}
    table = subset_report(late_fusion(values, np.zeros(1)), presence, "ab", rng.normal(size=20), "regression")
    assert set(table["metric"]) == {"mae", "rmse", "pearson_r", "r2", "n_rows"}
    values = {name: rng.random((20, 3)) for name in "ab"}
    y = (rng.random((20, 3)) < 0.5).astype(float)
    y[0] = [np.nan, 1, 0]
    table = subset_report(late_fusion(values, np.full(3, 0.5)), presence, "ab", y, "multilabel")
    assert set(table["metric"]) == {"macro_f1", "micro_f1", "average_precision", "n_rows"}


# ---- the missing-rate curve ----------------------------------------------------------------------


def test_masks_are_nested_and_keep_one_modality():
    presence = np.random.default_rng(0).random((500, 4)) < 0.8
    presence = presence[presence.any(1)]
    masks = missing_masks(presence, (0.0, 0.3, 0.6, 0.9), seed=3)
    np.testing.assert_array_equal(masks[0], presence)
    assert all((~later | earlier).all() for earlier, later in pairwise(masks))
    assert masks.any(axis=2).all()
    assert masks[1].sum() / presence.sum() == pytest.approx(0.7, abs=0.04)


def test_the_curve_predicts_every_row_from_what_remains():
    found, presence, y = branches(n=60)
    presence[0] = False
    found = {name: np.where(presence[:, i : i + 1], v, np.nan) for i, (name, v) in enumerate(found.items())}
    fused = late_fusion(found, np.full(3, 1 / 3))
    table = missing_rate_curve(fused, presence, NAMES, y, "multiclass", rates=(0.0, 0.5), mask_seed=7)
    some = presence.any(axis=1)
    masks = missing_masks(presence[some], (0.0, 0.5), 7)
    for rate, mask in zip((0.0, 0.5), masks, strict=True):
        hits = []
        for row, kept in zip(np.flatnonzero(some), mask, strict=True):
            mean = np.mean([found[name][row] for name, k in zip(NAMES, kept, strict=True) if k], axis=0)
            hits.append(mean.argmax() == y[row])
        part = table[table["subset"] == f"rate={rate:g}"].set_index("metric")["value"]
        assert part["accuracy"] == pytest.approx(np.mean(hits))
        assert part["n_rows"] == some.sum()
        assert part["missing_share"] == pytest.approx(1 - mask.mean())


def test_the_curve_predicts_once_a_pattern():
    called = []

    def predict(subset):
        called.append(subset)
        return np.full((300, 2), 0.5)

    y = np.arange(300) % 2
    missing_rate_curve(predict, np.ones((300, 3), bool), NAMES, y, "multiclass")
    assert sorted(called) == sorted(subsets(NAMES))


# ---- what a table says ---------------------------------------------------------------------------

LATTICE = {"a": 0.5, "b": 0.6, "c": 0.7, "a+b": 0.55, "a+c": 0.8, "b+c": 0.7, "a+b+c": 0.9}


def test_statistics_by_hand():
    found = statistics(tidy(LATTICE | {"observed": 0.66, "rate=0": 0.9, "rate=0.5": 0.8, "rate=0.9": 0.5}))
    assert found["mean"] == pytest.approx(np.mean(list(LATTICE.values())))
    assert found["worst"] == 0.5
    assert found["all"] == 0.9
    assert found["observed"] == 0.66
    assert found["single:b"] == 0.6
    assert found["n_subsets"] == 7
    # steps: a: b .55-.6, c .8-.7, bc .9-.7; b: a .55-.5, c 0, ac .9-.8; c: a .8-.5, b .7-.6, ab .9-.55
    assert found["hurts"] == pytest.approx(1 / 9)
    assert found["gain:a"] == pytest.approx((-0.05 + 0.1 + 0.2) / 3)
    assert found["gain:b"] == pytest.approx((0.05 + 0.0 + 0.1) / 3)
    assert found["gain:c"] == pytest.approx((0.3 + 0.1 + 0.35) / 3)
    assert found["area"] == pytest.approx((0.5 * 0.85 + 0.4 * 0.65) / 0.9)


def test_for_a_loss_the_worst_is_the_largest_and_a_gain_is_a_decrease():
    table = summarise(tidy(LATTICE, metric="log_loss")).set_index("statistic")
    assert table.loc["worst", "value"] == 0.9
    assert table.loc["worst", "detail"] == "a+b+c"
    assert table.loc["gain:c", "value"] == pytest.approx(-0.25)
    assert table.loc["hurts", "value"] == pytest.approx(7 / 9)


def test_what_a_table_cannot_tell_is_left_out():
    assert set(statistics(tidy({"rate=0": 1.0, "rate=0.5": 0.5}))) == {"area"}
    assert set(statistics(tidy({"a": 0.5}))) == {"mean", "worst", "n_subsets", "all", "single:a"}


def test_aggregate_over_seeds():
    table = pd.concat([tidy({"a": 0.5, "b": 0.1}, seed=0), tidy({"a": 0.7, "b": 0.9}, seed=1)])
    found = aggregate(table).set_index("subset")
    assert found.loc["a", "mean"] == pytest.approx(0.6)
    assert found.loc["a", "std"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert found.loc["a", "n_seeds"] == 2
    summary = aggregate(summarise(table)).set_index("statistic")
    assert summary.loc["worst", "mean"] == pytest.approx((0.1 + 0.7) / 2)  # the worst of each seed
    assert np.isnan(aggregate(tidy({"a": 0.5}))["std"].iloc[0])


def test_coverage_reads_tables_without_attributes():
    table = pd.DataFrame(report().to_dict("records"))
    assert table.attrs == {}
    assert coverage(table) == "all 7 combinations of 3 modalities"


# ---- the printed table ---------------------------------------------------------------------------


def printed(table, *arguments, width=100, **options):
    text = StringIO()
    Console(width=width, file=text).print(show(table, *arguments, **options))
    return text.getvalue()


def test_a_table_without_a_data_set_begins_with_its_labels():
    text = printed(report(0, "ours").assign(dataset=""), "accuracy")
    assert text.split()[0] == "5%"


def test_methods_stand_above_floors_with_mean_and_deviation():
    table = pd.concat([report(seed, name) for name in ("floor", "ours") for seed in (0, 1)])
    text = printed(table, "accuracy", floors={"floor"})
    lines = text.splitlines()
    rows = [line.split()[0] for line in lines if line.split()[:1] in (["ours"], ["floor"])]
    assert rows == ["ours", "floor"]
    assert "toy, 5% of the labels: accuracy, %" in text
    assert "all 7 combinations of 3 modalities; ± standard deviation over 2 seeds" in " ".join(text.split())
    assert next(line for line in lines if "worst" in line).split() == [
        "method",
        "all",
        *NAMES,
        "worst",
        "mean",
    ]
    expected = aggregate(summarise(table)).query(
        "metric == 'accuracy' and statistic == 'all' and method == 'ours'"
    )
    mean, std = 100 * expected["mean"].iloc[0], 100 * expected["std"].iloc[0]
    assert f"{mean:.1f} ±{std:.1f}" in text


def test_one_seed_has_no_deviation_and_a_loss_says_its_direction():
    text = printed(report(), "log_loss")
    assert "one seed" in text
    assert "log_loss (lower is better)" in text
    assert "±" not in text


def test_a_table_of_six_modalities_fits_80_columns_without_breaking_a_number():
    names = ("fac", "fou", "kar", "mor", "pix", "zer")
    tables = []
    for seed in range(2):
        found, presence, y = branches(names=names, seed=seed, missing=0.0)
        predict = late_fusion(found, np.ones(3) / 3)
        tables.append(
            subset_report(predict, presence, names, y, "multiclass", method="late_fusion", seed=seed)
        )
    text = printed(pd.concat(tables), "log_loss", width=80)
    assert "…" not in text
    assert "mean" in text


@pytest.mark.parametrize("n_modalities", [1, 6, 9, 64, 70])
def test_distinct_patterns_are_numpys(n_modalities):
    rng = np.random.default_rng(0)
    presence = rng.random((200, n_modalities)) < 0.5
    presence[::3] = presence[0]
    found, which = distinct_patterns(presence)
    assert len(found) == len(np.unique(presence, axis=0))
    np.testing.assert_array_equal(found[which], presence)
