"""scikit-learn estimators over the methods: thin shells that read, train, predict and save.

An estimator stores its settings in ``__init__``, judges them in ``fit``, and marks what it learnt with a
trailing underscore. Everything it does is done by another room: the data door reads, the method thinks,
the trainer trains, the evaluation counts.

Letters: n rows, M modalities, C outputs (classes, labels, or 1 value), d latent width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from polymodal import checkpoint, evaluation, methods, prediction, training
from polymodal.batch import Batch, Task
from polymodal.data import door, splits
from polymodal.data.labels import Labels, read_classes, read_label_sets, read_values
from polymodal.data.preprocessing import Inputs, Preprocessor
from polymodal.errors import CheckpointError, ConfigError, LabelError, PresenceWarning
from polymodal.methods.base import Method
from polymodal.methods.floors import FLOORS, Floor
from polymodal.schema import Modality, from_json, to_json

FLOORS_BESIDE = ("majority", "late_fusion")
"""Floors that every estimator learns beside its method, for its subset report."""
MAX_FLOOR_ROWS = 10_000
"""Labelled rows that these floors learn from, at most: they must not cost more than the method."""
ROWS_PER_CHUNK = 8192
"""Rows read, prepared and predicted at a time: bounds the memory of prediction, whatever the input's size."""


_FLOOR = "floor/"  # tensors of the floors, in a saved model


# ---- from arrays to tensors ------------------------------------------------------------------------


def to_batch(inputs: Inputs, labels: Labels | None = None) -> Batch:
    """Prepared arrays as one batch on the CPU, sharing their memory.

    Args:
        inputs: prepared modalities of n rows.
        labels: their labels, or None at prediction.
    """
    y = labelled = None
    if labels is not None:
        values = labels.values if labels.kind == "multiclass" else labels.values.astype(np.float32)
        y, labelled = torch.from_numpy(values), torch.from_numpy(labels.labelled)
    return Batch(
        values={name: torch.from_numpy(value) for name, value in inputs.values.items()},
        presence=torch.from_numpy(inputs.presence),
        lengths={name: torch.from_numpy(value) for name, value in inputs.lengths.items()},
        y=y,
        labelled=labelled,
    )


@dataclass(frozen=True)
class Predictions:
    """What a model says of n rows.

    Attributes:
        values: (n, C) probabilities or values; the training prior where a row has no modality.
        branches: (n, M, C), NaN where absent; None where not asked for, and for methods without branches.
        presence: (n, M) bool.
    """

    values: np.ndarray
    branches: np.ndarray | None
    presence: np.ndarray


# ---- the shell that all estimators share -------------------------------------------------------------


