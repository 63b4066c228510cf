"""Registered methods by name; a method's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from polymodal.errors import ConfigError

if TYPE_CHECKING:
    from polymodal.methods.base import Method

METHODS: dict[str, str | type[Method]] = {
    "robult": "polymodal.methods.robult:Robult",
    "pgm": "polymodal.methods.pgm:PgM",
    "actionmae": "polymodal.methods.actionmae:ActionMAE",
    "mmin": "polymodal.methods.mmin:MMIN",
    "ume": "polymodal.methods.ume:UME",
    "umt": "polymodal.methods.umt:UMT",
    "committee": "polymodal.methods.committee.method:Committee",
}
"""Name -> ``"module:Class"``, or a class. A new method is one file, one line here, and one page of
documentation (``docs/own-method.md``)."""

DEFAULT = "committee"
"""Of ``MultimodalClassifier``, ``MultimodalRegressor``, ``polymodal fit`` and the demo."""

RETRIEVERS: dict[str, str] = {
    "pgm_retrieval": "polymodal.methods.pgm_retrieval:PgMRetrieval",
    "matching": "polymodal.methods.matching.method:Matching",
}
"""Methods that learn a common space in place of a prediction: for retrieval alone."""


def get(name: str) -> type[Method]:
    """The class of a registered method, of prediction or retrieval.

    Raises:
        ConfigError: no method has this name.
    """
    known = METHODS | RETRIEVERS
    if name not in known:
        raise ConfigError(f"a method is one of {', '.join(METHODS)}; {name!r} came{_guess(name, METHODS)}")
    found = known[name]
    if isinstance(found, type):
        return found
    module, _, attribute = found.partition(":")
    return getattr(import_module(module), attribute)


def configure(method: type[Method], settings: Mapping[str, Any]) -> Any:
    """A method's ``Config`` from settings by name.

    Raises:
        ConfigError: the method has no such setting.
    """
    known = [field.name for field in fields(method.Config)]
    for name in settings:
        if name not in known:
            raise ConfigError(
                f"{method.__name__} has the settings {', '.join(known)}; {name!r} came{_guess(name, known)}"
            )
    return method.Config(**settings)


def _guess(name: str, known: Mapping[str, Any] | list[str]) -> str:
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; choose one of these"


__all__ = ["DEFAULT", "METHODS", "RETRIEVERS", "configure", "get"]
