"""What is known of a published data set, and how its folder is judged.

Every set is one :class:`PublicSet` beside the function that reads it. Facts are those of the set's own paper,
repository or loader; what nobody could verify says so in ``notes`` or is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polymodal.data.readers import Dataset
from polymodal.errors import ConfigError, DataError

ALL = "all"
"""Key of ``n_rows`` for a set without published parts."""


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """A published data set.

    Attributes:
        name: as ``load`` knows it.
        title: one line.
        task: what its labels are.
        modalities: in words: ``("text: Text", "image: Image")``.
        metrics: names of the default metrics, the primary one first.
        n_rows: published number of rows of each part of the split, or of ``"all"``; empty where none is.
        source: where to get it, and what to fetch.
        licence: of the data.
        citation: what to cite.
        layout: relative paths that must be there for every variant; a trailing ``/`` is a folder.
        layouts: variant -> those that it needs besides.
        variants: the first is the default; empty where there are none.
        checksums: relative path -> ``"sha256:..."`` or ``"md5:..."``, as published.
        notes: traps.
        read: (folder, variant) -> the data; the variant is None where there are none.
    """

    name: str
    title: str
    task: Literal["multiclass", "multilabel", "regression", "retrieval"]
    modalities: tuple[str, ...]
    metrics: tuple[str, ...]
    n_rows: Mapping[str, int]
    source: str
    licence: str
    citation: str
    layout: tuple[str, ...]
    layouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    read: Callable[[Path, str | None], Dataset]

    def variant(self, named: str | None) -> str | None:
        """The variant named, or the default one.

        Raises:
            ConfigError: there is no such variant.
        """
        if named is None:
            return self.variants[0] if self.variants else None
        if named not in self.variants:
            has = f"the variants {', '.join(self.variants)}" if self.variants else "no variants"
            way_out = "name one of them" if self.variants else "leave it out"
            raise ConfigError(f"{self.name} has {has}; {named!r} came; {way_out}.")
        return named

    def paths(self, variant: str | None) -> tuple[str, ...]:
        """Relative paths that must be there for a variant."""
        return (*self.layout, *self.layouts.get(variant or "", ()))

    def path(self, folder: Path, relative: str) -> Path:
        """``folder/relative``, which is there.

        Raises:
            DataError: it is not.
        """
        found = folder / relative
        if not (found.is_dir() if relative.endswith("/") else found.is_file()):
            kind = "folder" if relative.endswith("/") else "file"
            raise DataError(
                f"{self.name} is read from the {kind} {found}; there is none; get it from {self.source}, "
                f"and put it into {folder}."
            )
        return found


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at in a folder.

    Attributes:
        is_right: whether it is as published.
        what: in words.
    """

    is_right: bool
    what: str


def findings(known: PublicSet, folder: Path, variant: str | None) -> Iterator[Finding]:
    """Whether a folder holds the set as it was published: its paths, its checksums, its rows.

    A checksum is compared where its file is there; what must be there, ``layout`` says.
    """
    paths = known.paths(variant)
    missing = [path for path in paths if not _is_there(folder, path)]
    yield from (Finding(path not in missing, f"{path} is {_there(path, missing)}") for path in paths)
    yield from (
        _checksum(folder / path, path, published)
        for path, published in known.checksums.items()
        if (folder / path).is_file()
    )
    if not missing:
        yield from _rows(known, folder, variant)


def _is_there(folder: Path, path: str) -> bool:
    return (folder / path).is_dir() if path.endswith("/") else (folder / path).is_file()


def _there(path: str, missing: list[str]) -> str:
    return "missing" if path in missing else "there"


def _checksum(file: Path, path: str, published: str) -> Finding:
    algorithm, _, digest = published.partition(":")
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
    except OSError as error:
        return Finding(False, f"{path} cannot be read, {error.strerror}")
    is_right = found == digest.lower()
    return Finding(is_right, f"{path} has {'' if is_right else 'not '}the published {algorithm}")


def _rows(known: PublicSet, folder: Path, variant: str | None) -> Iterator[Finding]:
    try:
        data = known.read(folder, variant)
    except Exception as error:  # whatever a damaged file provokes is a finding
        is_ours = isinstance(error, DataError)
        yield Finding(False, str(error) if is_ours else f"it cannot be read: {error!r}")
        return
    parts = next(iter(data.splits.values()), {})
    found = {ALL: len(data), **{part: len(rows) for part, rows in parts.items()}}
    for part, published in known.n_rows.items():
        n_rows = found.get(part, 0)
        yield Finding(n_rows == published, f"{part}: {n_rows:,} rows, {published:,} published")
    if not known.n_rows:
        yield Finding(True, f"{len(data):,} rows; no number is published")