class _MethodEstimator(TransformerMixin, BaseEstimator):
    """Reading, training, predicting, evaluating and saving, for any registered method."""

    _training_settings: ClassVar[tuple[str, ...]] = tuple(f.name for f in fields(training.TrainingConfig))

    # The parameters that every estimator has; each class spells them out in its own constructor.
    modalities: Mapping[str, Modality] | None
    validation_fraction: float
    floors: bool
    device: str
    random_state: Any
    verbose: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the shared space is float32, whatever came
        return tags

    # ---- what a subclass says ----

    def _method_name(self) -> str:
        raise NotImplementedError

    def _method_settings(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _read_labels(self, y: Any, n: int) -> Labels:
        raise NotImplementedError

    # ---- learning ----

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        groups: Any = None,
        y_monitor: Any = None,
        resume: bool = False,
    ) -> Self:
        """Learn from labelled and unlabelled rows, whatever modalities each has.

        Args:
            X: n rows: a DataFrame, a mapping of arrays by modality, or a 2-D array.
            y: n labels; an unlabelled row has None, NaN or the estimator's ``missing_label``.
            validation: rows (X, y) for early stopping; without it, a part of the labelled rows.
            groups: n group names (subjects, users); a group is never on both sides of the validation split.
            y_monitor: n true labels for diagnostics alone (pseudo-label accuracy in ``history_``);
                training does not read them, and its result is the same bit for bit.
            resume: go on from the newest sound checkpoint in ``checkpoint_dir``, if there is one.

        Returns:
            The estimator itself.

        Raises:
            DataError: X or y breaks a rule of the data door.
            ConfigError: a setting is unknown or out of range.
        """
        settings = self._judged_settings()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        schema = door.bind(X, self.modalities)
        table = door.read(X, schema, fitting=True)
        labels = self._read_labels(y, table.n_rows)
        preprocessor = Preprocessor().fit(table)
        inputs = preprocessor.transform(table)
        monitor = None if y_monitor is None else self._monitor(y_monitor, labels)

        held_out, rule = self._validation_rows(labels, seed, groups, given=validation is not None)
        train_rows = np.setdiff1d(np.arange(table.n_rows), _with_their_groups(held_out, groups))
        everything = to_batch(inputs, labels)
        if validation is not None:
            held = self._validation_batch(validation, schema, preprocessor, labels)
        else:
            held = everything.rows(torch.from_numpy(held_out)) if len(held_out) else None

        device = training.choose_device(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = self._new_method(preprocessor, labels)
        self.history_ = training.fit(
            method,
            everything if len(train_rows) == table.n_rows else everything.rows(torch.from_numpy(train_rows)),
            held,
            settings,
            seed=seed,
            device=str(device),
            resume=resume,
            monitor=None if monitor is None else monitor[torch.from_numpy(train_rows)],
            verbose=self.verbose,
        )
        method.drop_training_parts()
        self.stopping_rule_ = rule
        self._keep(method, preprocessor, schema, labels, X)
        self.floors_ = self._fit_floors(X, labels, seed) if self.floors else {}
        return self

    def _fit_floors(self, X: Any, labels: Labels, seed: int) -> dict[str, Floor]:
        """The floors of the subset report, on the same labelled rows."""
        rows = np.flatnonzero(labels.labelled)
        if len(rows) > MAX_FLOOR_ROWS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_FLOOR_ROWS, replace=False))
        X, y = door.take(X, rows), labels.values[rows]
        if labels.kind == "multiclass":
            y = labels.classes[y]
        task: Any = "regression" if labels.kind == "regression" else "classification"
        missing_label = getattr(self, "missing_label", None)
        floors = {
            name: FLOORS[name](self.modalities_, task=task, missing_label=missing_label, random_state=seed)
            for name in FLOORS_BESIDE
        }
        return {name: floor.fit(X, y) for name, floor in floors.items()}

    def _judged_settings(self) -> training.TrainingConfig:
        if not (isinstance(self.validation_fraction, int | float) and 0 <= self.validation_fraction < 1):
            raise ConfigError(
                f"validation_fraction is a share in [0, 1); got {self.validation_fraction!r}; "
                "0 trains for a fixed number of epochs"
            )
        params = self.get_params(deep=False)
        return training.TrainingConfig(**{k: params[k] for k in self._training_settings if k in params})

    def _validation_rows(
        self, labels: Labels, seed: int, groups: Any, *, given: bool
    ) -> tuple[np.ndarray, str]:
        """Rows held out for early stopping, and the rule that chose them, in words."""
        none = np.empty(0, dtype=np.int64)
        if given:
            return none, "early stopping on the validation rows given to fit"
        if self.validation_fraction == 0:
            return none, "fixed epochs: validation_fraction is 0"
        known = labels.values
        if labels.kind == "multiclass":  # the rule names classes as the caller does
            known = labels.classes[np.where(labels.labelled, labels.values, 0)]
        return splits.validation_rows(
            known,
            labels.labelled,
            self.validation_fraction,
            seed,
            kind=labels.kind,
            groups=None if groups is None else np.asarray(groups),
        )

    def _validation_batch(
        self,
        validation: tuple[Any, Any],
        schema: dict[str, Modality],
        preprocessor: Preprocessor,
        labels: Labels,
    ) -> Batch:
        X, y = validation
        table = door.read(X, schema)
        return to_batch(preprocessor.transform(table), self._labels_like(y, table.n_rows, labels))

    def _labels_like(self, y: Any, n: int, fitted: Labels) -> Labels:
        """Labels of other rows, coded with the classes of the fitted ones."""
        if fitted.kind == "regression":
            return read_values(y, n)
        return self._read_classes_like(y, n, fitted)

    def _read_classes_like(self, y: Any, n: int, fitted: Labels) -> Labels:
        raise NotImplementedError

    def _monitor(self, y_monitor: Any, labels: Labels) -> torch.Tensor:
        monitored = self._labels_like(y_monitor, len(labels.labelled), labels)
        if not monitored.labelled.all():
            row = int(np.flatnonzero(~monitored.labelled)[0])
            raise LabelError(f"y_monitor holds a true label for each row; row {row} has none; leave y_monitor out")
        return torch.from_numpy(monitored.values)

    def _new_method(self, preprocessor: Preprocessor, labels: Labels) -> Method:
        cls = methods.get(self._method_name())
        n_outputs = {"multiclass": lambda: len(labels.classes), "regression": lambda: 1}.get(
            labels.kind, lambda: labels.values.shape[1]
        )()
        return cls(
            preprocessor.inputs,
            Task(labels.kind, n_outputs),
            methods.configure(cls, self._method_settings()),
        )

    def _keep(
        self, method: Method, preprocessor: Preprocessor, schema: dict[str, Modality], labels: Labels, X: Any
    ) -> None:
        self.method_ = method
        self.preprocessor_ = preprocessor
        self.modalities_ = schema
        self.prior_ = method.prior.detach().cpu().numpy().astype(np.float64)
        self.n_iter_ = len(self.history_)
        self.labelled_fraction_ = round(float(labels.labelled.mean()), 4)
        if labels.kind != "regression":
            self.classes_ = labels.classes
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        if not isinstance(X, Mapping):
            self.n_features_in_ = np.asarray(X).shape[1]

    # ---- predicting ----

    @property
    def late_fusion(self) -> bool:
        """True where a subset's prediction is the mean of its branches' predictions."""
        return methods.get(self._method_name()).late_fusion

    def _inputs_in_chunks(self, X: Any) -> Iterator[Inputs]:
        n = door.n_rows(X)
        for start in range(0, max(n, 1), ROWS_PER_CHUNK):
            rows = X if n <= ROWS_PER_CHUNK else door.take(X, slice(start, start + ROWS_PER_CHUNK))
            yield self.preprocessor_.transform(door.read(rows, self.modalities_, first_row=start))

    def _predictions(self, X: Any, *, warn: bool = True, branches: bool = False) -> Predictions:
        """All chunks together; branch predictions, M times as large, only where they are wanted."""
        check_is_fitted(self)
        device = next(self.method_.parameters()).device
        values, parts, presence = [], [], []
        for inputs in self._inputs_in_chunks(X):
            value, part = prediction.predict(self.method_, to_batch(inputs), device=device)
            values.append(value)
            parts.append(part if branches else None)
            presence.append(inputs.presence)
        result = Predictions(_joined(values), None if parts[0] is None else _joined(parts), _joined(presence))
        if warn and (empty := int((~result.presence.any(axis=1)).sum())):
            warnings.warn(
                f"{empty} of {len(result.presence)} rows have no modality at all: "
                "their prediction is the training prior",
                PresenceWarning,
                stacklevel=3,
            )
        return result

    def prediction(self, X: Any) -> np.ndarray:
        """(n, C) probabilities or values, as evaluation reads them; no warning about empty rows."""
        return self._predictions(X, warn=False).values

    def branch_predictions(self, X: Any) -> dict[str, np.ndarray]:
        """Each modality's own prediction.

        Returns:
            ``{modality: (n, C)}``, rows of NaN where the modality is absent.

        Raises:
            ConfigError: the method has no branches.
        """
        found = self._predictions(X, warn=False, branches=True).branches
        if found is None:
            raise ConfigError(
                f"branch predictions need a method with one branch a modality; {self._method_name()} has none; "
                "predict on a subset of the modalities instead"
            )
        return {name: found[:, m] for m, name in enumerate(self.modalities_)}

    def transform(self, X: Any) -> np.ndarray:
        """The shared space of Robult (the method's ``latents["shared"]``).

        Returns:
            (n, d); rows of NaN where a row has no modality at all.
        """
        check_is_fitted(self)
        device = next(self.method_.parameters()).device
        chunks = self._inputs_in_chunks(X)
        return _joined([prediction.transform(self.method_, to_batch(rows), device=device) for rows in chunks])

    # ---- evaluating ----

    def subset_report(
        self, X: Any, y: Any, *, metrics: Sequence[str] | None = None, dataset: str = "", seed: int = 0
    ) -> pd.DataFrame:
        """Every combination of modalities x metric, beside simple floors, as a tidy table.

        The floors (class shares or mean; mean of the present modalities' linear models) learnt from the
        same labelled rows as the method, from at most ``MAX_FLOOR_ROWS`` of them.

        Args:
            X: n rows, as for ``predict``.
            y: n labels; unlabelled rows are left out.
            metrics: names of metrics; None takes the task's usual ones.
            dataset: name of the data for the table.
            seed: seed of the sampled subsets (above 8 modalities), kept in the table.

        Returns:
            Columns dataset, method, seed, labels, subset, metric, value.
        """
        check_is_fitted(self)
        models = {self._method_name(): self, **self.floors_}
        tables = [
            subset_table(
                model,
                X,
                y,
                metrics=metrics,
                dataset=dataset,
                method=name,
                seed=seed,
                labels=self.labelled_fraction_,
            )
            for name, model in models.items()
        ]
        return pd.concat(tables, ignore_index=True)

    def _evaluation_labels(self, y: Any, n: int) -> Labels:
        raise NotImplementedError

    # ---- keeping ----

    def save(self, path: str | Path) -> None:
        """Write a model directory: safetensors and JSON, no pickle, whole or not at all.

        Raises:
            CheckpointError: ``path`` holds something that is not a model directory.
        """
        check_is_fitted(self)
        preprocessing, arrays = self.preprocessor_.state()
        config = {
            "estimator": type(self).__name__,
            "params": self._json_params(),
            "method": self._method_name(),
            "method_config": asdict(self.method_.config),
            "task": asdict(self.method_.task),
            "modalities": to_json(self.modalities_),
            "classes": _classes_to_json(getattr(self, "classes_", None)),
            "n_features_in": getattr(self, "n_features_in_", None),
            "feature_names_in": [str(name) for name in getattr(self, "feature_names_in_", [])] or None,
            "stopping_rule": self.stopping_rule_,
            "labelled_fraction": self.labelled_fraction_,
            "history": _json_history(self.history_),
            "floors": {},
        }
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.method_.state_dict().items()}
        for name, floor in self.floors_.items():
            config["floors"][name], learnt = floor.state()
            tensors |= {f"{_FLOOR}{name}/{key}": torch.from_numpy(np.asarray(a)) for key, a in learnt.items()}
        checkpoint.save_directory(
            path, tensors=tensors, config=config, preprocessing=preprocessing, preprocessing_arrays=arrays
        )

    def _json_params(self) -> dict[str, Any]:
        """Constructor parameters as JSON: modalities as bound, a random state that is no number as None."""
        params = self.get_params(deep=False)
        if params["modalities"] is not None:
            params["modalities"] = to_json(self.modalities_)
        if not isinstance(params["random_state"], int | None):
            params["random_state"] = None
        for name in {"loss_weights", "settings"} & set(params):
            params[name] = None if params[name] is None else dict(params[name])
        for name in ("checkpoint_dir", "log_dir"):
            params[name] = None if params[name] is None else str(params[name])
        return params

    def _restore(self, saved: checkpoint.Saved, device: str) -> Self:
        config = saved.config
        cls = methods.get(config["method"])
        preprocessor = Preprocessor.from_state(saved.preprocessing, saved.preprocessing_arrays)
        method = cls(preprocessor.inputs, Task(**config["task"]), methods.configure(cls, config["method_config"]))
        method.drop_training_parts()
        try:
            method.load_state_dict({k: v for k, v in saved.tensors.items() if not k.startswith(_FLOOR)})
        except RuntimeError as error:
            raise CheckpointError(
                f"a saved model fits the method that wrote it; {config['method']!r} of this version has other "
                f"parts ({str(error).splitlines()[-1].strip()}); load it with the version that wrote it"
            ) from error
        self.method_ = method.to(training.choose_device(device)).eval()
        self.preprocessor_ = preprocessor
        self.modalities_ = from_json(config["modalities"])
        self.prior_ = method.prior.detach().cpu().numpy().astype(np.float64)
        self.floors_ = {name: _floor_of(saved, name) for name in FLOORS_BESIDE if name in config["floors"]}
        self.history_ = config["history"]
        self.n_iter_ = len(self.history_)
        self.stopping_rule_ = config["stopping_rule"]
        self.labelled_fraction_ = config["labelled_fraction"]
        if config["classes"] is not None:
            self.classes_ = _classes_from_json(config["classes"])
        if config["n_features_in"] is not None:
            self.n_features_in_ = config["n_features_in"]
        if config["feature_names_in"] is not None:
            self.feature_names_in_ = np.asarray(config["feature_names_in"], dtype=object)
        return self


