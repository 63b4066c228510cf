"""Present cells of which nothing can be made: an error with their rows, or absence and one warning.

Missing files are found when a table is read, damaged ones when its cells are decoded, perhaps chunk by chunk:
:func:`said_once` gathers what both find.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polymodal.data.cells import Place
from polymodal.data.stored import Stored
from polymodal.errors import DataError, PresenceWarning
from polymodal.schema import OnCorrupt

N_SHOWN = 5
"""Unreadable rows that an error or a warning names."""

LONGEST_PATH = 200
"""Characters of a path that they show whole: what was meant as a text may stand where paths are expected."""


@dataclass(frozen=True)
class Unreadable:
    """A present cell of which nothing can be made.

    Attributes:
        row: its number in the table, from 0.
        cell: a path, bytes, an array or an image.
        reason: why, in words that follow its path.
    """

    row: int
    cell: Any
    reason: str


@dataclass
class _Absences:
    """Cells of one modality that count as absent.

    Attributes:
        words: number of a row -> it in words; from the first row of all chunks.
        n_rows: number of a chunk's first row -> rows of the chunk.
    """

    words: dict[int, str] = field(default_factory=dict)
    n_rows: dict[int, int] = field(default_factory=dict)


_gathered: ContextVar[dict[str, _Absences] | None] = ContextVar("gathered", default=None)


@contextmanager
def said_once() -> Iterator[None]:
    """One warning a modality at the end of the block, for all of its rows that count as absent within.

    All tables that are read within are parts of one; in a block within a block the outer one speaks.
    """
    if _gathered.get() is not None:
        yield
        return
    gathered: dict[str, _Absences] = {}
    token = _gathered.set(gathered)
    try:
        yield
    finally:
        _gathered.reset(token)
        for who, found in gathered.items():
            _warn(who, found)


def settle(unreadable: Sequence[Unreadable], n_rows: int, place: Place, on_corrupt: OnCorrupt) -> None:
    """Say which cells cannot be read: as an error, or as a warning where they count as absent.

    Args:
        unreadable: those cells; without any, nothing is said.
        n_rows: rows of the table.
        place: for the sentence.
        on_corrupt: of the modality.

    Raises:
        DataError: ``on_corrupt`` is ``"error"``; it lists up to five rows.
    """
    words = {
        place.first_row + u.row: f"{place.row(u.row)} ({_words(u.cell)}: {u.reason})" for u in unreadable
    }
    if on_corrupt == "absent":
        with said_once():
            gathered = _gathered.get()
            assert gathered is not None
            absences = gathered.setdefault(place.who, _Absences())
            absences.words |= words
            absences.n_rows[place.first_row] = n_rows
    elif words:
        raise DataError(
            f"what a cell points to can be read; {len(words)} of {n_rows} rows of {place.who} cannot: "
            f"{_few(words)}; correct them, write None where a row has none, or declare "
            f'{place.kind}(..., on_corrupt="absent")'
        )


def _warn(who: str, found: _Absences) -> None:
    if found.words:
        warnings.warn(
            f"{len(found.words)} of {sum(found.n_rows.values())} rows of {who} cannot be read and count as "
            f"absent: {_few(found.words)}",
            PresenceWarning,
            stacklevel=4,
        )


def _few(words: dict[int, str]) -> str:
    """The first rows in words."""
    listed = ", ".join(words[row] for row in sorted(words)[:N_SHOWN])
    return listed if len(words) <= N_SHOWN else f"{listed} and {len(words) - N_SHOWN} more"


def _words(cell: Any) -> str:
    if isinstance(cell, str | Path):
        words = str(cell)
        words = words if words.isprintable() and words == words.strip() and words else repr(words)
        return words if len(words) <= LONGEST_PATH else f"{words[:80]}...{words[-80:]}"
    if isinstance(cell, bytes | Stored):
        return f"{len(cell) if isinstance(cell, bytes) else cell.size} bytes"
    return type(cell).__name__
