"""At the top of the page: the figures that matter most, and every usual metric beside the floors."""

from __future__ import annotations

from html import escape

from polymodal.metrics import METRICS
from polymodal.report import words
from polymodal.report.facts import ALPHA, Facts
from polymodal.report.html import name_column, table
from polymodal.report.sections.columns import metric_column


def tiles(facts: Facts) -> str:
    """The four figures that matter most."""
    methods = facts.table("headline", "methods")
    own, metric = methods.iloc[0], facts.metric
    combinations = facts.table("combinations", "combinations").dropna(subset=["value"])
    entries = [
        (words.name_of(metric), words.figure(metric, own[metric]), "each row with what it has"),
    ]
    if len(combinations) > 1:
        greater = METRICS[metric].greater_is_better
        worst = combinations.iloc[
            combinations["value"].argmin() if greater else combinations["value"].argmax()
        ]
        mean = float(combinations["value"].mean())
        entries += [
            ("mean combination", words.figure(metric, mean), f"{len(combinations):,} of them"),
            ("worst combination", words.figure(metric, worst["value"]), worst["subset"].replace("+", " + ")),
        ]
    if facts.has("calibration", "observed"):
        last = facts.table("calibration", "observed").iloc[-1]
        state = "not calibrated" if last["method"] == "uncalibrated" else "after calibration"
        entries.append(("calibration error", words.share(last["ece"]), state))
    if facts.has("coverage", "observed"):
        row = facts.table("coverage", "observed").iloc[0]
        entries.append(("coverage", words.share(row["coverage"]), f"{100 * (1 - ALPHA):g} % promised"))
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(small)}</small></dd></div>"
            for name, value, small in entries
        )
        + "</dl>"
    )


def methods_table(facts: Facts) -> str:
    """Every usual metric of the model and its floors on rows as they are."""
    frame = facts.table("headline", "methods")
    metrics = [name for name in frame.columns if name in METRICS]
    columns = [
        name_column("method", "model"),
        *(metric_column(m, m, words.label_of(m).replace(", lower is better", "")) for m in metrics),
        metric_column("error", facts.metric, f"± {words.name_of(facts.metric)}"),
    ]
    return table(frame, columns, "Each row with whatever it has")