# ---- classifiers and regressors ----------------------------------------------------------------------


class MethodClassifier(ClassifierMixin, _MethodEstimator):
    """Any registered method as a classifier: multi-class, or multi-label when y is 2-D.

    Args:
        method: name of the method (``polymodal options`` lists them).
        modalities: name -> :class:`~polymodal.schema.Vector`, ``Tabular`` or ``Series``; None infers them
            from a mapping, or takes a 2-D array as one modality.
        settings: the method's own settings by name (``polymodal options METHOD`` explains each).
        max_epochs: epochs over all stages.
        batch_size: rows a step.
        labelled_share: least share of labelled rows in a batch.
        validation_fraction: share of the labelled rows held out for early stopping; 0 for fixed epochs.
        patience: epochs without a better validation loss before training stops.
        precision: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        checkpoint_dir: folder for a checkpoint each epoch; None for none.
        log_dir: folder for ``history.jsonl``; None for none.
        floors: also learn the simple floors that ``subset_report`` shows beside the method.
        missing_label: the integer label of an unlabelled row; None: there is no such label.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        random_state: seed; the same seed gives the same weights.
        verbose: show progress.

    Attributes:
        classes_: (C,) class labels (multi-label: column numbers).
        modalities_: the modalities with their columns.
        history_: one dict an epoch; ``stopping_rule_`` says how its length was decided.
        labelled_fraction_: share of the training rows that had a label.
        method_: the trained module.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        method: str = "robult",
        modalities: Mapping[str, Modality] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        floors: bool = True,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.modalities = modalities
        self.settings = settings
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.floors = floors
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return self.method

    def _method_settings(self) -> Mapping[str, Any]:
        return self.settings or {}

    def _read_labels(self, y: Any, n: int) -> Labels:
        if is_label_sets(y):
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label)

    def _read_classes_like(self, y: Any, n: int, fitted: Labels) -> Labels:
        if fitted.kind == "multilabel":
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label, classes=fitted.classes)

    def _evaluation_labels(self, y: Any, n: int) -> Labels:
        if self.method_.task.kind == "multilabel":
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label, classes=self.classes_)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities from whatever each row has.

        Returns:
            (n, C); rows sum to 1 (multi-label: each entry is a probability of its own).
        """
        return self._predictions(X).values.astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row, (n,); multi-label: (n, C) of 0 and 1 at threshold 1/2."""
        probabilities = self._predictions(X).values
        if self.method_.task.kind == "multilabel":
            return (probabilities > 0.5).astype(np.int64)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the labelled rows (multi-label: share of rows with every label right)."""
        check_is_fitted(self)
        n = door.n_rows(X)
        if self.method_.task.kind == "multilabel":
            labels = read_label_sets(y, n, self.missing_label)
            rows = labels.labelled & ~np.isnan(labels.values).any(axis=1)
            truth, guess = labels.values[rows].astype(np.int64), self.predict(X)[rows]
        else:
            labels = read_classes(y, n, self.missing_label)
            rows = labels.labelled
            truth, guess = labels.classes[labels.values[rows]], self.predict(X)[rows]
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(accuracy_score(truth, guess, sample_weight=weight))


