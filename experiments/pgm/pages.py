"""The tables inside docs/pgm-*.md, from the same JSON as TABLES.md; writes each between its two marks.

The command is: python experiments/pgm/pages.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import tables
from tables import Figure, Group

from polymodal.evaluation import OBSERVED
from polymodal.metrics import METRICS

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("pgm-*.md"))
MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
GATES = [tables.BASELINE, "no partitioner", "fixed cut", "static gate", "sigmoid gate"]
AV_DIGITS = ["all", "audio", "image", "mean"]


# ---- variants of PgM -------------------------------------------------------------------------------------


def variants(name: str, chosen: Sequence[str] | None = None) -> tuple[Group, list[str], str]:
    """A group of variants, their names with the baseline first, and the baseline's name."""
    group = tables.with_baseline(name)
    assert group is not None, f"python experiments/pgm/run.py --only main fusion {name} comes first"
    baseline = tables.CALLED[name]
    order = list(chosen or dict.fromkeys(group.records["method"]))
    return group, order, baseline


def scores(name: str, chosen: Sequence[str] | None = None) -> Iterator[str]:
    """Mean over combinations: data sets by rows, variants by columns; best of each row marked."""
    group, order, _ = variants(name, chosen)
    lines: list[Sequence[str]] = [["data set", "labels", "seeds", "metric", *order]]
    level = dict.fromkeys(order, 0)
    for place, found, metric in rows_of(group):
        cells = [tables.figure(found.loc[method, "mean"]) for method in order]
        texts = tables.marked(cells, METRICS[metric].greater_is_better)
        lines.append([*place, metric, *texts])
        for method, text in zip(order, texts, strict=True):
            level[method] += text.startswith("*")
    total = f"of {len(lines) - 1}"
    lines.append(["best or level", "", "", "", *(f"{n} {total}" for n in level.values())])
    yield from tables.markdown(lines)


def gains(name: str, chosen: Sequence[str] | None = None) -> Iterator[str]:
    """What each variant is better than the baseline by, seed by seed."""
    group, order, baseline = variants(name, chosen)
    others = [method for method in order if method != baseline]
    lines: list[Sequence[str]] = [["data set", "read", *others]]
    for place, found, metric in rows_of(group):
        sign = 1 if METRICS[metric].greater_is_better else -1
        for statistic in ("mean", "all"):
            gained = [sign * (found.loc[m, statistic] - found.loc[baseline, statistic]) for m in others]
            lines.append([place[0], statistic, *(tables.with_sign(tables.figure(one)) for one in gained)])
    yield from tables.markdown(lines)


def seconds(name: str, chosen: Sequence[str] | None = None) -> Iterator[str]:
    """Processor seconds and epochs of a fit."""
    group, order, _ = variants(name, chosen)
    lines: list[Sequence[str]] = [["data set", *order]]
    for dataset, _, part in tables.places(group):
        by_method = part.records.groupby("method")
        spent = by_method["seconds"].agg(lambda s: tables.shown(tables.figure(s), 1))
        epochs = by_method["epochs"].mean()
        lines.append([dataset, *(f"{spent[m]} ({epochs[m]:.0f})" for m in order)])
    yield from tables.markdown(lines)


def rows_of(group: Group) -> Iterator[tuple[list[str], pd.DataFrame, str]]:
    """Data set, labels and seeds in words; all statistics by method and seed; and the metric."""
    for dataset, labels, part in tables.places(group):
        metric = tables.PRIMARY[dataset]
        n_seeds = part.rows["seed"].nunique()
        yield [dataset, f"{labels:.0%}", f"{n_seeds}"], tables.statistics(part.rows, metric), metric


# ---- sensors ---------------------------------------------------------------------------------------------

Column = tuple[str, float, str]
"""Data set, share of labels, statistic or modality."""
FEATURES: list[Column] = [
    *(("wesad", labels, statistic) for labels in (0.05, 1.0) for statistic in ("all", "mean")),
    *(("extrasensory", 1.0, statistic) for statistic in (OBSERVED, "mean", "worst")),
]
SERIES: list[Column] = [("av_digits", 1.0, read) for read in AV_DIGITS]


@cache
def everything() -> Group:
    """PgM, its rivals, Robult and the floors."""
    main = tables.load("main")
    assert main is not None, "python experiments/pgm/run.py --only main comes first"
    return tables.beside_robult(main)


def column(group: Group, which: Column) -> pd.Series:
    """One column's values by method and seed."""
    dataset, labels, read = which
    rows = group.where(dataset=dataset, labels=labels).rows
    rows = rows[rows["metric"] == tables.PRIMARY[dataset]]
    if read in set(rows["subset"]) - {OBSERVED}:
        return rows[rows["subset"] == read].set_index(["method", "seed"])["value"]
    return tables.statistics(rows, tables.PRIMARY[dataset])[read]


def words(which: Column) -> str:
    """A column's header."""
    dataset, labels, read = which
    return f"{dataset} {labels:.0%}, {read}"


def methods(columns: Sequence[Column]) -> Iterator[str]:
    """Methods by rows, one column a figure; the best of a column marked."""
    group = everything()
    found = [column(group, which) for which in columns]
    order = sorted(found[0].index.unique("method"), key=tables.rank)
    body = [tables.marked([tables.figure(one.loc[m]) for m in order], higher=True) for one in found]
    yield from tables.markdown(
        [["method", *map(words, columns)], *zip(order, *body, strict=True)],
    )


def against() -> Iterator[str]:
    """What PgM is better than each rival by, seed by seed, one line a figure."""
    group = everything()
    rivals = [m for m in (*tables.NEURAL, "late_fusion", "gradient_boosting") if m != "pgm"]
    lines: list[Sequence[str]] = [["figure", *rivals]]
    for which in (*FEATURES, *SERIES):
        values = column(group, which)
        gained: list[Figure] = [tables.figure(values.loc["pgm"] - values.loc[m]) for m in rivals]
        lines.append([words(which), *map(tables.with_sign, gained)])
    yield from tables.markdown(lines)


def sensor_seconds() -> Iterator[str]:
    """Processor seconds of a fit of PgM and of the rivals that ran beside it."""
    main = tables.load("main")
    assert main is not None
    names = ["pgm", "ume", "umt", "concatenation"]
    lines: list[Sequence[str]] = [["data set", *names]]
    for dataset in ("wesad", "extrasensory", "av_digits"):
        spent = main.where(dataset=dataset, labels=1.0).records.groupby("method")["seconds"]
        figures = {m: tables.figure(values) for m, values in spent}
        lines.append([dataset, *(tables.shown(figures[m], 1) for m in names)])
    yield from tables.markdown(lines)


# ---- the pages -------------------------------------------------------------------------------------------

TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "fusion": lambda: scores("fusion"),
    "fusion_gains": lambda: gains("fusion"),
    "fusion_seconds": lambda: seconds("fusion"),
    "boundary": lambda: scores("ablations", GATES),
    "boundary_gains": lambda: gains("ablations", GATES),
    "boundary_seconds": lambda: seconds("ablations", GATES),
    "stages": lambda: scores("stages"),
    "stages_gains": lambda: gains("stages"),
    "stages_seconds": lambda: seconds("stages"),
    "sensors": lambda: methods(FEATURES),
    "series": lambda: methods(SERIES),
    "sensors_against": against,
    "sensors_seconds": sensor_seconds,
}


def filled(text: str) -> str:
    """A page with the table of each mark as the JSON has it."""
    return MARKED.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + found[3], text)


def main() -> None:
    """Write the tables into their pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
