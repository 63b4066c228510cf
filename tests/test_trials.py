"""Ideas put into the committee: each does what it says and is taken out again, and the page is the runs'."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from polymodal.estimators import MethodClassifier
from polymodal.methods.committee import pool
from polymodal.methods.committee.members import Lesson
from polymodal.methods.committee.pool import Weights
from polymodal.methods.committee.teams import Rows

FOLDER = Path(__file__).parents[1] / "experiments" / "default"


@pytest.fixture(scope="module")
def trials():
    sys.path.insert(0, str(FOLDER))  # it imports its neighbours
    spec = importlib.util.spec_from_file_location("trials", FOLDER / "trials.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    y = np.arange(150) % 3
    X = {name: random.normal(size=(150, 3)) + 2 * np.eye(3)[y] for name in ("sound", "image", "text")}
    X["text"][::3] = np.nan
    return X, np.where(np.arange(150) % 5 < 2, y, -1)


def fitted(rows, **settings):
    settings = {"n_trees": 3, "n_trees_judged": 2, "n_generations": 1} | settings
    return MethodClassifier("committee", settings=settings, random_state=0).fit(*rows)


def test_each_idea_changes_the_committee_and_is_taken_out_again(trials, rows):
    X, _ = rows
    before = fitted(rows).predict_proba(X)
    for idea in trials.PATCHED.values():
        with idea():
            assert not np.array_equal(fitted(rows).predict_proba(X), before)
    assert np.array_equal(fitted(rows).predict_proba(X), before)


@pytest.mark.parametrize("idea", ["mixed", "noisy"])
def test_made_rows_stand_beside_the_true_ones(trials, idea):
    random = np.random.default_rng(0)
    x, target, weight = random.normal(size=(50, 4)), np.eye(3)[np.arange(50) % 3], random.random(50)
    lesson = Lesson(np.arange(50), target, weight, np.full(3, 1 / 3), np.zeros((2, 3)))
    values, turned, made = getattr(trials, idea)(x, 2 * x, lesson, random)
    assert len(values) == len(turned) == len(made.rows) == len(made.target) == len(made.weight) == 100
    assert np.array_equal(values[:50], x)
    assert np.array_equal(turned[:50], 2 * x)
    assert np.array_equal(made.target[:50], target)
    assert not np.array_equal(values[50:], x)
    np.testing.assert_allclose(made.weight.sum(), weight.sum())
    np.testing.assert_allclose(made.target.sum(axis=1), 1)
    if idea == "mixed":
        np.testing.assert_allclose(turned[50:], 2 * values[50:], rtol=1e-5, atol=1e-5)


def test_without_the_two_numbers_weights_by_row_are_the_pool_as_it_is(trials):
    generator = torch.Generator().manual_seed(0)
    said = torch.randn(20, 3, 4, generator=generator)
    present = torch.rand(20, 2, 3, generator=generator) < 0.7
    weights = Weights.start(3, 3, "multiclass")
    weights.alpha[:] = torch.tensor([0.5, -0.2, 0.1])
    want = pool.pooled(torch.where(present.any(1)[:, :, None], said, 0.0), present, weights)
    with trials.reliable():
        longer = Weights.start(3, 3, "multiclass")
        longer.alpha[:] = weights.alpha
        got = pool.pooled(torch.where(present.any(1)[:, :, None], said, 0.0), present, longer)
        torch.testing.assert_close(got, want)
        longer.sharpness[2] = 5.0
        assert not torch.allclose(
            pool.pooled(torch.where(present.any(1)[:, :, None], said, 0.0), present, longer), want
        )


def test_candidates_are_asked_and_change_nothing(trials, rows):
    X, _ = rows
    before, taken = fitted(rows).predict_proba(X), {}
    with trials.asked(taken):
        assert np.array_equal(fitted(rows).predict_proba(X), before)
    assert set(taken) == set(trials.CANDIDATES)
    assert all(np.isfinite(percent) and percent < 100 for percent in taken.values())


def test_a_set_transformer_learns_and_reads_no_absent_input(trials):
    random = np.random.default_rng(0)
    y = np.arange(90) % 3
    values = tuple((random.normal(size=(90, 3)) + 3 * np.eye(3)[y]).astype(np.float32) for _ in range(2))
    presence = np.ones((90, 2), dtype=bool)
    table = Rows(values, presence, np.eye(3)[y], None, "multiclass")
    lesson = Lesson(np.arange(90), np.eye(3)[y], np.ones(90), np.full(3, 1 / 3), np.zeros((2, 3)))
    network = trials.Network(table, lesson, 0)
    assert (network.scores(values, presence, "multiclass").argmax(dim=1).numpy() == y).mean() > 0.9
    presence[:, 1] = False
    changed = (values[0], values[1] + 50)
    first, second = (network.scores(given, presence, "multiclass") for given in (values, changed))
    torch.testing.assert_close(first, second)


def test_the_page_is_that_of_the_committed_runs(trials):
    if not trials.RESULTS.exists():
        pytest.skip("experiments/default/trials.py has not been run")
    table = trials.results()
    assert trials.PAGE.read_text() == trials.text(table)
    places = table[["dataset", "missing", "labels", "seed"]].drop_duplicates()
    assert len(places) == len(trials.cells())