class MethodRegressor(RegressorMixin, _MethodEstimator):
    """Any registered method as a regressor; an unlabelled row has NaN.

    Arguments and attributes are those of :class:`MethodClassifier`, less ``missing_label`` and ``classes_``.
    """

    def __init__(
        self,
        method: str = "robult",
        modalities: Mapping[str, Modality] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        floors: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.modalities = modalities
        self.settings = settings
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.floors = floors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return self.method

    def _method_settings(self) -> Mapping[str, Any]:
        return self.settings or {}

    def _read_labels(self, y: Any, n: int) -> Labels:
        return read_values(y, n)

    def _evaluation_labels(self, y: Any, n: int) -> Labels:
        return read_values(y, n)

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,), in the units of y, from whatever each row has."""
        return self._predictions(X).values[:, 0].astype(np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 over the labelled rows."""
        check_is_fitted(self)
        labels = read_values(y, door.n_rows(X))
        rows = labels.labelled
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(r2_score(labels.values[rows], self.predict(X)[rows], sample_weight=weight))


class RobultClassifier(MethodClassifier):
    """Robult (arXiv 2509.03477) as a classifier: multi-class, or multi-label when y is 2-D.

    One branch a modality and one shared classifier; learns from unlabelled rows and rows that lack
    modalities; a prediction is the mean of the present branches' probabilities.

    Args:
        modalities: as for :class:`MethodClassifier`.
        preset: ``"default"``, or ``"mosi"`` for aligned text, audio and video of 50 steps.
        d_latent: width of the latent space; None takes the preset's.
        d_unique: width of the unique part of a modality; 0 for none; None takes the preset's.
        temperature: of the contrast.
        weighting: how pseudo-labelled pairs are weighted in the contrast.
        loss_weights: weight of each loss term by name; a missing name weighs 1.
        ramp: share of the epochs over which the unlabelled contrast is faded in.
        sequence: the branch of a ``Series``: ``"gru"`` or ``"transformer"``.
        dropout: in the branches.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        max_epochs: this and all further ones as for :class:`MethodClassifier`.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        preset: str = "default",
        d_latent: int | None = None,
        d_unique: int | None = None,
        temperature: float = 0.3,
        weighting: str = "rbf",
        loss_weights: Mapping[str, float] | None = None,
        ramp: float = 0.2,
        sequence: str = "gru",
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        floors: bool = True,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.preset = preset
        self.d_latent = d_latent
        self.d_unique = d_unique
        self.temperature = temperature
        self.weighting = weighting
        self.loss_weights = loss_weights
        self.ramp = ramp
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.floors = floors
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "robult"

    def _method_settings(self) -> Mapping[str, Any]:
        return _settings_of(self, methods.get("robult").Config)


class RobultRegressor(MethodRegressor):
    """Robult (arXiv 2509.03477) as a regressor; an unlabelled row has NaN.

    The contrast's classes are bins of y. Arguments are those of :class:`RobultClassifier`, less
    ``missing_label``.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        preset: str = "default",
        d_latent: int | None = None,
        d_unique: int | None = None,
        temperature: float = 0.3,
        weighting: str = "rbf",
        loss_weights: Mapping[str, float] | None = None,
        ramp: float = 0.2,
        sequence: str = "gru",
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        floors: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.preset = preset
        self.d_latent = d_latent
        self.d_unique = d_unique
        self.temperature = temperature
        self.weighting = weighting
        self.loss_weights = loss_weights
        self.ramp = ramp
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.floors = floors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "robult"

    def _method_settings(self) -> Mapping[str, Any]:
        return _settings_of(self, methods.get("robult").Config)


