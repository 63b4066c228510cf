"""The shell that all floors share: reads rows as the estimators do, predicts, saves.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from polymodal.batch import TaskKind
from polymodal.data import door
from polymodal.data.labels import Labels, read_classes, read_label_sets, read_values
from polymodal.data.preprocessing import Preprocessor
from polymodal.data.unreadable import said_once
from polymodal.encoders import keeping
from polymodal.encoders.table import Encoders
from polymodal.errors import CheckpointError, ConfigError, PresenceWarning
from polymodal.methods.floors.linear import Linear
from polymodal.methods.floors.views import Scaling, Views, to_matrices
from polymodal.schema import RAW, Modality, from_json, to_json


class Floor(BaseEstimator):
    """Base of all floors: reads rows as the estimators do, hands matrices to one of scikit-learn's models.

    Args:
        modalities: name -> a kind of :mod:`polymodal.schema`; None infers them from X.
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

    @said_once()
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
            from polymodal.methods.floors import (
                floors_for,  # knows every floor, and each is made of this class
            )

            raise ConfigError(
                f"a floor must suit the task; {type(self).__name__} is not made for {labels.kind}"
                f"{self._refusal}; choose from {', '.join(floors_for(labels.kind))}"
            )
        self.kind_ = labels.kind
        self.modalities_ = schema
        self.classes_ = labels.classes
        self.encoders_ = Encoders()
        table = self.encoders_.fit_transform(table)
        self.preprocessor_ = Preprocessor().fit(table)
        raw = to_matrices(self.preprocessor_.transform(table))
        self.scaling_ = Scaling.fit(raw)
        target = to_target(labels)
        self.prior_ = prior_of(target[labels.labelled], labels.kind)
        with warnings.catch_warnings():
            # classes of one labelled row each: scikit-learn wonders, once a model, whether they are values
            warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
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

    def encoded(self, X: Any) -> Any:
        """X with its texts, images, audio and videos encoded: to be read many times; X itself without any."""
        check_is_fitted(self)
        return self._read(X) if any(isinstance(m, RAW) for m in self.modalities_.values()) else X

    @said_once()
    def _read(self, X: Any) -> door.Table:
        return self.encoders_.transform(door.read(X, self.modalities_))

    def _views(self, X: Any) -> Views:
        check_is_fitted(self)
        table = self._read(X)
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
        preprocessing, more = keeping.state(self.encoders_, self.preprocessor_)
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
        floor.encoders_, floor.preprocessor_ = keeping.from_state(content["preprocessing"], more)
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
