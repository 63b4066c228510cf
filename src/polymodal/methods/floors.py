"""Floors: scikit-learn's own models behind the estimator interface, to stand beside every figure.

    majority             class shares of the labelled rows, or their mean: reads no input
    best_single          the one modality that cross-validates best; the next best where it is absent
    late_fusion          mean of the present modalities' linear models
    imputation_concat    one linear model on all modalities side by side, means for the absent ones
    dropout_concat       the same with presence indicators, trained on copies of rows that lost modalities
    self_training        late fusion, whose confident predictions are labels for three further generations
    soft_self_training   the same with all predictions, sharpened and aligned to the class shares
    gradient_boosting    boosted trees on all modalities side by side, NaN for the absent ones
    random_forest        a forest on the same

A linear model is scikit-learn's ``LogisticRegression`` (one a label for multi-label) or ``RidgeCV`` on the
data door's standardised columns; a sequence becomes its columns' mean, standard deviation, minimum, maximum
and last value, and its length. Only the numbers that a linear model learnt are kept.

Read from the top: what a floor sees; a linear model; the shell that all floors share; the floors.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.special import expit, logsumexp
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from polymodal.batch import TaskKind
from polymodal.data import door
from polymodal.data.labels import Labels, read_classes, read_label_sets, read_values
from polymodal.data.preprocessing import Inputs, Preprocessor
from polymodal.errors import CheckpointError, ConfigError, PresenceWarning
from polymodal.schema import Modality, from_json, to_json

ALPHAS = tuple(10.0 ** np.arange(-1.0, 4.5, 0.5))
"""Ridge penalties from which leave-one-out error chooses."""


# ---- what a floor sees ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Views:
    """Every modality as one matrix.

    Attributes:
        values: name -> (n, d) float64; rows where it is absent hold zeros.
        presence: (n, M) bool, M in the order of ``values``.
    """

    values: dict[str, np.ndarray]
    presence: np.ndarray

    def rows(self, index: np.ndarray) -> Views:
        """Some rows."""
        return Views({name: value[index] for name, value in self.values.items()}, self.presence[index])

    def side_by_side(self, filling: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """(n, sum of d): all columns, absent ones NaN or the filling (d,) of their modality."""
        filled = [
            np.where(present[:, None], value, np.nan if filling is None else filling[name])
            for (name, value), present in zip(self.values.items(), self.presence.T, strict=True)
        ]
        return np.concatenate(filled, axis=1)


def summarise_series(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Statistics of each sequence: (n, T, d) and (n,) lengths to (n, 5 d + 1).

    Mean, standard deviation, minimum, maximum, last value of each column, and the length; zeros where the
    length is 0.
    """
    n, n_steps, _ = values.shape
    inside = np.arange(n_steps)[None, :] < lengths[:, None]
    mask, count = inside[:, :, None], np.maximum(lengths, 1)[:, None].astype(np.float64)
    values = np.where(mask, values, 0.0).astype(np.float64)
    mean = values.sum(axis=1) / count
    std = np.sqrt(np.where(mask, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / count)
    low = np.where(mask, values, np.inf).min(axis=1, initial=np.inf)
    high = np.where(mask, values, -np.inf).max(axis=1, initial=-np.inf)
    last = values[np.arange(n), np.maximum(lengths, 1) - 1]
    summary = np.concatenate([mean, std, low, high, last, lengths[:, None]], axis=1)
    return np.where((lengths > 0)[:, None], summary, 0.0)


def to_matrices(inputs: Inputs) -> Views:
    """Prepared modalities, sequences summarised."""
    values = {
        name: summarise_series(value, inputs.lengths[name]) if value.ndim == 3 else value.astype(np.float64)
        for name, value in inputs.values.items()
    }
    return Views(values, inputs.presence)


@dataclass(frozen=True)
class Scaling:
    """Columns brought to mean 0 and standard deviation 1 over the present training rows.

    Attributes:
        mean: name -> (d,).
        std: name -> (d,), 1 for a constant column.
    """

    mean: dict[str, np.ndarray]
    std: dict[str, np.ndarray]

    @classmethod
    def fit(cls, views: Views) -> Scaling:
        """Learn from the training rows, labelled or not."""
        mean, std = {}, {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            here = value[present] if present.any() else np.zeros((1, value.shape[1]))
            spread = here.std(axis=0)
            mean[name], std[name] = here.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)
        return cls(mean, std)

    def __call__(self, views: Views) -> Views:
        """Scale; absent rows hold zeros, the mean."""
        scaled = {
            name: np.where(present[:, None], (value - self.mean[name]) / self.std[name], 0.0)
            for (name, value), present in zip(views.values.items(), views.presence.T, strict=True)
        }
        return Views(scaled, views.presence)


# ---- a linear model ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """What a linear model learnt.

    Attributes:
        weight: (d, C).
        bias: (C,); minus infinity for a class that the rows it learnt from do not have.
        kind: softmax, sigmoid or identity on top.
    """

    weight: np.ndarray
    bias: np.ndarray
    kind: TaskKind

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) to (n, C) probabilities or values."""
        scores = x @ self.weight + self.bias
        if self.kind == "multiclass":
            return np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
        return expit(scores) if self.kind == "multilabel" else scores


def fit_linear(
    x: np.ndarray,
    target: np.ndarray,
    kind: TaskKind,
    prior: np.ndarray,
    sources: np.ndarray | None = None,
) -> Linear:
    """Fit scikit-learn's linear model of a task.

    Args:
        x: (n, d).
        target: (n, C) shares of the classes, labels with NaN where masked, or values.
        kind: the task kind.
        prior: (C,) what is predicted where there is nothing to learn from: one class only, or no row.
        sources: (n,) the row that each row is a copy of; copies of a row are never on both sides of a
            cross-validation.
    """
    if kind == "multiclass":
        return _fit_classes(x, target, prior)
    if kind == "regression":
        return _fit_values(x, target, prior, sources)
    labels = [_fit_label(x, target[:, c], prior[c]) for c in range(target.shape[1])]
    return Linear(np.stack([w for w, _ in labels], axis=1), np.array([b for _, b in labels]), kind)


def _fit_classes(x: np.ndarray, target: np.ndarray, prior: np.ndarray) -> Linear:
    # a row with soft targets counts once for each class that holds more than 1 % of it
    rows, codes = np.nonzero(target > 0.01)
    weight = np.zeros((x.shape[1], target.shape[1]))
    found = np.unique(codes)
    if len(found) < 2:
        with np.errstate(divide="ignore"):
            return Linear(weight, np.log(prior), "multiclass")
    model = _logistic(x[rows], codes, target[rows, codes])
    bias = np.full(target.shape[1], -np.inf)
    # two classes share one column of coefficients: the logit of the second, with 0 for the first
    is_binary = len(found) == 2
    weight[:, found] = np.vstack([0 * model.coef_, model.coef_]).T if is_binary else model.coef_.T
    bias[found] = [0.0, model.intercept_[0]] if is_binary else model.intercept_
    return Linear(weight, bias, "multiclass")


def _fit_label(x: np.ndarray, target: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    known = ~np.isnan(target)
    if len(np.unique(target[known])) < 2:
        with np.errstate(divide="ignore"):
            return np.zeros(x.shape[1]), float(np.log(prior) - np.log1p(-prior))
    model = _logistic(x[known], target[known].astype(int), None)
    return model.coef_[0], float(model.intercept_[0])


def _fit_values(x: np.ndarray, target: np.ndarray, prior: np.ndarray, sources: np.ndarray | None) -> Linear:
    n_rows = len(x) if sources is None else len(np.unique(sources))
    if n_rows < 2:
        return Linear(np.zeros((x.shape[1], 1)), prior, "regression")
    # leave-one-out among copies would only measure how well a row is remembered
    folds = None if sources is None else list(GroupKFold(min(5, n_rows)).split(x, groups=sources))
    model = RidgeCV(ALPHAS, cv=folds).fit(x, target[:, 0])
    return Linear(model.coef_[:, None], np.array([model.intercept_]), "regression")


def _logistic(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped after 1,000 steps it is as fair a floor
        return LogisticRegression(max_iter=1000).fit(x, codes, sample_weight=weight)


# ---- the shell -----------------------------------------------------------------------------------


class Floor(BaseEstimator):
    """Base of all floors: reads rows as the estimators do, hands matrices to one of scikit-learn's models.

    Args:
        modalities: name -> ``Vector``, ``Tabular`` or ``Series``; None infers them from X.
        task: ``"classification"`` (multi-label when y is 2-D) or ``"regression"``; None takes floating-point
            y for values and everything else for classes.
        missing_label: the label of an unlabelled row in integer y.
        random_state: of whatever is drawn.

    Attributes:
        kind_: the task kind.
        classes_: the classes, for classification.
        prior_: (C,) what a row without any modality gets: class shares, label shares, or the mean of y.
        modalities_: name -> modality with its columns.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("multiclass", "multilabel", "regression")
    late_fusion: ClassVar[bool] = False
    _refusal: ClassVar[str] = ""

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        task: Literal["classification", "regression"] | None = None,
        missing_label: Any = -1,
        random_state: Any = None,
    ) -> None:
        self.modalities = modalities
        self.task = task
        self.missing_label = missing_label
        self.random_state = random_state

    # ---- what a floor defines ----

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        """Learn from rows of which some have a target (n, C), the others a row of NaN."""
        raise NotImplementedError

    def _predict(self, views: Views) -> np.ndarray:
        """(n, C); rows without any modality are overwritten by the prior."""
        raise NotImplementedError

    def _parts(self) -> dict[str, Linear]:
        """The linear models of a floor, by name."""
        name = type(self).__name__
        raise CheckpointError(
            f"a floor is saved as the arrays of its linear models; {name} is made of trees, which only a "
            "pickle could hold; fit it again where it is needed, or save a linear floor"
        )

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        """Restore what ``_parts`` and ``_extra`` gave."""
        raise NotImplementedError

    def _extra(self) -> dict[str, Any]:
        """What else a floor learnt, for JSON."""
        return {}

    # ---- learning ----

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from the labelled rows; the self-training floors from all.

        Args:
            X: n rows: a DataFrame, a mapping of arrays by modality, or a 2-D array.
            y: n labels; an unlabelled row has None, NaN or ``missing_label``.

        Raises:
            DataError: X or y breaks a rule of the data door.
            ConfigError: the floor is not defined for the task.
        """
        schema = door.bind(X, self.modalities)
        table = door.read(X, schema, fitting=True)
        labels = self._read_labels(y, table.n_rows)
        if labels.kind not in self.kinds:
            raise ConfigError(
                f"a floor must suit the task; {type(self).__name__} is not made for {labels.kind}"
                f"{self._refusal}; choose from {', '.join(floors_for(labels.kind))}"
            )
        self.kind_ = labels.kind
        self.modalities_ = schema
        self.classes_ = labels.classes
        self.preprocessor_ = Preprocessor().fit(table)
        raw = to_matrices(self.preprocessor_.transform(table))
        self.scaling_ = Scaling.fit(raw)
        target = to_target(labels)
        self.prior_ = prior_of(target[labels.labelled], labels.kind)
        self._learn(self.scaling_(raw), target, check_random_state(self.random_state))
        return self

    def _read_labels(self, y: Any, n: int) -> Labels:
        values = np.asarray(y)
        if self.task == "regression" or (self.task is None and values.ndim == 1 and values.dtype.kind == "f"):
            return read_values(y, n)
        if values.ndim == 2 and values.shape[1] > 1:
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label)

    def _evaluation_labels(self, y: Any, n: int) -> Labels:
        if self.kind_ == "regression":
            return read_values(y, n)
        if self.kind_ == "multilabel":
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label, classes=self.classes_)

    # ---- predicting ----

    def _views(self, X: Any) -> Views:
        check_is_fitted(self)
        table = door.read(X, self.modalities_)
        return self.scaling_(to_matrices(self.preprocessor_.transform(table)))

    def prediction(self, X: Any) -> np.ndarray:
        """(n, C): probabilities or values; the training prior for a row without any modality."""
        return self._complete(self._views(X))

    def _complete(self, views: Views) -> np.ndarray:
        some = views.presence.any(axis=1)
        result = np.tile(self.prior_, (len(views.presence), 1))
        if some.any():
            result[some] = self._predict(views.rows(np.flatnonzero(some)))
        return result

    def _warned_prediction(self, X: Any) -> np.ndarray:
        views = self._views(X)
        if empty := int((~views.presence.any(axis=1)).sum()):
            warnings.warn(
                f"{empty} of {len(views.presence)} rows have no modality at all: "
                "their prediction is the training prior",
                PresenceWarning,
                stacklevel=3,
            )
        return self._complete(views)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class or label probabilities (n, C).

        Raises:
            ConfigError: the floor was fitted to a regression.
        """
        check_is_fitted(self)
        if self.kind_ == "regression":
            raise ConfigError("probabilities need classes; this floor was fitted to values; call predict")
        return self._warned_prediction(X)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class (n,), the labels (n, C) of 0 and 1 at threshold 1/2, or the values (n,)."""
        prediction = self._warned_prediction(X)
        if self.kind_ == "regression":
            return prediction[:, 0]
        if self.kind_ == "multilabel":
            return (prediction > 0.5).astype(np.int64)
        assert self.classes_ is not None
        return self.classes_[prediction.argmax(axis=1)]

    def branch_predictions(self, X: Any) -> dict[str, np.ndarray]:
        """Each modality's own prediction, ``{modality: (n, C)}``, rows of NaN where it is absent.

        Raises:
            ConfigError: the floor is no late fusion.
        """
        del X
        raise ConfigError(
            f"branch predictions need one model a modality; {type(self).__name__} has none; "
            "predict on a subset of the modalities instead"
        )

    # ---- keeping ----

    @property
    def n_parameters_(self) -> int | None:
        """Numbers that the linear models learnt; None for trees, which have no coefficients."""
        return sum(part.weight.size + part.bias.size for part in self._parts().values())

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a linear floor learnt, as content for JSON and arrays for safetensors.

        Raises:
            CheckpointError: the floor is made of trees.
        """
        check_is_fitted(self)
        arrays = {"prior": self.prior_}
        for name, part in self._parts().items():
            arrays |= {f"model.{name}.weight": part.weight, f"model.{name}.bias": part.bias}
        for name in self.scaling_.mean:
            arrays |= {f"mean.{name}": self.scaling_.mean[name], f"std.{name}": self.scaling_.std[name]}
        preprocessing, more = self.preprocessor_.state()
        content = {
            "floor": type(self).__name__,
            "kind": self.kind_,
            "missing_label": self.missing_label,
            "classes": None if self.classes_ is None else self.classes_.tolist(),
            "modalities": to_json(self.modalities_),
            "models": list(self._parts()),
            "extra": self._extra(),
            "preprocessing": preprocessing,
        }
        return content, arrays | {f"preprocessing.{name}": array for name, array in more.items()}

    @classmethod
    def from_state(cls, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The fitted floor that :meth:`state` described.

        Raises:
            CheckpointError: the state is that of another floor.
        """
        if content["floor"] != cls.__name__:
            raise CheckpointError(
                f"a floor's state is read by its own class; {content['floor']} came for {cls.__name__}; "
                f"call {content['floor']}.from_state"
            )
        floor = cls(missing_label=content["missing_label"])
        floor.kind_ = content["kind"]
        floor.classes_ = None if content["classes"] is None else np.array(content["classes"])
        floor.modalities_ = from_json(content["modalities"])
        floor.prior_ = arrays["prior"]
        names = list(floor.modalities_)
        floor.scaling_ = Scaling(
            {n: arrays[f"mean.{n}"] for n in names}, {n: arrays[f"std.{n}"] for n in names}
        )
        more = {
            k.removeprefix("preprocessing."): v for k, v in arrays.items() if k.startswith("preprocessing.")
        }
        floor.preprocessor_ = Preprocessor.from_state(content["preprocessing"], more)
        parts = {
            name: Linear(arrays[f"model.{name}.weight"], arrays[f"model.{name}.bias"], floor.kind_)
            for name in content["models"]
        }
        floor._take(parts, content["extra"])
        return floor


def to_target(labels: Labels) -> np.ndarray:
    """Labels as (n, C): one-hot classes, label sets or values; rows of NaN where unlabelled."""
    if labels.classes is not None and labels.kind == "multiclass":
        target = np.eye(len(labels.classes))[np.where(labels.labelled, labels.values, 0)]
    else:
        target = labels.values.astype(np.float64).reshape(len(labels.values), -1)
    return np.where(labels.labelled[:, None], target, np.nan)


def prior_of(target: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(C,): the mean of labelled rows' targets; 1/2 for a label without a known entry."""
    if kind != "multilabel":
        return target.mean(axis=0)
    known = ~np.isnan(target)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, target, 0.0).sum(axis=0) / np.maximum(count, 1), 0.5)


