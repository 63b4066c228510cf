"""The raw value of a text, image, audio or video modality -> cells and presence, without opening a file.

A cell is absent where it is None, NaN or NaT, and then nobody looks behind it. Files are asked for their
status alone: what is no file, or may not be read, is found here; what cannot be decoded, by the encoders,
which report it through :mod:`polymodal.data.unreadable` too.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data.cells import Place, is_missing, refuse_container
from polymodal.data.stored import Stored
from polymodal.data.unreadable import Unreadable, settle
from polymodal.errors import CellTypeError, DataError
from polymodal.schema import Audio, Image, Raw, Text, Video

_URL = re.compile(r"[a-z][a-z0-9+.-]+://|(https?|s3|gs|hf|file):/", re.IGNORECASE)  # a Path joins slashes


# ---- reading -----------------------------------------------------------------------------------------


def read(value: Any, place: Place, modality: Raw) -> tuple[list[Any], ndarray]:
    """The cells of a raw modality and its presence.

    Args:
        value: pandas Series, list or array of n cells; relative paths begin at ``value.attrs["folder"]``
            where there is one, else at the working directory.
        place: for errors.
        modality: the declaration.

    Returns:
        n cells, None where absent: str; Path (absolute), bytes, :class:`Stored`, PIL image or uint8 array;
        (T,) float array with its rate; (n,) bool.

    Raises:
        CellTypeError: a cell is nothing that the modality takes.
        DataError: a file cannot be read, and the modality does not take that for absence.
    """
    rows, folder = _rows(value, place), _folder(value)
    cells: list[Any] = [None] * len(rows)
    unreadable: list[Unreadable] = []
    for i, cell in enumerate(rows):
        cells[i] = _settled(cell, _Where(place, i), modality, folder)
        if reason := _fault(cells[i], modality):
            unreadable.append(Unreadable(i, cells[i], reason))
            cells[i] = None
    if not isinstance(modality, Text):
        settle(unreadable, len(rows), place, modality.on_corrupt)
    return cells, np.array([cell is not None for cell in cells], dtype=bool)


def _rows(value: Any, place: Place) -> list[Any]:
    """Any column of cells as a list; images in a list are not taken apart."""
    refuse_container(value, place.who)
    if isinstance(value, pd.Series):
        return list(value.to_numpy(dtype=object))
    if isinstance(value, ndarray) and value.ndim == 2 and value.shape[1] == 1 and value.dtype.kind in "OUS":
        return list(value[:, 0])  # a column of a 2-D array
    no_column = isinstance(value, str | bytes | os.PathLike | Mapping | pd.DataFrame | set | frozenset)
    if no_column or not hasattr(value, "__len__") or (isinstance(value, ndarray) and value.ndim == 0):
        raise DataError(
            f"{place.who} needs one cell a row; {type(value).__name__} came; pass a list or a column of cells"
        )
    return list(value)


def _folder(value: Any) -> str:
    folder = getattr(value, "attrs", {}).get("folder", "")
    return os.fspath(folder) if isinstance(folder, str | os.PathLike) else ""


# ---- one cell ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Where:
    """A cell, for errors."""

    place: Place
    row: int

    def refuse(self, takes: str, came: Any, way_out: str) -> CellTypeError:
        """The sentence about a cell of another type."""
        place = self.place
        cell = place.cell(self.row, 0) if place.columns else place.row(self.row)
        shown = came if isinstance(came, str) else f"{repr(came)[:40]} ({type(came).__name__})"
        article = "an" if place.kind[0] in "AI" else "a"
        return CellTypeError(
            f"{article} {place.kind} is {takes}; {cell} of {place.who} holds {shown}; {way_out}"
        )


def _settled(cell: Any, where: _Where, modality: Raw, folder: str) -> Any:
    """A cell in one of the forms that the encoders know; None where absent."""
    if isinstance(cell, dict) and cell.keys() == {"bytes", "path"}:  # as Hugging Face data sets hold files
        cell = cell["path"] if cell["bytes"] is None else cell["bytes"]
    if is_missing(cell):
        return None
    if isinstance(cell, str | os.PathLike) and not isinstance(modality, Text):
        return _located(os.fspath(cell), folder)
    if isinstance(cell, bytes | bytearray | memoryview) and not isinstance(modality, Text):
        return bytes(cell)
    if isinstance(cell, Stored) and not isinstance(modality, Text):
        return cell
    return _FORMS[type(modality)](cell, where, modality)


def is_url(path: str) -> bool:
    """Whether a path names something elsewhere."""
    return _URL.match(path) is not None


def _located(cell: str, folder: str) -> Path | str:
    """A path from its folder, ``~`` for the user's own; what names no file stays as it is."""
    if not cell or is_url(cell):
        return cell
    return Path(os.path.abspath(os.path.join(folder, os.path.expanduser(cell))))


