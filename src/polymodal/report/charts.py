"""From tables to pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polymodal.report import words
from polymodal.report.svg import (
    LETTER,
    WIDTH,
    Axes,
    Scale,
    area,
    around,
    circle,
    clipped,
    cloud,
    labelled,
    line,
    picture,
    polyline,
    rect,
    text,
)

COLOURS = tuple(f"c{i}" for i in range(1, 11))
HEATS = 6
DOT = 13.0
"""Width of a modality in a row of dots."""
MAX_NAME = 15
"""Letters of a name beside a bar."""


@dataclass(frozen=True)
class Line:
    """A line of a picture.

    Attributes:
        name: for the text alternative.
        x: across.
        y: upwards.
        style: class of its colour.
        dots: whether its points are marked.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    dots: bool = False


# ---- rows of the table of combinations -----------------------------------------------------------


def dots(names: Sequence[str], subset: str) -> str:
    """One row of dots: filled for a modality that is there, joined by a line."""
    there = [m for m, name in enumerate(names) if name in subset.split("+")]
    parts = [circle(DOT * (m + 0.5), 8, 1.6, "off") for m in range(len(names)) if m not in there]
    if len(there) > 1:
        parts.append(line(DOT * (there[0] + 0.5), 8, DOT * (there[-1] + 0.5), 8, "join"))
    parts += [circle(DOT * (m + 0.5), 8, 4.2, "on") for m in there]
    return picture(parts, words=subset.replace("+", " + "), width=DOT * len(names), height=16, style="dots")


def bar(value: float, floor: float, scale: Scale, heat: float, *, beaten: bool, said: str) -> str:
    """A bar with the best floor as a mark; ``heat`` in [0, 1] is how dark it is."""
    width = scale.stop
    if not math.isfinite(value):
        return picture([], words="no rows", width=width, height=16, style="bar")
    zero, end = scale(0.0), scale(value)
    colour = "beaten" if beaten else f"h{min(int(heat * HEATS), HEATS - 1)}"
    parts = [rect(min(zero, end), 2.5, abs(end - zero), 11, f"fill {colour}")]
    if math.isfinite(floor):
        parts.append(line(scale(floor), 0, scale(floor), 16, "mark"))
    return picture(parts, words=said, width=width, height=16, style="bar")


# ---- points by number of inputs ------------------------------------------------------------------


def by_size(
    table: pd.DataFrame,
    values: Mapping[str, str],
    label: str,
    *,
    n_sizes: int,
    scale: float = 1.0,
    promise: float | None = None,
    said: str = "",
) -> str:
    """Every combination as a dot, in a column for its number of inputs; the line joins the means.

    Args:
        table: columns subset, size and those of ``values``.
        values: column -> class of its colour.
        label: of the values.
        n_sizes: number of modalities.
        scale: 100 for percent.
        promise: a level to be marked.
        said: the text alternative.
    """
    shown = scale * table[list(values)].to_numpy(dtype=float)
    marks = [] if promise is None else [scale * promise]
    axes = Axes.of((0.5, n_sizes + 0.5), around([*shown.ravel().tolist(), *marks]))
    parts = axes.drawn("inputs present", label, x_ticks=[(k, f"{k}") for k in range(1, n_sizes + 1)])
    step = (axes.x(2) - axes.x(1)) / (len(values) + 1) if n_sizes > 1 else 30.0
    parts += [line(axes.x.start, axes.y(mark), axes.x.stop, axes.y(mark), "promise") for mark in marks]
    for i, (column, style) in enumerate(values.items()):
        shift = (i - (len(values) - 1) / 2) * min(step, 12.0)
        by = table.groupby("size")[column]
        mean = by.mean()
        sizes, heights = mean.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)
        means = [(axes.x(k) + shift, axes.y(scale * v)) for k, v in zip(sizes, heights, strict=True)]
        for size in sizes.tolist():
            own = table[(table["size"] == size) & table[column].notna()]
            places = _beside(len(own), min(step, 16.0))
            points = [
                (axes.x(size) + shift + place, axes.y(scale * value))
                for place, value in zip(places, np.sort(own[column]), strict=True)
            ]
            parts.append(cloud(points, f"{style} dim"))
        parts.append(polyline(means, f"stroke {style}"))
    return picture(parts, words=said, height=axes.height)


def _beside(n: int, width: float) -> np.ndarray:
    """Small shifts that keep n points from hiding each other: the same for the same n."""
    return width * (((np.arange(n) * 0.618034) % 1.0) - 0.5) if n > 3 else np.zeros(n)


# ---- lines ---------------------------------------------------------------------------------------


def lines(
    shown: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    said: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    height: float = 220.0,
) -> str:
    """Lines in one frame; ``marks`` are places across with a name."""
    xs = [x for own in shown for x in own.x]
    ys = [y for own in shown for y in own.y]
    axes = Axes.of(x_range or (min(xs), max(xs)), y_range or around(ys), height=height)
    parts = axes.drawn(x_label, y_label)
    for place, name in marks:
        parts += [
            line(axes.x(place), axes.y.start, axes.x(place), axes.y.stop, "promise"),
            text(axes.x(place) + 4, axes.y.stop + 9, name, "muted"),
        ]
    for own in shown:
        points = [(axes.x(x), axes.y(y)) for x, y in zip(own.x, own.y, strict=True)]
        parts.append(polyline(points, f"stroke {own.style}"))
        if own.dots:
            parts.append(cloud([p for p in points if all(map(math.isfinite, p))], own.style))
    return picture(parts, words=said, height=axes.height)


