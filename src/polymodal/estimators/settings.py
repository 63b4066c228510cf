"""From the flat parameters of an estimator to the settings of its method."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sklearn.base import BaseEstimator


def settings_of(estimator: BaseEstimator, config: type) -> dict[str, Any]:
    """An estimator's parameters that are fields of a method's Config; None leaves the default."""
    values = {
        field.name: getattr(estimator, field.name)
        for field in fields(config)
        if hasattr(estimator, field.name)
    }
    return {name: value for name, value in values.items() if value is not None}
