"""How the model was trained, and what looks wrong with it."""

from __future__ import annotations

from html import escape

import pandas as pd

from polymodal.report import charts, words
from polymodal.report.charts import Line
from polymodal.report.facts import Facts
from polymodal.report.html import details, figure, figures, lead, number_column, table
from polymodal.report.sections.columns import METHOD

LEVELS = {"alarm": "c2", "warning": "c5", "note": "c8"}


def training(facts: Facts) -> list[str]:
    """Losses by epoch or generation."""
    history = facts.table("training", "history")
    step = str(history.columns[0])
    steps = history[step].astype(float).tolist()
    marks = _stages(history)

    def drawn(columns: dict[str, str], said: str) -> str:
        shown = [Line(c, steps, history[c].astype(float).tolist(), style) for c, style in columns.items()]
        return charts.lines(shown, step, "loss", said=said, marks=marks)

    shown = []
    if "loss" in history:
        first, last = (words.number(history["loss"].iloc[i]) for i in (0, -1))
        shown.append(
            figure("Training loss", drawn({"loss": METHOD}, f"Training loss from {first} to {last}"))
        )
    if "validation_loss" in history and len(history) > 1:
        best = words.number(history["validation_loss"].min())
        title = "Validation loss" if "loss" in history else "Loss on rows held out"
        picture = drawn({"validation_loss": METHOD}, f"{title}, at best {best}")
        shown.append(figure(title, picture, f"At best {best}."))
    terms = [c for c in history.columns if c.startswith("loss/")]
    if len(terms) > 1:
        styles = {c: charts.COLOURS[i % 10] for i, c in enumerate(terms)}
        key = [(style, c.removeprefix("loss/").replace("_", " ")) for c, style in styles.items()]
        shown.append(
            figure(
                "Terms of the training loss",
                drawn(styles, f"The terms of the training loss by {step}"),
                "",
                key,
            )
        )
    columns = [number_column(step, step, words.count)]
    columns += [
        number_column(c, c.removeprefix("loss/").replace("_", " "))
        for c in history.columns
        if c not in (step, "stage")
    ]
    return [
        lead(facts.topics["training"].sentences[0]),
        *([figures(*shown)] if shown else []),
        details("The figures", table(history, columns, f"Losses by {step}")),
    ]


def _stages(history: pd.DataFrame) -> list[tuple[float, str]]:
    """Where a stage of the training begins, where there are several."""
    if "stage" not in history or history["stage"].nunique() < 2:
        return []
    begins = history["stage"] != history["stage"].shift()
    return [
        (float(e), str(s))
        for e, s in history.loc[begins, [history.columns[0], "stage"]].itertuples(index=False)
    ]


def health(facts: Facts) -> list[str]:
    """Findings in words, the worst first."""
    findings = facts.table("health", "findings")
    if not len(findings):
        return [lead(facts.topics["health"].sentences[0])]
    items = "".join(
        f'<li class="{LEVELS[row["level"]]}"><b>{escape(row["level"].capitalize())}, {row["topic"]}.</b> '
        f"{escape(row['sentence'])}</li>"
        for row in findings.to_dict("records")
    )
    return [f'<ul class="findings">{items}</ul>']
