"""Published data sets in the files in which they are published.

    base.py        what is known of a set, and how a folder is judged
    unpickle.py    pickles of arrays, and of nothing else

Every other file reads one family of sets and is imported when one of them is asked for. ``names``, ``get``,
``read`` and ``check`` are all that others call.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from polymodal.data.public.base import Finding, PublicSet, findings
from polymodal.data.readers import Dataset
from polymodal.errors import ConfigError, DataError

__all__ = ["Finding", "PublicSet", "check", "get", "names", "read"]

_SETS: dict[str, str] = {
    "coco": "captions:COCO",
    "flickr30k": "captions:FLICKR30K",
    "food101": "food101:FOOD101",
    "hateful_memes": "hateful_memes:HATEFUL_MEMES",
    "meld": "meld:MELD",
    "mmimdb": "mmimdb:MMIMDB",
    "mosi_mmsa": "mmsa:MOSI",
    "mosei_mmsa": "mmsa:MOSEI",
    "sims": "mmsa:SIMS",
    "mosi_mult": "mult:MOSI",
    "mosei_mult": "mult:MOSEI",
    "iemocap": "mult:IEMOCAP",
    "wesad_raw": "wesad:WESAD",
}
"""Name -> "module:CONSTANT", the module in this package."""


def names() -> tuple[str, ...]:
    """Names of the published sets."""
    return tuple(_SETS)


def get(name: str) -> PublicSet:
    """What is known of a set.

    Raises:
        ConfigError: there is no such set.
    """
    if name not in _SETS:
        close = get_close_matches(name, _SETS, n=1)
        way_out = f"did you mean {close[0]!r}?" if close else "name one of them."
        raise ConfigError(f"published data sets are {', '.join(_SETS)}; {name!r} came; {way_out}")
    module, _, constant = _SETS[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), constant)


def read(name: str, folder: str | Path, variant: str | None = None) -> Dataset:
    """Read a set from the folder that holds its files.

    Args:
        name: one of ``names()``.
        folder: what ``layout`` is relative to.
        variant: one of the set's; None: its default.

    Raises:
        ConfigError: the name or the variant is unknown.
        DataError: a file is missing, or is not what it should be.
    """
    known = get(name)
    variant = known.variant(variant)
    if not Path(folder).is_dir():
        raise DataError(
            f"{name} is read from the folder {folder}; there is none; get "
            f"{', '.join(known.paths(variant))} from {known.source}."
        )
    return known.read(Path(folder), variant)


def check(name: str, folder: str | Path, variant: str | None = None) -> list[Finding]:
    """Whether a folder holds a set as it was published; what is wrong with it is a finding, never an error.

    Args:
        name: one of ``names()``.
        folder: as in :func:`read`.
        variant: as in :func:`read`.

    Raises:
        ConfigError: the name or the variant is unknown.
    """
    known = get(name)
    variant = known.variant(variant)
    if not Path(folder).is_dir():
        return [Finding(False, f"{folder} is no folder")]
    return list(findings(known, Path(folder), variant))