def _text(cell: Any, where: _Where, _: Any) -> str:
    if isinstance(cell, str):
        return cell
    raise where.refuse("a text", cell, "turn it into text, or write None where it is absent")


def _image(cell: Any, where: _Where, _: Any) -> Any:
    pillow = sys.modules.get("PIL.Image")  # whoever passes an image has loaded it
    if pillow is not None and isinstance(cell, pillow.Image):
        return cell
    takes = "a path, bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8"
    if not isinstance(cell, ndarray):
        raise where.refuse(takes, cell, _way_out(cell))
    if (
        cell.dtype != np.uint8
        or cell.ndim not in (2, 3)
        or cell.shape[2:] not in ((), (3,), (4,))
        or not cell.size
    ):
        raise where.refuse(takes, f"an array {cell.shape} of {cell.dtype}", "convert it to 0..255 in uint8")
    return cell


def _audio(cell: Any, where: _Where, modality: Audio) -> tuple[ndarray, int] | None:
    takes = "a path, bytes, an array (T,) of floats, or such an array with its rate"
    if isinstance(cell, dict) and cell.keys() >= {"array", "sampling_rate"}:
        cell = (cell["array"], cell["sampling_rate"])
    samples, rate = cell if isinstance(cell, tuple) and len(cell) == 2 else (cell, modality.rate)
    if not isinstance(samples, ndarray):
        raise where.refuse(takes, cell, _way_out(cell))
    if samples.ndim != 1 or samples.dtype.kind != "f":
        came = f"an array {samples.shape} of {samples.dtype}"
        raise where.refuse(takes, came, "average its channels, and divide integers by their largest value")
    if not isinstance(rate, int | np.integer) or rate < 1:
        raise where.refuse(
            takes, f"an array of rate {rate}", "pass (array, rate), or declare Audio(rate=...)"
        )
    bad = ~np.isfinite(samples)
    if bad.all() and len(samples):
        return None
    if bad.any():
        way_out = "fill it, or write None where the recording is absent"
        raise where.refuse("finite throughout", f"{samples[bad][0]} at sample {int(bad.argmax())}", way_out)
    return samples, int(rate)


def _video(cell: Any, where: _Where, _: Any) -> None:
    raise where.refuse("a path or bytes", cell, _way_out(cell))


def _way_out(cell: Any) -> str:
    if isinstance(cell, int | float | np.number):
        return "if these are the names of files, read their column as text: tables.read(path, texts=[...])"
    return "pass one of these, or None where it is absent"


_FORMS: dict[type[Raw], Callable[[Any, _Where, Any], Any]] = {
    Text: _text,
    Image: _image,
    Audio: _audio,
    Video: _video,
}


def _fault(cell: Any, modality: Raw) -> str:
    """Why nothing can be made of a cell, as far as its status tells; empty where that tells nothing."""
    if isinstance(modality, Text):
        return ""
    if isinstance(cell, Path):
        return file_fault(cell)
    if isinstance(cell, str):
        return "a URL, which is not fetched" if cell else "an empty path"
    if (isinstance(cell, bytes) and not cell) or (isinstance(cell, Stored) and not cell.size):
        return "there is nothing in it"
    return "it has no samples" if isinstance(cell, tuple) and not len(cell[0]) else ""


def file_fault(path: Path) -> str:
    """Why a file cannot be read, as far as its status tells; empty where that tells nothing."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        foreign = os.sep == "/" and "\\" in str(path)
        return "there is no such file" + (", and \\ parts no folders here: write /" if foreign else "")
    except (OSError, ValueError) as error:
        return f"it cannot be reached, {getattr(error, 'strerror', None) or error}"
    if stat.S_ISDIR(found.st_mode):
        return "it is a directory"
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_size == 0:
        return "the file is empty"
    return "" if os.access(path, os.R_OK) else "it may not be read, permission denied"
