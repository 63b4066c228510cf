"""A fitted estimator as the content of a model directory, and back into an unfitted one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from polymodal import checkpoint, methods, training
from polymodal.batch import Input, Task
from polymodal.encoders import keeping
from polymodal.errors import CheckpointError
from polymodal.estimators.calibrated import Calibration
from polymodal.methods.base import Method
from polymodal.methods.floors import FLOORS, Floor
from polymodal.schema import from_json, to_json

if TYPE_CHECKING:
    from polymodal.estimators.shell import TrainedEstimator

    Fitted = TypeVar("Fitted", bound=TrainedEstimator)

FLOOR = "floor/"
"""Prefix of the floors' tensors."""
CALIBRATION = "calibration/"
"""Prefix of what calibration learnt."""


# ---- writing -------------------------------------------------------------------------------------------


def write(estimator: TrainedEstimator, path: str | Path) -> None:
    """Write a model directory, whole or not at all.

    Raises:
        CheckpointError: ``path`` holds something that is not a model directory.
    """
    preprocessing, arrays = keeping.state(estimator.encoders_, estimator.preprocessor_)
    tensors = {k: v.detach().cpu().contiguous() for k, v in estimator.method_.state_dict().items()}
    floors = {}
    for name, floor in estimator.floors_.items():
        floors[name], learnt = floor.state()
        tensors |= {f"{FLOOR}{name}/{key}": torch.from_numpy(np.asarray(a)) for key, a in learnt.items()}
    calibration = None
    if (known := getattr(estimator, "calibration_", None)) is not None:
        calibration, scores = known.state()
        tensors |= {f"{CALIBRATION}{key}": torch.from_numpy(a) for key, a in scores.items()}
    checkpoint.save_directory(
        path,
        tensors=tensors,
        config={**describe(estimator), "floors": floors, "calibration": calibration},
        preprocessing=preprocessing,
        preprocessing_arrays=arrays,
    )


def describe(estimator: TrainedEstimator) -> dict[str, Any]:
    """Everything but arrays, as JSON."""
    return {
        "estimator": type(estimator).__name__,
        "params": json_params(estimator),
        "method": estimator._method_name(),
        "method_config": asdict(estimator.method_.config),
        "task": asdict(estimator.method_.task),
        "modalities": to_json(estimator.modalities_),
        "classes": classes_to_json(estimator.classes_),
        "n_features_in": getattr(estimator, "n_features_in_", None),
        "feature_names_in": [str(name) for name in getattr(estimator, "feature_names_in_", [])] or None,
        "stopping_rule": estimator.stopping_rule_,
        "labelled_fraction": estimator.labelled_fraction_,
        "presence": [
            {"modalities": list(subset), "rows": n}
            for subset, n in getattr(estimator, "presence_", {}).items()
        ],
        "history": json_history(estimator.history_),
    }


def json_params(estimator: TrainedEstimator) -> dict[str, Any]:
    """Constructor parameters as JSON: modalities as bound, a random state that is no number as None."""
    params = estimator.get_params(deep=False)
    if params["modalities"] is not None:
        params["modalities"] = to_json(estimator.modalities_)
    if not isinstance(params["random_state"], int | None):
        params["random_state"] = None
    for name, value in params.items():
        if isinstance(value, Mapping):
            params[name] = dict(value)
    for name in ("checkpoint_dir", "log_dir"):
        if params.get(name) is not None:
            params[name] = str(params[name])
    return params


def json_history(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """History with non-finite floats as None: JSON has no word for them."""
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in epoch.items()}
        for epoch in history
    ]


def classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    """Classes with their type; None for a regressor."""
    if classes is None:
        return None
    kind = "str" if classes.dtype == object else classes.dtype.str
    return {"dtype": kind, "values": [str(c) if kind == "str" else c.item() for c in classes]}


# ---- reading -------------------------------------------------------------------------------------------


def restore(
    estimator: Fitted, saved: checkpoint.Saved, device: str, encoders: Mapping[str, Any] | None = None
) -> Fitted:
    """Give an unfitted estimator what a fitted one had learnt.

    Args:
        estimator: of the class that was saved.
        saved: the content of a model directory.
        device: where its module goes.
        encoders: by modality, those that have no name.

    Raises:
        CheckpointError: the saved weights do not fit the method of this version.
        ConfigError: no such device.
    """
    config = saved.config
    reading = keeping.from_state(saved.preprocessing, saved.preprocessing_arrays, encoders)
    estimator.encoders_, estimator.preprocessor_ = reading
    sources = estimator.encoders_.inputs(estimator.preprocessor_.inputs)
    estimator.method_ = restored_method(saved, sources).to(training.choose_device(device))
    estimator.modalities_ = from_json(config["modalities"], encoders)
    estimator.prior_ = estimator.method_.prior.detach().cpu().numpy().astype(np.float64)
    estimator.floors_ = {name: restored_floor(saved, name) for name in FLOORS if name in config["floors"]}
    estimator.history_ = config["history"]
    estimator.n_iter_ = len(estimator.history_)
    estimator.stopping_rule_ = config["stopping_rule"]
    estimator.labelled_fraction_ = config["labelled_fraction"]
    patterns = config.get("presence", [])  # models of before have no word for it, nor for the next
    estimator.presence_ = {tuple(pattern["modalities"]): pattern["rows"] for pattern in patterns}
    estimator.classes_ = classes_from_json(config["classes"])
    if config.get("calibration") is not None:
        calibration = Calibration.from_state(config["calibration"], _arrays_of(saved, CALIBRATION))
        estimator.calibration_ = calibration
    if config["n_features_in"] is not None:
        estimator.n_features_in_ = config["n_features_in"]
    if config["feature_names_in"] is not None:
        estimator.feature_names_in_ = np.asarray(config["feature_names_in"], dtype=object)
    return estimator


def restored_method(saved: checkpoint.Saved, inputs: Sequence[Input]) -> Method:
    """The trained module, without what only training needs, in evaluation mode."""
    config = saved.config
    cls = methods.get(config["method"])
    settings = methods.configure(cls, config["method_config"])
    method = cls(inputs, Task(**config["task"]), settings)
    method.drop_training_parts()
    try:
        method.load_state_dict(
            {k: v for k, v in saved.tensors.items() if not k.startswith((FLOOR, CALIBRATION))}
        )
    except RuntimeError as error:
        raise CheckpointError(
            f"a saved model fits the method that wrote it; {config['method']!r} of this version has other "
            f"parts ({str(error).splitlines()[-1].strip()}); load it with the version that wrote it"
        ) from error
    return method.eval()


def restored_floor(saved: checkpoint.Saved, name: str) -> Floor:
    """A floor that was saved beside the method."""
    return FLOORS[name].from_state(saved.config["floors"][name], _arrays_of(saved, f"{FLOOR}{name}/"))


def _arrays_of(saved: checkpoint.Saved, prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names have a prefix, without it."""
    return {k.removeprefix(prefix): v.numpy() for k, v in saved.tensors.items() if k.startswith(prefix)}


def classes_from_json(saved: dict[str, Any] | None) -> np.ndarray | None:
    """The inverse of :func:`classes_to_json`."""
    if saved is None:
        return None
    if saved["dtype"] == "str":
        return np.asarray(saved["values"], dtype=object)
    return np.asarray(saved["values"], dtype=np.dtype(saved["dtype"]))
