"""What is shown: pairs, tables, JSON, warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.progress import counted_steps

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 160
"""Columns of a table that is printed into a file or a pipe."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def described_model(config: Mapping[str, Any]) -> dict[str, str]:
    """What is in a model directory, in words."""
    classes = config["classes"]
    modalities = config["modalities"]
    described = modalities if isinstance(modalities, list) else list(modalities.values())
    return {
        "estimator": config["estimator"],
        "method": config["method"],
        "task": f"{config['task']['kind']}, {config['task']['n_outputs']} outputs",
        "classes": "-" if classes is None else ", ".join(str(c) for c in classes["values"]),
        **{f"modality {m['name']}": f"{m['kind']} {_short(m['columns'])}" for m in described},
        "training": f"{counted_steps(config['history'])}; {config['stopping_rule']}",
        "settings": ", ".join(f"{name}={value}" for name, value in config["method_config"].items()),
    }


def counted_numbers(tensors: Mapping[str, Tensor]) -> str:
    """How many numbers the method learnt, and how many the floors beside it."""
    counts = {True: 0, False: 0}
    for name, tensor in tensors.items():
        counts[name.startswith("floor/")] += tensor.numel()
    return f"{counts[False]:,}" + (f", and {counts[True]:,} of its floors" if counts[True] else "")


def _short(columns: Any) -> str:
    names = [columns] if isinstance(columns, str) else [str(column) for column in columns]
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, ..., {names[-1]} ({len(names)})"


def first_line(documented: Any) -> str:
    """The summary of a docstring."""
    return _plain(documented.__doc__.strip().partition("\n")[0])


def _plain(words: str) -> str:
    return " ".join(words.replace("``", "").split())


def documented_fields(config: type) -> dict[str, str]:
    """Each field of a dataclass: its default and the string below it in the source."""
    import ast
    import inspect
    import textwrap

    (body,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            name, default = ast.unparse(field.target), "" if field.value is None else ast.unparse(field.value)
            found[f"{name}={default}"] = _plain(str(ast.literal_eval(text.value)))
    return found


def documented_parameters(estimator: type, left_out: Collection[str] = ()) -> dict[str, str]:
    """Each keyword that ``--set`` takes and is not left out: its default, and its entry in the docstring."""
    import inspect
    import re

    _, _, entries = inspect.getdoc(estimator).partition("Args:")  # type: ignore[union-attr]
    meanings = dict(re.findall(r"^    (\w+): ((?:.+\n(?:     .+\n)*))", entries, flags=re.MULTILINE))
    parameters = inspect.signature(estimator).parameters.values()
    return {
        f"{parameter.name}={parameter.default!r}": _plain(meanings[parameter.name])
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("settings", *left_out)
    }


def put(shown: Any) -> None:
    """Print anything that rich can, in a file or a pipe in ``WIDTH`` columns."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(shown)


def print_pairs(pairs: Mapping[str, str], title: str | None = None) -> None:
    """A line a name, the value beside it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        table.add_row(Text(name, style="bold", no_wrap=True), Text(value))
    if title:
        put(Text(title, style="bold underline"))
    put(table)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A line a row, as wide as the terminal, long cells in several lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    put(table)


def print_json(facts: Any) -> None:
    """Plain values as JSON, for another program."""
    print(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False))


def warn_once() -> Callable[..., None]:
    """A ``showwarning`` of one line, for each text once ("once" as a filter forgets when filters change)."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            warn(message)

    return show


def warn(message: Warning | str) -> None:
    """A warning is a line on stderr."""
    print(f"warning: {message}", file=sys.stderr)
