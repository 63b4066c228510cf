"""The verb that writes a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.shown import AsJson, print_json, put
from polymodal.cli.tables import labels_of, read_rows, target_column
from polymodal.cli.verbs import ModelDirectory, Table, app


@app.command()
def report(
    model: ModelDirectory,
    table: Table,
    target: Annotated[str, typer.Option(help="Column with the true labels.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("report.html"),
    as_json: AsJson = False,
) -> None:
    """Write one page about a model: every combination of inputs, their worth, trust, health, data."""
    from sklearn.base import is_regressor

    from polymodal import estimators
    from polymodal import report as reports

    fitted = estimators.load(model)
    rows = read_rows(table, fitted.modalities_)
    y = labels_of(target_column(rows, target), regression=is_regressor(fitted))
    facts = reports.gather(fitted, rows, y, dataset=table.stem, progress=True)
    reports.write(facts, out)
    if as_json:
        print_json(facts.as_json())
        return
    put(reports.show(facts))
    print(f"Written to {out}")
