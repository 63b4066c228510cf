"""The committee's graph of rows: a dull twin, what it never reads, and when it is asked at all."""

from dataclasses import replace

import numpy as np
import pytest

from polymodal.methods.committee import generations, neighbours
from polymodal.methods.committee.teams import Rows


def made(n=60, seed=0, gaps=0.4):
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    values = [(random.normal(size=(n, d)) + 3 * np.eye(d)[y]).astype(np.float32) for d in (3, 5)]
    presence = random.random((n, 2)) > gaps
    presence[np.flatnonzero(~presence.any(axis=1)), 0] = True
    return values, presence, y


def twin(values, presence):
    """The same, row by row and pair by pair."""
    n = len(presence)

    def distance(m, i, j):
        return float(np.square(values[m][i].astype(np.float64) - values[m][j]).sum())

    scale = {}
    for m in range(len(values)):
        there = np.flatnonzero(presence[:, m])
        for i in there:
            each = sorted(distance(m, i, j) for j in there)
            scale[m, i] = np.sqrt(each[min(neighbours.N_SCALE, len(there) - 1)])
    like = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            both = [m for m in range(len(values)) if presence[i, m] and presence[j, m]]
            if i != j and both:
                each = [np.exp(-distance(m, i, j) / (scale[m, i] * scale[m, j])) for m in both]
                like[i, j] = np.mean(each)
    kept = np.zeros_like(like)
    for i in range(n):
        nearest = np.argsort(-like[i], kind="stable")[: neighbours.N_NEAREST]
        kept[i, nearest] = like[i, nearest]
    graph = np.maximum(kept, kept.T)
    return graph / graph.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("block", [7, 1000])
def test_the_graph_is_that_of_loops_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    values, presence, _ = made()
    found = neighbours.graph_of(values, presence).toarray()
    np.testing.assert_allclose(found, twin(values, presence), atol=1e-8)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_absent_values_are_never_read():
    values, presence, _ = made()
    want = neighbours.graph_of(values, presence)
    changed = [np.where(here[:, None], v, np.nan) for v, here in zip(values, presence.T, strict=True)]
    assert np.array_equal(neighbours.graph_of(changed, presence).toarray(), want.toarray())


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_few_rows_are_a_small_graph_and_a_lone_one_keeps_half_of_what_is_said(n):
    values, presence, _ = made(n, gaps=0.0)
    graph = neighbours.graph_of(values, presence)
    assert graph.shape == (n, n)
    assert np.isfinite(graph.toarray()).all()
    said = np.full((n, 3), 1 / 3)
    assert np.isfinite(neighbours.spread(graph, np.empty((0, 3)), said)).all()
    if n == 1:
        np.testing.assert_allclose(neighbours.spread(graph, np.empty((0, 3)), said), said / 2)


def test_rows_all_alike_and_a_modality_that_nobody_has():
    values = [np.ones((30, 2), dtype=np.float32), np.ones((30, 2), dtype=np.float32)]
    presence = np.stack([np.ones(30, dtype=bool), np.zeros(30, dtype=bool)], axis=1)
    graph = neighbours.graph_of(values, presence).toarray()
    np.testing.assert_allclose(graph.sum(axis=1), 1)


