"""Columns that several sections show, and the styles of the model and of what it stands beside."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from polymodal.report import charts, words
from polymodal.report.facts import Facts
from polymodal.report.html import Column

METHOD, REFERENCE = "c1", "c8"


def metric_column(key: str, metric: str, title: str, style: str = "") -> Column:
    """Figures of a metric, as numbers without their unit."""
    scale = words.scale_of(metric)
    shown: Callable[[Any], str] = lambda v: escape(bare(metric, float(v)))  # noqa: E731
    return Column(key, title, shown, copied=lambda v: scale * float(v), style=style)


def bare(metric: str, value: float) -> str:
    """A figure of a metric without its unit."""
    return words.figure(metric, value).removesuffix("\N{NO-BREAK SPACE}%")


def inputs_column(facts: Facts, key: str = "subset") -> Column:
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
