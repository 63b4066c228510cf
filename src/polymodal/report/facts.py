"""Everything that a report shows, as data frames and sentences, computed once.

One function a topic, from the rows to its tables and sentences, or to one sentence on why it does not apply.

Letters: n rows, M modalities, C outputs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polymodal import attribution, calibration, conformal, evaluation, explanation, health
from polymodal.data import door
from polymodal.errors import ConfigError
from polymodal.estimators import acquisition_table, information_table
from polymodal.evaluation import OBSERVED, Predict
from polymodal.metrics import DEFAULT_METRICS, evaluate
from polymodal.progress import counted_steps, step_of
from polymodal.progress import progress as shown_progress
from polymodal.report import headline as said_first
from polymodal.report import words
from polymodal.report.headline import FLOOR
from polymodal.report.seen import Seen, look

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

ALPHA = 0.1
"""Share of errors that prediction sets are shown for."""
N_BOOTSTRAP = 100
N_SHAPLEY_SAMPLES = 20
"""For each combination: a standard error that is known to 16 %."""
MAX_BOOTSTRAP_ROWS = 2000
N_MAP_ROWS = 1500
MAX_PAIRS = 15
"""Pairs of modalities whose information is divided; of more, those that work best alone."""
MAX_PATTERNS = 30
"""Presence patterns of the data card."""
MAX_LABELS = 50
MAX_CURVE_ROWS = 20_000
MAX_WORTH_ROWS = 1000
MIN_MAP_ROWS = 10
TINY = 1e-9
PACKAGES = ("polymodal", "torch", "numpy", "scikit-learn", "pandas")
NOT_SETTINGS = ("method", "modalities", "settings", "verbose", "checkpoint_dir", "log_dir", "tensorboard")


@dataclass(frozen=True)
class Topic:
    """What is known of one topic.

    Attributes:
        tables: by name.
        sentences: what they say.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """Everything that a report shows.

    Attributes:
        dataset: what the data are called; may be empty.
        method: name of the method.
        kind: the task kind.
        metric: the metric that the report is about.
        names: the modalities.
        topics: by name, in the order of the page.
        left_out: name of a topic that does not apply -> why.
    """

    dataset: str
    method: str
    kind: TaskKind
    metric: str
    names: tuple[str, ...]
    topics: dict[str, Topic]
    left_out: dict[str, str]

    def table(self, topic: str, name: str) -> pd.DataFrame:
        """A table of a topic."""
        return self.topics[topic].tables[name]

    def has(self, topic: str, name: str) -> bool:
        """Whether a topic is there and has a table of this name."""
        return topic in self.topics and name in self.topics[topic].tables

    def as_json(self) -> dict[str, Any]:
        """Plain values: numbers that are not finite are None."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "kind": self.kind,
            "metric": self.metric,
            "modalities": list(self.names),
            "topics": {
                name: {
                    "sentences": topic.sentences,
                    "tables": {key: _records(table) for key, table in topic.tables.items()},
                }
                for name, topic in self.topics.items()
            },
            "left_out": self.left_out,
        }


def gather(model: Any, X: Any, y: Any, *, dataset: str = "", progress: bool = False) -> Facts:
    """Everything that a report on a fitted model shows.

    Each combination of modalities is predicted once, for all topics.

    Args:
        model: a fitted classifier or regressor.
        X: n rows that neither ``fit`` nor ``calibrate`` has seen.
        y: n labels; unlabelled rows are counted, and no more.
        dataset: what the data are called.
        progress: whether to show how far it is.

    Raises:
        DataError: X or y breaks a rule of the data door, or no row has a label.
    """
    seen = look(model, X, y, dataset=dataset)
    topics: dict[str, Topic] = {}
    left_out: dict[str, str] = {}
    with shown_progress("report", len(TOPICS), verbose=progress) as shown:
        for name, find in TOPICS.items():
            found = find(seen)
            if isinstance(found, Topic):
                topics[name] = found
            else:
                left_out[name] = found
            shown.step(lambda name=name: name)  # type: ignore[misc]
    facts = Facts(dataset, seen.method, seen.kind, seen.metric.name, seen.names, topics, left_out)
    topics["headline"].sentences.extend(said_first.sentences(facts))
    return facts


# ---- the headline --------------------------------------------------------------------------------


def headline(seen: Seen) -> Topic:
    """The model beside its floors on rows as they are, and the combinations in a sentence."""
    rivals = {seen.method: seen.predict, **seen.floors}
    everything = {name: predict(seen.names) for name, predict in rivals.items()}
    decided = {} if seen.decide is None else {seen.method: seen.decide(seen.names)}
    errors = _bootstrap(seen, everything | {seen.method: seen.measured(seen.names)})
    metrics = list(DEFAULT_METRICS[seen.kind])
    lines = []
    for name, prediction in everything.items():
        values = evaluate(metrics, seen.truth, prediction, seen.kind, decided.get(name))
        lines.append({"method": name, **values, "error": errors[name][0], "behind_error": errors[name][1]})
    return Topic({"methods": pd.DataFrame(lines)})


def _bootstrap(seen: Seen, predictions: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Standard errors of the metric, and of the difference to the first, over resampled rows."""
    n = len(seen.truth)
    size = min(n, MAX_BOOTSTRAP_ROWS)
    samples = np.random.default_rng(0).integers(0, n, (N_BOOTSTRAP, size))
    drawn = {name: [_value(seen, p, rows) for rows in samples] for name, p in predictions.items()}
    first = np.array(next(iter(drawn.values())))
    shrink = np.sqrt(size / n)
    return {
        name: (float(np.std(v, ddof=1) * shrink), float(np.std(first - np.array(v), ddof=1) * shrink))
        for name, v in drawn.items()
    }


