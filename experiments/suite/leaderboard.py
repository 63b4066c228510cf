"""experiments/LEADERBOARD.md, suite/ranks.svg and a paragraph of the README from the committed results.

    polymodal bench --suite core --data DIR --jobs 2 --out experiments/suite/core.json
    python experiments/suite/leaderboard.py

The first command takes hours and goes on where it was cut off, the second seconds. No figure is typed.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal import suite
from polymodal.methods.floors import FLOORS
from polymodal.metrics import METRICS
from polymodal.ranking import cliques, critical_difference, falls_behind, friedman, ranks
from polymodal.suite import Block
from polymodal.suite.verdict import difference, mean_scores

HERE = Path(__file__).parent
RESULTS = HERE / "core.json"
PAGE = HERE.parent / "LEADERBOARD.md"
PICTURE = HERE / "ranks.svg"
README = HERE.parent.parent / "README.md"
START, END = "<!-- leaderboard -->", "<!-- end of leaderboard -->"

REGIMES = {
    "complete": "complete",
    "random_30": "30 % at random",
    "random_50": "50 % at random",
    "random_70": "70 % at random",
    "imbalanced": "imbalanced",
    "not_at_random": "not at random",
}

ABOUT = """\
Made by `python experiments/suite/leaderboard.py` from `experiments/suite/core.json`, which
`{command}` wrote. A cell is a data set
with a share of labels and a missing regime; all methods get the same rows, labels and masks, whose SHA-256
lie beside the results. The figure of a cell is the data set's primary metric: with complete inputs the mean
over all combinations of modalities, else the test rows as they come. Up to {n_seeds} seeds; {rows}
at most. One setting of a method for all data sets, nothing tuned on a test part. Methods in italics, the rest
are floors.

- *best in*: cells in which no other method is better.
- *behind in*: cells in which it is significantly below the best: a paired one-sided t-test over the seeds at
  5 %, not corrected for the number of methods, so that some marks come by chance.
- *points to the first*: percentage points of difference to the first method over the cells whose metric is a
  share, with a bootstrap interval of 95 % over cells and seeds.
- Of label sets every method answers what its `predict` says: the default above cuts that it learns, others
  above 1/2.
- A method that is not made for a task shares the last rank there. One with fewer seeds than the others
  (*seeds*: its mean number) is compared by those it has; where that is one, nothing can be significant.
- Cells of one data set resemble each other. The critical difference takes them for independent and is smaller
  than it should be; with the data sets alone as the cells it is {difference:.2f}."""


# ---- the results -----------------------------------------------------------------------------------------


def load(results: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The tidy table, and the lines of what an auditor asks."""
    table = pd.DataFrame(json.loads(results.read_text()), columns=suite.running.TABLE)
    return table.astype({"value": float}), json.loads(results.with_suffix(".meta.json").read_text())


