"""Health: what is wrong with a fitted model and its data, in sentences.

Read from the top: what a finding is; the examination; then one rule after another, each a pure function that
says nothing where nothing is wrong. A rule fires where an effect is large *and* more than chance; both limits
stand here as constants, and the figures behind a sentence stand in its ``evidence``.

Letters: n rows, M modalities, C outputs, d latent width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import xlogy
from scipy.stats import chi2
from sklearn.utils.validation import check_is_fitted

from polymodal.batch import TaskKind
from polymodal.calibration import pattern_counts
from polymodal.data import door
from polymodal.estimators.information import LATENTS, modality_latents
from polymodal.estimators.subsets import decisions, subset_predictions
from polymodal.evaluation import Predict, Subset
from polymodal.metrics import decide, decide_labels

Level = Literal["alarm", "warning", "note"]
LEVELS: tuple[Level, ...] = ("alarm", "warning", "note")

MAX_ROWS = 20_000
"""Labelled rows that are read, at most."""
MIN_ROWS = 30
"""Fewer rows are not judged."""
MIN_EPOCHS = 10
"""A shorter training is not judged."""
SURE = 3.0
"""Standard errors that a difference must have."""

LAZY, VERY_LAZY = 0.1, 0.3
"""How much less a branch knows than its own solo model: parts of what could be known above chance."""
LEAKING, FAR = 0.98, 0.25
"""What one modality knows alone, and how far above the next best, where it looks too good to be true."""
ONE_CLASS, NOT_ONE_CLASS = 0.95, 0.8
"""Share of the predictions that one class has, though its share of the labels is below the second."""
FLAT = 0.05
"""Spread of predicted values, of that of the true ones, below which they are all the same."""
ONE_POINT = 0.02
"""Spread of a modality's latents around their mean, of their length, below which they are one point."""
RESTLESS = 0.15
"""Part of the width by which a mean cut still moves in the last third of the epochs."""
TOO_SURE = 0.15
"""How much surer pseudo-labels are than right."""
ONE_SIDED = 0.3
"""How much commoner the commonest class is among pseudo-labels than among labels."""
SHIFT, LARGE_SHIFT = 0.05, 0.3
"""Share of rows that would have to change their pattern of presence to have the training's frequencies."""
P_VALUE = 0.001
MIN_EXPECTED = 5.0
"""Rows expected of a pattern, in training or here, below which it is pooled with other rare ones."""


@dataclass(frozen=True)
class Finding:
    """Something that one should know.

    Attributes:
        level: ``"alarm"`` (do not use the model before this is understood), ``"warning"``, or ``"note"``.
        topic: laziness, leakage, collapse, gates, pseudo-labels, presence, training, or rows.
        sentence: what is wrong, by how much, and what to do.
        evidence: the figures behind it.
    """

    level: Level
    topic: str
    sentence: str
    evidence: Mapping[str, float]


# ---- the examination -----------------------------------------------------------------------------


def examine(estimator: Any, X: Any, y: Any, *, solo: Mapping[str, np.ndarray] | None = None) -> list[Finding]:
    """Everything that looks wrong with a fitted model, its training, and the rows that it is to predict.

    Args:
        estimator: a fitted classifier or regressor.
        X: n rows that ``fit`` has not seen.
        y: n labels; unlabelled rows are left out of what needs labels.
        solo: name -> (n, C) predictions of a model that was fitted to this modality alone, NaN rows where it
            is absent; without it, the linear models of the floors that were fitted beside the method.

    Returns:
        Findings, the worst first; empty where nothing looks wrong.

    Raises:
        DataError: X or y breaks a rule of the data door.
    """
    check_is_fitted(estimator)
    labels = estimator._evaluation_labels(y, door.n_rows(X))
    rows = np.flatnonzero(labels.labelled)
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MAX_ROWS, replace=False))
    names, truth = tuple(estimator.modalities_), labels.values[rows]
    everywhere = door.read(X, estimator.modalities_).presence
    X = estimator.encoded(door.take(X, rows))
    predict, presence = subset_predictions(estimator, X)
    alone = {name: np.asarray(p)[rows] for name, p in (solo or {}).items()} or _solo(estimator, X)

    found = [
        *judge_training(estimator.history_),
        *judge_gates(estimator.history_, names),
        *judge_presence(getattr(estimator, "presence_", {}), pattern_counts(everywhere, names), names),
    ]
    if len(rows) < MIN_ROWS:
        found.append(_too_few(len(rows)))
    else:
        answers = decisions(estimator, predict) or predict  # of label sets all below reads decisions alone
        found += judge_predictions(answers(names), truth, labels.kind)
        found += judge_latents(_latents(estimator, X))
        found += judge_pseudo_labels(estimator.history_, _accuracy(predict(names), truth, labels.kind))
        found += judge_modalities(answers, presence, names, truth, labels.kind, alone)
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def to_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Columns level, topic, sentence, one row a finding."""
    rows = [(finding.level, finding.topic, finding.sentence) for finding in findings]
    return pd.DataFrame(rows, columns=["level", "topic", "sentence"])


def _too_few(n: int) -> Finding:
    sentence = (
        f"{n} labelled rows are too few to judge the predictions by; give at least {MIN_ROWS} that training "
        "did not see"
    )
    return Finding("note", "rows", sentence, {"n_rows": float(n)})


def _solo(estimator: Any, X: Any) -> dict[str, np.ndarray]:
    floor = estimator.floors_.get("late_fusion")
    return {} if floor is None else floor.branch_predictions(X)


def _latents(estimator: Any, X: Any) -> dict[str, np.ndarray]:
    """Name -> latents (n, d) of the rows that have it; nothing of a method whose latents are not known."""
    if estimator._method_name() not in LATENTS:
        return {}
    return {name: values[there] for name, (values, there) in modality_latents(estimator, X).items()}


def _accuracy(prediction: np.ndarray, y: np.ndarray, kind: TaskKind) -> float:
    return float((decide(prediction) == y).mean()) if kind == "multiclass" else np.nan


# ---- the training --------------------------------------------------------------------------------


def judge_training(history: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What the method itself has to say about its training."""
    for sentence in history[-1].get("warnings", []) if history else []:
        yield Finding("warning", "training", sentence, {})


