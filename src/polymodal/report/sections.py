"""From facts to the sections of the page: what each one shows, and in which words."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from polymodal.metrics import METRICS
from polymodal.report import charts, words
from polymodal.report.charts import Line
from polymodal.report.facts import ALPHA, Facts
from polymodal.report.headline import FLOOR, best_floor, floors_of, is_beaten
from polymodal.report.html import (
    Column,
    beside,
    details,
    figure,
    figures,
    lead,
    name_column,
    note,
    number_column,
    section,
    table,
)
from polymodal.report.svg import Scale

TITLES = {
    "combinations": "Every combination of inputs",
    "missing": "As inputs go missing",
    "worth": "What each input is worth",
    "calibration": "How honest its confidences are",
    "coverage": "Prediction sets and their promise",
    "map": "The shared space",
    "information": "What inputs say alike, and alone",
    "partition": "How the model divides its inputs",
    "training": "Training",
    "health": "Health",
    "data": "Data",
    "settings": "Settings and versions",
}
"""Topic -> heading, in the order of the page."""
METHOD, REFERENCE = "c1", "c8"
BAR = 130.0
"""Width of a bar in the table of combinations."""
LEAST_SHADED = 0.2
"""Part of the largest figure that the shades of bars span, at least: trifles are not to look like much."""
MAX_NAMED = 12
"""Groups of a map that are named in it."""
PARTS = {
    "redundancy": ("c3", "either says it"),
    "unique_first": ("c1", "only the first says it"),
    "unique_second": ("c6", "only the second says it"),
    "synergy": ("c2", "only both together say it"),
}
SHARES = {
    "uni": ("c1", "read alone"),
    "shared": ("c3", "both"),
    "paired": ("c2", "read with others"),
    "unassigned": ("c8", "not read"),
}
LEVELS = {"alarm": "c2", "warning": "c5", "note": "c8"}


def rendered(facts: Facts) -> dict[str, str]:
    """Topic -> its section, for all topics that apply."""
    there = [name for name in TITLES if name in facts.topics]
    return {name: section(name, title_of(facts, name), SHOWN[name](facts)) for name in there}


def title_of(facts: Facts, name: str) -> str:
    """The heading of a topic."""
    title = TITLES[name]
    return title.replace("sets", "intervals") if facts.kind == "regression" else title


# ---- the metric ----------------------------------------------------------------------------------


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
        *(_metric_column(m, m, words.label_of(m).replace(", lower is better", "")) for m in metrics),
        _metric_column("error", facts.metric, f"± {words.name_of(facts.metric)}"),
    ]
    return table(frame, columns, "Each row with whatever it has")


def _metric_column(key: str, metric: str, title: str, style: str = "") -> Column:
    scale = words.scale_of(metric)
    shown: Callable[[Any], str] = lambda v: escape(_bare(metric, float(v)))  # noqa: E731
    return Column(key, title, shown, copied=lambda v: scale * float(v), style=style)


def _bare(metric: str, value: float) -> str:
    return words.figure(metric, value).removesuffix("\N{NO-BREAK SPACE}%")


def combinations(facts: Facts) -> list[str]:
    """Dots for the inputs, a bar for the metric, a mark for the best floor."""
    frame, metric = facts.table("combinations", "combinations").copy(), facts.metric
    floors = floors_of(frame)
    frame["best_floor"], frame["beaten"] = best_floor(facts, frame), is_beaten(facts, frame)
    frame["bar"] = _bars(facts, frame)
    label = words.label_of(metric)
    columns = [
        _inputs_column(facts),
        Column("bar", label, _bar_cell, copied=lambda pair: words.scale_of(metric) * pair[0], style="bars"),
        *(_metric_column(floor, metric, floor.removeprefix(FLOOR)) for floor in floors),
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
        found.append((value, f"{drawn}<b>{escape(_bare(facts.metric, value))}</b>"))
    return found


def _bar_cell(pair: tuple[float, str]) -> str:
    return pair[1]


def _inputs_column(facts: Facts, key: str = "subset") -> Column:
    """A combination as dots below the names of the modalities."""
    names = "".join(f"<b>{escape(name)}</b>" for name in facts.names)
    return Column(
        key,
        "inputs",
        lambda subset: charts.dots(facts.names, subset),
        numeric=False,
        heading=f'<span class="names">{names}</span>',
        style="inputs",
    )


def _said_by_size(facts: Facts, frame: pd.DataFrame) -> str:
    means = frame.groupby("size")["value"].mean()
    each = ", ".join(f"{size}: {words.figure(facts.metric, value)}" for size, value in means.items())
    return f"Mean {words.name_of(facts.metric)} by number of inputs present: {each}"


# ---- missing inputs ------------------------------------------------------------------------------


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
        _metric_column("value", metric, facts.method, "strong"),
        *(_metric_column(floor, metric, floor.removeprefix(FLOOR)) for floor in floors),
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


# ---- worth ---------------------------------------------------------------------------------------


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
        _metric_column("alone", metric, "alone"),
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


# ---- trust ---------------------------------------------------------------------------------------


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
        _metric_column("ece", "ece", "calibration error [%]"),
        number_column("brier", "Brier score"),
        number_column("log_loss", "log loss"),
    ]
    every = [
        _inputs_column(facts),
        *(_metric_column(name, "ece", name) for name in styles),
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
        _inputs_column(facts),
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


# ---- inside the model ----------------------------------------------------------------------------


def latent_map(facts: Facts) -> list[str]:
    """Rows as points of the shared space."""
    points = facts.table("map", "points")
    groups = sorted(points["group"].unique(), key=_natural)
    scale = facts.kind != "multiclass"
    styles = {g: (f"h{min(i + 1, 5)}" if scale else charts.COLOURS[i % 10]) for i, g in enumerate(groups)}
    said = f"{len(points):,} rows in two dimensions, by label: {', '.join(groups[:MAX_NAMED])}"
    drawn = charts.scatter(points, styles, named=not scale and len(groups) <= MAX_NAMED, said=said)
    key = [(styles[g], g) for g in groups] if len(groups) <= MAX_NAMED else []
    sentence = f"{words.counted(len(points), 'row')}, by label. {facts.topics['map'].sentences[0]}"
    return [
        lead("Rows that lie together look alike to the model, whatever inputs each of them has."),
        figures(figure("Rows in the shared space", drawn, sentence, key)),
    ]


def _natural(name: str) -> tuple[float, str]:
    """Numbers by size, other names by letters."""
    try:
        return float(name.split()[0].replace("\N{MINUS SIGN}", "-").replace(",", "")), name
    except ValueError:
        return math.inf, name


def information(facts: Facts) -> list[str]:
    """Bits about the label, divided."""
    pairs = facts.table("information", "pairs")
    names = [f"{a} + {b}" for a, b in zip(pairs["first"], pairs["second"], strict=True)]
    styles = {part: style for part, (style, _) in PARTS.items()}
    most = pairs.iloc[pairs["redundancy"].argmax()]
    said = f"{most['first']} and {most['second']} say most alike: {words.number(most['redundancy'])} bits"
    drawn = charts.stacked(names, pairs, styles, "bits about the label", said=said)
    columns = [
        name_column("first", "first"),
        name_column("second", "second"),
        *(number_column(part, part.replace("_", " ")) for part in PARTS),
        *(number_column(f"{part}_error", f"± {part.replace('_', ' ')}") for part in PARTS),
        number_column("entropy", "all there is"),
        number_column("n_rows", "rows", words.count),
    ]
    return [
        lead(f"What two inputs say of the label, divided: alike, alone, and only together. {said}."),
        figures(
            figure(
                "Every two inputs", drawn, "From the inputs themselves, whatever the model.", PARTS.values()
            )
        ),
        details("The figures", table(pairs, columns, "Information about the label, in bits")),
    ]


def partition(facts: Facts) -> list[str]:
    """Shares and gates."""
    shares, gates = facts.table("partition", "shares"), facts.table("partition", "gates")
    there = shares[shares["n_rows"] > 0].reset_index(drop=True)
    styles = {part: style for part, (style, _) in SHARES.items()}
    percent = there.assign(**{part: 100 * there[part] for part in SHARES})
    said = ", ".join(f"{row['modality']} {words.share(row['uni'])} alone" for row in there.to_dict("records"))
    drawn = charts.stacked(there["modality"].tolist(), percent, styles, "share of the width [%]", said=said)
    shown = [figure("Shares of the width", drawn, "", SHARES.values())]
    for name, own in gates.groupby("modality", sort=False):
        words_of = f"Mean gates of {name} along its width"
        key = [("c1", "read alone"), ("c2", "read with others")]
        shown.append(figure(str(name), charts.gates(own, said=words_of), "", key))
    columns = [
        name_column("modality", "input"),
        number_column("n_rows", "rows", words.count),
        *(number_column(part, title, words.share) for part, (_, title) in SHARES.items()),
    ]
    return [
        lead("The width of each input is divided: a part is read alone, and a part with the other inputs."),
        figures(*shown),
        table(shares, columns, "Shares of the width"),
    ]


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


# ---- rows and settings ---------------------------------------------------------------------------


def data(facts: Facts) -> list[str]:
    """Inputs, presence patterns, labels."""
    inputs = [
        name_column("modality", "input"),
        name_column("kind", "kind"),
        number_column("width", "width", words.count),
        number_column("n_rows", "rows that have it", words.count),
        number_column("share", "share", words.share),
    ]
    patterns = [
        _inputs_column(facts),
        number_column("size", "inputs", words.count),
        number_column("n_rows", "rows", words.count),
        number_column("share", "share", words.share),
    ]
    labels = facts.table("data", "labels")
    shown = [name_column("label", "label")]
    if facts.kind == "regression":
        shown.append(number_column("value", "value"))
    else:
        shown += [number_column("n_rows", "rows", words.count), number_column("share", "share", words.share)]
    return [
        lead(f"{'; '.join(facts.topics['data'].sentences)}."),
        beside(
            table(facts.table("data", "inputs"), inputs, "Inputs"),
            table(facts.table("data", "patterns"), patterns, "Patterns of presence"),
            table(labels, shown, "Labels"),
        ),
    ]


def settings(facts: Facts) -> list[str]:
    """What the model was told, and with which versions it ran."""
    columns = [name_column("name", "name"), Column("value", "value", numeric=False, style="wrap")]
    tables = facts.topics["settings"].tables
    titles = {"method": f"Settings of {facts.method}", "training": "Training", "versions": "Versions"}
    return [details(titles[name], table(tables[name], columns, titles[name])) for name in titles]


SHOWN: dict[str, Callable[[Facts], list[str]]] = {
    "combinations": combinations,
    "missing": missing,
    "worth": worth,
    "calibration": calibration,
    "coverage": coverage,
    "map": latent_map,
    "information": information,
    "partition": partition,
    "training": training,
    "health": health,
    "data": data,
    "settings": settings,
}
