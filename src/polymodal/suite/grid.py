"""The grid of a suite, read from ``grid.toml``, as cells of the bench."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from polymodal import bench
from polymodal import methods as registry
from polymodal.bench import Cell
from polymodal.data import readers, regimes
from polymodal.errors import ConfigError
from polymodal.methods.floors import floors_for

GRID = Path(__file__).with_name("grid.toml")


@dataclass(frozen=True)
class Suite:
    """One suite of the grid.

    Attributes:
        name: as ``--suite`` knows it.
        about: what it is for.
        sets: keys of the grid's data sets.
        methods: names of methods and floors.
        labels: shares of the training rows that keep their labels.
        missing: regimes of :mod:`polymodal.data.regimes`.
        seeds: how many: 0, 1, ...
        max_train: training rows of a cell, at most; None for all.
        max_test: test rows, likewise.
        max_epochs: for methods whose settings name ``max_epochs``, at most; None for what they name.
    """

    name: str
    about: str
    sets: tuple[str, ...]
    methods: tuple[str, ...]
    labels: tuple[float, ...]
    missing: tuple[str, ...]
    seeds: int
    max_train: int | None = None
    max_test: int | None = None
    max_epochs: int | None = None


@cache
def _grid() -> dict[str, Any]:
    return tomllib.loads(GRID.read_text(encoding="utf-8"))


def suites() -> tuple[str, ...]:
    """Names of the suites."""
    return tuple(_grid()["suites"])


def read(name: str) -> Suite:
    """One suite by name.

    Raises:
        ConfigError: there is none of this name.
    """
    known = _grid()["suites"]
    if name not in known:
        raise ConfigError(f"suites are {', '.join(known)}; {name!r} came{_guess(name, known)}")
    own: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in known[name].items()
    }
    assert set(own) <= {field.name for field in fields(Suite)}, name
    return Suite(name=name, **own)


def seconds() -> dict[str, dict[str, float]]:
    """Data set as tables call it -> method -> seconds of a processor that a cell took when measured."""
    return {_data_name(key): dict(own) for key, own in _grid()["seconds"].items()}


def cells(
    suite: Suite, *, methods: Sequence[str] | None = None, data: str | Path | None = None
) -> list[Cell]:
    """Every cell of a suite, data set by data set.

    Left out is what cannot be: a floor on a task that it is not made for, and a regime that for so few
    modalities repeats another one.

    Args:
        suite: which.
        methods: of the suite's methods, only these; None for all.
        data: the folder of the data sets that are not bundled.

    Raises:
        ConfigError: a method that the suite does not have.
        DataError: a data set is not there.
    """
    for name in methods or ():
        if name not in suite.methods:
            known = suite.methods
            raise ConfigError(
                f"methods of the suite {suite.name} are {', '.join(known)}; {name!r} came"
                f"{_guess(name, known)}"
            )
    names = [name for name in suite.methods if methods is None or name in methods]
    return [cell for key in suite.sets for cell in _of_set(suite, key, names, data)]


def _of_set(suite: Suite, key: str, names: Sequence[str], data: str | Path | None) -> list[Cell]:
    own = dict(_grid()["sets"][key])
    dataset = readers.load(own["dataset"], data, variant=own.get("variant"))
    can = {*registry.METHODS, *floors_for(dataset.kind)}
    variants = {name: {"method": name, **_settings(suite, name)} for name in names if name in can}
    return [
        cell
        for missing in regimes.distinct(suite.missing, len(dataset.X))
        for cell in bench.cells(
            own["dataset"],
            variants,
            seeds=range(suite.seeds),
            labels=suite.labels,
            split=own.get("split"),
            variant=own.get("variant"),
            missing=missing,
            max_train=suite.max_train,
            max_test=suite.max_test,
            data=data,
        )
    ]


def _settings(suite: Suite, method: str) -> dict[str, Any]:
    own = dict(_grid()["methods"].get(method, {}))
    if suite.max_epochs is not None and "max_epochs" in own:
        own["max_epochs"] = min(own["max_epochs"], suite.max_epochs)
    return own


def _data_name(key: str) -> str:
    return Cell(method="", seed=0, **_grid()["sets"][key]).data_name


def _guess(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; choose one of these"
