"""Cross-modal retrieval: exact search in bounded memory, and what a search is worth.

Read from the top: the search; where the true partner of each row comes; how well classes are found; the
report, beside a ranking by chance. Nothing here knows a model: it takes the embeddings (n, d) of rows in one
common space, rows of NaN where a modality is absent. Such a row is never found and finds nothing. Scores are
inner products, which are cosines for rows of unit length.

Where scores are equal, no order is better than another: :func:`search` lists lower row numbers first, and
no metric gains by it. Recall and rank are those expected of a random order of the equals, and average
precision cuts them together: an embedding of constants is worth no more than chance.

Letters: q queries, n items, d width, k items found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from polymodal.errors import ConfigError, MissingExtraError
from polymodal.evaluation import COLUMNS

SCORES_AT_ONCE = 2**22
"""Scores held at a time: bounds the memory of a search, whatever the number of rows."""
ITEMS_AT_ONCE = 2**14
AT = (1, 5, 10)
"""The k of recall at k in a report."""
CHANCE = "chance"


def present(embeddings: np.ndarray) -> np.ndarray:
    """Rows that have an embedding: (n, d) to (n,) bool."""
    return ~np.isnan(embeddings).any(axis=1)


# ---- search --------------------------------------------------------------------------------------


def search(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k items with the largest inner product for each query, by looking at all of them.

    Args:
        queries: (q, d), rows of NaN where there is nothing to search with.
        items: (n, d), rows of NaN where there is nothing to be found.
        k: how many items to find.

    Returns:
        Scores (q, k), falling, and row numbers (q, k) int64; equal scores in the order of the rows. Where
        there are fewer items than k, and for queries of NaN, the score is NaN and the row number -1.

    Raises:
        ConfigError: k is no whole number above 0, or the widths differ.
    """
    _judge(queries, items, k)
    scores = np.full((len(queries), k), np.nan, dtype=np.result_type(queries, items))
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    there = np.flatnonzero(present(items))
    for asked in _chunks(np.flatnonzero(present(queries)), min(len(there), ITEMS_AT_ONCE)):
        best, found = _best_of_all(queries[asked], items, there, k)
        scores[asked, : best.shape[1]] = best
        rows[asked, : best.shape[1]] = found
    return scores, rows


def search_faiss(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """:func:`search` by FAISS's exact index of inner products, in float32.

    Raises:
        ConfigError: as for :func:`search`.
        MissingExtraError: FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("search with FAISS", "faiss-cpu", "faiss") from error
    _judge(queries, items, k)
    scores = np.full((len(queries), k), np.nan, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    asked, there = np.flatnonzero(present(queries)), np.flatnonzero(present(items))
    if len(asked) and len(there):
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(np.ascontiguousarray(items[there], dtype=np.float32))
        most = min(k, len(there))
        best, found = index.search(np.ascontiguousarray(queries[asked], dtype=np.float32), most)
        scores[asked, :most] = best
        rows[asked, :most] = there[found]
    return scores, rows


def _judge(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise ConfigError(f"k is a whole number above 0; got {k!r}; ask for 10, for example")
    if queries.shape[1] != items.shape[1]:
        raise ConfigError(
            f"queries and items lie in one space; widths {queries.shape[1]} and {items.shape[1]} came; "
            "embed both with the same model"
        )


def _chunks(rows: np.ndarray, n_items: int) -> Iterator[np.ndarray]:
    """The rows in pieces that make at most ``SCORES_AT_ONCE`` scores with ``n_items`` items."""
    step = max(1, SCORES_AT_ONCE // max(n_items, 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _best_of_all(
    queries: np.ndarray, items: np.ndarray, there: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the items ``there``, or all where they are fewer; items are read in pieces."""
    best = np.empty((len(queries), 0), dtype=np.result_type(queries, items))
    found = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(there), ITEMS_AT_ONCE):
        piece = there[start : start + ITEMS_AT_ONCE]
        best = np.concatenate([best, queries @ items[piece].T], axis=1)
        found = np.concatenate([found, np.broadcast_to(piece, (len(queries), len(piece)))], axis=1)
        columns = _top(best, k)
        best, found = np.take_along_axis(best, columns, 1), np.take_along_axis(found, columns, 1)
    return best, found


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest scores of each row, falling; equal scores in the order of the columns."""
    n = scores.shape[1]
    if n <= k:
        return np.argsort(-scores, axis=1, kind="stable")
    least = np.partition(scores, n - k, axis=1)[:, n - k, None]
    above, equal = scores > least, scores == least
    wanted = k - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= wanted))
    columns = np.nonzero(chosen)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(scores, columns, 1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, 1)


# ---- pairs: where the partner comes --------------------------------------------------------------


def partner_places(queries: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many items come before the partner of each query: the item of the same row.

    Args:
        queries: (n, d).
        items: (n, d); all that are there are ranked, also those of rows that have no query.

    Returns:
        For the p rows that have both: how many items score higher than the partner, (p,) int64, and how
        many score the same, itself included, (p,) int64.
    """
    there = np.flatnonzero(present(items))
    pairs = np.flatnonzero(present(queries) & present(items))
    above, equal = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for asked in _chunks(pairs, len(there)):
        scores = queries[asked] @ items[there].T
        own = scores[np.arange(len(asked)), np.searchsorted(there, asked), None]
        above.append((scores > own).sum(axis=1))
        equal.append((scores == own).sum(axis=1))
    return np.concatenate(above), np.concatenate(equal)


