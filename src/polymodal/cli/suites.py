"""The verb ``bench --suite``: how long it takes, the run, and the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from polymodal.cli.shown import print_json, put, warn


def run(
    name: str,
    out: Path | None,
    *,
    methods: Sequence[str] | None,
    data: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run a suite's cells that are not done yet, and show the ranked table; exit code 1 if a cell failed."""
    from polymodal import bench, suite
    from polymodal.methods import floors

    chosen = suite.read(name)
    out = out or Path(f"suite-{name}.json")
    done = bench.finished(bench.partial_of(out))
    cells = suite.cells(chosen, methods=methods, data=data)
    left = [cell for cell in cells if cell.key not in done]
    expected = suite.estimate(left, done.values())
    print(f"{name}: {expected}, with --jobs {jobs} {expected.wall(jobs)}", file=sys.stderr, flush=True)
    command = f"polymodal bench --suite {name} --data DIR"  # no folder of a machine is kept with the figures
    results = suite.run(chosen, out, methods=methods, data=data, jobs=jobs, command=command)
    names = list(dict.fromkeys(result.cell.name for result in results))
    blocks, _ = suite.blocks(suite.to_table(results), methods=names)
    table = suite.ranked(blocks, names)
    if as_json:
        print_json(table.astype(object).where(table.notna(), None).to_dict("records"))
    else:
        put(suite.show(table, floors=floors.FLOORS))
    for warning in bench.said(results):
        warn(warning)
    failed = [result for result in results if "failed" in result.record]
    for result in failed:
        warn(f"failed: {result.cell}: {result.record['failed']}")
    if failed:
        raise typer.Exit(1)
