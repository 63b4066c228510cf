"""The whole page: one file that needs no network, with its style and its script inside.

Its content policy names the hashes of exactly this style and this script, and allows nothing else: words from
data can neither run nor load anything, even if one came through unescaped.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html import escape
from importlib.resources import files
from pathlib import Path

from polymodal.report import sections
from polymodal.report.facts import Facts
from polymodal.report.html import lead


def rendered(facts: Facts) -> str:
    """The page as one string of HTML."""
    style, script = _part("page.css"), _part("page.js")
    shown = sections.rendered(facts)
    title = f"{facts.dataset}: {facts.method}" if facts.dataset else facts.method
    headline, *further = facts.topics["headline"].sentences
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title><style>{style}</style></head><body>",
            '<a class="skip" href="#main">To the figures</a><div class="page">',
            f'<header><p class="over">{escape(_over(facts))}</p><h1>{escape(headline)}</h1>',
            "".join(f"<p>{escape(sentence)}</p>" for sentence in further),
            "</header>",
            _contents(facts, list(shown)),
            f'<main id="main">{sections.tiles(facts)}{sections.methods_table(facts)}',
            *shown.values(),
            _left_out(facts),
            f"</main><footer>{escape(_foot(facts))}</footer></div>",
            f"<script>{script}</script></body></html>\n",
        ]
    )


def write(facts: Facts, path: str | Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        facts: what it shows.
        path: file to write; a file of this name is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(rendered(facts), encoding="utf-8")
    os.replace(unfinished, path)
    return path


def _part(name: str) -> str:
    """A style sheet or script that is part of the package, without comments and indents."""
    source = (files("polymodal.report") / name).read_text(encoding="utf-8")
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    return "\n".join(line.strip() for line in source.splitlines() if line.strip())


def _policy(style: str, script: str) -> str:
    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {allowed(style)}; script-src {allowed(script)}"


def _over(facts: Facts) -> str:
    inputs = f"{len(facts.names)} input{'s' if len(facts.names) > 1 else ''}: {', '.join(facts.names)}"
    return " · ".join(filter(None, [facts.dataset, facts.method, inputs]))


def _contents(facts: Facts, names: list[str]) -> str:
    titles = {name: escape(sections.title_of(facts, name)) for name in names}
    entries = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in titles.items())
    return f'<nav aria-label="Contents"><ol>{entries}</ol></nav>'


def _left_out(facts: Facts) -> str:
    if not facts.left_out:
        return ""
    reasons = {sections.title_of(facts, name): why for name, why in facts.left_out.items()}
    items = "".join(f"<li>{escape(title)}: {escape(why)}</li>" for title, why in reasons.items())
    said = lead("Sections that do not apply here, and why.")
    return (
        '<section id="left-out" aria-labelledby="left-out-title"><h2 id="left-out-title">Left out</h2>'
        f'{said}<ul class="leftout">{items}</ul></section>'
    )


def _foot(facts: Facts) -> str:
    table = facts.table("settings", "versions")
    versions = dict(zip(table["name"], table["value"], strict=True))
    return f"polymodal {versions['polymodal']}. All figures are of {facts.topics['data'].sentences[0]}."
