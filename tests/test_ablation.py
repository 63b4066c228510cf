"""The ablation of the committee: what is taken out is gone, and the pages hold what the runs gave."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polymodal.estimators import MethodClassifier
from polymodal.methods.committee import generations, members, method, pool
from polymodal.methods.committee.sequences import Kernels

PATH = Path(__file__).parents[1] / "experiments" / "default" / "ablation.py"


@pytest.fixture(scope="module")
def ablation():
    sys.path.insert(0, str(PATH.parent))  # it imports its neighbour
    spec = importlib.util.spec_from_file_location("ablation", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PATH.parent))
    return module


@pytest.fixture(scope="module")
def rows():
    """A vector, and sequences whose order alone tells; half of the labels are hidden."""
    random = np.random.default_rng(0)
    y = np.arange(120) % 3
    rising = np.linspace(-1, 1, 12)[None, :, None] * (y - 1)[:, None, None]
    sound = rising + random.normal(size=(120, 12, 1))
    X = {"facts": random.normal(size=(120, 3)) + y[:, None], "sound": sound.astype(np.float32)}
    return X, np.where(np.arange(120) % 4 < 2, y, -1)


def fitted(rows, **settings):
    settings = {"n_trees": 3, "n_trees_judged": 2, "n_generations": 1} | settings
    return MethodClassifier("committee", settings=settings, random_state=0).fit(*rows)


@pytest.fixture(scope="module")
def whole(rows):
    return fitted(rows)


def test_every_part_is_put_back(ablation):
    before = [
        (generations, "aligned"),
        (generations, "with_crossing_if_better"),
        (generations, "with_joint_if_better"),
        (generations, "with_presence_if_it_tells"),
        (pool, "learn"),
        (pool, "opinions"),
        (method, "opinions"),
        (members, "grow"),
        (members, "fit_linear"),
        (Kernels, "forward"),
    ]
    kept = [getattr(*place) for place in before]
    touched = set()
    for taken in ablation.REPLACED.values():
        with taken():
            touched |= {place for place, own in zip(before, kept, strict=True) if getattr(*place) is not own}
        assert [getattr(*place) for place in before] == kept
    assert touched == set(before)


def test_without_forests_the_number_of_trees_is_nothing(ablation, rows, whole):
    X, _ = rows
    with ablation.no_forest():
        few, many = fitted(rows, joint=False), fitted(rows, joint=False, n_trees=9, n_trees_judged=8)
        assert np.array_equal(few.predict_proba(X), many.predict_proba(X))
        assert not np.allclose(few.predict_proba(X), whole.predict_proba(X))
        assert few.method_.own[0].forest.n_trees == 0


def test_without_ridge_regressions_they_weigh_nothing(ablation, rows, whole):
    X, _ = rows
    with ablation.no_ridges():
        without = fitted(rows)
        assert not any(branch.weight.any() for branch in without.method_.own)
        first = without.predict_proba(X)
        for branch in without.method_.own:
            branch.bias += 1.0 + torch.arange(3.0)
        assert np.array_equal(without.predict_proba(X), first)
    assert not np.allclose(first, whole.predict_proba(X))


def test_without_kernels_none_is_drawn(ablation, rows, whole):
    with ablation.no_kernels():
        without = fitted(rows)
    assert whole.method_.own[1].kernels.weight.any()
    assert not without.method_.own[1].kernels.weight.any()
    assert not without.method_.own[1].weight[:, without.method_.own[1].d_plain :].any()


def test_equal_weights_are_those_of_the_start(ablation, rows, whole):
    with ablation.REPLACED["learnt pool"]():
        without = fitted(rows)
    own, start = without.method_.weights, pool.Weights.start(2, members.N_MEMBERS, "multiclass")
    for name in ("theta", "temper", "alpha", "sharpness"):
        assert torch.equal(getattr(own, name), getattr(start, name))
        assert not torch.equal(getattr(whole.method_.weights, name), getattr(start, name))


def test_joint_products_and_presence_are_not_tried(ablation):
    parts = ("products", "joint member", "presence")
    random = np.random.default_rng(1)
    left, right = random.normal(size=(2, 120, 2))
    signs, same = {"left": left, "right": right}, left[:, 0] * right[:, 0] > 0
    crossed = (signs, np.where(same, "same", "other"))
    assert ablation.matters("products", fitted(crossed))
    taken = [ablation.REPLACED[part] for part in parts]
    with taken[0](), taken[1](), taken[2]():
        apart = fitted(crossed)
    assert not any(ablation.matters(part, apart) for part in parts)
    without = fitted(crossed, joint=False)
    assert np.array_equal(apart.predict_proba(signs), without.predict_proba(signs))


def test_a_part_matters_where_it_has_something_to_do(ablation, rows, whole):
    X, y = rows
    known = y >= 0
    vectors = {"facts": X["facts"][known], "more": X["facts"][known] + 1}
    complete = fitted((vectors, y[known]))
    for part in ("generations", "aligned shares", "kernels"):
        assert ablation.matters(part, whole)
        assert not ablation.matters(part, complete)
    for part in ("forests", "ridge regressions", "learnt pool", "products, joint member, presence"):
        assert ablation.matters(part, complete)


def test_a_place_gives_the_whole_and_every_part(ablation, monkeypatch):
    monkeypatch.setattr(ablation, "TREES", {"n_trees": 2, "n_trees_judged": 2})
    cell = ablation.cells(("htad",))[1]
    result = ablation.work(replace(cell, max_train=100, max_test=60), None, None)
    assert [row["without"] for row in result.rows] == [ablation.WHOLE, *ablation.PARTS]
    by_part = {row["without"]: row for row in result.rows}
    assert by_part["generations"] == by_part[ablation.WHOLE] | {"without": "generations", "seconds": None}
    assert by_part["forests"]["seconds"] > 0
    assert by_part["forests"]["mean"] != by_part[ablation.WHOLE]["mean"]


# ---- tables ------------------------------------------------------------------------------------------------


def made_up(ablation):
    """Two sets, two seeds: without forests 2 and 4 points less on one of them, nothing else matters."""
    rows = []
    for dataset in ("one", "two"):
        for missing in ablation.REGIMES:
            for labels in ablation.LABELS:
                for i, seed in enumerate(ablation.SEEDS):
                    place = {"dataset": dataset, "missing": missing, "labels": labels, "seed": seed}
                    for part in (ablation.WHOLE, *ablation.PARTS):
                        lost = 0.02 * (i + 1) * (part == "forests" and dataset == "two")
                        own = {"mean": 0.8 + 0.05 * i - lost, "worst": 0.5, "seconds": 4.0}
                        own["seconds"] = {ablation.WHOLE: 4.0, "forests": 1.0}.get(part, np.nan)
                        rows.append(place | {"without": part} | own)
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed(ablation):
    found = ablation.differences(made_up(ablation))
    assert found.loc[("complete", 1.0, "two", "forests")].tolist() == pytest.approx([-2.0, -4.0])
    assert ablation.shown(found.loc[("complete", 1.0, "two", "forests")]) == "**-3.0 ± 1.4**"
    assert ablation.shown(found.loc[("complete", 1.0, "one", "forests")]) == "·"
    assert ablation.seconds(made_up(ablation)).loc["forests"].tolist() == [0.25, 0.25]


def test_the_short_table_names_the_set_that_misses_a_part_most(ablation):
    lines = ablation.short(made_up(ablation)).splitlines()
    assert "| forests | " + "**-1.5 ± 0.7** | " * 4 + "-3.0 two, complete inputs, 5 % |" in lines
    assert "| kernels | · | · | · | · | · |" in lines
    page = "a\n<!-- ablation -->\nold\n<!-- end of ablation -->\nb\n"
    assert ablation.filled(page, made_up(ablation)).splitlines()[2:-2] == lines


def test_the_committed_pages_are_those_of_the_committed_runs(ablation):
    assert ablation.MARKED.search(ablation.DOCUMENT.read_text())
    if not ablation.RESULTS.exists():
        pytest.skip("the runs have not been made")
    table = ablation.results()
    assert ablation.PAGE.read_text() == ablation.text(table)
    assert ablation.DOCUMENT.read_text() == ablation.filled(ablation.DOCUMENT.read_text(), table)