def reliability(curves: Mapping[str, pd.DataFrame], styles: Mapping[str, str], *, said: str) -> str:
    """Share right against confidence; a dot's area grows with the rows behind it; on the line is honest."""
    axes = Axes.of((0.0, 1.0), (0.0, 1.0), height=300.0)
    ticks = [(v, f"{100 * v:.0f}") for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts = axes.drawn("confidence [%]", "share right [%]", x_ticks=ticks, y_ticks=ticks)
    parts.append(line(axes.x(0), axes.y(0), axes.x(1), axes.y(1), "promise"))
    most = max(float(curve["n_rows"].max()) for curve in curves.values())
    for name, curve in curves.items():
        points = [(axes.x(x), axes.y(y)) for x, y in zip(curve["confidence"], curve["accuracy"], strict=True)]
        sure = curve["n_rows"] >= max(5, curve["n_rows"].sum() // 100)
        joined = [point for point, kept in zip(points, sure, strict=True) if kept]
        parts.append(polyline(joined, f"stroke thin {styles[name]}"))
        for (x, y), n in zip(points, curve["n_rows"], strict=True):
            radius = 2.0 + 6.0 * math.sqrt(float(n) / most)
            parts.append(circle(x, y, radius, f"fill soft {styles[name]}", words.counted(int(n), "row")))
    return picture(parts, words=said, height=axes.height)


# ---- bars ----------------------------------------------------------------------------------------


def bars(
    names: Sequence[str],
    values: Sequence[float],
    errors: Sequence[float],
    label: str,
    *,
    said: str,
    shown: Callable[[float], str] = words.number,
) -> str:
    """A bar a name, with a whisker of ± one standard error."""
    errors = [e if math.isfinite(e) else 0.0 for e in errors]
    ends = [v + s * e for v, e in zip(values, errors, strict=True) if math.isfinite(v) for s in (-1, 1)]
    left = _room(names)
    scale = Scale(min(0.0, *ends), max(0.0, *ends), left, WIDTH - 46)
    parts = _across(scale, len(names), label)
    for i, (name, value, error) in enumerate(zip(names, values, errors, strict=True)):
        y = 8 + 24 * i
        parts.append(text(left - 8, y + 11, clipped(name, MAX_NAME), anchor="end"))
        if not math.isfinite(value):
            continue
        zero, end = scale(0.0), scale(value)
        parts.append(
            rect(min(zero, end), y, abs(end - zero), 15, f"fill {'c2' if value < 0 else 'c1'}", name)
        )
        if error:
            parts.append(line(scale(value - error), y + 7.5, scale(value + error), y + 7.5, "whisker"))
        parts.append(text(WIDTH, y + 11, shown(value), "figure", anchor="end"))
    parts.append(line(scale(0.0), 4, scale(0.0), 10 + 24 * len(names), "axis"))
    return picture(parts, words=said, height=44 + 24 * len(names))


def _across(scale: Scale, n: int, label: str) -> list[str]:
    """Grid and ticks below n bars."""
    bottom, parts = 10 + 24 * n, []
    for value, figure in labelled(scale):
        parts += [
            line(scale(value), 4, scale(value), bottom, "grid"),
            text(scale(value), bottom + 14, figure, "muted", anchor="middle"),
        ]
    parts.append(text((scale.start + scale.stop) / 2, bottom + 30, label, "muted", anchor="middle"))
    return parts


def _room(names: Sequence[str], most: int = MAX_NAME) -> float:
    """Width that the longest name takes."""
    return 12 + LETTER * max(min(len(name), most) for name in names)


def stacked(
    names: Sequence[str], parts_of: pd.DataFrame, styles: Mapping[str, str], label: str, *, said: str
) -> str:
    """A bar a name, divided; parts below 0 lie to the left."""
    positive = parts_of[list(styles)].clip(lower=0).sum(axis=1)
    negative = parts_of[list(styles)].clip(upper=0).sum(axis=1)
    left = _room(names, 22)
    scale = Scale(float(min(negative.min(), 0.0)), float(positive.max()) or 1.0, left, WIDTH - 8)
    drawn = _across(scale, len(names), label)
    for i, (name, row) in enumerate(zip(names, parts_of.to_dict("records"), strict=True)):
        y = 8 + 24 * i
        drawn.append(text(left - 8, y + 11, clipped(name, 22), anchor="end"))
        ends = {True: 0.0, False: 0.0}
        for part, style in styles.items():
            value = float(row[part])
            if not math.isfinite(value):
                continue
            start = ends[value >= 0]
            ends[value >= 0] = start + value
            x, end = scale(start), scale(start + value)
            hover = f"{name}: {part.replace('_', ' ')} {words.number(value)}"
            drawn.append(rect(min(x, end), y, abs(end - x), 15, f"fill {style}", hover))
    drawn.append(line(scale(0.0), 4, scale(0.0), 10 + 24 * len(names), "axis"))
    return picture(drawn, words=said, height=44 + 24 * len(names))


# ---- maps ----------------------------------------------------------------------------------------


def scatter(points: pd.DataFrame, styles: Mapping[str, str], *, named: bool, said: str) -> str:
    """Points by group; ``named`` writes a group's name at its middle."""
    height = WIDTH * min(max(np.ptp(points["y"]) / (np.ptp(points["x"]) or 1.0), 0.55), 1.0)
    axes = Axes.of(*_squared(points, height / WIDTH), height=height, left=4.0, top=4.0, bottom=4.0)
    parts = []
    middles = []
    for group, own in points.groupby("group", sort=False):
        places = [(axes.x(x), axes.y(y)) for x, y in zip(own["x"], own["y"], strict=True)]
        parts.append(cloud(places, f"point {styles[str(group)]}"))
        x, y = np.median(np.array(places), axis=0)
        middles.append((float(x), float(y) + 4, clipped(str(group), 14)))
    names = [text(x, y, name, "over", anchor="middle") for x, y, name in _apart(middles)]
    return picture(parts + (names if named else []), words=said, height=axes.height)


def _apart(names: list[tuple[float, float, str]], line: float = 13.0) -> list[tuple[float, float, str]]:
    """Names moved down, the upper ones first, until none is written over another."""
    placed: list[tuple[float, float, str]] = []
    for x, y, name in sorted(names, key=lambda name: name[1]):
        for x0, y0, other in sorted(placed, key=lambda name: name[1]):
            if abs(x - x0) < LETTER * (len(name) + len(other)) / 2 and y0 - line < y < y0 + line:
                y = y0 + line
        placed.append((x, y, name))
    return placed


def _squared(points: pd.DataFrame, tall: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of x and y in which both have one unit; ``tall`` is the picture's height by its width."""
    (left, right), (low, high) = around(points["x"]), around(points["y"])
    half = max(right - left, (high - low) / tall) / 2
    x, y = (left + right) / 2, (low + high) / 2
    return (x - half, x + half), (y - half * tall, y + half * tall)


def matrix(table: pd.DataFrame, names: Sequence[str], *, said: str) -> str:
    """What each further input (column) is worth to a row that has one (row): a square with a number."""
    left, top = _room(names, 9), 56.0
    cell = min(44.0, (WIDTH - left) / len(names))
    values = {(row["have"], row["next"]): float(row["value"]) for row in table.to_dict("records")}
    most = max((v for v in values.values() if math.isfinite(v)), default=0.0) or 1.0
    parts = []
    for i, name in enumerate(names):
        parts.append(text(left - 8, top + cell * (i + 0.5) + 4, clipped(name, 9), anchor="end"))
        x = left + cell * (i + 0.5)
        turned = f"translate({x + 3:.1f} {top - 6:.1f}) rotate(-55)"
        parts.append(f'<g transform="{turned}">{text(0, 0, clipped(name, 9))}</g>')
    for i, have in enumerate(names):
        for j, further in enumerate(names):
            x, y = left + cell * j, top + cell * i
            value = values.get((have, further), math.nan)
            if have == further or not math.isfinite(value):
                parts.append(circle(x + cell / 2, y + cell / 2, 1.6, "off"))
                continue
            heat = min(int(value / most * HEATS), HEATS - 1)
            hover = f"has {have}, gets {further}: {words.number(value)}"
            style = "fill worse" if value < 0 else f"fill h{heat}"
            parts.append(rect(x + 1, y + 1, cell - 2, cell - 2, style, hover))
            if cell >= 30:
                style = "onheat" if heat >= 3 else "offheat"
                parts.append(text(x + cell / 2, y + cell / 2 + 4, _short(value), style, anchor="middle"))
    return picture(parts, words=said, height=top + cell * len(names) + 4)


def _short(value: float) -> str:
    if abs(value) >= 1:
        return words.number(float(f"{value:.2g}"))
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}").replace("0.", ".", 1)


def gates(table: pd.DataFrame, *, said: str) -> str:
    """Mean gates along the width of one modality, in bands that hold 80 % of the rows."""
    n = len(table)
    axes = Axes.of((0.0, float(n)), (0.0, 1.0), height=150.0)
    parts = axes.drawn("chunks of neurons", "gate (1: open)", y_ticks=[(0.0, "0"), (0.5, ".5"), (1.0, "1")])
    for part, style in (("uni", "c1"), ("paired", "c2")):
        low, high, mean = (_steps(axes, table[f"{part}{end}"]) for end in ("_10", "_90", ""))
        parts += [area(high, low, f"fill band {style}"), polyline(mean, f"stroke {style}")]
    return picture(parts, words=said, height=axes.height)


def _steps(axes: Axes, values: pd.Series) -> list[tuple[float, float]]:
    """A staircase: each value is level over its chunk."""
    return [(axes.x(k + side), axes.y(float(v))) for k, v in enumerate(values) for side in (0, 1)]
