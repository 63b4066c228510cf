"""The committee's graph of rows: what a teacher says of a row, and what it says of rows like it.

Where a class has a row or two, no label tells how good a teacher is, and students would learn its errors as
they are. Where rows that are alike are mostly of one class, each row is taught in part what its neighbours
are (label propagation: Zhou et al., Learning with local and global consistency, NeurIPS 2004; distances on
the scale of each row: Zelnik-Manor and Perona, NeurIPS 2004). Whether they are takes no label to see:
neighbours in one modality are then told alike by the others.

Letters: n rows, M modalities, k directions, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

N_NEAREST = 10
"""Neighbours of a row, at least: it is one of theirs too."""
N_SCALE = 7
"""The neighbour whose distance is a row's scale."""
SHARE = 0.5
"""Of what a row is taught, how much its neighbours say."""
N_STEPS = 20
LEAST_ALIKE, N_DEVIATIONS = 0.03, 4.0
"""Moran's I that others' opinions must have among neighbours, and how far beyond that of shuffled ones."""
N_SHUFFLES = 20
BLOCK = 1000
"""Rows that are compared with all others at a time."""


def are_told_alike(
    values: Sequence[np.ndarray], presence: np.ndarray, said: np.ndarray, random: np.random.Generator
) -> bool:
    """Whether neighbours in one modality are told alike by the others, in the mean: Moran's I (1950).

    Args:
        values: for each modality (n, k).
        presence: (n, M) bool.
        said: (n, M, C) shares of the classes by each modality alone, anything where it is absent.
        random: shuffles the rows.
    """
    true, shuffled, n_rows = 0.0, np.zeros(N_SHUFFLES), 0
    said = np.where(presence[:, :, None], said, 0.0)
    for m, value in enumerate(values):
        rows = np.flatnonzero(presence[:, m] & (presence.sum(axis=1) > 1))
        if len(rows) <= N_NEAREST:
            continue
        graph = graph_of([value[rows]], np.ones((len(rows), 1), dtype=bool))
        others = said[rows].sum(axis=1) - said[rows, m]
        others /= presence[rows].sum(axis=1, keepdims=True) - 1
        others -= others.mean(axis=0)
        true += len(rows) * _moran(graph, others)
        shuffled += [len(rows) * _moran(graph, random.permutation(others)) for _ in range(N_SHUFFLES)]
        n_rows += len(rows)
    if not n_rows:
        return False
    by_chance = shuffled.mean() + N_DEVIATIONS * shuffled.std()
    return true > max(by_chance, LEAST_ALIKE * n_rows)


def _moran(graph: sparse.csr_array, said: np.ndarray) -> float:
    """I of (n, C) deviations from the mean, of a graph whose rows sum to 1; 0 where all say the same."""
    return float((said * (graph @ said)).sum() / max(np.square(said).sum(), 1e-12))


def graph_of(values: Sequence[np.ndarray], presence: np.ndarray) -> sparse.csr_array:
    """(n, n): shares of each row's neighbours, by the mean likeness in the modalities that both rows have.

    Args:
        values: for each modality (n, k); never read where the modality is absent.
        presence: (n, M) bool.
    """
    n = len(presence)
    known = [np.flatnonzero(here) for here in presence.T]
    x = [value[here].astype(np.float64) for value, here in zip(values, known, strict=True)]
    scales = [_scale(own) for own in x]
    blocks = []
    for block in _blocks(n):
        total, shared = np.zeros((len(block), n)), np.zeros((len(block), n))
        for here, own, scale in zip(known, x, scales, strict=True):
            rows = np.flatnonzero(np.isin(block, here))
            at = np.searchsorted(here, block[rows])
            like = np.exp(-_distances(own[at], own) / np.outer(scale[at], scale))
            total[np.ix_(rows, here)] += like
            shared[np.ix_(rows, here)] += 1
        like = total / np.maximum(shared, 1)
        like[np.arange(len(block)), block] = 0.0
        least = np.sort(like, axis=1)[:, -min(N_NEAREST, n)]
        blocks.append(sparse.csr_array(np.where(like >= least[:, None], like, 0.0)))
    kept = sparse.vstack(blocks, format="csr")
    graph = sparse.csr_array(kept.maximum(kept.T))
    return sparse.csr_array(sparse.diags_array(1 / np.maximum(graph.sum(axis=1), 1e-12)) @ graph)


def spread(graph: sparse.csr_array, labelled: np.ndarray, said: np.ndarray) -> np.ndarray:
    """What a teacher says, half of it what is said of neighbours, and of theirs; labels are held.

    Args:
        graph: of the labelled rows, then the others.
        labelled: (n_labelled, C) shares.
        said: (n, C) shares of the others.

    Returns:
        (n, C).
    """
    first = np.concatenate([labelled, said])
    now = first
    for _ in range(N_STEPS):
        now = SHARE * (graph @ now) + (1 - SHARE) * first
        now[: len(labelled)] = labelled
    return now[len(labelled) :]


def _blocks(n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BLOCK):
        yield np.arange(start, min(start + BLOCK, n))


def _distances(some: np.ndarray, every: np.ndarray) -> np.ndarray:
    """(n_some, n) squared."""
    squares = np.square(some).sum(axis=1)[:, None] + np.square(every).sum(axis=1)
    return np.maximum(squares - 2 * some @ every.T, 0.0)


def _scale(x: np.ndarray) -> np.ndarray:
    """(n,): distance of each row to one of its near neighbours."""
    nth = min(N_SCALE, len(x) - 1)
    found = [np.partition(_distances(x[rows], x), nth, axis=1)[:, nth] for rows in _blocks(len(x))]
    return np.sqrt(np.concatenate([*found, np.empty(0)])) + 1e-9
