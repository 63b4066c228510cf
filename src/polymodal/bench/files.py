"""Figures on the disk: finished cells as they come, and in the end the rows and what an auditor asks."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polymodal.bench.grid import Cell
from polymodal.bench.results import Result

VERSIONS_OF = ("polymodal", "torch", "numpy", "scikit-learn", "pandas")


def _stem(out: str | Path) -> str:
    return str(out).removesuffix(".json")


def partial_of(out: str | Path) -> Path:
    """The file of finished cells beside ``FILE.json``."""
    return Path(f"{_stem(out)}.partial.jsonl")


def finished(partial: Path) -> dict[str, Result]:
    """Cells that a file of finished cells holds, by key; a line that was cut off is left out.

    So are cells whose record says ``failed``: they are run again.
    """
    if not partial.exists():
        return {}
    done = {}
    for line in partial.read_text(encoding="utf-8").splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        saved = content["cell"]
        saved |= {part: tuple(map(tuple, saved.get(part, ()))) for part in ("settings", "encoders")}
        cell = Cell(**saved)
        if "failed" not in content["record"]:
            done[cell.key] = Result(cell, content["rows"], content["record"])
    return done


def append(partial: Path, result: Result) -> None:
    """One more line, on the disk before the next cell counts; a line that was cut off stays alone."""
    content = {"cell": asdict(result.cell), "rows": result.rows, "record": result.record}
    with partial.open("ab+") as file:
        if file.tell() and not _ends_a_line(partial):
            file.write(b"\n")
        file.write(json.dumps(content).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def write(out: str | Path, results: Sequence[Result], *, command: str = "") -> None:
    """Write ``FILE.json`` (rows) and ``FILE.meta.json`` (what an auditor asks), each whole or not at all."""
    meta = {
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        "cells": [result.record for result in results],
    }
    write_json(f"{_stem(out)}.meta.json", meta)
    write_json(out, [row for result in results for row in result.rows])


def write_json(path: str | Path, content: Any) -> None:
    """JSON, one line an entry of a list, under a temporary name, synced and renamed."""
    if isinstance(content, list):
        text = "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in content) + "\n]\n"
    else:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
