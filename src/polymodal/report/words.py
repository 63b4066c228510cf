"""Figures in words: percent where a metric lies in [0, 1], three digits elsewhere."""

from __future__ import annotations

import math

from polymodal.metrics import METRICS

ABSENT = "\N{EN DASH}"
_SHORT = {
    "auroc": "AUROC",
    "ece": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "pearson_r": "Pearson's r",
    "brier": "Brier score",
}


def name_of(metric: str) -> str:
    """A metric's name in words."""
    return _SHORT.get(metric, metric.replace("_", " ").replace("f1", "F1"))


def label_of(metric: str) -> str:
    """A metric's name with its unit and, where less is better, that."""
    unit = " [%]" if METRICS[metric].unit_interval else ""
    return name_of(metric) + unit + ("" if METRICS[metric].greater_is_better else ", lower is better")


def scale_of(metric: str) -> float:
    """100 for shares, which are shown as percent."""
    return 100.0 if METRICS[metric].unit_interval else 1.0


def figure(metric: str, value: float) -> str:
    """A value of a metric, with its unit."""
    return share(value) if METRICS[metric].unit_interval else number(value)


def difference(metric: str, value: float) -> str:
    """A difference of two values, in points of percent for shares, signed."""
    if not math.isfinite(value):
        return ABSENT
    words = f"{100 * value:+.1f}" if METRICS[metric].unit_interval else f"{value:+#.3g}".removesuffix(".")
    return words.replace("-", "\N{MINUS SIGN}")


def share(value: float) -> str:
    """As percent with one decimal."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else ABSENT


def error(metric: str, value: float) -> str:
    """A standard error of a metric, in points of percent for shares."""
    return difference(metric, value).removeprefix("+")


def number(value: float) -> str:
    """Three digits."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else ABSENT
    if value == 0:
        return "0"
    words = f"{value:#.3g}".removesuffix(".") if abs(value) < 999.5 else f"{value:,.0f}"
    words = f"{value:.4f}" if abs(value) < 0.001 else words
    return words.replace("-", "\N{MINUS SIGN}")


def count(value: float) -> str:
    """A whole number."""
    return f"{value:,.0f}" if math.isfinite(value) else ABSENT


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def joined(names: list[str]) -> str:
    """A list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
