"""What an added modality costs: the arithmetic on made-up runs, and the committed page."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polymodal import bench
from polymodal.data import readers

PATH = Path(__file__).parents[1] / "experiments" / "default" / "added.py"


@pytest.fixture(scope="module")
def added():
    spec = importlib.util.spec_from_file_location("added", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_loss_is_that_of_the_same_combination(added):
    without = {"a": 0.8, "b": 0.6, "a+b": 0.9}
    beside = {
        "a": 0.8,
        "b": 0.6,
        "a+b": 0.7,
        "added": 0.1,
        "a+added": 0.78,
        "b+added": 0.6,
        "a+b+added": 0.86,
    }
    rows = [("d", v, "m", 0, 1.0, s, value) for v in ("noise", "conflict") for s, value in beside.items()]
    rows += [("d", "without", "m", 0, 1.0, s, value) for s, value in without.items()]
    columns = ["dataset", "variant", "method", "seed", "labels", "subset", "value"]
    found = added.losses(pd.DataFrame(rows, columns=columns))
    assert found["variant"].tolist() == ["noise", "conflict"]
    assert found["points"].tolist() == pytest.approx([100 * (0.02 + 0.0 + 0.04) / 3] * 2)


def test_the_added_modality_is_noise_or_speaks_of_another_class(added):
    dataset = readers.load("htad")
    cell = bench.Cell("htad", "late_fusion", 0, **added.CAPS)
    given = bench.problem_of(cell, dataset)
    name = added.STRONGEST["htad"]
    for variant, moved in (("without", None), ("noise", None), ("conflict", 0.5)):
        own = bench.Cell("htad", "late_fusion", 0, variant=variant, **added.CAPS)
        X = added.with_added(given.X_test, given.y_test, own, 1)
        assert (added.ADDED in X) == (variant != "without")
        if moved:
            same = [
                np.array_equal(a, b, equal_nan=True) for a, b in zip(X[added.ADDED], X[name], strict=True)
            ]
            assert 1 - np.mean(same) == pytest.approx(moved, abs=0.01)


def test_the_pages_show_points_lost(added):
    rows = [
        (d, v, m, seed, labels, subset, 0.9 - 0.01 * (seed + 1) * (v == "conflict") * (m == "committee"))
        for d in added.STRONGEST
        for labels in added.LABELS
        for v in ("without", *added.VARIANTS)
        for m in added.METHODS
        for seed in added.SEEDS
        for subset in (["a"] if v == "without" else ["a", f"a+{added.ADDED}"])
    ]
    columns = ["dataset", "variant", "method", "seed", "labels", "subset", "value"]
    table = pd.DataFrame(rows, columns=columns)
    assert "| committee |" + " +2.0 ± 1.0 |" * 4 in added.text(table).splitlines()
    page = "a\n<!-- added -->\nold\n<!-- end of added -->\nb\n"
    assert added.filled(page, table).splitlines()[2:-2] == [
        "| added | mfeat, 5 % | mfeat, 100 % | htad, 5 % | htad, 100 % |",
        "|---|--:|--:|--:|--:|",
        "| noise |" + " +0.0 ± 0.0 |" * 4,
        "| conflict |" + " +2.0 ± 1.0 |" * 4,
    ]


def test_the_committed_page_is_that_of_the_committed_runs(added):
    if not added.RESULTS.exists():
        pytest.skip("the runs have not been made")
    table = added.committed()
    assert added.PAGE.read_text() == added.text(table)
    document = added.DOCUMENT.read_text()
    assert added.MARKED.search(document)
    assert document == added.filled(document, table)
