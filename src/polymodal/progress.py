"""How far a fit has come: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.2

STEPS = {"generation": "generation", "judged": "round"}
"""Stage of a history's entries -> what one entry is, where it is no epoch."""

Show = Callable[[int, int, str], None]
"""``show(done, total, text)``: steps done, steps in all, and what to say beside them."""


def step_of(history: Sequence[Mapping[str, Any]]) -> str:
    """What an entry of ``history_`` is: an epoch, a generation of a committee, or a round."""
    return STEPS.get(history[-1].get("stage", ""), "epoch") if history else "epoch"


def counted_steps(history: Sequence[Mapping[str, Any]]) -> str:
    """How many epochs, generations or rounds a ``history_`` has, in words."""
    return f"{len(history)} {step_of(history)}{'' if len(history) == 1 else 's'}"


class Progress:
    """Steps done out of a total, shown only as often as an eye needs.

    Args:
        total: steps in all.
        show: where it is shown; None for nowhere.
        seconds: least time between two showings.
    """

    def __init__(self, total: int, show: Show | None, seconds: float) -> None:
        self.done = 0
        self._total = total
        self._show = show
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def step(self, text: Callable[[], str], n: int = 1) -> None:
        """``n`` more steps done; ``text`` is called only when something is shown."""
        self.done += n
        if self._show is not None and time.monotonic() >= self._next:
            self._show(self.done, self._total, text())
            self._next = time.monotonic() + self._seconds


@contextmanager
def progress(title: str, total: int, *, verbose: bool, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show the steps done within the block.

    Args:
        title: what is being done.
        total: steps in all.
        verbose: False shows nothing.
        stream: where to; None for standard error.
    """
    stream = sys.stderr if stream is None else stream
    if not verbose:
        yield Progress(total, None, 0.0)
    elif stream.isatty():
        with _bar(title, total, stream) as show:
            yield Progress(total, show, SECONDS_BETWEEN_FRAMES)
    else:
        yield Progress(total, _lines(title, stream), SECONDS_BETWEEN_LINES)


def _lines(title: str, stream: TextIO) -> Show:
    start = time.monotonic()

    def show(done: int, total: int, text: str) -> None:
        left = (time.monotonic() - start) / done * (total - done)
        print(f"{title}: {100 * done // total} %, {text}, at most {left:.0f} s left", file=stream, flush=True)

    return show


@contextmanager
def _bar(title: str, total: int, stream: TextIO) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, text=text)
