"""Files of encoded rows: written once and never changed, checked before they are read, merged where many.

A shard is two files: ``NAME.npy``, the rows one after another, which are memory-mapped; and ``NAME.npz``,
their keys, lengths and checksums. Each is written under a temporary name and renamed, the second after the
first: a shard exists once its ``.npz`` does. Two processes write shards of different names; a process that
is killed leaves no more than files that nobody reads. A shard whose size or checksum is wrong is as good as
none, so nobody waits for the disk: what a power cut takes is encoded again.

A mapped file holds one of the process's file descriptors (often 1,024 at most), so shards do not stay many:
:func:`merge` copies the rows of some into a new one, and removes them once it is there.

Letters: k rows of a shard, d width.
"""

from __future__ import annotations

import io
import os
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy import ndarray

from polymodal.encoders.base import Encoded

SECONDS_TO_ABANDON = 24 * 3600.0
"""An unfinished file of that age belongs to a process that was killed."""

CHECKED_BYTES = 2**24
"""A file has a checksum for each so many bytes: several processors read them at once."""

_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Shard:
    """The rows of a file, memory-mapped, once their checksum was right.

    Attributes:
        values: (k, d) float32; of sequences the steps of all rows one after another.
        starts: (k + 1,) int64, where each sequence starts and ends; None for vectors.
    """

    values: ndarray
    starts: ndarray | None

    @property
    def form(self) -> tuple[int, bool]:
        """d, and whether rows are vectors: one form an encoder, if it is true to its version."""
        return self.values.shape[-1], self.starts is None

    def row(self, i: int) -> ndarray:
        """Row i: (d,) or (T, d)."""
        return self.values[i] if self.starts is None else self.values[self.starts[i] : self.starts[i + 1]]


@dataclass(frozen=True)
class Index:
    """What the second file of a shard says.

    Attributes:
        path: of the first file.
        keys: (k, 32) uint8.
        lengths: (k,) int64 steps of each sequence; None for vectors.
        checksums: of each ``CHECKED_BYTES`` of the first file; a single one is that of the whole file.
        n_bytes: size of the first file.
        written: when, in ns since 1970.
    """

    path: Path
    keys: ndarray
    lengths: ndarray | None
    checksums: ndarray
    n_bytes: int
    written: int

    @property
    def name(self) -> str:
        """Of both files, without suffix."""
        return self.path.stem


# ---- reading -------------------------------------------------------------------------------------------


def names(folder: Path) -> set[str]:
    """Of all shards of a folder."""
    return {path.stem for path in _listed(folder, ".npz")}


def read_index(folder: Path, name: str) -> Index | None:
    """The index of a shard; None where it is damaged."""
    path = folder / f"{name}.npz"
    try:
        content, rows = path.read_bytes(), path.with_suffix(".npy").stat()
    except OSError:
        return None
    if len(content) <= 4 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        return None
    with np.load(io.BytesIO(content[:-4]), allow_pickle=False) as saved:
        lengths = saved["lengths"] if "lengths" in saved.files else None
        own = saved["keys"], lengths, saved["checksum"]
    return Index(path.with_suffix(".npy"), *own, rows.st_size, rows.st_mtime_ns)


def checked(index: Index) -> Shard | None:
    """The shard of an index; None where a checksum is wrong."""
    n_checked = CHECKED_BYTES if len(index.checksums) > 1 else max(1, index.n_bytes)
    try:
        if not np.array_equal(_checksums(index.path, n_checked), index.checksums):
            return None
        values = np.load(index.path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):  # it is not there, or empty
        return None
    return Shard(values, None if index.lengths is None else np.cumsum([0, *index.lengths]))


def _checksums(path: Path, n_checked: int) -> ndarray:
    content = np.memmap(path, dtype=np.uint8, mode="r")
    parts = [content[start : start + n_checked].data for start in range(0, len(content), n_checked)]
    if len(parts) == 1:
        return np.array([zlib.crc32(parts[0])], dtype=np.int64)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return np.fromiter(threads.map(zlib.crc32, parts), dtype=np.int64)


# ---- writing -------------------------------------------------------------------------------------------


