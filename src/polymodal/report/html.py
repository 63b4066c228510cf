"""What a page is made of: figures, tables that sort and copy, sections. Every word that came is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from polymodal.report import words

Cell = Callable[[Any], str]
"""From a value to the HTML that is shown for it."""
LONG = 16
"""Rows from which a table has a box of its own to scroll in."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: column of the data frame.
        title: its heading, plain words.
        shown: HTML of a value; None shows it as words.
        numeric: sorted and copied as a number.
        copied: from a value to what is copied and sorted by; None takes the value.
        heading: HTML of the heading, where plain words are not enough.
        style: class of its cells.
    """

    key: str
    title: str
    shown: Cell | None = None
    numeric: bool = True
    copied: Callable[[Any], Any] | None = None
    heading: str = ""
    style: str = ""


def name_column(key: str, title: str) -> Column:
    """A column of names."""
    return Column(key, title, numeric=False)


def number_column(key: str, title: str, shown: Callable[[float], str] = words.number) -> Column:
    """A column of numbers, shown by a function of :mod:`polymodal.report.words`."""
    return Column(key, title, lambda value: escape(shown(float(value))))


# ---- tables --------------------------------------------------------------------------------------


def table(frame: pd.DataFrame, columns: Sequence[Column], caption: str) -> str:
    """A table that sorts by click and key, and copies as tab-separated values.

    Args:
        frame: its rows.
        columns: which columns, in their order; the first names the row.
        caption: what the table is.
    """
    head = "".join(_heading(column) for column in columns)
    body = "".join(_row(row, columns) for row in frame.to_dict("records"))
    box = "scroll long" if len(frame) > LONG else "scroll"
    said = escape(caption)
    return (
        f'<div class="table"><div class="{box}" tabindex="0" role="region" aria-label="{said}">'
        f"<table><caption><span>{said}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<p class="tools">{_cut_note(len(frame))}'
        '<button type="button" class="copy">Copy table</button></p></div>'
    )


def _cut_note(n: int) -> str:
    return f'<span class="paper">The first 60 of {n:,} rows.</span>' if n > 60 else ""


def _heading(column: Column) -> str:
    kind = "number" if column.numeric else "text"
    shown = column.heading or escape(column.title)
    label = f' aria-label="{escape(column.title)}"' if column.heading else ""
    style = "n" if column.numeric else "t"
    return (
        f'<th scope="col" class="{style} {column.style}" data-title="{escape(column.title)}">'
        f'<button type="button" data-kind="{kind}"{label}>{shown}</button></th>'
    )


def _row(row: Mapping[Any, Any], columns: Sequence[Column]) -> str:
    return f"<tr>{''.join(_cell(row[c.key], c, first=i == 0) for i, c in enumerate(columns))}</tr>"


def _cell(value: Any, column: Column, *, first: bool) -> str:
    copied = value if column.copied is None else column.copied(value)
    plain = _plain(copied)
    shown = escape(plain) if column.shown is None else column.shown(value)
    tag = 'th scope="row"' if first else "td"
    data = f' data-v="{escape(plain)}"' if plain != shown else ""
    style = " ".join(filter(None, ["n" if column.numeric else "t", column.style]))
    return f'<{tag} class="{style}"{data}>{shown}</{tag.split()[0]}>'


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.7g}" if math.isfinite(value) else ""
    return str(value)


# ---- figures and sections ------------------------------------------------------------------------


def figure(title: str, picture: str, note: str = "", keys: Iterable[tuple[str, str]] = ()) -> str:
    """A picture with its title, a key of (class, words), and a note below."""
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{key(keys)}"
        f'<div class="picture">{picture}</div>{said}</figure>'
    )


def key(entries: Iterable[tuple[str, str]]) -> str:
    """What the colours stand for."""
    items = "".join(f'<li><i class="{style}"></i>{escape(name)}</li>' for style, name in entries)
    return f'<ul class="key">{items}</ul>' if items else ""


def figures(*shown: str) -> str:
    """Figures side by side, or one below the other on a phone."""
    return f'<div class="figures">{"".join(shown)}</div>'


def beside(*shown: str) -> str:
    """Figures and tables of different widths side by side, where there is room."""
    return f'<div class="beside">{"".join(shown)}</div>'


def section(name: str, title: str, parts: Iterable[str]) -> str:
    """A section with its heading."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(title)}</h2>'
        f"{''.join(parts)}</section>"
    )


def details(title: str, content: str) -> str:
    """What opens on demand; on paper it is open."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def lead(sentence: str) -> str:
    """What a section says, before its pictures."""
    return f'<p class="lead">{escape(sentence)}</p>' if sentence else ""


def note(sentence: str) -> str:
    """A remark in smaller letters."""
    return f'<p class="note">{escape(sentence)}</p>' if sentence else ""
