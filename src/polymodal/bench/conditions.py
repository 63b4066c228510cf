"""What holds while a cell runs: one thread, and warnings that are kept for its record."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from polymodal.errors import PolymodalWarning


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and the linear algebra: the same figures however many cells run at once."""
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """Keep this library's warnings for the record instead of showing them; all others as always."""
    kept: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", PolymodalWarning)
        shown = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, PolymodalWarning):
                kept.append(str(message))
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = keep
        yield kept