def labelled_rows(target: np.ndarray) -> np.ndarray:
    """(n,) bool: rows of which some entry of the target is known."""
    return ~np.isnan(target).all(axis=1)


# ---- the floors ----------------------------------------------------------------------------------


class Majority(Floor):
    """Class shares, label shares or the mean of the labelled training rows, whatever the input."""

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        pass

    def _predict(self, views: Views) -> np.ndarray:
        return np.tile(self.prior_, (len(views.presence), 1))

    def _parts(self) -> dict[str, Linear]:
        return {}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        pass


class _OnePerModality(Floor):
    """One linear model a modality, trained on the labelled rows that have it.

    A class that these rows lack gets probability 0; a modality whose labelled rows are none, or all of one
    class, predicts the training prior.
    """

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        del random
        self.models_ = self._fit_each(views, target)

    def _fit_each(self, views: Views, target: np.ndarray) -> dict[str, Linear]:
        labelled = labelled_rows(target)
        models = {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            rows = present & labelled
            models[name] = fit_linear(value[rows], target[rows], self.kind_, self.prior_)
        return models

    def _branches(self, views: Views) -> dict[str, np.ndarray]:
        """(n, C) by name, NaN where absent."""
        return {
            name: np.where(present[:, None], self.models_[name](value), np.nan)
            for (name, value), present in zip(views.values.items(), views.presence.T, strict=True)
        }

    def _parts(self) -> dict[str, Linear]:
        return self.models_

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        del extra
        self.models_ = parts


class BestSingle(_OnePerModality):
    """The one modality whose linear model cross-validates best on the labelled training rows.

    Judged by squared error against one-hot labels (the Brier score) or values, relative to that of the
    prior on the same rows, since modalities are present on different rows; 5 folds. A row that lacks the
    best modality gets the best of those it has.

    Attributes:
        ranking_: modality names, best first.
    """

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        super()._learn(views, target, random)
        labelled = labelled_rows(target)
        seed = random.randint(2**31 - 1)
        errors = {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            rows = present & labelled
            errors[name] = self._cross_validated_error(value[rows], target[rows], seed)
        self.ranking_ = sorted(errors, key=lambda name: errors[name])

    def _cross_validated_error(self, x: np.ndarray, target: np.ndarray, seed: int) -> float:
        if len(x) < 2:
            return np.inf
        error = base = 0.0
        for fit, held in KFold(min(5, len(x)), shuffle=True, random_state=seed).split(x):
            model = fit_linear(x[fit], target[fit], self.kind_, self.prior_)
            error += np.nansum((model(x[held]) - target[held]) ** 2)
            base += np.nansum((self.prior_ - target[held]) ** 2)
        return float(error / max(base, 1e-12))

    def _predict(self, views: Views) -> np.ndarray:
        branches = self._branches(views)
        result = np.full_like(branches[self.ranking_[0]], np.nan)
        for name in self.ranking_:
            result = np.where(np.isnan(result), branches[name], result)
        return result

    def _extra(self) -> dict[str, Any]:
        return {"ranking": self.ranking_}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        self.models_, self.ranking_ = parts, list(extra["ranking"])


class LateFusion(_OnePerModality):
    """The mean of the present modalities' linear models."""

    late_fusion: ClassVar[bool] = True

    def _predict(self, views: Views) -> np.ndarray:
        return np.nanmean(list(self._branches(views).values()), axis=0)

    def branch_predictions(self, X: Any) -> dict[str, np.ndarray]:
        """Each modality's own prediction, ``{modality: (n, C)}``, rows of NaN where it is absent."""
        return self._branches(self._views(X))


class SelfTraining(LateFusion):
    """Late fusion whose predictions label the unlabelled rows; each modality's model is fitted again.

    Three generations; a generation's teacher is the fused model before it. A row counts when the teacher
    gives one class at least ``CONFIDENT``; true labels stay what they are.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("multiclass",)
    _refusal: ClassVar[str] = " (its pseudo-labels need one class a row, and how sure the model is of it)"
    N_GENERATIONS: ClassVar[int] = 3
    CONFIDENT: ClassVar[float] = 0.5

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        super()._learn(views, target, random)
        labelled = labelled_rows(target)
        for _ in range(self.N_GENERATIONS):
            taught = self._teach(self._complete(views))
            self.models_ = self._fit_each(views, np.where(labelled[:, None], target, taught))

    def _teach(self, fused: np.ndarray) -> np.ndarray:
        """(n, C) predictions of all training rows to targets, NaN where the teacher is silent."""
        hard = np.eye(fused.shape[1])[fused.argmax(axis=1)]
        return np.where(fused.max(axis=1, keepdims=True) >= self.CONFIDENT, hard, np.nan)


class SoftSelfTraining(SelfTraining):
    """Self-training with soft targets on every row, sharpened and aligned to the labelled class shares.

    Sharpening squares the teacher's probabilities. Alignment multiplies them by prior / their mean and
    normalises, until the targets' mean is the prior: a weak teacher cannot give all rows to one class.
    """

    N_ALIGNMENTS: ClassVar[int] = 20

    def _teach(self, fused: np.ndarray) -> np.ndarray:
        target = fused**2
        for _ in range(self.N_ALIGNMENTS):
            target /= target.sum(axis=1, keepdims=True)
            target *= self.prior_ / np.maximum(target.mean(axis=0), 1e-12)
        return target / target.sum(axis=1, keepdims=True)


class ImputationConcat(Floor):
    """One linear model on all modalities side by side; an absent one is replaced by its training mean."""

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        del random
        rows = np.flatnonzero(labelled_rows(target))
        self.model_ = fit_linear(self._columns(views.rows(rows)), target[rows], self.kind_, self.prior_)

    def _columns(self, views: Views) -> np.ndarray:
        return np.concatenate(list(views.values.values()), axis=1)  # zero is the mean of scaled columns

    def _predict(self, views: Views) -> np.ndarray:
        return self.model_(self._columns(views))

    def _parts(self) -> dict[str, Linear]:
        return {"all": self.model_}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        del extra
        self.model_ = parts["all"]


class DropoutConcat(ImputationConcat):
    """``ImputationConcat`` with presence indicators, trained on rows and on copies that lost modalities."""

    N_COPIES: ClassVar[int] = 6000

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        more, rows = with_dropped_copies(views, target, self.N_COPIES, random)
        self.model_ = fit_linear(self._columns(more), target[rows], self.kind_, self.prior_, rows)

    def _columns(self, views: Views) -> np.ndarray:
        return np.concatenate([super()._columns(views), views.presence], axis=1)


def with_dropped_copies(
    views: Views, target: np.ndarray, n_more: int, random: np.random.RandomState
) -> tuple[Views, np.ndarray]:
    """Labelled rows that have something, and copies of them that keep a random non-empty part of it.

    About ``n_more`` copies in all, but 2 to 30 of each row: few rows need many copies to meet all
    combinations.

    Returns:
        The views of (1 + n_copies) k rows, and the row of ``views`` that each comes from.
    """
    rows = np.flatnonzero(labelled_rows(target) & views.presence.any(axis=1))
    whole = views.presence[rows]
    n_copies = int(np.clip(n_more // max(len(rows), 1), 2, 30))
    kept = [whole]
    for _ in range(n_copies):
        fate = np.where(whole, random.random_sample(whole.shape), -1.0)
        # the number that stays is uniform, so that single modalities are as frequent as pairs
        share = random.random_sample((len(rows), 1))
        kept.append(whole & ((fate > share) | (fate == fate.max(axis=1, keepdims=True))))
    presence = np.concatenate(kept)
    rows = np.tile(rows, 1 + n_copies)
    values = {
        name: np.where(here[:, None], value[rows], 0.0)
        for (name, value), here in zip(views.values.items(), presence.T, strict=True)
    }
    return Views(values, presence), rows


class _Trees(Floor):
    """Trees on all modalities side by side, NaN where absent."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("multiclass", "regression")
    _refusal: ClassVar[str] = " (scikit-learn's trees know no masked labels)"

    @property
    def n_parameters_(self) -> int | None:
        """None: trees have no coefficients to count."""
        return None

    def _new_model(self, seed: int) -> Any:
        raise NotImplementedError

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        rows = np.flatnonzero(labelled_rows(target) & views.presence.any(axis=1))
        x = views.rows(rows).side_by_side()
        y = target[rows].argmax(axis=1) if self.kind_ == "multiclass" else target[rows, 0]
        self.columns_ = np.flatnonzero(~np.isnan(x).all(axis=0))  # boosting cannot bin an empty column
        self.model_ = None  # nothing to tell apart: the prior
        if len(np.unique(y)) > 1:
            self.model_ = self._new_model(random.randint(2**31 - 1)).fit(x[:, self.columns_], y)

    def _predict(self, views: Views) -> np.ndarray:
        result = np.tile(self.prior_, (len(views.presence), 1))
        if self.model_ is None:
            return result
        x = views.side_by_side()[:, self.columns_]
        if self.kind_ == "regression":
            return self.model_.predict(x)[:, None]
        result[:] = 0.0
        result[:, self.model_.classes_] = self.model_.predict_proba(x)
        return result


class GradientBoosting(_Trees):
    """Histogram gradient boosting on rows and on copies that lost modalities, as ``DropoutConcat``.

    100 rounds of trees with at most 15 leaves, no early stopping: with C classes these are 100 C trees, by
    far the slowest of the floors.
    """

    N_COPIES: ClassVar[int] = 1000

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        more, rows = with_dropped_copies(views, target, self.N_COPIES, random)
        super()._learn(more, target[rows], random)

    def _new_model(self, seed: int) -> Any:
        model = (
            HistGradientBoostingRegressor if self.kind_ == "regression" else HistGradientBoostingClassifier
        )
        return model(
            max_iter=100,
            max_leaf_nodes=15,
            max_bins=63,
            max_features=0.1,
            early_stopping=False,
            random_state=seed,
        )


class RandomForest(_Trees):
    """A random forest of 200 trees on the labelled rows as they are."""

    def _new_model(self, seed: int) -> Any:
        model = RandomForestRegressor if self.kind_ == "regression" else RandomForestClassifier
        return model(n_estimators=200, random_state=seed)


FLOORS: dict[str, type[Floor]] = {
    "majority": Majority,
    "best_single": BestSingle,
    "late_fusion": LateFusion,
    "imputation_concat": ImputationConcat,
    "dropout_concat": DropoutConcat,
    "self_training": SelfTraining,
    "soft_self_training": SoftSelfTraining,
    "gradient_boosting": GradientBoosting,
    "random_forest": RandomForest,
}


def floors_for(kind: TaskKind) -> Iterator[str]:
    """Names of the floors that are defined for a task kind."""
    return (name for name, floor in FLOORS.items() if kind in floor.kinds)
