"""SVG by hand: a picture of text and shapes that follow the page's colours, light and dark.

Every picture is as wide as a phone, so that its letters are as large there as the page's. Colours are classes
(``c1`` ... ``c10``, ``muted``, ``line``) that the page's style sheet gives a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360.0
"""Of a picture, in units of its own; text is 11 high."""
LETTER = 6.1
"""Mean width of a letter."""


@dataclass(frozen=True)
class Scale:
    """From data to places: ``low`` lies at ``start``, ``high`` at ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high != self.low else 0.5
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self, n: int = 4) -> list[float]:
        """About n round numbers from low to high."""
        span = self.high - self.low
        if not (math.isfinite(span) and span > 0):
            return [self.low]
        raw = span / n
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


def around(values: Iterable[float], *, margin: float = 0.06) -> tuple[float, float]:
    """Least and largest finite value, with a margin."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    space = margin * (high - low) or 0.05 * abs(high) or 1.0
    return low - space, high + space


# ---- shapes --------------------------------------------------------------------------------------


def picture(parts: Iterable[str], *, words: str, height: float, width: float = WIDTH, style: str = "") -> str:
    """A whole picture; ``words`` say what it shows to those who do not see it."""
    kind = f' class="{style}"' if style else ""
    return (
        f'<svg role="img" aria-label="{escape(words)}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}"{kind}>{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> str:
    """Words at a place; ``anchor`` is start, middle or end."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}"{where}{_kind(style)}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str = "line") -> str:
    """A straight line."""
    return f'<path d="M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}"{_kind(style)}/>'


def polyline(points: Sequence[tuple[float, float]], style: str) -> str:
    """A line through points; a gap where one is not finite."""
    steps, pen = [], "M"
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        steps.append(f"{pen}{_n(x)} {_n(y)}")
        pen = "L"
    return f'<path d="{"".join(steps)}"{_kind(style)}/>' if steps else ""


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], style: str) -> str:
    """What lies between two lines of finite points."""
    points = [*upper, *reversed(lower)]
    steps = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
    return f'<path d="M{steps}Z"{_kind(style)}/>'


def rect(x: float, y: float, width: float, height: float, style: str, hover: str = "") -> str:
    """A rectangle, with words that show under the pointer."""
    size = f'width="{_n(max(width, 0))}" height="{_n(max(height, 0))}"'
    return f'<rect x="{_n(x)}" y="{_n(y)}" {size}{_kind(style)}{_end("rect", hover)}'


def circle(x: float, y: float, r: float, style: str, hover: str = "") -> str:
    """A dot, with words that show under the pointer."""
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}"{_kind(style)}{_end("circle", hover)}'


def cloud(points: Iterable[tuple[float, float]], style: str) -> str:
    """Many dots as one path of lines without length, which round caps make visible."""
    steps = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in points)
    return f'<path d="{steps}"{_kind(f"cloud {style}")}/>' if steps else ""


def clipped(words: str, n: int) -> str:
    """At most n letters."""
    return words if len(words) <= n else words[: n - 1] + "…"


def _end(tag: str, hover: str) -> str:
    return f"><title>{escape(hover)}</title></{tag}>" if hover else "/>"


def _kind(style: str) -> str:
    return f' class="{style}"' if style else ""


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


# ---- axes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """A frame with scales.

    Attributes:
        x: across.
        y: upwards.
        height: of the picture.
    """

    x: Scale
    y: Scale
    height: float

    @classmethod
    def of(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        height: float = 220.0,
        left: float = 40.0,
        top: float = 24.0,
        bottom: float = 38.0,
    ) -> Axes:
        """Axes over ranges of x and y."""
        return cls(Scale(*x, left, WIDTH - 10.0), Scale(*y, height - bottom, top), height)

    def drawn(
        self,
        x_label: str,
        y_label: str,
        *,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> list[str]:
        """Grid, ticks and names: what lies below the data."""
        bottom, left, right = self.y.start, self.x.start, self.x.stop
        parts = []
        for value, words in labelled(self.y) if y_ticks is None else y_ticks:
            parts += [
                line(left, self.y(value), right, self.y(value), "grid"),
                text(left - 6, self.y(value) + 3.5, words, "muted", anchor="end"),
            ]
        for value, words in labelled(self.x) if x_ticks is None else x_ticks:
            parts.append(text(self.x(value), bottom + 15, words, "muted", anchor="middle"))
        parts.append(line(left, bottom, right, bottom, "axis"))
        parts.append(text((left + right) / 2, self.height - 5, x_label, "muted", anchor="middle"))
        parts.append(text(0, 12, y_label, "muted"))
        return parts


def labelled(scale: Scale, n: int = 4) -> list[tuple[float, str]]:
    """Ticks with words, all with as many decimals as they need."""
    ticks = scale.ticks(n)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = next((d for d in range(6) if abs(round(step, d) - step) < 1e-9), 6)
    return [(tick, f"{tick:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")) for tick in ticks]
