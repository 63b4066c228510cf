"""The report in short, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymodal.metrics import METRICS
from polymodal.report import words
from polymodal.report.facts import Facts
from polymodal.report.headline import FLOOR, floors_of, is_beaten, subset_in_words

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

N_COMBINATIONS = 3
"""Best and worst combinations that are shown."""
STYLES = {"alarm": "bold red", "warning": "yellow", "note": "dim"}


def show(facts: Facts) -> Group:
    """What the page says first, for ``rich.print``; words from data are never read as markup."""
    from rich.console import Group
    from rich.text import Text

    headline, *further = facts.topics["headline"].sentences
    shown: list[Text | Table] = [
        Text(headline, style="bold"),
        *(Text(sentence) for sentence in further),
        Text(),
    ]
    shown.append(_combinations(facts))
    if "worth" in facts.topics:
        shown.append(_worth(facts))
    for finding in facts.table("health", "findings").to_dict("records"):
        line = Text(f"{finding['level']}: ", style=STYLES[finding["level"]])
        shown.append(line.append(finding["sentence"], style="default not bold not dim"))
    return Group(*shown)


def _combinations(facts: Facts) -> Table:
    """The best and the worst combinations, beside the floors."""
    table = _table("combination")
    frame = facts.table("combinations", "combinations").dropna(subset=["value"])
    frame = frame.assign(beaten=is_beaten(facts, frame))
    greater = METRICS[facts.metric].greater_is_better
    frame = frame.sort_values("value", ascending=not greater, kind="stable")
    if len(frame) > 2 * N_COMBINATIONS:
        frame = frame.iloc[[*range(N_COMBINATIONS), *range(-N_COMBINATIONS, 0)]]
    floors = floors_of(frame)
    table.caption = "* a floor is better" if frame["beaten"].any() else None
    for name in (facts.method, *(floor.removeprefix(FLOOR) for floor in floors), "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.title = words.label_of(facts.metric).replace("[", "\\[") + ", best and worst combinations"
    for row in frame.to_dict("records"):
        mark = "*" if row["beaten"] else ""
        figures = [words.figure(facts.metric, row[column]) for column in ("value", *floors)]
        subset = subset_in_words(row["subset"], facts.names)
        table.add_row(_plain(subset), *figures, words.count(row["n_rows"]), mark)
    return table


def _worth(facts: Facts) -> Table:
    """Shapley values, the largest first."""
    table = _table("input")
    table.title = f"What each input adds: {words.name_of(facts.metric)}"
    for name in ("Shapley value", "alone"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in facts.table("worth", "shapley").sort_values("value", ascending=False).to_dict("records"):
        value = words.difference(facts.metric, row["value"])
        error = words.error(facts.metric, row["error"])
        table.add_row(_plain(row["modality"]), f"{value} ± {error}", words.figure(facts.metric, row["alone"]))
    return table


def _table(first: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    table.add_column(first)
    return table


def _plain(words_of: str) -> str:
    from rich.markup import escape

    return escape(words_of)
