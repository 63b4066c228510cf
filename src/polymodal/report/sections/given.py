"""What the model was given: rows, settings and versions."""

from __future__ import annotations

from polymodal.report import words
from polymodal.report.facts import Facts
from polymodal.report.html import Column, beside, details, lead, name_column, number_column, table
from polymodal.report.sections.columns import inputs_column


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
        inputs_column(facts),
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
