"""How far the model can be trusted: calibration, prediction sets, and when it may keep silent."""

from __future__ import annotations

import numpy as np
import pandas as pd

from polymodal.report import charts, words
from polymodal.report.charts import Line
from polymodal.report.facts import ALPHA, Facts
from polymodal.report.html import details, figure, figures, lead, name_column, note, number_column, table
from polymodal.report.sections.columns import METHOD, REFERENCE, inputs_column, metric_column


def calibration(facts: Facts) -> list[str]:
    """Reliability of rows as they are, and the error of every combination."""
    parts = facts.table("calibration", "reliability").groupby("method", sort=False)
    curves = {str(name): part for name, part in parts}
    last = list(curves)[-1]
    styles = {name: (METHOD if name == last else REFERENCE) for name in curves}
    drawn = charts.reliability(curves, styles, said=_said_reliability(facts, last))
    key = [(style, name) for name, style in styles.items()] + [("dash", "honest")]
    shown = [figure("Said and kept", drawn, "A dot's area grows with its rows.", key)]
    if facts.kind == "regression":
        return [lead("How often the true value lies in the interval that the error scale promises."), *shown]
    table_of = facts.table("calibration", "by_subset")
    by_size = charts.by_size(
        table_of,
        {name: styles[name] for name in styles},
        "calibration error [%]",
        n_sizes=len(facts.names),
        scale=100.0,
        said="Calibration error of every combination, by number of inputs present",
    )
    shown.append(figure("Error of every combination", by_size, "Lower is better; lines join the means."))
    observed = facts.table("calibration", "observed")
    columns = [
        name_column("method", "probabilities"),
        metric_column("ece", "ece", "calibration error [%]"),
        number_column("brier", "Brier score"),
        number_column("log_loss", "log loss"),
    ]
    every = [
        inputs_column(facts),
        *(metric_column(name, "ece", name) for name in styles),
        number_column("n_rows", "rows", words.count),
    ]
    return [
        lead(_calibration_in_words(observed)),
        figures(*shown),
        table(observed, columns, "Each row with whatever it has"),
        details("Every combination", table(table_of, every, "Calibration error [%] of every combination")),
    ]


def _calibration_in_words(observed: pd.DataFrame) -> str:
    errors = dict(zip(observed["method"], observed["ece"], strict=True))
    if "after" in errors:
        return (
            f"Confidences are off by {words.share(errors['after'])} on average; before calibration by "
            f"{words.share(errors['before'])}."
        )
    return (
        f"Confidences are off by {words.share(errors['uncalibrated'])} on average. The model is not "
        "calibrated: calibrate(X, y) takes labelled rows that training has not seen."
    )


def _said_reliability(facts: Facts, last: str) -> str:
    if facts.kind == "regression":
        return "Share of true values inside central intervals, against the share that was promised"
    row = facts.table("calibration", "observed").iloc[-1]
    return f"Share right against confidence, {last}: off by {words.share(row['ece'])} on average"


def coverage(facts: Facts) -> list[str]:
    """Coverage of every combination, its set sizes, and risk by share answered."""
    frame, observed = facts.table("coverage", "by_subset"), facts.table("coverage", "observed").iloc[0]
    size = "mean width" if facts.kind == "regression" else "mean size"
    label = "interval width" if facts.kind == "regression" else "set size"
    what = "intervals" if facts.kind == "regression" else "sets"
    promise = 1.0 - ALPHA
    kept = charts.by_size(
        frame,
        {"coverage": METHOD},
        "coverage [%]",
        n_sizes=len(facts.names),
        scale=100.0,
        promise=promise,
        said=f"Coverage of every combination, by number of inputs present; {100 * promise:g} % are promised",
    )
    finite = frame.assign(set_size=frame["set_size"].where(np.isfinite(frame["set_size"])))
    sizes = charts.by_size(
        finite,
        {"set_size": METHOD},
        label,
        n_sizes=len(facts.names),
        said=f"Mean {label} of every combination",
    )
    shown = [
        figure("Kept promises", kept, "A dot is a combination; the dashed line is the promise."),
        figure(size.capitalize(), sizes, "Smaller says more."),
    ]
    if facts.has("coverage", "risk"):
        risk = facts.table("coverage", "risk")
        line = Line("risk", (100 * risk["answered"]).tolist(), (100 * risk["risk"]).tolist(), METHOD)
        top = max(1.0, 105 * float(risk["risk"].max()))
        drawn = charts.lines(
            [line],
            "rows answered, the surest first [%]",
            "wrong among them [%]",
            said=f"{words.share(float(risk['risk'].iloc[-1]))} wrong when all rows are answered",
            x_range=(0.0, 100.0),
            y_range=(0.0, top),
        )
        shown.append(figure("When it may keep silent", drawn))
    columns = [
        inputs_column(facts),
        number_column("coverage", "coverage", words.share),
        number_column("set_size", size),
        number_column("n_rows", "rows", words.count),
        number_column("n_calibration", "calibration rows", words.count),
    ]
    return [
        lead(
            f"At least {100 * promise:g} % of the {what} should hold the truth, for every combination. "
            f"With what the rows have, {words.share(observed['coverage'])} do."
        ),
        *map(note, facts.topics["coverage"].sentences),
        figures(*shown),
        details("Every combination", table(frame, columns, "Coverage of every combination")),
    ]
