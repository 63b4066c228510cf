"""What the model is worth without some of its inputs: every combination, and as inputs go missing."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import pandas as pd

from polymodal.metrics import METRICS
from polymodal.report import charts, words
from polymodal.report.charts import Line
from polymodal.report.facts import Facts
from polymodal.report.headline import FLOOR, best_floor, floors_of, is_beaten
from polymodal.report.html import Column, beside, details, figure, figures, lead, note, number_column, table
from polymodal.report.sections.columns import METHOD, REFERENCE, bare, inputs_column, metric_column
from polymodal.report.svg import Scale

BAR = 130.0
"""Width of a bar in the table of combinations."""
LEAST_SHADED = 0.2
"""Part of the largest figure that the shades of bars span, at least: trifles are not to look like much."""


def combinations(facts: Facts) -> list[str]:
    """Dots for the inputs, a bar for the metric, a mark for the best floor."""
    frame, metric = facts.table("combinations", "combinations").copy(), facts.metric
    floors = floors_of(frame)
    frame["best_floor"], frame["beaten"] = best_floor(facts, frame), is_beaten(facts, frame)
    frame["bar"] = _bars(facts, frame)
    label = words.label_of(metric)
    columns = [
        inputs_column(facts),
        Column("bar", label, _bar_cell, copied=lambda pair: words.scale_of(metric) * pair[0], style="bars"),
        *(metric_column(floor, metric, floor.removeprefix(FLOOR)) for floor in floors),
        number_column("n_rows", "rows", words.count),
    ]
    values = {"best_floor": REFERENCE} if floors else {}
    by_size = charts.by_size(
        frame,
        values | {"value": METHOD},
        label,
        n_sizes=len(facts.names),
        scale=words.scale_of(metric),
        said=_said_by_size(facts, frame),
    )
    key = [(METHOD, facts.method)] + ([(REFERENCE, "best floor of each combination")] if floors else [])
    marks = " A mark is the best floor; where it is better, the bar is orange." if floors else ""
    return [
        lead(
            "Each combination is measured on the rows that have all of it, from these inputs alone: "
            f"{facts.topics['combinations'].sentences[0]}."
        ),
        beside(
            figure("By number of inputs", by_size, "A dot is a combination; lines join their means.", key),
            table(frame, columns, "Every combination"),
        ),
        note(
            "A filled dot is an input that is there. The longer a bar, the higher the figure; the darker, "
            f"the nearer to the best combination.{marks}"
        ),
    ]


def _bars(facts: Facts, frame: pd.DataFrame) -> list[tuple[float, str]]:
    """The value and the cell of each line."""
    values = frame["value"].to_numpy(dtype=float)
    ends = [v for v in [*values, *frame["best_floor"]] if math.isfinite(v)] or [1.0]
    scale = Scale(min(0.0, *ends), max(0.0, *ends) or 1.0, 2.0, BAR)
    finite = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    best = finite.max() if METRICS[facts.metric].greater_is_better else finite.min()
    span = max(np.ptp(finite), LEAST_SHADED * max(map(abs, ends))) or 1.0
    found = []
    for value, floor, beaten in zip(values, frame["best_floor"], frame["beaten"], strict=True):
        heat = 1 - abs(value - best) / span if math.isfinite(value) else 0.0
        said = f"{words.figure(facts.metric, value)}, best floor {words.figure(facts.metric, floor)}"
        drawn = charts.bar(value, floor, scale, heat, beaten=bool(beaten), said=said)
        found.append((value, f"{drawn}<b>{escape(bare(facts.metric, value))}</b>"))
    return found


def _bar_cell(pair: tuple[float, str]) -> str:
    return pair[1]


def _said_by_size(facts: Facts, frame: pd.DataFrame) -> str:
    means = frame.groupby("size")["value"].mean()
    each = ", ".join(f"{size}: {words.figure(facts.metric, value)}" for size, value in means.items())
    return f"Mean {words.name_of(facts.metric)} by number of inputs present: {each}"


def missing(facts: Facts) -> list[str]:
    """The metric against the rate at which inputs are lost."""
    curve, metric = facts.table("missing", "curve"), facts.metric
    scale, floors = words.scale_of(metric), floors_of(curve)
    x = (100 * curve["rate"]).tolist()
    shown = [Line("value", x, (scale * curve["value"]).tolist(), METHOD, dots=True)]
    key = [(METHOD, facts.method)]
    if floors:
        best = _best_of(facts, curve, floors)
        shown.insert(0, Line(best, x, (scale * curve[best]).tolist(), REFERENCE))
        key.append((REFERENCE, f"best floor, {best.removeprefix(FLOOR)}"))
    first, last = curve.iloc[0], curve.iloc[-1]
    said = (
        f"{words.name_of(metric)}: {words.figure(metric, first['value'])} with what the rows have, "
        f"{words.figure(metric, last['value'])} at a rate of {100 * last['rate']:.0f} %"
    )
    drawn = charts.lines(shown, "inputs lost at random [%]", words.label_of(metric), said=said)
    columns = [
        Column("rate", "lost [%]", lambda v: f"{100 * v:.0f}", copied=lambda v: 100 * v),
        Column("missing_share", "absent in all [%]", lambda v: f"{100 * v:.1f}", copied=lambda v: 100 * v),
        metric_column("value", metric, facts.method, "strong"),
        *(metric_column(floor, metric, floor.removeprefix(FLOOR)) for floor in floors),
    ]
    return [
        lead(
            "Each input of each row is lost with the same chance; a row keeps at least one of those it has."
        ),
        figures(figure("When inputs are lost", drawn, "", key)),
        details("The figures", table(curve, columns, f"{words.name_of(metric)} by missing rate")),
    ]


def _best_of(facts: Facts, curve: pd.DataFrame, floors: list[str]) -> str:
    """The floor that is best on average."""
    means = curve[floors].mean()
    return str(means.idxmax() if METRICS[facts.metric].greater_is_better else means.idxmin())
