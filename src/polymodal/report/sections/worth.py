"""What each input is worth, and which one to get next."""

from __future__ import annotations

from html import escape

import pandas as pd

from polymodal.metrics import METRICS
from polymodal.report import charts, words
from polymodal.report.facts import Facts
from polymodal.report.html import Column, beside, figure, lead, name_column, number_column, table
from polymodal.report.sections.columns import metric_column


def worth(facts: Facts) -> list[str]:
    """Shapley values, single inputs, and what to get next."""
    frame, metric = facts.table("worth", "shapley"), facts.metric
    scale = words.scale_of(metric)
    ordered = frame.sort_values("value", ascending=False, kind="stable")
    label = f"{words.name_of(metric)} [points]" if METRICS[metric].unit_interval else words.name_of(metric)
    said = ", ".join(
        f"{row['modality']} {words.difference(metric, row['value'])}" for row in ordered.to_dict("records")
    )
    drawn = charts.bars(
        ordered["modality"].tolist(),
        (scale * ordered["value"]).tolist(),
        (scale * ordered["error"]).tolist(),
        label,
        said=f"Shapley values: {said}",
        shown=lambda v: words.difference(metric, v / scale),
    )
    added = figure("What each input adds", drawn, "Shapley values; whiskers are ± one standard error.")
    columns = [
        name_column("modality", "input"),
        _difference_column("value", metric, "Shapley value"),
        Column("error", "± error", lambda v: escape(words.error(metric, v)), copied=lambda v: scale * v),
        metric_column("alone", metric, "alone"),
        _difference_column("loss_without", metric, "lost without it"),
    ]
    first = ordered.iloc[0]
    return [
        lead(
            f"Over all orders in which inputs can come, {first['modality']} adds most: "
            f"{words.difference(metric, first['value'])}"
            f"{' points' if METRICS[metric].unit_interval else ''} of {words.name_of(metric)}."
        ),
        beside(added, table(ordered, columns, "Each input: added on average, alone, and missed from all")),
        *([_next_inputs(facts)] if facts.has("worth", "next") else []),
    ]


def _next_inputs(facts: Facts) -> str:
    """What to get next, for rows with one input and for the rows as they are."""
    further = facts.table("worth", "next")
    loss = "squared error" if facts.kind == "regression" else "log loss"
    picture = figure(
        "A row that has one input: which next?",
        charts.matrix(further, facts.names, said=_said_next(further)),
        f"It has the input on the left. Expected decrease of the {loss}, means over rows.",
    )
    return beside(picture, *([_lacking(facts)] if facts.has("worth", "lacking") else []))


def _difference_column(key: str, metric: str, title: str) -> Column:
    scale = words.scale_of(metric)
    return Column(key, title, lambda v: escape(words.difference(metric, v)), copied=lambda v: scale * v)


def _said_next(further: pd.DataFrame) -> str:
    best = further.dropna().sort_values("value", ascending=False).groupby("have", sort=False).first()
    each = ", ".join(f"with {have} get {row['next']}" for have, row in best.iterrows())
    return f"Which input to get next for a row that has one: {each}"


def _lacking(facts: Facts) -> str:
    columns = [
        name_column("modality", "input"),
        number_column("n_rows", "rows that lack it", words.count),
        number_column("value", "decrease of the loss"),
        number_column("best", "best to get next", words.share),
    ]
    caption = "What the rows as they are lack, and its worth"
    return table(facts.table("worth", "lacking").sort_values("value", ascending=False), columns, caption)
