"""Pickles that hold the parts of a split: ``{"train": {field: n values}, "valid": ..., "test": ...}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.data.public import files, unpickle
from polymodal.data.public.base import PublicSet
from polymodal.errors import DataError

PARTS = ("train", "valid", "test")


def parts(known: PublicSet, file: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The fields of each part, which have one value a row.

    Args:
        known: the set, for errors.
        file: the pickle.
        names: the fields.

    Raises:
        DataError: the file is no such pickle, or lacks a part or a field, or its fields differ in rows.
    """
    held = mapping(known, file, unpickle.read(file))
    found = dict(zip(PARTS, files.fields(known, file, held, PARTS), strict=True))
    return {part: _part(known, file, part, own, names) for part, own in found.items()}


def mapping(known: PublicSet, file: Path, value: Any) -> Mapping[str, Any]:
    """``value``, which is a mapping.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, Mapping):
        return value
    raise DataError(
        f"a pickle of {known.name} maps names to values; {file} holds a {type(value).__name__}; get it from "
        f"{known.source}."
    )


def _part(known: PublicSet, file: Path, part: str, own: Any, names: Sequence[str]) -> dict[str, Any]:
    values = files.fields(known, file, mapping(known, file, own), names)
    sizes = {name: len(value) for name, value in zip(names, values, strict=True)}
    if len(set(sizes.values())) > 1:
        raise DataError(
            f"the fields of a part of {known.name} have one value a row; those of {part!r} in {file} have "
            f"{', '.join(f'{name} {n}' for name, n in sizes.items())}; get it from {known.source}."
        )
    return dict(zip(names, values, strict=True))
