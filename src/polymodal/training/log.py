"""History entries written to a folder, one by one: JSON lines, and TensorBoard events if asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polymodal.errors import MissingExtraError
from polymodal.training.settings import TrainingConfig

Log = Callable[[Mapping[str, Any]], None]


@contextmanager
def written(config: TrainingConfig, history: Sequence[Mapping[str, Any]]) -> Iterator[Log]:
    """A function that writes history entries to ``log_dir``, after those of an earlier run."""
    if config.log_dir is None:
        yield nothing
        return
    folder = Path(config.log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "history.jsonl").open("w", encoding="utf-8") as lines, _events(config) as event:

        def line(entry: Mapping[str, Any]) -> None:
            print(json.dumps({k: _json_value(v) for k, v in entry.items()}), file=lines, flush=True)

        def write(entry: Mapping[str, Any]) -> None:
            line(entry)
            event(entry)

        for entry in history:
            line(entry)
        yield write


def nothing(entry: Mapping[str, Any]) -> None:
    """Write nothing down."""
    del entry


def _json_value(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _events(config: TrainingConfig) -> Iterator[Log]:
    if not config.tensorboard:
        yield nothing
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard=True", "tensorboard", "tensorboard") from error
    with SummaryWriter(config.log_dir) as writer:

        def write(entry: Mapping[str, Any]) -> None:
            for name, value in entry.items():
                if isinstance(value, int | float) and name != "epoch":
                    writer.add_scalar(name, value, entry["epoch"])

        yield write
