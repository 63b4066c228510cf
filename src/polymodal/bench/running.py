"""Many cells, here or in several processes; those that are done already are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from polymodal.bench.files import append, finished, partial_of, write
from polymodal.bench.fitting import run_cell
from polymodal.bench.grid import Cell
from polymodal.bench.results import Result
from polymodal.errors import ConfigError, PolymodalError
from polymodal.progress import progress

Work = Callable[[Cell, str | Path | None, str | Path | None], Result]
"""What :func:`run` does with a cell, given the data sets' folder and where to save the model, if anywhere."""


def run(
    chosen: Sequence[Cell],
    *,
    data: str | Path | None = None,
    jobs: int = 1,
    out: str | Path | None = None,
    command: str = "",
    models: Mapping[str, str | Path] | None = None,
    work: Work | None = None,
    seconds: Mapping[str, float] | None = None,
    verbose: bool = True,
) -> list[Result]:
    """Run the cells that are not done yet, and write the figures.

    Args:
        chosen: which cells.
        data: the folder of the data sets that are not bundled.
        jobs: how many processes.
        out: ``FILE.json`` for the rows; beside it ``FILE.meta.json`` (versions, hashes, seconds, parameters)
            and ``FILE.partial.jsonl`` (finished cells, as they come).
        command: what was typed, for ``FILE.meta.json``.
        models: key of a cell -> directory to save its fitted estimator to.
        work: what is done with a cell: a function that other processes can import; None for
            :func:`run_cell`.
        seconds: key of a cell -> what it is expected to take, so that the time left is told by it; None
            takes all cells for alike.
        verbose: show progress.

    Returns:
        One result a cell, in the cells' order.

    Raises:
        PolymodalError: a cell failed; what was finished is kept.
    """
    if jobs < 1:
        raise ConfigError(f"jobs is a number of processes, at least 1; {jobs} came; leave it out for one")
    partial = None
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(out)
    done = {} if partial is None else finished(partial)
    left = [cell for cell in chosen if cell.key not in done]
    weights = {cell.key: max(1, round(10 * (seconds or {}).get(cell.key, 0.1))) for cell in left}
    n_before = len(done)
    with progress("bench", sum(weights.values()), verbose=verbose) as shown:
        for result in _results(left, data, models or {}, min(jobs, len(left)), work or run_cell):
            done[result.cell.key] = result
            if partial is not None:
                append(partial, result)
            shown.step(lambda: f"{len(done) - n_before}/{len(left)} cells", weights[result.cell.key])
    results = [done[cell.key] for cell in chosen]
    if out is not None:
        write(out, results, command=command)
    return results


def _results(
    left: Sequence[Cell], data: str | Path | None, models: Mapping[str, str | Path], jobs: int, work: Work
) -> Iterator[Result]:
    """Results as they come: in order here, or in any order from several processes."""
    if jobs <= 1:
        yield from (_named(work, cell, data, models.get(cell.key)) for cell in left)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_named, work, cell, data, models.get(cell.key)) for cell in left]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _named(work: Work, cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """The work on a cell, whose errors say which cell it was."""
    try:
        return work(cell, data, model)
    except PolymodalError as error:
        raise PolymodalError(f"{cell}: {error}") from error