def test_what_is_said_is_spread_and_labels_are_held():
    values, presence, y = made(90)
    graph = neighbours.graph_of(values, presence)
    shares = np.random.default_rng(1).dirichlet(np.ones(3), 80)
    labelled = np.eye(3)[y[:10]]
    dense, now = graph.toarray(), np.concatenate([labelled, shares])
    for _ in range(neighbours.N_STEPS):
        after = (dense @ now + np.concatenate([labelled, shares])) / 2
        now = np.concatenate([labelled, after[10:]])
    found = neighbours.spread(graph, labelled, shares)
    np.testing.assert_allclose(found, now[10:], atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_neighbours_mend_what_a_teacher_says_wrongly():
    values, presence, y = made(200, gaps=0.2)
    random = np.random.default_rng(0)
    wrong = random.random(190) < 0.3
    said = np.where(wrong, (y[10:] + 1) % 3, y[10:])
    sure = np.where(wrong, 0.5, 0.8)[:, None]  # of what is wrong it is less sure
    told = np.where(np.eye(3)[said] > 0, sure, (1 - sure) / 2)
    found = neighbours.spread(neighbours.graph_of(values, presence), np.eye(3)[y[:10]], told)
    assert (told.argmax(axis=1) == y[10:]).mean() < 0.75
    assert (found.argmax(axis=1) == y[10:]).mean() > 0.9


# ---- whether they tell anything ----------------------------------------------------------------------------


def opinions(n=150, seed=0, shared=True, gaps=0.0):
    """Two modalities, and what each says alone: of a class that both show, or each of a thing of its own."""
    random = np.random.default_rng(seed)
    both = random.integers(0, 3, n)
    classes = [both, both if shared else random.integers(0, 3, n)]
    values = [random.normal(size=(n, 3)) + 4 * np.eye(3)[y] for y in classes]
    said = np.stack([0.7 * np.eye(3)[y] + 0.1 for y in classes], axis=1)
    presence = random.random((n, 2)) >= gaps
    presence[np.flatnonzero(~presence.any(axis=1)), 0] = True
    return values, presence, said


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_they_do_where_modalities_show_one_thing_and_not_where_each_shows_its_own(gaps):
    for seed in range(5):
        random = np.random.default_rng(seed)
        assert neighbours.are_told_alike(*opinions(seed=seed, gaps=gaps), random)
        assert not neighbours.are_told_alike(*opinions(seed=seed, gaps=gaps, shared=False), random)


def test_they_tell_nothing_where_no_row_has_two_modalities_or_all_is_said_alike():
    random = np.random.default_rng(0)
    values, presence, said = opinions()
    either = np.arange(150) % 2 == 0
    assert not neighbours.are_told_alike(values, np.stack([either, ~either], axis=1), said, random)
    assert not neighbours.are_told_alike(values, presence, np.full_like(said, 1 / 3), random)
    assert not neighbours.are_told_alike(values[:1], presence[:, :1], said[:, :1], random)


def test_opinions_and_values_that_are_absent_are_never_read():
    values, presence, said = opinions(gaps=0.4)
    want = neighbours.are_told_alike(values, presence, said, np.random.default_rng(0))
    blank = [np.where(here[:, None], v, np.nan) for v, here in zip(values, presence.T, strict=True)]
    unsaid = np.where(presence[:, :, None], said, np.nan)
    assert neighbours.are_told_alike(blank, presence, unsaid, np.random.default_rng(0)) == want


def test_the_index_is_that_of_moran():
    values, presence, _ = made(40)
    graph = neighbours.graph_of(values, presence)
    said = np.random.default_rng(0).normal(size=(40, 3))
    said -= said.mean(axis=0)
    weight = graph.toarray()
    pairs = sum(weight[i, j] * said[i] @ said[j] for i in range(40) for j in range(40))
    want = 40 / weight.sum() * pairs / (said * said).sum()
    np.testing.assert_allclose(neighbours._moran(graph, said), want)


# ---- when they are asked -----------------------------------------------------------------------------------


def few_labels(n_known=4, groups=None, n=240):
    values, presence, y = made(n, gaps=0.3)
    target = np.full((n, 3), np.nan)
    target[:n_known] = np.eye(3)[y[:n_known]]
    return Rows(tuple(values), presence, target, groups, "multiclass"), y


def asked(rows, monkeypatch, n_generations=2):
    graphs = []
    spread = neighbours.spread
    monkeypatch.setattr(
        neighbours, "spread", lambda graph, *more: graphs.append(graph) or spread(graph, *more)
    )
    learnt = generations.learn(rows, n_trees=5, n_trees_judged=3, n_generations=n_generations, seed=0)
    return graphs, learnt


def test_neighbours_are_asked_once_a_generation_where_nothing_is_judged(monkeypatch):
    graphs, learnt = asked(few_labels()[0], monkeypatch)
    assert "unjudged" in learnt.history[-1]["rule"]
    assert len(graphs) == 2
    assert graphs[0] is graphs[1]


def test_no_neighbour_is_asked_where_they_tell_nothing(monkeypatch):
    rows, _ = few_labels()
    random = np.random.default_rng(0)
    apart = (rows.values[0], random.normal(size=rows.values[1].shape).astype(np.float32))
    graphs, _ = asked(replace(rows, values=apart), monkeypatch)
    assert not graphs


def test_no_neighbour_is_asked_where_labels_judge_or_rows_come_in_groups(monkeypatch):
    graphs, learnt = asked(few_labels(n_known=60)[0], monkeypatch)
    assert "unjudged" not in learnt.history[-1]["rule"]
    assert not graphs
    graphs, learnt = asked(few_labels(groups=np.arange(240) // 8)[0], monkeypatch)
    assert "unjudged" in learnt.history[-1]["rule"]
    assert not graphs