# ---- what is done with a fitted model -------------------------------------------------------------------


def load(path: str | Path, *, device: str = "auto") -> MethodClassifier | MethodRegressor:
    """The fitted estimator of a model directory.

    Args:
        path: what :meth:`save` wrote.
        device: where its module goes: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises:
        CheckpointError: the directory is damaged, of an unknown format, or not a model directory.
    """
    saved = checkpoint.load_directory(path)
    known = {
        cls.__name__: cls for cls in (MethodClassifier, MethodRegressor, RobultClassifier, RobultRegressor)
    }
    name = saved.config.get("estimator")
    if name not in known:
        raise CheckpointError(
            f"a model directory holds one of {', '.join(known)}; {path} holds {name!r}; "
            "load it with the version of polymodal that wrote it"
        )
    params = dict(saved.config["params"])
    if params["modalities"] is not None:
        params["modalities"] = from_json(params["modalities"])
    return known[name](**params)._restore(saved, device)


def subset_table(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    metrics: Sequence[str] | None = None,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    rates: Sequence[float] = (),
) -> pd.DataFrame:
    """Every combination of modalities x metric for a fitted estimator or floor, as a tidy table.

    A late-fusion method runs each branch once, whatever the number of combinations; another one runs once
    a combination, on inputs that lack all other modalities.

    Args:
        estimator: a fitted estimator of this module or floor of :mod:`polymodal.methods.floors`.
        X: n rows.
        y: n labels; unlabelled rows are left out.
        metrics: names of metrics; None takes the task's usual ones.
        dataset: for the table's column of this name, like the next three.
        method: name of the method.
        seed: seed of the sampled subsets above 8 modalities.
        labels: share of the training labels that the estimator saw.
        rates: missing rates at which the rows are evaluated too, as ``subset`` ``"rate=0.3"``; the masks
            depend on ``seed`` alone.
    """
    truth = estimator._evaluation_labels(y, door.n_rows(X))
    rows = np.flatnonzero(truth.labelled)
    X = X if len(rows) == len(truth.labelled) else door.take(X, rows)
    schema = estimator.modalities_
    predict: Callable[[tuple[str, ...]], np.ndarray]
    if estimator.late_fusion:
        predict = evaluation.late_fusion(estimator.branch_predictions(X), estimator.prior_)
    else:
        predict = cache(lambda names: estimator.prediction(door.restrict(X, schema, names)))
    rows_seen = (predict, door.read(X, schema).presence, tuple(schema), truth.values[rows], truth.kind)
    run: dict[str, Any] = {"dataset": dataset, "method": method, "seed": seed, "labels": labels}
    report = evaluation.subset_report(*rows_seen, metrics=metrics, **run)
    if not rates:
        return report
    curve = evaluation.missing_rate_curve(*rows_seen, metrics=metrics, rates=rates, mask_seed=seed, **run)
    return pd.concat([report, curve], ignore_index=True)


