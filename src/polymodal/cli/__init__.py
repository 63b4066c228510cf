"""The command line.

verbs.py    fit, predict, evaluate, bench and the other verbs
data.py     the verbs about data sets
report.py   the verb that writes a report
suites.py   bench --suite
asked.py    flags, settings and config files, as plain values
tables.py   tables in, models and predictions out
shown.py    what is printed
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from polymodal.cli import data
from polymodal.cli.report import report
from polymodal.cli.shown import warn_once
from polymodal.cli.verbs import app
from polymodal.errors import PolymodalError, PolymodalWarning

__all__ = ["main", "report"]

app.add_typer(data.app, name="data")

UsageError: type[Any] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; an error is one line on stderr and exit code 2, with ``--debug`` its trace."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    with warnings.catch_warnings():
        warnings.simplefilter("always", PolymodalWarning)
        warnings.showwarning = warn_once()
        code = _run([a for a in arguments if a != "--debug"], debug=debug)
    sys.exit(code)


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = app(arguments, prog_name="polymodal", standalone_mode=False)
    except (PolymodalError, OSError, UsageError) as error:
        if debug:
            raise
        words = error.format_message() if isinstance(error, UsageError) else str(error)
        print(f"polymodal: {' '.join(words.split())}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("polymodal: stopped", file=sys.stderr)
        return 130
    return code if isinstance(code, int) else 0
