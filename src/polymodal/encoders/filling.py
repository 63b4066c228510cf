"""Encoding a table ahead of time: what the cache lacks is put there, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from polymodal.data import door
from polymodal.data.unreadable import said_once
from polymodal.encoders import cache, resolve
from polymodal.encoders.base import learns
from polymodal.encoders.table import Encoders
from polymodal.encoders.work import Step, cache_of, medium_of, nothing
from polymodal.errors import ConfigError
from polymodal.schema import Modality, Raw, Text

ROWS = 4096
"""Rows that are encoded before the next ones are read: they bound the memory."""


@dataclass(frozen=True)
class Filled:
    """What the cache holds of a modality now.

    Attributes:
        encoder: its name.
        n_cells: present cells that could be decoded.
        n_corrupt: those that could not.
        width: numbers of a vector, or of a step.
    """

    encoder: str
    n_cells: int
    n_corrupt: int
    width: int


@said_once()
def fill(
    X: Any,
    modalities: Mapping[str, Raw],
    *,
    n_workers: int | None = None,
    step: Step = nothing,
) -> dict[str, Filled]:
    """Encode every present cell that the cache lacks; a damaged cell gives a warning and is passed over.

    Args:
        X: the rows.
        modalities: raw ones alone, whose encoders do not learn.
        n_workers: threads that read and decode; None for as many as there are processors, 8 at most.
        step: told how many more of the rows times modalities are done.

    Raises:
        ConfigError: there is no cache, or an encoder is learnt from training rows.
        DataError: X or a cell cannot be read.
    """
    if cache.folder() is None:
        raise ConfigError(
            f"encode fills the cache; {cache.VARIABLE} switches it off; unset it, or name a folder there"
        )
    for name, modality in modalities.items():
        _refuse_learning(name, modality)
    declared: dict[str, Modality] = {name: _lenient(modality) for name, modality in modalities.items()}
    schema = door.bind(X, declared)
    encoders: Encoders | None = None
    found = {name: Filled(str(own.encoder), 0, 0, 0) for name, own in modalities.items()}
    for first in range(0, door.n_rows(X), ROWS):
        table = door.read(door.take(X, slice(first, first + ROWS)), schema, first_row=first)
        encoders = encoders or Encoders(n_workers=n_workers).fit(table)
        for name, cells in encoders.transform(table, step).cells.items():
            found[name] = _more(found[name], table.cells[name], cells)
        step(int((~table.presence).sum()))
    for modality in modalities.values():
        _merge(modality)
    return found


def _refuse_learning(name: str, modality: Raw) -> None:
    if learns(resolve(modality.encoder, medium_of(modality))):
        raise ConfigError(
            f"what an encoder learns from training rows is not cached; {name!r} has {modality.encoder!r}; "
            "leave it out, or name another encoder"
        )


def _merge(modality: Raw) -> None:
    """One file of what was encoded, unless it is large: whoever reads all of it maps it without a copy."""
    kept = cache_of(resolve(modality.encoder, medium_of(modality)), modality)
    if kept is not None:
        kept.merge()


def _lenient(modality: Raw) -> Raw:
    return modality if isinstance(modality, Text) else replace(modality, on_corrupt="absent")


def _more(before: Filled, raw: door.Cells, encoded: door.Cells) -> Filled:
    assert encoded.modality.layout is not None
    n_sound = int(encoded.present.sum())
    return replace(
        before,
        n_cells=before.n_cells + n_sound,
        n_corrupt=before.n_corrupt + int(raw.present.sum()) - n_sound,
        width=encoded.modality.layout.width,
    )
