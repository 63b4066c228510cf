"""Robust multimodal learning: missing inputs, few labels, and a figure for every combination of inputs.

Names load on first use (PEP 562), so that importing the package costs nothing that is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Audio": "polymodal.schema",
    "Image": "polymodal.schema",
    "MethodClassifier": "polymodal.estimators",
    "MethodRegressor": "polymodal.estimators",
    "MultimodalClassifier": "polymodal.estimators",
    "MultimodalRegressor": "polymodal.estimators",
    "MultimodalRetriever": "polymodal.estimators",
    "PartitionedFusion": "polymodal.partitioned",
    "PgMClassifier": "polymodal.estimators",
    "PgMRegressor": "polymodal.estimators",
    "PgMRetriever": "polymodal.estimators",
    "RobultClassifier": "polymodal.estimators",
    "RobultRegressor": "polymodal.estimators",
    "Series": "polymodal.schema",
    "Tabular": "polymodal.schema",
    "Text": "polymodal.schema",
    "Vector": "polymodal.schema",
    "Video": "polymodal.schema",
    "load": "polymodal.estimators",
    "load_dataset": "polymodal.data.readers",
}

__all__ = [
    "Audio",
    "Image",
    "MethodClassifier",
    "MethodRegressor",
    "MultimodalClassifier",
    "MultimodalRegressor",
    "MultimodalRetriever",
    "PartitionedFusion",
    "PgMClassifier",
    "PgMRegressor",
    "PgMRetriever",
    "RobultClassifier",
    "RobultRegressor",
    "Series",
    "Tabular",
    "Text",
    "Vector",
    "Video",
    "load",
    "load_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polymodal' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