def write(folder: Path, keys: ndarray, parts: Sequence[Encoded]) -> None:
    """A new shard.

    Args:
        folder: made where there is none.
        keys: (k, 32) uint8.
        parts: k rows in all.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values, lengths = _flat(parts)
    path = folder / f"{secrets.token_hex(12)}.npy"
    _write(path, lambda file: np.save(file, values))
    _publish(path, keys, lengths)


def _publish(path: Path, keys: ndarray, lengths: ndarray | None) -> None:
    """Write the index of a file of rows."""
    index = {"keys": keys, "checksum": _checksums(path, CHECKED_BYTES)}
    if lengths is not None:
        index["lengths"] = lengths
    try:
        _write(path.with_suffix(".npz"), lambda file: file.write(_sealed(index)))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _flat(parts: Sequence[Encoded]) -> tuple[ndarray, ndarray | None]:
    """Rows one after another; of sequences their steps, and lengths."""
    lengths = [part.lengths for part in parts if part.lengths is not None]
    if not lengths:
        return np.ascontiguousarray(np.concatenate([part.values for part in parts]), dtype=np.float32), None
    steps = [part.row(i) for part in parts for i in range(len(part.values))]
    return np.ascontiguousarray(np.concatenate(steps), dtype=np.float32), np.concatenate(lengths)


def _sealed(index: dict[str, ndarray]) -> bytes:
    """An index as an archive of arrays with its own checksum at the end."""
    stream = io.BytesIO()
    np.savez(stream, **index)  # type: ignore[arg-type]
    return stream.getvalue() + zlib.crc32(stream.getvalue()).to_bytes(4, "little")


def _write(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    """Write a file that is either whole or not there."""
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        with temporary.open("xb") as file:
            save(file)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


# ---- merging -------------------------------------------------------------------------------------------


def merge(indices: Sequence[Index]) -> None:
    """Put the rows of shards of one folder into a new one, each key once, and remove the others.

    Whoever looks for a row meanwhile finds it: the new shard is there before the others go, and what a
    process has mapped stays readable. Of damaged shards nothing is left. One shard at a time is in memory.

    Raises:
        OSError: another process has merged them, or the new one cannot be written; then they all stay.
    """
    sound = [(index, shard) for index in indices if (shard := checked(index)) is not None]
    sound = [(index, shard) for index, shard in sound if shard.form == sound[-1][1].form]
    if sound:
        _write_merged([index for index, _ in sound], [shard for _, shard in sound])
    for index in indices:
        index.path.with_suffix(".npz").unlink(missing_ok=True)
        index.path.unlink(missing_ok=True)


def _write_merged(indices: Sequence[Index], own: Sequence[Shard]) -> None:
    keys = np.concatenate([index.keys for index in indices])
    lengths = [index.lengths for index in indices if index.lengths is not None]
    kept = _first_ones(keys)
    of_shard = np.split(kept, np.cumsum([len(index.keys) for index in indices])[:-1])
    path = indices[0].path.with_name(f"{secrets.token_hex(12)}.npy")
    _write(path, lambda file: _copy(own, of_shard, file))
    if not names(path.parent) >= {index.name for index in indices}:
        path.unlink()
        raise FileNotFoundError(f"another process has merged shards of {path.parent}")
    _publish(path, keys[kept], np.concatenate(lengths)[kept] if lengths else None)
    for written in (path, path.with_suffix(".npz")):  # on the disk before the others are gone from it
        with written.open("rb") as file:
            os.fsync(file.fileno())


def _first_ones(keys: ndarray) -> ndarray:
    """(n,) bool: the first row of each key."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(np.ascontiguousarray(keys).view(np.uint64), axis=0, return_index=True)[1]] = True
    return first


def _copy(own: Sequence[Shard], kept: Sequence[ndarray], file: IO[bytes]) -> None:
    """Some rows of each shard, as one array in a .npy file."""
    steps = [
        rows if shard.starts is None else np.repeat(rows, np.diff(shard.starts))
        for shard, rows in zip(own, kept, strict=True)
    ]
    shape = sum(int(rows.sum()) for rows in steps), own[0].values.shape[-1]
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for shard, rows in zip(own, steps, strict=True):
        file.write(shard.values[rows].data)


# ---- files ---------------------------------------------------------------------------------------------


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left: temporary files, and rows without an index."""
    complete = names(folder)
    rows = [own for own in _listed(folder, ".npy") if own.stem not in complete]
    for own in [*rows, *_listed(folder, _TEMPORARY)]:
        with suppress(OSError):
            if time.time() - own.stat().st_mtime > SECONDS_TO_ABANDON:
                own.unlink()


def _listed(folder: Path, suffix: str) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]
    except OSError:
        return []
