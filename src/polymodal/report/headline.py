"""What a report says first: the model against its floors, the range of the combinations, trust, health."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from polymodal.metrics import METRICS
from polymodal.report import words

if TYPE_CHECKING:
    from polymodal.report.facts import Facts

SURE = 2.0
"""Standard errors from which a difference is called one."""
FLOOR = "floor:"
"""Before the name of a floor, in columns."""


def sentences(facts: Facts) -> list[str]:
    """The headline, and what qualifies it."""
    return [*_against_floors(facts), *_combinations(facts), *_trust(facts), *_health(facts)]


def floors_of(table: pd.DataFrame) -> list[str]:
    """The columns of floors."""
    return [column for column in table.columns if column.startswith(FLOOR)]


def best_floor(facts: Facts, table: pd.DataFrame) -> pd.Series:
    """The value of the best floor in each line; NaN without floors."""
    floors = table[floors_of(table)].astype(float)
    return floors.max(axis=1) if METRICS[facts.metric].greater_is_better else floors.min(axis=1)


def is_beaten(facts: Facts, table: pd.DataFrame) -> pd.Series:
    """Lines in which a floor is better than the method."""
    best = best_floor(facts, table)
    return best > table["value"] if METRICS[facts.metric].greater_is_better else best < table["value"]


def subset_in_words(subset: str, names: Sequence[str]) -> str:
    """A combination as it is read: "a + b", "all 6 together", "all but a", "a alone"."""
    members = subset.split("+")
    if len(members) == len(names) > 1:
        return f"all {len(names)} together"
    if len(members) == len(names) - 1 > 2:
        return f"all but {next(name for name in names if name not in members)}"
    return f"{members[0]} alone" if len(members) == 1 and len(names) > 1 else " + ".join(members)


def _against_floors(facts: Facts) -> Iterator[str]:
    methods = facts.table("headline", "methods")
    own, floors = methods.iloc[0], methods.iloc[1:]
    reached = f"{words.figure(facts.metric, own[facts.metric])} {words.name_of(facts.metric)}"
    if not METRICS[facts.metric].greater_is_better:
        reached = f"a {words.name_of(facts.metric)} of {words.figure(facts.metric, own[facts.metric])}"
    start = f"{facts.method} reaches {reached} with whatever inputs each row has"
    floors = floors.dropna(subset=[facts.metric])
    if not len(floors):
        yield f"{start}."
        return
    greater = METRICS[facts.metric].greater_is_better
    values = floors[facts.metric]
    best = floors.iloc[values.argmax() if greater else values.argmin()]
    gap = (own[facts.metric] - best[facts.metric]) * (1 if greater else -1)
    error = best["behind_error"]
    yield f"{start}, {_judged(facts.metric, gap, error)} its best floor, {best['method']}."
    yield (
        f"It is {words.figure(facts.metric, own[facts.metric])} ± {words.error(facts.metric, own['error'])}; "
        f"the floor has {words.figure(facts.metric, best[facts.metric])}. On the same rows the difference is "
        f"{words.difference(facts.metric, gap)} ± {words.error(facts.metric, error)} "
        "(± one standard error; above 0 the model is better)."
    )


def _judged(metric: str, gap: float, error: float) -> str:
    if abs(gap) <= SURE * error:
        return "level with"
    points = " points" if METRICS[metric].unit_interval else ""
    size = words.difference(metric, abs(gap)).removeprefix("+")
    if METRICS[metric].greater_is_better:
        return f"{size}{points} {'above' if gap > 0 else 'below'}"
    return f"{size}{points} {'better' if gap > 0 else 'worse'} than"


def _combinations(facts: Facts) -> Iterator[str]:
    table = facts.table("combinations", "combinations").dropna(subset=["value"])
    if len(table) < 2:
        return
    greater = METRICS[facts.metric].greater_is_better
    ordered = table.sort_values("value", ascending=not greater, kind="stable")
    best, worst = (
        f"{subset_in_words(row['subset'], facts.names)} ({words.figure(facts.metric, row['value'])})"
        for row in (ordered.iloc[0], ordered.iloc[-1])
    )
    said = f"Of {facts.topics['combinations'].sentences[0]} the best is {best}, the worst {worst}"
    if floors_of(table):
        n = int(is_beaten(facts, table).sum())
        how_many = "all" if n == len(table) else f"{n:,}" if n else "none"
        said += f"; a floor is better on {how_many} of them"
    yield f"{said}."


def _trust(facts: Facts) -> Iterator[str]:
    if facts.has("coverage", "observed"):
        row = facts.table("coverage", "observed").iloc[0]
        if facts.kind == "regression":
            what = f"intervals, {words.number(row['set_size'])} wide on average,"
        else:
            what = f"sets, of {row['set_size']:.2f} {_classes(facts)} on average,"
        kept = words.share(row["coverage"])
        yield f"Its 90\N{NO-BREAK SPACE}% prediction {what} hold the truth in {kept} of the cases."


def _classes(facts: Facts) -> str:
    return "labels" if facts.kind == "multilabel" else "classes"


def _health(facts: Facts) -> Iterator[str]:
    if not facts.has("health", "findings"):
        return
    levels = facts.table("health", "findings")["level"]
    counts = [words.counted(int((levels == level).sum()), level) for level in ("alarm", "warning")]
    if (levels != "note").any():
        yield f"The health check has {' and '.join(c for c in counts if not c.startswith('0'))}."
