"""What all estimators share: fit, predict, transform, subset_report, save.

Letters: n rows, M modalities, C outputs (classes, labels, or 1 value), d latent width.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from polymodal import methods, prediction, training
from polymodal.batch import Batch, Input, Task, TaskKind
from polymodal.calibration import pattern_counts
from polymodal.data import door, splits
from polymodal.data.labels import Labels
from polymodal.data.preprocessing import Inputs, Preprocessor
from polymodal.data.unreadable import said_once
from polymodal.encoders.table import Encoders
from polymodal.encoders.top import Top
from polymodal.errors import ConfigError, LabelError, PresenceWarning
from polymodal.estimators import saving
from polymodal.estimators.settings import seed_of
from polymodal.estimators.subsets import subset_table
from polymodal.evaluation import Predict, Subset
from polymodal.methods import contract
from polymodal.methods.base import Method
from polymodal.methods.floors import FLOORS, Floor
from polymodal.progress import progress
from polymodal.schema import RAW, Modality

FLOORS_BESIDE = ("majority", "late_fusion")
"""Floors that every estimator learns beside its method, for its subset report."""
MIN_VALIDATION_ROWS = 30
"""With fewer there is no early stopping: it would stop by chance, and miss these rows in training."""
MAX_FLOOR_ROWS = 10_000
"""Labelled rows that these floors learn from, at most: they must not cost more than the method."""
ONLY_THE_LOOP_READS = (*(f.name for f in fields(training.TrainingConfig)), "validation_fraction")
"""Parameters that mean nothing to a method that learns by itself."""
ROWS_PER_CHUNK = 8192
"""Rows read, prepared and predicted at a time: bounds the memory of prediction, whatever the input's size."""


# ---- from arrays to tensors ----


def to_batch(inputs: Inputs, labels: Labels | None = None) -> Batch:
    """Prepared arrays as one batch on the CPU, sharing their memory.

    Args:
        inputs: prepared modalities of n rows.
        labels: their labels, or None at prediction.
    """
    y = labelled = None
    if labels is not None:
        codes = labels.values.dtype == np.int64
        values = labels.values if codes else labels.values.astype(np.float32)
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


# ---- the shells ----


