"""From a model directory back to the fitted estimator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal import checkpoint
from polymodal.errors import CheckpointError, ConfigError
from polymodal.estimators import saving
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.multimodal import MultimodalClassifier, MultimodalRegressor, MultimodalRetriever
from polymodal.estimators.pgm import PgMClassifier, PgMRegressor
from polymodal.estimators.retriever import PgMRetriever, Retriever
from polymodal.estimators.robult import RobultClassifier, RobultRegressor
from polymodal.schema import from_json

ESTIMATORS = (
    MethodClassifier,
    MethodRegressor,
    MultimodalClassifier,
    MultimodalRegressor,
    MultimodalRetriever,
    PgMClassifier,
    PgMRegressor,
    PgMRetriever,
    RobultClassifier,
    RobultRegressor,
)
"""What a model directory may hold."""


def load(
    path: str | Path, *, device: str = "auto", encoders: Mapping[str, Any] | None = None
) -> MethodClassifier | MethodRegressor | Retriever:
    """The fitted estimator of a model directory.

    Args:
        path: what :meth:`save` wrote.
        device: where its module goes: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        encoders: by raw modality, the encoder of its training, as its declaration takes one: needed where
            that was an object, a module or a callable; possible where its folder is another one here.

    Raises:
        CheckpointError: the directory is damaged, of an unknown format, or not a model directory; an
            encoder must be given; or a fingerprint says that it is not the one of the training.
        ConfigError: an encoder is given for something that is no raw modality.
    """
    saved = checkpoint.load_directory(path)
    known = {cls.__name__: cls for cls in ESTIMATORS}
    name = saved.config.get("estimator")
    if name not in known:
        raise CheckpointError(
            f"a model directory holds one of {', '.join(known)}; {path} holds {name!r}; "
            "load it with the version of polymodal that wrote it"
        )
    params = dict(saved.config["params"])
    _refuse_unknown({} if encoders is None else encoders, saved.config["modalities"])
    if params["modalities"] is not None:
        params["modalities"] = from_json(params["modalities"], encoders)
    return saving.restore(known[name](**params), saved, device, encoders)


def _refuse_unknown(encoders: Mapping[str, Any], modalities: list[dict[str, Any]]) -> None:
    if not isinstance(encoders, Mapping):
        raise ConfigError(
            f"encoders are given by modality; {type(encoders).__name__} came; "
            "write encoders={name: encoder}"
        )
    raw = [entry["name"] for entry in modalities if "encoder" in entry.get("settings", {})]
    for name in encoders:
        if name not in raw:
            raise ConfigError(
                f"encoders are given for raw modalities of the model, {raw}; {name!r} came; correct the name"
            )
