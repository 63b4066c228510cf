"""Encoded cells on disk, so that no cell is encoded twice.

A folder holds one sub-folder an encoder, named by the fingerprint of the encoder and of the decoding; in it
are shards (:mod:`polymodal.encoders.shards`). A key is the SHA-256 of a raw cell's content. Several processes
may write at once, and be killed. A folder that cannot be written to (a full disk, no permission) gives one
warning, and no more is written. No row is ever removed; to free the space, delete the folder.

Letters: n keys, k rows of a shard, d width.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from polymodal.encoders import decoding, shards
from polymodal.encoders.base import Encoded
from polymodal.encoders.shards import Index, Shard
from polymodal.errors import CacheWarning

VARIABLE = "POLYMODAL_CACHE"
"""The folder of the cache; ``off`` for none."""

KEY_BYTES = 32
SHARD_BYTES = 2**25
SECONDS_BETWEEN_SHARDS = 10.0
"""A shard is written when its rows are that many, or the first of them that old."""

SMALL_BYTES = (2**20, 2**26)
MOST_SMALL = 32
"""Where more shards than that are smaller, they are merged: a row is rewritten twice at most."""

_MERGED_AT_ONCE = 64
_ROWS_A_RUN = 8
_chosen: ContextVar[Path | str | None] = ContextVar("cache", default=VARIABLE)


def folder() -> Path | None:
    """The folder in use: of :func:`use`, of POLYMODAL_CACHE, or ``~/.cache/polymodal``; None for none."""
    chosen = _chosen.get()
    if chosen != VARIABLE:
        return chosen  # type: ignore[return-value]
    named = os.environ.get(VARIABLE, "")
    if named.lower() in ("off", "0", "none"):
        return None
    return Path(named).expanduser() if named else Path.home() / ".cache" / "polymodal"


@contextmanager
def use(path: str | Path | None) -> Iterator[None]:
    """Use another folder within the block; None for no cache."""
    token = _chosen.set(None if path is None else Path(path))
    try:
        yield
    finally:
        _chosen.reset(token)


@dataclass(frozen=True)
class Hits:
    """Rows that were found, in the order of their keys.

    Attributes:
        mask: (n,) bool, which keys were found.
        shards: every shard that holds one of them, by number.
        places: (number found, 2) int64: the number of the shard, and the row in it.
    """

    mask: ndarray
    shards: dict[int, Shard]
    places: ndarray

    def vectors(self) -> ndarray:
        """(number found, d) float32; no copy where they lie one after another in one file."""
        step = np.diff(self.places, axis=0)
        starts = np.flatnonzero((step[:, 0] != 0) | (step[:, 1] != 1)) + 1
        runs = list(zip([0, *starts.tolist()], [*starts.tolist(), len(self.places)], strict=True))
        if len(runs) == 1:
            return self._run(0, len(self.places))
        if len(runs) > len(self.places) // _ROWS_A_RUN:
            return self._scattered()
        found = np.empty((len(self.places), self._width), dtype=np.float32)
        for start, end in runs:
            found[start:end] = self._run(start, end)
        return found

    def _scattered(self) -> ndarray:
        """Rows that lie anywhere."""
        if len(self.shards) == 1:
            return next(iter(self.shards.values())).values[self.places[:, 1]]
        found = np.empty((len(self.places), self._width), dtype=np.float32)
        for number, shard in self.shards.items():
            own = np.flatnonzero(self.places[:, 0] == number)
            found[own] = shard.values[self.places[own, 1]]
        return found

    @property
    def _width(self) -> int:
        return int(next(iter(self.shards.values())).values.shape[1])

    def _run(self, start: int, end: int) -> ndarray:
        """Rows that lie one after another in a file."""
        number, first = self.places[start].tolist()
        return self.shards[number].values[first : first + end - start]

    def sequences(self) -> list[ndarray]:
        """(T, d) float32 each, memory-mapped."""
        return [self.shards[number].row(i) for number, i in self.places.tolist()]

    @property
    def are_vectors(self) -> bool:
        """Whether rows are vectors."""
        return all(shard.starts is None for shard in self.shards.values())


class Cache:
    """The rows of one encoder.

    Args:
        path: the folder of the whole cache.
        fingerprint: of the encoder and the decoding; letters and digits.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        self.path = Path(path) / fingerprint[:KEY_BYTES]
        self._lock = threading.RLock()
        self._indices: dict[int, Index] = {}
        self._shards: dict[int, Shard | None] = {}
        self._seen: set[str] = set()
        self._words = np.zeros(0, dtype=np.uint64)
        self._keys = np.zeros((0, KEY_BYTES), dtype=np.uint8)
        self._places = np.zeros((0, 2), dtype=np.int64)
        self._unsaved: list[tuple[ndarray, Encoded]] = []
        self._unsaved_since = 0.0
        self._writable = True
        shards.remove_abandoned(self.path)

    # ---- reading ---------------------------------------------------------------------------------------

    def get(self, keys: ndarray) -> Hits:
        """The rows that are on disk.

        Args:
            keys: (n, 32) uint8.
        """
        with self._lock:
            self.merge(MOST_SMALL)
            while True:
                self._read_indices()
                mask, places = self._look_up(keys)
                found = {number: self._shard(number) for number in np.unique(places[:, 0]).tolist()}
                damaged = [number for number, shard in found.items() if shard is None]
                if not damaged:
                    return Hits(mask, {n: shard for n, shard in found.items() if shard is not None}, places)
                self._forget(damaged)  # another shard may hold the same keys, or a merged one

    def _look_up(self, keys: ndarray) -> tuple[ndarray, ndarray]:
        """Which keys are in an index, and their places."""
        if not len(self._words):
            return np.zeros(len(keys), dtype=bool), np.zeros((0, 2), dtype=np.int64)
        at = self._nearest(keys[:1])
        if len(at) and (places := self._run_from(self._places[at[0]], keys)) is not None:
            return np.ones(len(keys), dtype=bool), places
        at = self._nearest(keys)
        mask = (self._keys[at] == keys).all(axis=1)
        return mask, self._places[at[mask]]

    def _nearest(self, keys: ndarray) -> ndarray:
        """Where each key would be in the index."""
        return np.searchsorted(self._words, _words(keys)).clip(max=len(self._words) - 1)

    def _run_from(self, place: ndarray, keys: ndarray) -> ndarray | None:
        """Places of keys that all lie one after another in a file, as a table does that is read again."""
        number, first = place.tolist()
        own = self._indices[number].keys[first : first + len(keys)]
        return _places(number, len(keys), first) if np.array_equal(own, keys) else None

    def _read_indices(self) -> None:
        """Those that have come, and no more those that have gone into another one."""
        listed = shards.names(self.path)
        if not listed >= self._seen:  # the merged one is there now: it was before the first of them went
            listed = shards.names(self.path)
            gone = [number for number, own in self._indices.items() if own.name not in listed]
            self._forget(gone)
            for number in gone:
                del self._indices[number]
                self._shards.pop(number, None)
        new, self._seen = listed - self._seen, listed
        found = [own for name in new if (own := shards.read_index(self.path, name)) is not None]
        if not found:
            return
        found.sort(key=lambda own: own.written)
        first = max(self._indices, default=-1) + 1
        self._indices |= dict(enumerate(found, start=first))
        places = [_places(number, len(own.keys)) for number, own in enumerate(found, start=first)]
        keys = [own.keys for own in found]
        self._sort(np.concatenate([self._keys, *keys]), np.concatenate([self._places, *places]))

    def _sort(self, keys: ndarray, places: ndarray) -> None:
        words = _words(keys)
        order = np.argsort(words, kind="stable")
        self._words, self._keys, self._places = words[order], keys[order], places[order]

    def _forget(self, numbers: list[int]) -> None:
        kept = ~np.isin(self._places[:, 0], numbers)
        self._words, self._keys, self._places = self._words[kept], self._keys[kept], self._places[kept]

    def _shard(self, number: int) -> Shard | None:
        """A shard that was checked, once a process; None where it is damaged."""
        if number not in self._shards:
            self._shards[number] = shards.checked(self._indices[number])
        return self._shards[number]

    # ---- writing ---------------------------------------------------------------------------------------

    def put(self, keys: ndarray, encoded: Encoded) -> None:
        """Keep rows; they are written together with those that follow within some seconds.

        Args:
            keys: (n, 32) uint8.
            encoded: n rows.
        """
        with self._lock:
            if not self._unsaved:
                self._unsaved_since = time.monotonic()
            self._unsaved.append((keys, encoded))
            n_bytes = sum(own.values.nbytes for _, own in self._unsaved)
            is_late = time.monotonic() - self._unsaved_since >= SECONDS_BETWEEN_SHARDS
            if n_bytes >= SHARD_BYTES or is_late:
                self.flush()

    def flush(self) -> None:
        """Write what :meth:`put` kept."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
            if not unsaved or not self._writable:
                return
            try:
                shards.write(
                    self.path, np.concatenate([keys for keys, _ in unsaved]), [own for _, own in unsaved]
                )
            except OSError as error:
                self._writable = False
                reason = error.strerror or error
                warnings.warn(
                    f"the cache at {self.path} cannot be written to ({reason}); encoding goes on without it; "
                    f"free some space, or set {VARIABLE} to another folder",
                    CacheWarning,
                    stacklevel=2,
                )
            self.merge(MOST_SMALL)

    def merge(self, most: int = 1) -> None:
        """Merge small shards, the oldest first, until at most so many are left.

        Args:
            most: how many may stay of each size.
        """
        with self._lock:
            if not os.access(self.path, os.W_OK):
                return
            for bound in SMALL_BYTES:
                self._read_indices()
                while len(small := [own for own in self._indices.values() if own.n_bytes < bound]) > most:
                    try:
                        shards.merge(sorted(small, key=lambda own: own.written)[:_MERGED_AT_ONCE])
                    except OSError:  # another process does it, or the disk is full: they are good as they are
                        return
                    self._read_indices()


@lru_cache(maxsize=64)
def opened(path: Path, fingerprint: str) -> Cache:
    """The cache of one encoder; the same one each time, so that its indices are read once a process."""
    return Cache(path, fingerprint)


# ---- keys ----------------------------------------------------------------------------------------------


def key(cell: Any) -> bytes:
    """SHA-256 of a raw cell's content; of a file's bytes wherever it lies.

    Raises:
        Corrupt: a file that cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(cell, str):
        digest.update(b"text " + cell.encode("utf-8", "surrogatepass"))
    elif isinstance(cell, bytes):
        digest.update(b"file " + cell)
    elif isinstance(cell, Path):
        digest.update(b"file ")
        _update_from_file(digest, cell)
    elif isinstance(cell, tuple):
        _update_from_array(digest, b"sound %d" % int(cell[1]), np.asarray(cell[0]))
    elif isinstance(cell, ndarray):
        _update_from_array(digest, b"array", cell)
    else:
        _update_from_array(digest, b"image", np.asarray(decoding.image(cell)))
    return digest.digest()


def _update_from_file(digest: Any, path: Path) -> None:
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise decoding.Corrupt(decoding.reason(error)) from error


def _update_from_array(digest: Any, tag: bytes, array: ndarray) -> None:
    digest.update(tag + f" {array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())


def _places(number: int, n: int, first: int = 0) -> ndarray:
    return np.stack([np.full(n, number), np.arange(first, first + n)], axis=1)


def _words(keys: ndarray) -> ndarray:
    """The first 8 bytes of each key, by which they are sorted: (n, 32) uint8 -> (n,) uint64."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