class TrainedEstimator(BaseEstimator):
    """Settings, inputs, latents and saving: what all estimators that train a method share."""

    _training_settings: ClassVar[tuple[str, ...]] = tuple(f.name for f in fields(training.TrainingConfig))

    # The parameters that every estimator has; each class spells them out in its own constructor.
    modalities: Mapping[str, Modality] | None
    validation_fraction: float
    device: str
    random_state: Any
    verbose: bool

    # What fit learns.
    method_: Method
    encoders_: Encoders
    preprocessor_: Preprocessor
    modalities_: dict[str, Modality]
    classes_: np.ndarray | None
    floors_: dict[str, Floor]
    history_: list[dict[str, Any]]
    stopping_rule_: str
    labelled_fraction_: float
    presence_: dict[Subset, int]

    # ---- what a subclass says ----

    def _method_name(self) -> str:
        raise NotImplementedError

    def _method_settings(self) -> Mapping[str, Any]:
        raise NotImplementedError

    # ---- learning ----

    def _judged_settings(self) -> training.TrainingConfig:
        if not (isinstance(self.validation_fraction, int | float) and 0 <= self.validation_fraction < 1):
            raise ConfigError(
                f"validation_fraction is a share in [0, 1); got {self.validation_fraction!r}; "
                "0 trains for a fixed number of epochs"
            )
        params = self.get_params(deep=False)
        return training.TrainingConfig(**{k: params[k] for k in self._training_settings if k in params})

    def _new_method(self, inputs: Sequence[Input], labels: Labels) -> Method:
        cls = methods.get(self._method_name())
        n_outputs = 1 if labels.classes is None else len(labels.classes)
        method = cls(
            inputs,
            Task(labels.kind, n_outputs),
            methods.configure(cls, self._method_settings()),
        )
        _refuse_untrained_tops(method, self._method_name())
        return method

    def _encode(self, table: door.Table) -> tuple[Encoders, door.Table]:
        """The encoders of the training rows, and these rows as numbers."""
        n = sum(int(cells.present.sum()) for cells in table.cells.values() if cells.raw is not None)
        encoders = Encoders()
        with progress("encode", n, verbose=self.verbose and n > 0) as shown:

            def step(n_more: int) -> None:
                for _ in range(n_more):
                    shown.step(lambda: f"{shown.done} of {n} cells")

            return encoders, encoders.fit_transform(table, step)

    def _keep(
        self,
        method: Method,
        encoders: Encoders,
        preprocessor: Preprocessor,
        schema: dict[str, Modality],
        labels: Labels,
        X: Any,
    ) -> None:
        self.method_ = method
        self.encoders_ = encoders
        self.preprocessor_ = preprocessor
        self.modalities_ = schema
        self.prior_ = method.prior.detach().cpu().numpy().astype(np.float64)
        self.n_iter_ = len(self.history_)
        self.labelled_fraction_ = round(float(labels.labelled.mean()), 4)
        self.classes_ = labels.classes
        for name in ("feature_names_in_", "n_features_in_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        if not isinstance(X, Mapping | door.Table):
            self.n_features_in_ = (X if hasattr(X, "shape") else np.asarray(X)).shape[1]

    # ---- what the method makes of rows ----

    def encoded(self, X: Any) -> Any:
        """X with its texts, images, audio and videos encoded: to be read many times; X itself without any."""
        check_is_fitted(self)
        return self._read(X) if any(isinstance(m, RAW) for m in self.modalities_.values()) else X

    def _read(self, X: Any, first_row: int = 0) -> door.Table:
        with said_once():
            return self.encoders_.transform(door.read(X, self.modalities_, first_row=first_row))

    def _inputs_in_chunks(self, X: Any) -> Iterator[Inputs]:
        n = door.n_rows(X)
        if n <= ROWS_PER_CHUNK:
            yield self.preprocessor_.transform(self._read(X))
            return
        starts = range(0, n, ROWS_PER_CHUNK)
        with progress("predict", len(starts), verbose=self.verbose) as shown:
            for start in starts:
                rows = door.take(X, slice(start, start + ROWS_PER_CHUNK))
                yield self.preprocessor_.transform(self._read(rows, start))
                shown.step(lambda start=start: f"{min(start + ROWS_PER_CHUNK, n)} of {n} rows")  # type: ignore[misc]

    def latents(self, X: Any, names: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What the method computes on its way to a prediction.

        Args:
            X: n rows, as for ``predict``.
            names: which of the method's latents; its class docstring lists them.

        Returns:
            name -> (n, ...) float32, and (n, M) bool: which modalities each row has.

        Raises:
            ConfigError: the method has no latent of a name.
        """
        check_is_fitted(self)
        device = next(self.method_.parameters()).device
        chunks, presence = [], []
        with said_once():
            for inputs in self._inputs_in_chunks(X):
                chunks.append(prediction.latents(self.method_, to_batch(inputs), names, device=device))
                presence.append(inputs.presence)
        return {name: _joined([chunk[name] for chunk in chunks]) for name in names}, _joined(presence)

    # ---- keeping ----

    def save(self, path: str | Path) -> None:
        """Write a model directory: safetensors and JSON, no pickle, whole or not at all.

        Raises:
            CheckpointError: ``path`` holds something that is not a model directory.
        """
        check_is_fitted(self)
        saving.write(self, path)


class MethodEstimator(TransformerMixin, TrainedEstimator):
    """Reading, training, predicting, evaluating and saving, for any registered method that predicts."""

    floors: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the shared space is float32, whatever came
        return tags

    # ---- what a subclass says ----

    def _read_labels(self, y: Any, n: int) -> Labels:
        raise NotImplementedError

    def _labels_like(self, y: Any, n: int, kind: TaskKind, classes: np.ndarray | None) -> Labels:
        """Labels of other rows, coded with the classes of the training rows."""
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
        seed = seed_of(self.random_state)
        schema = door.bind(X, self.modalities)
        with said_once():
            table = door.read(X, schema, fitting=True)
            labels = self._read_labels(y, table.n_rows)
            encoders, table = self._encode(table)
        preprocessor = Preprocessor().fit(table)
        inputs = preprocessor.transform(table)
        groups = None if groups is None else splits.group_codes(groups, table.n_rows)
        monitor = None if y_monitor is None else self._monitor(y_monitor, labels)

        held: Batch | None = None
        if methods.get(self._method_name()).learns_alone:
            refuse_what_only_the_loop_reads(self, validation, resume)
            held_out, rule = np.empty(0, dtype=np.int64), ""
        else:
            held_out, rule = self._validation_rows(labels, seed, groups, given=validation is not None)
        train_rows = np.setdiff1d(np.arange(table.n_rows), _with_their_groups(held_out, groups))
        everything = to_batch(inputs, labels)
        if validation is not None:
            held = self._validation_batch(validation, schema, encoders, preprocessor, labels)
        elif len(held_out):
            held = everything.rows(torch.from_numpy(held_out))

        device = training.choose_device(self.device)
        sources = encoders.inputs(preprocessor.inputs, table)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = self._new_method(sources, labels)
            if not method.learns_alone:
                contract.judge(method, everything)
        if method.learns_alone:
            self.history_ = method.learn(
                everything, seed=seed, groups=groups, monitor=monitor, verbose=self.verbose
            )
            rule = self.history_[-1]["rule"]
            method.to(device).eval()
        else:
            whole = len(train_rows) == table.n_rows
            self.history_ = training.fit(
                method,
                everything if whole else everything.rows(torch.from_numpy(train_rows)),
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
        self._keep(method, encoders, preprocessor, schema, labels, X)
        self.presence_ = pattern_counts(table.presence, tuple(schema))
        self.floors_ = self._fit_floors(table, labels, seed) if self.floors else {}
        return self

    def _fit_floors(self, table: door.Table, labels: Labels, seed: int) -> dict[str, Floor]:
        """The floors of the subset report, on the same labelled rows, encoded as for the method."""
        presence = table.presence
        rows = np.flatnonzero(labels.labelled)
        if len(rows) > MAX_FLOOR_ROWS:
            rows = np.random.default_rng(seed).choice(rows, MAX_FLOOR_ROWS, replace=False)
        # a modality that no labelled row has is still part of the input: one row to know its columns by
        unseen = [int(presence[:, m].argmax()) for m in np.flatnonzero(~presence[rows].any(axis=0))]
        rows = np.union1d(rows, unseen).astype(np.int64)
        X, y = door.take(table, rows), labels.values[rows]
        if labels.kind == "multiclass":
            assert labels.classes is not None
            y = labels.classes.astype(object)[y]
            y[~labels.labelled[rows]] = None
        task: Any = "regression" if labels.kind == "regression" else "classification"
        missing_label = getattr(self, "missing_label", None)
        floors = {
            name: FLOORS[name](task=task, missing_label=missing_label, random_state=seed)
            for name in FLOORS_BESIDE
        }
        return {name: floor.fit(X, y) for name, floor in floors.items()}

    def _validation_rows(
        self, labels: Labels, seed: int, groups: np.ndarray | None, *, given: bool
    ) -> tuple[np.ndarray, str]:
        """Rows held out for early stopping, and the rule that chose them, in words."""
        none = np.empty(0, dtype=np.int64)
        if given:
            return none, "early stopping on the validation rows given to fit"
        if self.validation_fraction == 0:
            return none, "fixed epochs: validation_fraction is 0"
        known = labels.values
        assert labels.kind != "retrieval", "a retriever draws its rows itself"
        if labels.kind == "multiclass":  # the rule names classes as the caller does
            assert labels.classes is not None
            known = labels.classes[np.where(labels.labelled, labels.values, 0)]
        rows, rule = splits.validation_rows(
            known,
            labels.labelled,
            self.validation_fraction,
            seed,
            kind=labels.kind,
            groups=groups,
        )
        if 0 < len(rows) < MIN_VALIDATION_ROWS:
            return none, (
                f"fixed epochs: {len(rows)} validation rows would be fewer than {MIN_VALIDATION_ROWS}, "
                "too few to stop by"
            )
        return rows, rule

    def _validation_batch(
        self,
        validation: tuple[Any, Any],
        schema: dict[str, Modality],
        encoders: Encoders,
        preprocessor: Preprocessor,
        labels: Labels,
    ) -> Batch:
        X, y = validation
        with said_once():
            table = encoders.transform(door.read(X, schema))
        return to_batch(
            preprocessor.transform(table), self._labels_like(y, table.n_rows, labels.kind, labels.classes)
        )

    def _monitor(self, y_monitor: Any, labels: Labels) -> torch.Tensor:
        monitored = self._labels_like(y_monitor, len(labels.labelled), labels.kind, labels.classes)
        if not monitored.labelled.all():
            row = int(np.flatnonzero(~monitored.labelled)[0])
            raise LabelError(
                f"y_monitor holds a true label for each row; row {row} has none; leave y_monitor out"
            )
        return torch.from_numpy(monitored.values)

    # ---- predicting ----

    @property
    def late_fusion(self) -> bool:
        """True where a subset's prediction is the mean of its branches' predictions."""
        return methods.get(self._method_name()).late_fusion

    def _predictions(self, X: Any, *, warn: bool = True, branches: bool = False) -> Predictions:
        """All chunks together; branch predictions, M times as large, only where they are wanted."""
        check_is_fitted(self)
        device = next(self.method_.parameters()).device
        values, parts, presence = [], [], []
        with said_once():
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

    @property
    def shared_pass(self) -> bool:
        """True where all combinations of modalities share most of what a prediction costs."""
        return methods.get(self._method_name()).shared_pass

    def subset_predict(self, X: Any) -> Predict:
        """What the method predicts from each combination of modalities, read once; with ``shared_pass``.

        Returns:
            A callable from names of modalities to (n, C).
        """
        check_is_fitted(self)
        method, names = self.method_, list(self.modalities_)
        device = next(method.parameters()).device
        chunks = []
        with torch.inference_mode():
            for inputs in self._inputs_in_chunks(X):
                batch = to_batch(inputs).to(device)
                chunks.append((method.read(batch), batch.presence))

        def predict(subset: Subset) -> np.ndarray:
            kept = torch.tensor([name in subset for name in names], device=device)
            with torch.inference_mode():
                return _joined(
                    [method.predict_from(read, here & kept).cpu().numpy() for read, here in chunks]
                )

        return predict

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
                f"branch predictions need one branch a modality; {self._method_name()} has none; "
                "predict on a subset of the modalities instead"
            )
        return {name: found[:, m] for m, name in enumerate(self.modalities_)}

    def transform(self, X: Any) -> np.ndarray:
        """The shared space of Robult (the method's ``latents["shared"]``).

        Returns:
            (n, d); rows of NaN where a row has no modality at all.
        """
        return self.latents(X, ("shared",))[0]["shared"]

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
        rows = np.flatnonzero(self._evaluation_labels(y, door.n_rows(X)).labelled)
        X, y = self.encoded(door.take(X, rows)), door.take(y, rows)
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
        return self._labels_like(y, n, self.method_.task.kind, self.classes_)


def refuse_what_only_the_loop_reads(estimator: BaseEstimator, validation: Any, resume: bool) -> None:
    """A method that learns by itself has no epochs or checkpoints; it judges itself by cross-validation.

    Raises:
        ConfigError: a setting of the training loop is not its default; validation rows, or a resume.
    """
    own = inspect.signature(type(estimator)).parameters
    for name, value in estimator.get_params(deep=False).items():
        if name in ONLY_THE_LOOP_READS and value != own[name].default:
            raise ConfigError(
                f"this method learns without the training loop, which alone reads {name}; "
                f"{name}={value!r} came; leave it out"
            )
    if validation is not None or resume:
        what = "validation rows" if validation is not None else "resume=True"
        raise ConfigError(
            "this method judges itself by cross-validation of the labelled rows, without checkpoints; "
            f"{what} came; leave it out, or give validation rows to X and y"
        )


def _with_their_groups(rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The rows and all others of their groups, unlabelled ones too."""
    if groups is None or len(rows) == 0:
        return rows
    return np.flatnonzero(np.isin(groups, groups[rows]))


def _refuse_untrained_tops(method: Method, name: str) -> None:
    """A method that reads hidden states without the layers that take them would train none of these."""
    tuned = [source.name for source in method.inputs if source.top is not None]
    if tuned and not any(isinstance(module, Top) for module in method.modules()):
        raise ConfigError(
            f"finetune trains layers within a branch for each modality; {name!r} with these settings has no "
            f"such branch for {tuned[0]!r}; leave finetune out, or choose another method"
        )


def _joined(chunks: list[Any]) -> np.ndarray:
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