def cells_of(meta: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One line a cell: dataset, method, seconds of a processor."""
    rows = [line for line in meta if "cell" in line]
    return pd.DataFrame(
        {
            "dataset": [bench_name(line["cell"]) for line in rows],
            "method": [line["cell"]["method"] for line in rows],
            "seconds": [line.get("cpu_seconds", np.nan) for line in rows],
            "failed": [line.get("failed", "") for line in rows],
        }
    )


def methods_of(meta: Sequence[dict[str, Any]]) -> list[str]:
    """Methods of the results, those that failed everywhere too."""
    return list(dict.fromkeys(line["cell"]["method"] for line in meta if "cell" in line))


def bench_name(cell: dict[str, Any]) -> str:
    """How tables call the data set of a cell."""
    variant = f":{cell['variant']}" if cell["variant"] else ""
    split = f"/{cell['split']}" if cell["split"] else ""
    return f"{cell['dataset']}{variant}{split}"


# ---- Markdown --------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header; figures to the right."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" + "|--:" * (len(rows[0]) - 1) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"
    yield ""


def italic(method: str) -> str:
    """Methods in italics, floors not."""
    return method if method in FLOORS else f"*{method}*"


def share(labels: float) -> str:
    """A share of labels."""
    return f"{100 * labels:g} %"


# ---- sections --------------------------------------------------------------------------------------------


def ranking(blocks: Sequence[Block], names: Sequence[str]) -> Iterator[str]:
    """The ranked table over all cells."""
    table = suite.ranked(blocks, names)
    ordered = [names.index(method) for method in table["method"]]
    test = friedman(ranks(mean_scores(blocks)))
    other = sorted({b.metric for b in blocks if not METRICS[b.metric].unit_interval})
    yield "## All cells"
    yield ""
    yield f"{len(blocks)} cells, {len(names)} methods. Friedman's test: chi-squared {test.statistic:.0f},"
    yield f"p {'< 0.001' if test.p < 0.001 else f'= {test.p:.3f}'}. Mean ranks less than"
    yield f"{table.attrs['critical_difference']:.2f} apart cannot be told apart (Nemenyi, 5 %)."
    yield ""
    yield "![Mean ranks](suite/ranks.svg)"
    yield ""
    head = [
        "method",
        "mean rank",
        "best in",
        "behind in",
        "points to the first",
        *other,
        "failed in",
        "seeds",
    ]
    rows = [head]
    for i, line in zip(ordered, table.to_dict("records"), strict=True):
        first = i == ordered[0]
        more = [interval(None if first else difference(blocks, i, ordered[0], m), 3) for m in other]
        rows.append(
            [
                italic(line["method"]),
                f"{line['mean_rank']:.2f}",
                str(line["n_best"]),
                str(line["n_behind"]),
                interval(None if first else difference(blocks, i, ordered[0]), 1),
                *more,
                str(line["n_failed"]),
                f"{line['seeds']:.3g}",
            ]
        )
    yield from markdown(rows)
    groups = cliques(table["mean_rank"].to_numpy(), table.attrs["critical_difference"])
    for first, last in groups:
        yield f"- not told apart: {', '.join(table['method'][first : last + 1])}"
    yield ""


def interval(found: Any, digits: int) -> str:
    """A mean difference and its interval; negative is worse than the first."""
    if found is None:
        return "-"
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def by_part(blocks: Sequence[Block], names: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    """Mean ranks by regime, by share of labels and by data set."""
    ranked = pd.DataFrame(ranks(mean_scores(blocks)), columns=list(names))
    for title, parts in (
        ("Missing regime", [REGIMES[b.missing] for b in blocks]),
        ("Share of labels", [share(b.labels) for b in blocks]),
        ("Data set", [b.dataset for b in blocks]),
    ):
        means = ranked.groupby(pd.Series(parts), sort=False).mean()
        yield f"### {title}"
        yield ""
        best = means.min(axis=1)
        rows = [["mean rank", *(str(part) for part in means.index)]]
        for method in order:
            values = zip(means[method], best, strict=True)
            rows.append([italic(method), *(bold(f"{v:.1f}", on=bool(v == b)) for v, b in values)])
        yield from markdown(rows)


def bold(words: str, *, on: bool) -> str:
    """Words, in bold or not."""
    return f"**{words}**" if on else words


def by_statistic(table: pd.DataFrame, names: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    """Mean ranks on complete inputs by the mean, all together, and the worst combination."""
    complete = table[table["missing"] == "complete"]
    if complete.empty:
        return
    yield "## Complete inputs"
    yield ""
    yield "Mean ranks by the mean over all combinations of modalities, by all of them together, and by the"
    yield "worst combination; in brackets the cells in which a method is significantly below the best."
    yield ""
    columns = {}
    for statistic in ("mean", "all", "worst"):
        found, _ = suite.blocks(complete, statistic, methods=names)
        columns[statistic] = suite.ranked(found, names).set_index("method")
    rows = [["method", *columns]]
    for method in order:
        own = [part.loc[method] for part in columns.values()]
        rows.append([italic(method), *(f"{line['mean_rank']:.2f} ({int(line['n_behind'])})" for line in own)])
    yield from markdown(rows)


def by_cell(blocks: Sequence[Block], names: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    """Every figure: a table a data set and regime."""
    yield "## Every cell"
    yield ""
    yield "Mean ± standard deviation over seeds; the best in bold; † significantly below the best."
    yield ""
    for dataset in dict.fromkeys(b.dataset for b in blocks):
        own = [b for b in blocks if b.dataset == dataset]
        metric = METRICS[own[0].metric]
        better = "higher" if metric.greater_is_better else "lower"
        yield f"### {dataset}: {metric.name} ({better} is better)"
        yield ""
        rows = [["method", *(f"{REGIMES[b.missing]}, {share(b.labels)}" for b in own)]]
        marks = [falls_behind(b.scores) for b in own]
        for method in order:
            i = names.index(method)
            cells = (figure(b, i, behind=bool(m[i])) for b, m in zip(own, marks, strict=True))
            rows.append([italic(method), *cells])
        yield from markdown(rows)


def figure(block: Block, i: int, *, behind: bool) -> str:
    """One figure of a block."""
    scores = mean_scores([block])[0]
    if np.isnan(scores[i]):
        return "-"
    values = block.values[~np.isnan(block.values[:, i]), i]
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    words = f"{values.mean():.3f}{spread}"
    return bold(words, on=bool(scores[i] == np.nanmax(scores))) + (" †" if behind else "")


def cost(meta: Sequence[dict[str, Any]], order: Sequence[str]) -> Iterator[str]:
    """Seconds of a processor, a cell."""
    cells = cells_of(meta)
    found = cells.pivot_table("seconds", index="method", columns="dataset", aggfunc="median", sort=False)
    yield "## Seconds"
    yield ""
    yield "Of a processor, to encode, fit and evaluate one cell; median over labels, regimes and seeds."
    yield f"All cells together: {cells['seconds'].sum() / 3600:.1f} hours of a processor."
    yield ""
    body = [[italic(m), *("-" if v != v else f"{v:.1f}" for v in found.loc[m])] for m in order]
    yield from markdown([["method", *found.columns], *body])
    for _, line in cells[cells["failed"] != ""].drop_duplicates(["dataset", "method"]).iterrows():
        yield f"- failed: {line['method']} on {line['dataset']}: {line['failed']}"


def text(results: Path = RESULTS) -> str:
    """The whole page."""
    table, meta = load(results)
    blocks, names = suite.blocks(table, methods=methods_of(meta))
    order = suite.ranked(blocks, names)["method"].tolist()
    problem = next(line["problem"] for line in meta if "problem" in line)
    caps = {"training": problem["max_train"], "test": problem["max_test"]}
    rows = " and ".join(f"{most:,} {name} rows" for name, most in caps.items() if most) or "all rows"
    about = ABOUT.format(
        command=meta[0]["command"],
        n_seeds=table["seed"].nunique(),
        rows=rows,
        difference=critical_difference(len(names), table["dataset"].nunique()),
    )
    left_out = [name for name in suite.read("core").methods if name not in names]
    if left_out:
        about += f"\n- Methods of the suite that have not been run yet: {', '.join(left_out)}."
    lines = [
        "# Leaderboard",
        "",
        *about.splitlines(),
        "",
        *ranking(blocks, names),
        "## Where",
        "",
        *by_part(blocks, names, order),
        *by_statistic(table, names, order),
        *by_cell(blocks, names, order),
        *cost(meta, order),
    ]
    return "\n".join(lines).rstrip() + "\n"


def in_short(results: Path = RESULTS) -> str:
    """A paragraph for the README: the first two methods, and on how many seeds all rest."""
    table, meta = load(results)
    blocks, names = suite.blocks(table, methods=methods_of(meta))
    ranked = suite.ranked(blocks, names)
    first, second = ranked.iloc[0], ranked.iloc[1]
    places = [names.index(method) for method in (second["method"], first["method"])]
    points = difference(blocks, *places)
    assert points is not None
    seeds = ", ".join(f"{line.method} {line.seeds:.2g}" for line in ranked.itertuples())
    words = (
        f"Over {len(blocks)} cells, the mean rank of `{first['method']}` is {first['mean_rank']:.1f} of "
        f"{len(names)}, that of the next, `{second['method']}`, {second['mean_rank']:.1f}, and "
        f"{-points.mean:.1f} points behind it [{-points.high:.1f}, {-points.low:.1f}]. It is best in "
        f"{first['n_best']} cells and significantly below the best in {first['n_behind']}. "
        f"Seeds a cell, in the mean: {seeds}."
    )
    return textwrap.fill(words, 118)


def into_readme(words: str, readme: Path = README) -> None:
    """Put the paragraph between its marks."""
    before, rest = readme.read_text().split(START)
    readme.write_text(f"{before}{START}\n{words}\n{END}{rest.split(END)[1]}")


def draw(results: Path = RESULTS, picture: Path = PICTURE) -> None:
    """The critical-difference diagram."""
    import matplotlib

    from polymodal.plots import critical_difference_diagram
    from polymodal.plots import figure as new_figure

    table, meta = load(results)
    fig, ax = new_figure(11.0, 5.0)
    critical_difference_diagram(suite.ranked(*suite.blocks(table, methods=methods_of(meta))), ax)
    with matplotlib.rc_context({"svg.hashsalt": "polymodal"}):
        fig.savefig(picture, metadata={"Date": None})


def main() -> None:
    """Write the page, its paragraph in the README, and the picture."""
    PAGE.write_text(text())
    into_readme(in_short())
    draw()


if __name__ == "__main__":
    main()
