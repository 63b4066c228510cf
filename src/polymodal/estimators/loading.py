"""From a model directory back to the fitted estimator."""

from __future__ import annotations

from pathlib import Path

from polymodal import checkpoint
from polymodal.errors import CheckpointError
from polymodal.estimators import saving
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.pgm import PgMClassifier, PgMRegressor
from polymodal.estimators.retriever import PgMRetriever
from polymodal.estimators.robult import RobultClassifier, RobultRegressor
from polymodal.schema import from_json

ESTIMATORS = (
    MethodClassifier,
    MethodRegressor,
    PgMClassifier,
    PgMRegressor,
    PgMRetriever,
    RobultClassifier,
    RobultRegressor,
)
"""What a model directory may hold."""


def load(path: str | Path, *, device: str = "auto") -> MethodClassifier | MethodRegressor | PgMRetriever:
    """The fitted estimator of a model directory.

    Args:
        path: what :meth:`save` wrote.
        device: where its module goes: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises:
        CheckpointError: the directory is damaged, of an unknown format, or not a model directory.
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
    if params["modalities"] is not None:
        params["modalities"] = from_json(params["modalities"])
    return saving.restore(known[name](**params), saved, device)