def recall_at(k: int, above: np.ndarray, equal: np.ndarray) -> float:
    """Share of queries whose partner is among the first k; NaN without a pair.

    A partner that shares its score with others counts by its chance to be among the first k when they are
    put in random order.

    Args:
        k: how many items are looked at.
        above: (p,) items before the partner, from :func:`partner_places`.
        equal: (p,) items with its score, itself included.
    """
    return float(np.clip((k - above) / equal, 0.0, 1.0).mean()) if len(above) else np.nan


def median_rank(above: np.ndarray, equal: np.ndarray) -> float:
    """Median of the partners' ranks, 1 at best; NaN without a pair.

    A partner that shares its score with others has the mean of their ranks. Arguments as for
    :func:`recall_at`.
    """
    return float(np.median(above + (equal + 1) / 2)) if len(above) else np.nan


# ---- classes: how many of the same come first ----------------------------------------------------


def mean_average_precision(
    queries: np.ndarray, items: np.ndarray, query_classes: np.ndarray, item_classes: np.ndarray
) -> float:
    """The mAP over the full ranking: an item is relevant to a query of its class.

    The average precision of a query is the mean, over its relevant items, of the share of relevant ones among
    all that score at least as high; equal scores are cut together, as in scikit-learn's
    ``average_precision_score``. Queries without any relevant item are left out.

    Args:
        queries: (q, d).
        items: (n, d), the partners of the queries among them.
        query_classes: (q,) class codes.
        item_classes: (n,).

    Returns:
        In [0, 1]; NaN if no query has a relevant item.
    """
    there = np.flatnonzero(present(items))
    asked = present(queries) & np.isin(query_classes, item_classes[there])
    precisions = [np.empty(0)]
    for rows in _chunks(np.flatnonzero(asked), len(there)):
        scores = queries[rows] @ items[there].T
        relevant = query_classes[rows, None] == item_classes[there]
        precisions.append(_average_precisions(scores, relevant))
    values = np.concatenate(precisions)
    return float(values.mean()) if len(values) else np.nan


