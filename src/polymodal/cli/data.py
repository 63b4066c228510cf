"""``polymodal data``: which data sets there are, what is known of one, whether a folder holds one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.cli.shown import AsJson, print_json, print_pairs, print_table
from polymodal.errors import DataError

if TYPE_CHECKING:
    from polymodal.data.public import Finding, PublicSet
    from polymodal.data.readers import Dataset

BUNDLED = ("mfeat", "htad")

app = typer.Typer(help="Data sets: list them, look one up, check a folder.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="See: polymodal data list.", show_default=False)]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of data sets. [default: $POLYMODAL_DATA]")
]


@app.command("list")
def list_(data: DataFolder = None, as_json: AsJson = False) -> None:
    """List every data set: task, modalities, rows, licence."""
    from polymodal.data import public, readers

    facts = [
        _published(public.get(name)) if name in public.names() else _own(name, data)
        for name in readers.available()
    ]
    if as_json:
        print_json(facts)
        return
    columns = ("name", "task", "modalities", "n_rows", "licence")
    print_table(columns, [[_words(fact[column]) for column in columns] for fact in facts])
    print("- is known once the files are there: polymodal data info NAME --data DIR")


@app.command()
def info(name: Name, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Say where a data set comes from, what its files are, its parts, metrics, licence and traps."""
    from polymodal.data import public, readers

    facts = _published(public.get(name)) if name in public.names() else _read(readers.load(name, data))
    if as_json:
        print_json(facts)
    else:
        print_pairs({fact: _words(value) for fact, value in facts.items() if value})


@app.command()
def check(
    name: Name,
    folder: Annotated[
        Path,
        typer.Argument(
            help="What holds its files. (Sets that info cannot tell of without --data: that DIR.)",
            show_default=False,
        ),
    ],
    variant: Annotated[str | None, typer.Option(help="One of the set's; see info.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a folder holds a data set as it was published; exit code 1 where it does not."""
    from polymodal.data import public

    found = public.check(name, folder, variant) if name in public.names() else _tried(name, folder, variant)
    is_right = all(finding.is_right for finding in found)
    if as_json:
        findings = [{"is_right": finding.is_right, "what": finding.what} for finding in found]
        print_json({"name": name, "folder": str(folder), "is_right": is_right, "findings": findings})
    else:
        for finding in found:
            print(f"{'right' if finding.is_right else 'WRONG'}  {finding.what}")
    raise typer.Exit(0 if is_right else 1)


# ---- facts -----------------------------------------------------------------------------------------------

FACTS = (
    *("name", "title", "task", "modalities", "variants", "layout", "metrics", "n_rows", "parts"),
    *("source", "licence", "citation", "notes"),
)


def _published(known: PublicSet) -> dict[str, Any]:
    own = {
        "layout": {name: known.paths(name) for name in known.variants} or known.paths(None),
        "n_rows": sum(known.n_rows.values()) or None,
        "parts": dict(known.n_rows),
    }
    return {fact: own[fact] if fact in own else getattr(known, fact) for fact in FACTS}


def _own(name: str, data: Path | None) -> dict[str, Any]:
    """Facts of a set whose files are at hand; of another one its name alone, since they lie in its files."""
    from polymodal.data import readers

    try:
        return _read(readers.load(name, None if name in BUNDLED else data))
    except DataError:
        return dict.fromkeys(FACTS) | {"name": name}


def _read(data: Dataset) -> dict[str, Any]:
    split = next(iter(data.splits.values()), {})
    own = {
        "title": data.notes.partition(".")[0],
        "modalities": [f"{name}: {type(kind).__name__}" for name, kind in data.modalities.items()],
        "variants": None,
        "layout": None,
        "n_rows": len(data),
        "parts": {part: len(rows) for part, rows in split.items()},
    }
    return {fact: own[fact] if fact in own else getattr(data, fact) for fact in FACTS}


def _tried(name: str, folder: Path, variant: str | None) -> list[Finding]:
    """One finding: the set is read, or is not."""
    from polymodal.data import readers
    from polymodal.data.public import Finding

    try:
        return [Finding(True, f"{len(readers.load(name, folder, variant=variant)):,} rows")]
    except DataError as error:
        return [Finding(False, str(error))]


# ---- what is shown ---------------------------------------------------------------------------------------


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_words(own)}" for name, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else value or "-"
