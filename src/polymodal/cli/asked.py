"""What was asked: flags, settings and config files, as plain values."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from polymodal.errors import ConfigError

KINDS = ("tabular", "vector", "series", "text", "image", "audio", "video")


def without_none(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def read_config(path: Path | None) -> dict[str, Any]:
    """Options of ``fit`` by name; the kinds of modality as {name: columns}, ``set`` as {name: value}."""
    if path is None:
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        asked = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"a config file is JSON or TOML; {path} is not ({error}); mend it") from error
    known = ["table", "target", "out", "method", "task", "epochs", "seed", "on_corrupt", "set", "encoder"]
    known += KINDS
    for name, value in asked.items():
        if name not in known:
            raise ConfigError(f"a config file may hold {', '.join(known)}; {name!r} came{guess(name, known)}")
        if name in (*KINDS, "set", "encoder") and not isinstance(value, dict):
            raise ConfigError(
                f"{name} in a config file is a table of name and value; {value!r} came; name it"
            )
    return asked


def columns_of(kind: str, flags: Iterable[str] | None) -> dict[str, list[str]]:
    """``NAME=COL,COL`` or ``COL,COL`` (named after the kind) as {name: columns}."""
    found: dict[str, list[str]] = {}
    for flag in flags or ():
        name, columns = flag.split("=", 1) if "=" in flag else (kind, flag)
        if name in found:
            raise ConfigError(
                f"modalities have names of their own; --{kind} came twice for {name!r}; "
                f"write --{kind} NAME=COLUMNS"
            )
        found[name] = words_of(columns) or []
    return found


def settings_of(flags: Iterable[str] | None, option: str = "set") -> dict[str, Any]:
    """``NAME=VALUE`` as {name: value}; a value is read as JSON where it is JSON, and as text where not.

    Python's True, False and None, as ``polymodal options`` shows them, are JSON's.
    """
    found = {}
    for flag in flags or ():
        name, equals, value = flag.partition("=")
        if not equals:
            raise ConfigError(f"a setting is NAME=VALUE; {flag!r} came; write --{option} {flag}=VALUE")
        try:
            found[name] = json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
        except ValueError:
            found[name] = value
    return found


def words_of(words: str | None) -> list[str] | None:
    """What commas separate."""
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def number_of(option: str, words: str) -> float:
    """The number that an option was given."""
    try:
        return float(words)
    except ValueError as error:
        raise ConfigError(f"{option} takes numbers; {words!r} came; write {option} 0.05,1") from error


def guess(name: str, known: Sequence[str]) -> str:
    """The end of an error about a name: what may have been meant."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; choose one of these"
