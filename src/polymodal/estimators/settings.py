"""From the flat parameters of an estimator to the settings of its method."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from polymodal.errors import ConfigError


def seed_of(random_state: Any) -> int:
    """The seed that a ``random_state`` gives: a number, a generator that is drawn from, or None for any.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError as error:
        raise ConfigError(
            "random_state is a whole number from 0 up and below 2^32, a RandomState, or None; "
            f"{random_state!r} came; take 0"
        ) from error


def settings_of(estimator: BaseEstimator, config: type) -> dict[str, Any]:
    """An estimator's parameters that are fields of a method's Config; None leaves the default."""
    values = {
        field.name: getattr(estimator, field.name)
        for field in fields(config)
        if hasattr(estimator, field.name)
    }
    return {name: value for name, value in values.items() if value is not None}