def _value(seen: Seen, prediction: np.ndarray, rows: np.ndarray) -> float:
    return seen.metric.function(seen.truth[rows], prediction[rows])


# ---- every combination ---------------------------------------------------------------------------


def combinations(seen: Seen) -> Topic:
    """The metric of every combination, beside the floors, on the rows that have all of it."""
    report = _report(seen, seen.measured, seen.metric.name)
    table = _by_subset(report, seen.metric.name)
    floors = {
        name: _by_subset(_report(seen, predict, seen.metric.name), seen.metric.name)["value"].to_numpy()
        for name, predict in _named(seen.floors).items()
    }
    sign = -1.0 if seen.metric.greater_is_better else 1.0
    table = table.assign(**dict(sorted(floors.items(), key=lambda floor: sign * np.nanmean(floor[1]))))
    order = ["size", "value"]
    table = table.sort_values(order, ascending=[False, not seen.metric.greater_is_better], kind="stable")
    return Topic({"combinations": table.reset_index(drop=True)}, [evaluation.coverage(report)])


def _report(seen: Seen, predict: Predict, *metrics: str) -> pd.DataFrame:
    rows = (seen.presence, seen.names, seen.truth, seen.kind)
    return evaluation.subset_report(predict, *rows, metrics=metrics)


def _by_subset(report: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A line a combination: subset, size, n_rows, value."""
    wide = report[report["subset"] != OBSERVED].pivot_table(
        index="subset", columns="metric", values="value", sort=False, dropna=False
    )
    size = wide.index.str.count(r"\+") + 1
    columns = {"subset": wide.index, "size": size, "n_rows": wide["n_rows"].to_numpy().astype(int)}
    return pd.DataFrame(columns | {"value": wide[metric].to_numpy()})


def missing(seen: Seen) -> Topic | str:
    """The metric as inputs are lost at random, beside the floors."""
    if len(seen.names) == 1:
        return "The model has one input: none of it can be lost and leave something."
    rows = seen.sample(MAX_CURVE_ROWS)
    if not len(rows):
        return "No row has any input that could be lost."
    table = pd.DataFrame()
    for name, predict in {"value": seen.measured, **_named(seen.floors)}.items():
        curve = _curve(seen, predict, rows)
        if table.empty:
            rates = curve.index.str.removeprefix("rate=").astype(float)
            table = pd.DataFrame({"rate": rates, "missing_share": curve["missing_share"].to_numpy()})
        table[name] = curve[seen.metric.name].to_numpy()
    return Topic({"curve": table})


def _curve(seen: Seen, predict: Predict, rows: np.ndarray) -> pd.DataFrame:
    own = (seen.presence[rows], seen.names, seen.truth[rows], seen.kind)
    curve = evaluation.missing_rate_curve(
        lambda subset: predict(subset)[rows], *own, metrics=[seen.metric.name]
    )
    return curve.pivot_table(index="subset", columns="metric", values="value", sort=False, dropna=False)


def _named(floors: Mapping[str, Predict]) -> dict[str, Predict]:
    return {f"{FLOOR}{name}": predict for name, predict in floors.items()}


# ---- what each input is worth --------------------------------------------------------------------


def worth(seen: Seen) -> Topic | str:
    """Shapley values, each input alone and taken away; where calibrated, what to get next."""
    if len(seen.names) == 1:
        return "The model has one input: there is nothing to divide among several."
    rows = (seen.truth, seen.kind, seen.metric)
    found = attribution.shapley_of_metric(seen.measured, seen.names, *rows, n_bootstrap=N_SHAPLEY_SAMPLES)
    table = pd.DataFrame({"modality": seen.names, "value": found.values, "error": found.errors})
    values = {frozenset(s.split("+")): v for s, v in _values(seen).items()}
    everything, sign = frozenset(seen.names), 1.0 if seen.metric.greater_is_better else -1.0
    together = values.get(everything, np.nan)
    table["alone"] = [values[frozenset([name])] for name in seen.names]
    table["loss_without"] = [sign * (together - values[everything - {name}]) for name in seen.names]
    return Topic({"shapley": table, **_next_inputs(seen)})


def _values(seen: Seen) -> dict[str, float]:
    report = _report(seen, seen.measured, seen.metric.name)
    table = _by_subset(report, seen.metric.name)
    return dict(zip(table["subset"], table["value"], strict=True))


def _next_inputs(seen: Seen) -> dict[str, pd.DataFrame]:
    """For rows that have one input alone: the expected worth of each further one; and of what rows lack."""
    known = getattr(seen.model, "calibration_", None)
    if known is None or known.acquisition is None:
        return {}
    X, lines = door.take(seen.X, seen.sample(MAX_WORTH_ROWS)), []
    for have in seen.names:
        alone = door.restrict(X, seen.model.modalities_, (have,))
        rows = np.flatnonzero(door.read(alone, seen.model.modalities_).presence.any(axis=1))
        if len(rows):
            found = acquisition_table(seen.model, door.take(alone, rows))
            means = found.groupby("modality", sort=False)["value"].mean()
            lines += [{"have": have, "next": name, "value": value} for name, value in means.items()]
    further = pd.DataFrame(lines, columns=["have", "next", "value"])
    tables = {"next": further} if further["value"].notna().any() else {}
    lacking = acquisition_table(seen.model, X).dropna()
    if len(lacking):
        groups = lacking.groupby("modality", sort=False)
        best = lacking["rank"].eq(1).groupby(lacking["modality"], sort=False).mean()
        columns = {"n_rows": groups.size(), "value": groups["value"].mean(), "best": best}
        tables["lacking"] = pd.DataFrame(columns).reset_index()
    return tables


# ---- trust ---------------------------------------------------------------------------------------


def calibration_of(seen: Seen) -> Topic | str:
    """How honest the confidences are: a curve for rows as they are, an error for every combination."""
    variants = {"before": seen.raw, "after": seen.predict} if seen.calibrated else {"uncalibrated": seen.raw}
    if seen.kind == "regression":
        if not seen.calibrated:
            return "A regressor says how sure it is only after calibrate(X, y), which this one has not seen."
        return Topic({"reliability": _reliability(seen, seen.raw, "calibrated")})
    curves = [_reliability(seen, predict, name) for name, predict in variants.items()]
    errors = [_by_subset(_report(seen, p, "ece"), "ece").assign(method=name) for name, p in variants.items()]
    table = errors[0].drop(columns=["method"]).rename(columns={"value": errors[0]["method"].iloc[0]})
    for own in errors[1:]:
        table[own["method"].iloc[0]] = own["value"].to_numpy()
    observed = [_observed_errors(seen, name, predict) for name, predict in variants.items()]
    tables = {"reliability": pd.concat(curves), "by_subset": table, "observed": pd.DataFrame(observed)}
    return Topic({name: own.reset_index(drop=True) for name, own in tables.items()})


def _reliability(seen: Seen, predict: Predict, method: str) -> pd.DataFrame:
    temperatures = seen.model.calibration_.temperatures if seen.calibrated else None
    rows = seen.sample(MAX_CURVE_ROWS)
    own = (seen.presence[rows], seen.names, seen.truth[rows], seen.kind)
    found = calibration.reliability_table(
        lambda subset: predict(subset)[rows], *own, temperatures=temperatures, limit=0
    )
    return found[found["subset"] == OBSERVED].drop(columns="subset").assign(method=method)


def _observed_errors(seen: Seen, name: str, predict: Predict) -> dict[str, Any]:
    found = evaluate(["ece", "brier", "log_loss"], seen.truth, predict(seen.names), seen.kind)
    return {"method": name, **found}


def coverage(seen: Seen) -> Topic | str:
    """Whether prediction sets and intervals keep their promise, for every combination."""
    if not seen.calibrated:
        return "Prediction sets need calibrate(X, y) with labelled rows beside the training's; none came."
    learnt = seen.model.calibration_.conformal
    found = conformal.coverage_table(learnt, seen.predict, seen.presence, seen.truth, alpha=ALPHA)
    wide = found.pivot_table(index="subset", columns="metric", values="value", sort=False, dropna=False)
    size = "interval_width" if seen.kind == "regression" else "set_size"
    wide = wide[["coverage", size, "n_rows", "n_calibration"]].rename(columns={size: "set_size"})
    wide.insert(0, "size", wide.index.str.count(r"\+") + 1)
    table = wide.reset_index().rename_axis(columns=None)
    observed = table[table["subset"] == OBSERVED].drop(columns=["size", "n_calibration"])
    by_subset = table[table["subset"] != OBSERVED].sort_values(["size", "coverage"], ascending=[False, True])
    tables = {"by_subset": by_subset.reset_index(drop=True), "observed": observed.reset_index(drop=True)}
    if seen.kind == "multiclass":
        tables["risk"] = _thinned(conformal.risk_coverage(seen.truth, seen.predict(seen.names)), 200)
    few = int((by_subset["n_calibration"] < conformal.n_needed(ALPHA)).sum())
    what = "the interval has no ends" if seen.kind == "regression" else "the set holds everything"
    return Topic(
        tables, [f"Too few calibration rows have {few:,} of the combinations: {what} there."] if few else []
    )


def _thinned(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """At most n rows, evenly spread, the last among them."""
    rows = np.unique(np.linspace(0, len(table) - 1, min(n, len(table))).astype(int))
    return table.iloc[rows].reset_index(drop=True)


# ---- inside the model ----------------------------------------------------------------------------


def latent_map(seen: Seen) -> Topic | str:
    """The shared space in two dimensions: the two directions of most variance."""
    rows = seen.sample(N_MAP_ROWS)
    if len(rows) < MIN_MAP_ROWS:
        return "A map needs some rows that have an input; there are too few."
    try:
        space = seen.model.transform(door.take(seen.X, rows)).astype(np.float64)
    except ConfigError:
        return f"The method {seen.method} has no space that all inputs share."
    centred = space - space.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    if len(spread) < 2 or spread[0] < TINY:
        return "The shared space has no two directions in which rows differ."
    places = centred @ axes[:2].T
    shown = np.square(spread[:2]).sum() / np.square(spread).sum()
    table = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "group": _groups(seen, rows)})
    said = f"The picture holds {words.share(float(shown))} of the variance of {space.shape[1]} directions."
    return Topic({"points": table}, [said])


def _groups(seen: Seen, rows: np.ndarray) -> list[str]:
    """What the points of a map are told apart by."""
    truth = seen.truth[rows]
    if seen.kind == "multiclass":
        return [seen.outputs[code] for code in truth]
    if seen.kind == "multilabel":
        counts = np.nansum(truth == 1, axis=1).astype(int)
        return [words.counted(int(c), "label") if c < 4 else "4 or more labels" for c in counts]
    edges = np.quantile(seen.truth, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    names = [f"{words.number(a)} to {words.number(b)}" for a, b in pairwise(edges)]
    return [names[k] for k in np.clip(np.searchsorted(edges[1:-1], truth), 0, 4)]


def information(seen: Seen) -> Topic | str:
    """What two inputs say of the label: alike, alone, and only together."""
    if len(seen.names) == 1:
        return "The model has one input: there are no two to compare."
    rows, names = seen.sample(), _strongest(seen)
    X = door.restrict(door.take(seen.X, rows), seen.model.modalities_, names)
    found = information_table(seen.model, X, door.take(seen.y, rows), source="features")
    found = found[found["first"].isin(names) & found["second"].isin(names)].dropna(subset=["redundancy"])
    if not len(found):
        return "Too few rows have two inputs at once to tell what these say alike."
    means = found.groupby(["first", "second"], sort=False).mean(numeric_only=True).reset_index()
    return Topic({"pairs": means})


def _strongest(seen: Seen) -> tuple[str, ...]:
    """The modalities that make at most ``MAX_PAIRS`` pairs: those that work best alone."""
    n = next(n for n in range(len(seen.names), 0, -1) if n * (n - 1) // 2 <= MAX_PAIRS)
    if n == len(seen.names):
        return seen.names
    sign = 1.0 if seen.metric.greater_is_better else -1.0
    alone = [seen.metric.function(seen.truth, seen.measured((name,))) for name in seen.names]
    best = set(np.argsort([-sign * value for value in alone], kind="stable")[:n].tolist())
    return tuple(name for m, name in enumerate(seen.names) if m in best)


def partition(seen: Seen) -> Topic | str:
    """How a method with gates divides the width of each input."""
    X = door.take(seen.X, seen.sample())
    try:
        shares, gates = explanation.partition_table(seen.model, X), explanation.partition_gates(seen.model, X)
    except ConfigError:
        return f"The method {seen.method} has no gates that divide its inputs."
    return Topic({"shares": shares, "gates": gates})


def training(seen: Seen) -> Topic | str:
    """Losses by epoch; of a method that learns alone, held-out losses by generation."""
    history = pd.DataFrame(seen.model.history_)
    if not len(history) or not {"loss", "validation_loss"} & set(history.columns):
        return "The model keeps no history of its training."
    terms = [name for name in history.columns if name.startswith("loss/")]
    kept = [name for name in ("stage", "loss", "validation_loss", *terms) if name in history]
    table = history[kept].copy()
    step = step_of(seen.model.history_)
    first = 0 if step == "generation" else 1
    table.insert(0, step, np.arange(first, len(table) + first))
    return Topic({"history": table}, [f"{counted_steps(seen.model.history_)}; {seen.model.stopping_rule_}."])


def health_of(seen: Seen) -> Topic:
    """What looks wrong, in sentences."""
    rows = (seen.X, seen.y) if seen.drawn else (seen.everything, seen.all_y)
    findings = health.examine(seen.model, *rows)
    table = health.to_table(findings)
    said = [] if findings else ["Nothing looks wrong: no rule of the health check has fired."]
    return Topic({"findings": table}, said)


# ---- rows, settings, versions --------------------------------------------------------------------


def data(seen: Seen) -> Topic:
    """Rows, inputs, presence patterns and labels."""
    present = seen.all_presence
    inputs = pd.DataFrame(
        {
            "modality": seen.names,
            "kind": [type(m).__name__.lower() for m in seen.model.modalities_.values()],
            "width": [own.width for own in seen.model.preprocessor_.inputs],
            "n_rows": present.sum(axis=0),
            "share": present.mean(axis=0),
        }
    )
    counts = calibration.pattern_counts(present, seen.names)
    patterns = pd.DataFrame(
        {"subset": ["+".join(s) for s in counts], "n_rows": counts.values(), "size": [len(s) for s in counts]}
    )
    patterns["share"] = patterns["n_rows"] / len(present)
    said = [
        f"{words.counted(len(present), 'row')}, {int(seen.labelled.sum()):,} of them with a label",
        f"{words.counted(len(patterns), 'pattern')} of presence",
    ]
    if seen.drawn:
        said.append(f"{len(seen.truth):,} of the labelled rows were drawn for the figures of this page")
    return Topic({"inputs": inputs, "patterns": patterns.head(MAX_PATTERNS), "labels": _labels(seen)}, said)


def _labels(seen: Seen) -> pd.DataFrame:
    if seen.kind == "regression":
        quantiles = {"least": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "largest": 1.0}
        values = [float(np.quantile(seen.truth, q)) for q in quantiles.values()]
        return pd.DataFrame({"label": list(quantiles), "value": values})
    if seen.kind == "multilabel":
        counts = np.nansum(seen.truth == 1, axis=0).astype(int)
    else:
        counts = np.bincount(seen.truth, minlength=len(seen.outputs))
    table = pd.DataFrame({"label": seen.outputs, "n_rows": counts, "share": counts / len(seen.truth)})
    return table.sort_values("n_rows", ascending=False, kind="stable").head(MAX_LABELS).reset_index(drop=True)


def settings(seen: Seen) -> Topic:
    """Settings of the method and of its training, and versions."""
    method = {name: str(value) for name, value in asdict(seen.model.method_.config).items()}
    own = {k: v for k, v in seen.model.get_params(deep=False).items() if k not in (*method, *NOT_SETTINGS)}
    packages = {name: version(name) for name in PACKAGES}
    numbers = sum(p.numel() for p in seen.model.method_.parameters())
    pairs = {
        "method": method,
        "training": {name: str(value) for name, value in own.items()} | {"learnt numbers": f"{numbers:,}"},
        "versions": {"python": platform.python_version(), **packages},
    }
    return Topic({name: _pairs(values) for name, values in pairs.items()})


def _pairs(values: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"name": list(values), "value": list(values.values())})


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, None where a figure is not finite."""
    plain = table.astype(object).where(table.notna(), None)
    return [
        {str(k): None if isinstance(v, float) and np.isinf(v) else v for k, v in row.items()}
        for row in plain.to_dict("records")
    ]


TOPICS: dict[str, Callable[[Seen], Topic | str]] = {
    "headline": headline,
    "combinations": combinations,
    "missing": missing,
    "worth": worth,
    "calibration": calibration_of,
    "coverage": coverage,
    "map": latent_map,
    "information": information,
    "partition": partition,
    "training": training,
    "health": health_of,
    "data": data,
    "settings": settings,
}
"""In the order of the page."""
