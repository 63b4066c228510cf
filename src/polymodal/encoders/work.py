"""Raw cells of one modality -> rows: looked up in the cache, else decoded and encoded, batch by batch.

Threads decode some batches ahead of the encoder. With a cache, a content that several rows share is encoded
once. Letters: n cells, d width, T steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy import ndarray

from polymodal.data.stored import Stored
from polymodal.encoders import Medium, decoding
from polymodal.encoders import cache as disk
from polymodal.encoders.base import Encoded, Encoder, Kind, learns, settings_fingerprint
from polymodal.encoders.decoding import Corrupt
from polymodal.schema import Raw, Video

BATCH: dict[Medium, int] = {"Text": 256, "Image": 32, "Audio": 16, "Video": 2}
"""Decoded cells that an encoder gets at once: they bound the memory, whatever the number of rows."""

_AHEAD = 2
"""Batches that are decoded while the encoder works on another one."""

_KEYS_AT_ONCE = 32
"""Handing a cell over to a thread takes longer than hashing a small file."""

Step = Callable[[int], None]
"""``step(n)``: n more cells are done."""


def nothing(n: int) -> None:
    """A step that nobody watches."""
    del n


class Rows:
    """Encoded rows of n cells, as they come.

    Attributes:
        vectors: (n, d) float32, NaN where a cell is corrupt; None before the first vector.
        sequences: n arrays (T, d), None where a cell is corrupt or nothing came yet.
        corrupt: number of a cell -> why it cannot be decoded.
        shape: kind and d; None before the first row.
    """

    def __init__(self, n: int) -> None:
        self.vectors: ndarray | None = None
        self.sequences: list[ndarray | None] = [None] * n
        self.corrupt: dict[int, str] = {}
        self.shape: tuple[Kind, int] | None = None

    def put(self, index: ndarray, kind: Kind, found: Sequence[ndarray] | ndarray) -> None:
        """Rows of some of the cells."""
        n, self.shape = len(self.sequences), (kind, int(found[0].shape[-1]))
        if kind == "series":
            for i, row in zip(index.tolist(), found, strict=True):
                self.sequences[i] = row
        elif np.array_equal(index, np.arange(n)):
            self.vectors = np.asarray(found)  # all of them, perhaps memory-mapped: nothing is copied
        else:
            if self.vectors is None:
                self.vectors = np.full((n, self.shape[1]), np.nan, dtype=np.float32)
            self.vectors[index] = found

    def add(self, batch: _Batch, index: ndarray) -> None:
        """A batch of the cells whose numbers are ``index``."""
        self.corrupt |= {int(index[i]): why for i, why in batch.corrupt.items()}
        if batch.encoded is not None:
            is_series = batch.encoded.kind == "series"
            found = (
                [batch.encoded.row(i) for i in range(len(batch.sound))] if is_series else batch.encoded.values
            )
            self.put(index[batch.sound], batch.encoded.kind, found)

    def take(self, index: Sequence[int]) -> Rows:
        """Rows in another order, or several times."""
        taken = Rows(len(index))
        taken.shape = self.shape
        taken.vectors = None if self.vectors is None else self.vectors[np.asarray(index, dtype=np.int64)]
        taken.sequences = [self.sequences[i] for i in index]
        taken.corrupt = {k: self.corrupt[i] for k, i in enumerate(index) if i in self.corrupt}
        return taken


@dataclass(frozen=True)
class _Batch:
    """Cells that were decoded and encoded together.

    Attributes:
        n: how many.
        sound: (k,) numbers of those that could be decoded, counted from the first cell of all batches.
        encoded: k rows; None where k is 0.
        corrupt: numbers of the others, and why.
    """

    n: int
    sound: ndarray
    encoded: Encoded | None
    corrupt: dict[int, str]


def encode(cells: Sequence[Any], modality: Raw, encoder: Encoder, n_workers: int, step: Step) -> Rows:
    """Encode present cells.

    Args:
        cells: n raw cells.
        modality: their declaration.
        encoder: ready to encode.
        n_workers: threads that read and decode.
        step: told how many cells are done.
    """
    cache = cache_of(encoder, modality)
    with ThreadPoolExecutor(n_workers, thread_name_prefix="decode") as threads:
        pool = None if medium_of(modality) == "Text" else threads  # a text takes less than handing it over
        if cache is not None:
            return _through(cache, cells, modality, encoder, pool, step)
        rows = Rows(len(cells))
        for batch in _batches(cells, modality, encoder, pool):
            rows.add(batch, np.arange(len(cells)))
            step(batch.n)
        return rows


def _through(
    cache: disk.Cache,
    cells: Sequence[Any],
    modality: Raw,
    encoder: Encoder,
    pool: Executor | None,
    step: Step,
) -> Rows:
    """Rows from the cache; the others are encoded, each content once, and put there."""
    contents = _Contents(_keys(cells, pool))
    rows = Rows(contents.n)
    rows.corrupt = dict(contents.unreadable)
    hits = cache.get(contents.keys)
    if hits.mask.any():
        found = hits.vectors() if hits.are_vectors else hits.sequences()
        rows.put(contents.readable[hits.mask], "vector" if hits.are_vectors else "series", found)
    missed, keys = contents.readable[~hits.mask], contents.keys[~hits.mask]
    step(len(cells) - len(missed))
    try:
        for batch in _batches([cells[contents.first[i]] for i in missed], modality, encoder, pool):
            rows.add(batch, missed)
            if batch.encoded is not None:
                cache.put(keys[batch.sound], batch.encoded)
            step(batch.n)
    finally:
        cache.flush()
    return rows if contents.n == len(cells) else rows.take(contents.of_cell)


def _keys(cells: Sequence[Any], pool: Executor | None) -> list[bytes | Corrupt]:
    """Of each cell its key, or why it cannot be read."""
    tasks = [cells[start : start + _KEYS_AT_ONCE] for start in range(0, len(cells), _KEYS_AT_ONCE)]
    found = _ahead(pool, lambda task: [attempt(disk.key, cell) for cell in task], tasks, _KEYS_AT_ONCE)
    return [key for keys in found for key in keys]


class _Contents:
    """Which cells have the same content.

    Args:
        outcomes: of each cell its key, or why it cannot be read.

    Attributes:
        n: different contents, numbered in the order of their first cells.
        of_cell: of each cell the number of its content.
        first: of each content its first cell.
        readable: (k,) numbers of the contents that could be read.
        keys: (k, 32) uint8, theirs.
        unreadable: numbers of the others, and why.
    """

    def __init__(self, outcomes: Sequence[bytes | Corrupt]) -> None:
        number: dict[bytes | int, int] = {}
        self.of_cell: list[int] = []
        self.first: list[int] = []
        self.unreadable: dict[int, str] = {}
        for i, outcome in enumerate(outcomes):
            own = number.setdefault(i if isinstance(outcome, Corrupt) else outcome, len(number))
            self.of_cell.append(own)
            if own == len(self.first):
                self.first.append(i)
            if isinstance(outcome, Corrupt):
                self.unreadable[own] = str(outcome)
        self.n = len(number)
        self.readable = np.array([i for key, i in number.items() if isinstance(key, bytes)], dtype=np.int64)
        joined = b"".join(key for key in number if isinstance(key, bytes))
        self.keys = np.frombuffer(joined, dtype=np.uint8).reshape(-1, disk.KEY_BYTES)


def _batches(
    cells: Sequence[Any], modality: Raw, encoder: Encoder, pool: Executor | None
) -> Iterator[_Batch]:
    size = BATCH[medium_of(modality)]
    outcomes = enumerate(_ahead(pool, decoder(modality), cells, size * _AHEAD))
    while batch := list(islice(outcomes, size)):
        sound = {i: own for i, own in batch if not isinstance(own, Corrupt)}
        encoded = encoder.encode(list(sound.values())) if sound else None
        corrupt = {i: str(own) for i, own in batch if isinstance(own, Corrupt)}
        yield _Batch(len(batch), np.array(list(sound), dtype=np.int64), encoded, corrupt)


def _ahead(
    pool: Executor | None, function: Callable[[Any], Any], cells: Sequence[Any], n_ahead: int
) -> Iterator[Any]:
    """What a function makes of each cell or task, some of them ahead of whoever reads."""
    if pool is None:
        yield from (attempt(function, cell) for cell in cells)
        return
    waiting: deque[Future[Any]] = deque()
    for cell in cells:
        waiting.append(pool.submit(attempt, function, cell))
        if len(waiting) > n_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def attempt(function: Callable[[Any], Any], cell: Any) -> Any:
    """What a function makes of a cell, or why it cannot."""
    try:
        return function(cell.read() if isinstance(cell, Stored) else cell)
    except Corrupt as reason:
        return reason


def medium_of(modality: Raw) -> Medium:
    """What the cells of a modality are."""
    return type(modality).__name__  # type: ignore[return-value]


def decoder(modality: Raw) -> Callable[[Any], Any]:
    """The function that decodes a cell of a modality."""
    if isinstance(modality, Video):
        n_frames = modality.n_frames
        return lambda cell: decoding.video(cell, n_frames)
    functions = {"Text": decoding.text, "Image": decoding.image, "Audio": decoding.audio}
    return functions[type(modality).__name__]


def cache_of(encoder: Encoder, modality: Raw) -> disk.Cache | None:
    """Where the rows of an encoder are kept; None where they are not."""
    folder = disk.folder()
    fingerprint = None if folder is None or learns(encoder) else encoder.fingerprint()
    if folder is None or fingerprint is None:
        return None
    n_frames = modality.n_frames if isinstance(modality, Video) else 0
    return disk.opened(folder, settings_fingerprint(fingerprint, decoding.VERSION, n_frames=n_frames))