def judge_gates(history: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[Finding]:
    """A partition that was still on the move when training ended (PgM)."""
    if len(history) < MIN_EPOCHS:
        return
    last_third = history[-(len(history) // 3) :]
    for name in names:
        moved = {}
        for part in ("uni", "paired"):
            cuts = [epoch[f"cut_{part}/{name}"] for epoch in last_third if f"cut_{part}/{name}" in epoch]
            moved[part] = float(np.ptp(cuts)) if len(cuts) > 1 else 0.0
        if (most := max(moved.values())) > RESTLESS:
            yield Finding(
                "warning",
                "gates",
                f"the gates of modality {name!r} had not settled: their mean cut moved by {most:.0%} of the "
                f"width in the last third of the epochs; train longer, or lower learning_rates for "
                f"'partitioner', before reading its partition",
                {f"moved_{part}": value for part, value in moved.items()},
            )


def judge_pseudo_labels(history: Sequence[Mapping[str, Any]], accuracy: float) -> Iterator[Finding]:
    """Pseudo-labels that are surer than right, or mostly of one class (Robult).

    Args:
        history: as training keeps it.
        accuracy: of the model on new rows: what its pseudo-labels are worth where ``y_monitor`` did not say.
    """
    last = history[-1] if history else {}
    confidence, right = last.get("confidence"), last.get("pseudo_accuracy")
    right = accuracy if right is None else right
    if confidence is not None and confidence - right > TOO_SURE:
        yield Finding(
            "warning",
            "pseudo-labels",
            f"the pseudo-labels are surer than right: mean confidence {confidence:.2f}, right {right:.2f} of "
            f"the time; lower loss_weights['unlabelled'], raise ramp, or label more rows",
            {"confidence": confidence, "right": float(right)},
        )
    share, labelled = last.get("pseudo_share"), last.get("labelled_share")
    if share is not None and labelled is not None and share - labelled > ONE_SIDED:
        yield Finding(
            "warning",
            "pseudo-labels",
            f"{share:.0%} of the pseudo-labels are of one class, which no more than {labelled:.0%} of the "
            f"labels are; lower loss_weights['unlabelled'] or raise ramp",
            {"pseudo_share": share, "labelled_share": labelled},
        )


# ---- collapse ------------------------------------------------------------------------------------


def judge_predictions(prediction: np.ndarray, y: np.ndarray, kind: TaskKind) -> Iterator[Finding]:
    """One answer for all rows.

    Args:
        prediction: (n, C) of each row with what it has; of label sets, what was decided or probabilities.
        y: labels, all of them known, as :mod:`polymodal.metrics` has them.
        kind: the task kind.
    """
    if kind == "regression":
        spread, true = float(prediction.std()), float(y.std())
        if spread < FLAT * true:
            yield Finding(
                "alarm",
                "collapse",
                f"all rows are predicted the same value: predictions spread by {spread:.3g}, true values by "
                f"{true:.3g}; train longer, raise the learning rate, or check that the inputs tell y at all",
                {"predicted": spread, "true": true},
            )
        return
    decided = decide(prediction) if kind == "multiclass" else decide_labels(prediction)
    answers = [(decided, y)] if kind == "multiclass" else list(zip(decided.T, y.T, strict=True))
    for c, (said, truth) in enumerate(answers):
        commonest, share = _commonest(said)
        known = truth[~np.isnan(truth)] if kind == "multilabel" else truth
        true = float((known == commonest).mean()) if len(known) else 1.0
        if share > ONE_CLASS and true < NOT_ONE_CLASS:
            what = "the same class" if kind == "multiclass" else f"the same answer to label number {c}"
            yield Finding(
                "alarm",
                "collapse",
                f"{share:.0%} of the rows are predicted {what}, which is right for {true:.0%}; "
                f"check the labels, lower the learning rate, or train longer",
                {"predicted_share": share, "true_share": true},
            )


def _commonest(codes: np.ndarray) -> tuple[Any, float]:
    values, counts = np.unique(codes, return_counts=True)
    return values[counts.argmax()], float(counts.max() / counts.sum())


def judge_latents(latents: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Representations that are the same for every row.

    Args:
        latents: name -> (n, d) of the rows that have the modality.
    """
    for name, values in latents.items():
        if len(values) < MIN_ROWS:
            continue
        values = values.astype(np.float64)
        length = np.sqrt(np.square(values).sum(axis=1).mean())
        spread = np.sqrt(np.square(values - values.mean(axis=0)).sum(axis=1).mean())
        if spread <= ONE_POINT * length:
            yield Finding(
                "alarm",
                "collapse",
                f"the representation of modality {name!r} is nearly one point for all rows (spread "
                f"{spread / max(length, 1e-300):.3f} of its length); check its columns, or lower the "
                f"learning rate",
                {"spread": float(spread), "length": float(length)},
            )


# ---- single modalities: laziness and leakage -----------------------------------------------------


def judge_modalities(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    solo: Mapping[str, np.ndarray],
) -> Iterator[Finding]:
    """A branch that knows less than its modality could tell, and a modality that knows too much.

    Args:
        predict: from a subset to (n, C).
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows.
        kind: the task kind.
        solo: name -> (n, C) predictions of a model of this modality alone; {} where there is none.
    """
    known: dict[str, float] = {}
    for m, name in enumerate(names):
        rows = np.flatnonzero(presence[:, m])
        if len(rows) < MIN_ROWS:
            continue
        branch = _scores(predict((name,))[rows], y[rows], kind)
        known[name] = float(branch.mean())
        if name in solo:
            own = _scores(solo[name][rows], y[rows], kind)
            known[name] = max(known[name], float(own.mean()))
            yield from judge_laziness(name, branch, own)
    yield from judge_leakage(known)
    if not solo:
        sentence = (
            "laziness was not judged, for want of models of one modality alone; fit with floors=True, or "
            "give their predictions as solo"
        )
        yield Finding("note", "laziness", sentence, {})


def judge_laziness(name: str, branch: np.ndarray, own: np.ndarray) -> Iterator[Finding]:
    """A modality of which the model alone makes less than a model of its own does (Du et al., ICML 2023).

    Args:
        name: the modality.
        branch: (k,) scores of the model from this modality alone; see ``_scores``.
        own: (k,) scores of the modality's solo model on the same rows.
    """
    less = own - branch
    loss, error = float(less.mean()), float(less.std(ddof=1) / np.sqrt(len(less)))
    if loss > max(LAZY, SURE * error):
        yield Finding(
            "alarm" if loss > VERY_LAZY else "warning",
            "laziness",
            f"modality {name!r} is left lazy: alone, the model makes {branch.mean():.2f} of it where a model "
            f"of its own makes {own.mean():.2f} (0 is chance, 1 is everything); raise modality dropout, or "
            f"take a method that trains each branch (ume, umt, robult)",
            {"branch": float(branch.mean()), "solo": float(own.mean()), "error": error},
        )


def judge_leakage(known: Mapping[str, float]) -> Iterator[Finding]:
    """A modality that tells nearly everything alone while all others are far behind.

    The rule: at least ``LEAKING`` of what could be known above chance, on new rows, and ``FAR`` more than the
    next best modality. An easy problem has several good modalities; one of this kind often holds the label in
    another form: an identifier, a time of recording, a feature that was learnt with labels.

    Args:
        known: name -> what it tells alone, 0 for chance, 1 for everything.
    """
    if len(known) < 2:
        return
    (best, most), (_, second) = sorted(known.items(), key=lambda item: -item[1])[:2]
    if most >= LEAKING and most - second >= FAR:
        yield Finding(
            "warning",
            "leakage",
            f"modality {best!r} alone tells {most:.0%} of what could be known, the next best {second:.0%}: "
            f"it may hold the label in another form; check how its columns came about",
            {"best": most, "second": second},
        )


def _scores(prediction: np.ndarray, y: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(k,) whose mean is 0 for chance and 1 for everything right; rows, or known entries of label sets.

    Classes: balanced accuracy above chance. Label sets: the same label by label. Values: R2.
    """
    if kind == "regression":
        return 1.0 - np.square(y - prediction[:, 0]) / max(float(y.var()), np.finfo(np.float64).tiny)
    if kind == "multiclass":
        return _balanced(decide(prediction) == y, y)
    parts = []
    for said, truth in zip(decide_labels(prediction).T, y.T, strict=True):
        known = ~np.isnan(truth)
        parts.append(_balanced(said[known] == truth[known], truth[known].astype(np.int64)))
    return np.concatenate(parts)


def _balanced(right: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Right answers weighted so that each class that occurs counts alike, less chance; one class: zeros."""
    classes, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        return np.zeros(len(codes))
    chance = 1.0 / len(classes)
    return (right * len(codes) / (len(classes) * counts[which]) - chance) / (1.0 - chance)


# ---- presence ------------------------------------------------------------------------------------


def judge_presence(
    before: Mapping[Subset, int], after: Mapping[Subset, int], names: Sequence[str]
) -> Iterator[Finding]:
    """Patterns of presence that are more or less frequent than in training.

    A G test of the two lists of counts, patterns of which few rows are expected pooled into one, and the
    total variation distance of the shares as the effect: what part of the rows would have to change theirs.

    Args:
        before: pattern -> training rows; {} where it is not known.
        after: pattern -> rows here.
        names: the modalities, in schema order.
    """
    if min(sum(before.values()), sum(after.values())) < MIN_ROWS:
        return
    table = _pooled(before, after)
    p, effect = g_test(table), _distance(table)
    if p > P_VALUE or effect < SHIFT:
        return
    name, was, now = max(_shares(before, after, names), key=lambda share: abs(share[1] - share[2]))
    new = sum(n for subset, n in after.items() if subset not in before) / sum(after.values())
    yield Finding(
        "alarm" if effect > LARGE_SHIFT else "warning",
        "presence",
        f"other modalities are missing than in training: {effect:.0%} of the rows would have to change their "
        f"pattern of presence; most has changed {name!r}, there in {now:.0%} of the rows and in {was:.0%} "
        f"before"
        + (f"; {new:.0%} have a pattern that training had not" if new > 0.01 else "")
        + "; read the figures of the combinations that occur here, and calibrate on rows like these",
        {"distance": effect, "p_value": p, "new_patterns": new},
    )


def g_test(counts: np.ndarray) -> float:
    """The p-value of a G test (likelihood ratio) that both rows of (2, P) counts have equal frequencies."""
    if counts.shape[1] < 2:
        return 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    g = 2.0 * float((xlogy(counts, counts) - xlogy(counts, expected)).sum())
    return float(chi2.sf(g, counts.shape[1] - 1))


def _pooled(before: Mapping[Subset, int], after: Mapping[Subset, int]) -> np.ndarray:
    """(2, P) counts of the patterns of which enough rows are expected on both sides, and of all others."""
    patterns = list(dict.fromkeys([*before, *after]))
    counts = np.array([[side.get(subset, 0) for subset in patterns] for side in (before, after)], dtype=float)
    smaller = counts.sum(axis=1).min() / counts.sum()
    rare = counts.sum(axis=0) * smaller < MIN_EXPECTED
    if rare.any() and counts[:, rare].sum() * smaller < MIN_EXPECTED and not rare.all():
        rare |= counts.sum(axis=0) == counts.sum(axis=0)[~rare].min()  # too few even together
    pooled = counts[:, rare].sum(axis=1, keepdims=True)
    return np.concatenate([counts[:, ~rare], pooled], axis=1) if rare.any() else counts


def _distance(counts: np.ndarray) -> float:
    """Total variation between the frequencies of two rows of counts: 0 alike, 1 nothing in common."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _shares(
    before: Mapping[Subset, int], after: Mapping[Subset, int], names: Sequence[str]
) -> Iterator[tuple[str, float, float]]:
    """(modality, share of rows that have it before, after)."""
    for name in names:
        was, now = (
            sum(n for subset, n in side.items() if name in subset) / sum(side.values())
            for side in (before, after)
        )
        yield name, was, now