def _average_precisions(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Of each row of (q, n) scores; every row has a relevant item."""
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, relevant = np.take_along_axis(scores, order, 1), np.take_along_axis(relevant, order, 1)
    n = scores.shape[1]
    last = np.ones(scores.shape, dtype=bool)  # the last of its equals
    last[:, :-1] = scores[:, :-1] != scores[:, 1:]
    cut = np.where(last, np.arange(n), n)
    cut = np.minimum.accumulate(cut[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(np.cumsum(relevant, axis=1), cut, 1) / (cut + 1)
    return np.where(relevant, precision, 0.0).sum(axis=1) / relevant.sum(axis=1)


# ---- chance --------------------------------------------------------------------------------------


def chance_average_precision(n_relevant: np.ndarray, n_items: int) -> np.ndarray:
    """Expected average precision of a random order of ``n_items``, ``n_relevant`` of them relevant.

    At place i of n an item is relevant with probability R / n, and then each of the i - 1 before it with
    (R - 1) / (n - 1); the mean over places of the expected share is [H_n + (n - H_n) (R - 1) / (n - 1)] / n
    with the harmonic number H_n.
    """
    if n_items == 1:
        return np.ones(len(n_relevant))
    harmonic = (1.0 / np.arange(1, n_items + 1)).sum()
    return (harmonic + (n_items - harmonic) * (n_relevant - 1) / (n_items - 1)) / n_items


def _chance_map(query_classes: np.ndarray, item_classes: np.ndarray) -> float:
    n_classes = max(query_classes.max(initial=0), item_classes.max(initial=0)) + 1
    n_relevant = np.bincount(item_classes, minlength=n_classes)[query_classes]
    n_relevant = n_relevant[n_relevant > 0]
    if not len(n_relevant):
        return np.nan
    return float(chance_average_precision(n_relevant, len(item_classes)).mean())


# ---- the report ----------------------------------------------------------------------------------


def retrieval_report(
    embeddings: Mapping[str, np.ndarray],
    y: np.ndarray | None = None,
    *,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
) -> pd.DataFrame:
    """Every direction of search x metric, beside the expectation of a random ranking.

    Metrics: ``recall_at_1``, ``recall_at_5``, ``recall_at_10`` and ``median_rank`` of the partner over the
    rows that have both modalities; with ``y``, ``map``; ``n_queries``, the rows that search, and ``n_items``,
    the rows that are ranked.

    Args:
        embeddings: modality -> (n, d), rows of NaN where it is absent.
        y: (n,) class codes, -1 for an unlabelled row, which is left out of ``map``; None for no classes.
        dataset: first column of the table.
        method: second column; the random ranking is called ``"chance"``.
        seed: third column.
        labels: fourth column, the share of training rows that were labelled.

    Returns:
        Columns ``dataset, method, seed, labels, subset, metric, value``; ``subset`` is the direction, as
        ``"image->text"``.
    """
    rows: list[tuple[Any, ...]] = []
    for asked, sought in permutations(embeddings, 2):
        run = (seed, labels, f"{asked}->{sought}")
        queries, items = embeddings[asked], embeddings[sought]
        values = _pair_values(queries, items)
        by_chance = _pair_chance(queries, items)
        if y is not None:
            values["map"], by_chance["map"] = _class_values(queries, items, y)
        rows += [(dataset, method, *run, metric, value) for metric, value in values.items()]
        rows += [(dataset, CHANCE, *run, metric, value) for metric, value in by_chance.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _sizes(queries: np.ndarray, items: np.ndarray) -> dict[str, float]:
    return {"n_queries": float(present(queries).sum()), "n_items": float(present(items).sum())}


def _pair_values(queries: np.ndarray, items: np.ndarray) -> dict[str, float]:
    places = partner_places(queries, items)
    recalls = {f"recall_at_{k}": recall_at(k, *places) for k in AT}
    return {**recalls, "median_rank": median_rank(*places), **_sizes(queries, items)}


def _pair_chance(queries: np.ndarray, items: np.ndarray) -> dict[str, float]:
    n_pairs, n_items = int((present(queries) & present(items)).sum()), int(present(items).sum())
    places: Sequence[np.ndarray] = (np.zeros(n_pairs), np.full(n_pairs, max(n_items, 1)))
    recalls = {f"recall_at_{k}": recall_at(k, *places) for k in AT}
    return {**recalls, "median_rank": median_rank(*places), **_sizes(queries, items)}


def _class_values(queries: np.ndarray, items: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """mAP, and that of a random ranking, over the labelled rows."""
    asked, sought = present(queries) & (y >= 0), present(items) & (y >= 0)
    found = mean_average_precision(queries[asked], items[sought], y[asked], y[sought])
    return found, _chance_map(y[asked], y[sought])