# ---- small conversions ---------------------------------------------------------------------------------


def is_label_sets(y: Any) -> bool:
    """True for a 2-D y of more than one column: labels that do not exclude each other."""
    shape = y.shape if hasattr(y, "shape") else np.asarray(y, dtype=object).shape
    return len(shape) == 2 and shape[1] > 1


def _with_their_groups(rows: np.ndarray, groups: Any) -> np.ndarray:
    """The rows and all others of their groups, unlabelled ones too."""
    if groups is None or len(rows) == 0:
        return rows
    groups = np.asarray(groups)
    return np.flatnonzero(np.isin(groups, groups[rows]))


def _settings_of(estimator: BaseEstimator, config: type) -> dict[str, Any]:
    """An estimator's parameters that are fields of a method's Config; None leaves the default."""
    values = {field.name: getattr(estimator, field.name) for field in fields(config) if hasattr(estimator, field.name)}
    return {name: value for name, value in values.items() if value is not None}


def _joined(chunks: list[Any]) -> np.ndarray:
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _json_history(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """History with non-finite floats as None: JSON has no word for them."""
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in epoch.items()}
        for epoch in history
    ]


def _floor_of(saved: checkpoint.Saved, name: str) -> Floor:
    prefix = f"{_FLOOR}{name}/"
    arrays = {k.removeprefix(prefix): v.numpy() for k, v in saved.tensors.items() if k.startswith(prefix)}
    return FLOORS[name].from_state(saved.config["floors"][name], arrays)


def _classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    if classes is None:
        return None
    kind = "str" if classes.dtype.kind in "OUS" else classes.dtype.str
    return {"dtype": kind, "values": [str(c) if kind == "str" else c.item() for c in classes]}


def _classes_from_json(saved: dict[str, Any]) -> np.ndarray:
    if saved["dtype"] == "str":
        return np.asarray(saved["values"], dtype=object)
    return np.asarray(saved["values"], dtype=np.dtype(saved["dtype"]))
