"""The command line: verbs that ask other rooms; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.errors import ConfigError, DataError, PolymodalError, PolymodalWarning

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from polymodal.schema import Modality

app = typer.Typer(
    name="polymodal",
    help="Multimodal models that never invent an input, and tell how well every combination of inputs works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)

KINDS = ("tabular", "vector", "series", "text", "image", "audio", "video")
UsageError: type[Any] = typer.BadParameter.__mro__[1]
WIDTH = 160
"""Columns of a table that is printed into a file or a pipe."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; an error is one line on stderr and exit code 2, with ``--debug`` its trace."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    with warnings.catch_warnings():
        warnings.simplefilter("always", PolymodalWarning)
        warnings.showwarning = _warn_once()
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


def _warn_once() -> Callable[..., None]:
    """A ``showwarning`` of one line, for each text once ("once" as a filter forgets when filters change)."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            _warn(message)

    return show


def _warn(message: Warning | str) -> None:
    print(f"warning: {message}", file=sys.stderr)


@app.callback()
def _common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error, after any verb.")
    ] = False,
) -> None:
    """``--debug`` is taken out by ``main``, wherever it stands; it is named here for the help alone."""


# ---- verbs -----------------------------------------------------------------------------------------------

Table = Annotated[Path, typer.Argument(help="Rows: a CSV, JSON lines or Parquet file.", show_default=False)]
ModelDirectory = Annotated[Path, typer.Argument(help="What fit wrote.", show_default=False)]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("polymodal-demo"),
) -> None:
    """Train Robult on bundled data, beside simple floors."""
    from polymodal import demo

    demo.run(out, _print)


@app.command()
def fit(
    table: Annotated[
        Path | None,
        typer.Argument(help="Training rows: a CSV, JSON lines or Parquet file.", show_default=False),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column to predict; an empty cell is unlabelled.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Model directory to write.")] = None,
    method: Annotated[str | None, typer.Option(help="See: polymodal options. [default: robult]")] = None,
    tabular: Annotated[
        list[str] | None, typer.Option(help="Columns that may have gaps: NAME=COL,COL or COL,COL; * matches.")
    ] = None,
    vector: Annotated[list[str] | None, typer.Option(help="Columns of an embedding: NAME='emb_*'.")] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(help="A column of lists of numbers, NAME=COL, or columns of steps, NAME='step_*'."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="A column of texts: NAME=COL or COL.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A column of paths, from the table's folder: NAME=COL or COL.")
    ] = None,
    audio: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    video: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="NAME=ENCODER; without one, the built-in encoder.")
    ] = None,
    on_corrupt: Annotated[
        str | None,
        typer.Option(help="What becomes of files that cannot be read: error or absent. [default: error]"),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE; see: polymodal options METHOD.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="classification or regression. [default: regression where a target has a fraction]"
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many. [default: 100]")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model. [default: 0]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON or TOML file with these options by name; options given win.")
    ] = None,
) -> None:
    """Train a model on a table with gaps, and save it."""
    given = (tabular, vector, series, text, image, audio, video)
    flags = dict(zip(KINDS, given, strict=True))
    asked = _read_config(config) | _given(
        table=table,
        target=target,
        out=out,
        method=method,
        task=task,
        epochs=epochs,
        seed=seed,
        on_corrupt=on_corrupt,
    )
    asked |= {kind: asked.get(kind, {}) | _columns(kind, flags[kind]) for kind in KINDS}
    asked["set"] = asked.get("set", {}) | _settings(set_)
    asked["encoder"] = asked.get("encoder", {}) | _settings(encoder, "encoder")
    for needed in ("table", "target", "out"):
        if needed not in asked:
            raise ConfigError(f"fit needs {needed}; none came; give it on the command line or in --config")
    model, n_labelled, n = _fitted(asked)
    model.save(asked["out"])
    print(
        f"{asked['out']}: {model.method} on {n} rows, {n_labelled} of them labelled; {model.stopping_rule_}"
    )


@app.command()
def encode(
    table: Table,
    text: Annotated[list[str] | None, typer.Option(help="A column of texts: NAME=COL or COL.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A column of paths, from the table's folder: NAME=COL or COL.")
    ] = None,
    audio: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    video: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="NAME=ENCODER; without one, the built-in encoder.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that decode. [default: one a processor]", min=1)
    ] = None,
) -> None:
    """Encode a table into the cache ($POLYMODAL_CACHE); what is there is passed over."""
    from polymodal.encoders.filling import fill
    from polymodal.progress import progress

    flags = dict(zip(KINDS[3:], (text, image, audio, video), strict=True))
    columns = {kind: _columns(kind, flags.get(kind)) for kind in KINDS}
    modalities: Any = _modalities(columns | {"encoder": _settings(encoder, "encoder")})
    if modalities is None:
        raise ConfigError("encode needs a column; none came; give --text, --image, --audio or --video")
    rows = _rows(table, modalities)
    with progress("encode", len(rows) * len(modalities), verbose=True) as shown:
        filled = fill(
            rows, modalities, n_workers=workers, step=lambda n: shown.step(lambda: f"{shown.done} cells", n)
        )
    for name, own in filled.items():
        unreadable = f", {own.n_corrupt} cannot be read" if own.n_corrupt else ""
        print(f"{name}: {own.n_cells} cells by {own.encoder}, width {own.width}{unreadable}")


@app.command()
def predict(
    model: ModelDirectory,
    table: Table,
    out: Annotated[Path, typer.Option(help="CSV, JSON lines or Parquet file to write.", show_default=False)],
) -> None:
    """Predict every row of a table from whatever it has."""
    from polymodal import estimators
    from polymodal.data import tables

    fitted = estimators.load(model)
    tables.write(_predictions(fitted, _rows(table, fitted.modalities_)), out)


@app.command()
def evaluate(
    model: ModelDirectory,
    table: Table,
    target: Annotated[str, typer.Option(help="Column with the true labels.", show_default=False)],
    metrics: Annotated[str | None, typer.Option(help="Names of metrics, with commas.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the rows of the table.")] = None,
) -> None:
    """Score a model on every combination of modalities."""
    from sklearn.base import is_regressor

    from polymodal import bench, estimators, evaluation

    fitted = estimators.load(model)
    rows = _rows(table, fitted.modalities_)
    rows = rows[_column(rows, target).notna()].reset_index(drop=True)
    if not len(rows):
        raise DataError(
            f"evaluate needs true labels; column {target!r} of {table} is empty; name another one"
        )
    y = _labels(rows[target], regression=is_regressor(fitted))
    report = fitted.subset_report(rows, y, metrics=_split(metrics), dataset=table.stem)
    if out is not None:
        bench.write_json(out, bench.to_rows(report))
    _print(evaluation.show(report, floors=fitted.floors_))


@app.command()
def bench(
    dataset: Annotated[
        str,
        typer.Argument(help="mfeat, htad, mosi, wesad, extrasensory, wiki or av_digits.", show_default=False),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets. [default: $POLYMODAL_DATA]")] = None,
    methods: Annotated[
        str, typer.Option(help="Names with commas; default: Robult and all floors.")
    ] = "default",
    labels: Annotated[str, typer.Option(help="Shares of the labels that are kept, with commas.")] = "1.0",
    missing_train: Annotated[float, typer.Option(help="Share of the training inputs made absent.")] = 0.0,
    split: Annotated[str | None, typer.Option(help="A published split, or random.")] = None,
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, ...")] = 5,
    jobs: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="JSON file for the rows; a run cut off goes on from it.")
    ] = None,
) -> None:
    """Compare methods and floors on the same splits and seeds."""
    from polymodal import bench, evaluation
    from polymodal.methods import floors

    chosen = bench.cells(
        dataset,
        _split(methods) or [],
        seeds=range(seeds),
        labels=[_number("--labels", share) for share in _split(labels) or []],
        missing_train=missing_train,
        split=split,
        data=data,
    )
    if not chosen:
        raise ConfigError(
            "bench needs a method, a share of labels and a seed; one of them is empty; name one"
        )
    command = shlex.join(["polymodal", *sys.argv[1:]])
    results = bench.run(chosen, data=data, jobs=jobs, out=out, command=command)
    _print(evaluation.show(bench.to_table(results), floors=floors.FLOORS))
    for warning in bench.said(results):
        _warn(warning)


@app.command()
def explain(
    model: ModelDirectory,
    table: Table,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("explain"),
) -> None:
    """Show what each modality tells alone and with others; for methods with a partition, such as pgm."""
    from polymodal import estimators, explanation

    fitted = estimators.load(model)
    rows = _rows(table, fitted.modalities_)
    found, written = explanation.write(fitted, rows, out, dataset=table.stem)
    _print(explanation.show(found))
    print(f"Written to {out}: {', '.join(written)}")


@app.command()
def info(model: ModelDirectory) -> None:
    """Say what is in a model directory."""
    from polymodal import checkpoint

    saved = checkpoint.load_directory(model)
    _print_pairs(_described(saved.config) | {"numbers": _counted(saved.tensors)})


@app.command()
def options(
    method: Annotated[str | None, typer.Argument(help="A method; without one, all are listed.")] = None,
) -> None:
    """List the methods, or the settings of one."""
    from polymodal import methods
    from polymodal.methods import floors

    if method is None:
        _print_pairs({name: _first_line(methods.get(name)) for name in methods.METHODS}, "methods")
        _print_pairs({name: _first_line(floor) for name, floor in floors.FLOORS.items()}, "floors, for bench")
        return
    from polymodal.estimators import MethodClassifier

    _print_pairs(_documented_fields(methods.get(method).Config), f"{method}: --set NAME=VALUE")
    _print_pairs(_documented_parameters(MethodClassifier), "training: --set NAME=VALUE")


@app.command()
def doctor() -> None:
    """Show versions, devices and extras."""
    from polymodal import doctor

    _print_pairs(doctor.examine())


# ---- what was asked --------------------------------------------------------------------------------------


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _read_config(path: Path | None) -> dict[str, Any]:
    """Options of ``fit`` by name; the kinds of modality as {name: columns}, ``set`` as {name: value}."""
    if path is None:
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        asked = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"a config file is JSON or TOML; {path} is not ({error}); mend it") from error
    known = ["table", "target", "out", "method", "task", "epochs", "seed", "on_corrupt", "set", "encoder"]
    known += KINDS
    for name, value in asked.items():
        if name not in known:
            raise ConfigError(
                f"a config file may hold {', '.join(known)}; {name!r} came{_guess(name, known)}"
            )
        if name in (*KINDS, "set", "encoder") and not isinstance(value, dict):
            raise ConfigError(
                f"{name} in a config file is a table of name and value; {value!r} came; name it"
            )
    return asked


def _columns(kind: str, flags: Iterable[str] | None) -> dict[str, list[str]]:
    """``NAME=COL,COL`` or ``COL,COL`` (named after the kind) as {name: columns}."""
    found: dict[str, list[str]] = {}
    for flag in flags or ():
        name, columns = flag.split("=", 1) if "=" in flag else (kind, flag)
        if name in found:
            raise ConfigError(
                f"modalities have names of their own; --{kind} came twice for {name!r}; "
                f"write --{kind} NAME=COLUMNS"
            )
        found[name] = _split(columns) or []
    return found


def _settings(flags: Iterable[str] | None, option: str = "set") -> dict[str, Any]:
    """``NAME=VALUE`` as {name: value}; a value is read as JSON where it is JSON, and as text where not."""
    found = {}
    for flag in flags or ():
        name, equals, value = flag.partition("=")
        if not equals:
            raise ConfigError(f"a setting is NAME=VALUE; {flag!r} came; write --{option} {flag}=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _split(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def _number(option: str, words: str) -> float:
    try:
        return float(words)
    except ValueError as error:
        raise ConfigError(f"{option} takes numbers; {words!r} came; write {option} 0.05,1") from error


def _guess(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; choose one of these"


# ---- tables in, models and predictions out ---------------------------------------------------------------


def _fitted(asked: Mapping[str, Any]) -> tuple[Any, int, int]:
    """The trained estimator, the number of labelled rows and of all rows."""
    from polymodal.estimators import MethodClassifier, MethodRegressor

    modalities = _modalities(asked)
    rows = _rows(asked["table"], modalities or {})
    target = _column(rows, asked["target"])
    regression = _is_regression(target, asked.get("task"))
    y = _labels(target, regression=regression)
    cls = MethodRegressor if regression else MethodClassifier
    own = {"random_state": asked.get("seed", 0), "verbose": True}
    own |= {} if regression else {"missing_label": None}  # an empty cell is unlabelled, and nothing else
    own |= {"max_epochs": asked["epochs"]} if "epochs" in asked else {}
    names = set(cls().get_params()) - {"method", "modalities", "settings"}
    own |= {name: value for name, value in asked["set"].items() if name in names}
    settings = {name: value for name, value in asked["set"].items() if name not in names}
    model = cls(asked.get("method", "robult"), modalities, settings=settings, **own)
    model.fit(rows.drop(columns=asked["target"]), y)
    return model, int(target.notna().sum()), len(rows)


def _rows(table: str | Path, modalities: Mapping[str, Modality]) -> pd.DataFrame:
    """A table; the cells of raw modalities stay as they are written, those of sequences are lists."""
    from polymodal.data import tables
    from polymodal.schema import RAW, Series

    texts, series = _columns_of(modalities, RAW), _columns_of(modalities, Series)
    return tables.read(table, texts=texts, series=series)


def _columns_of(modalities: Mapping[str, Modality], kinds: Any) -> list[str]:
    from polymodal.schema import column_tuple

    own = {name: modality for name, modality in modalities.items() if isinstance(modality, kinds)}
    return [str(column) for name, modality in own.items() for column in column_tuple(name, modality) or ()]


def _modalities(asked: Mapping[str, Any]) -> dict[str, Modality] | None:
    from polymodal import schema

    found: dict[str, Modality] = {}
    for kind in KINDS:
        for name, columns in asked[kind].items():
            if name in found:
                raise ConfigError(f"modalities have names of their own; {name!r} came twice; rename one")
            found[name] = schema.KINDS[kind.capitalize()]([columns] if isinstance(columns, str) else columns)
    for name, encoder in asked.get("encoder", {}).items():
        if not isinstance(own := found.get(name), schema.RAW):
            raw = [key for key, modality in found.items() if isinstance(modality, schema.RAW)]
            raise ConfigError(f"--encoder names a raw modality; {name!r} came{_guess(name, raw)}")
        found[name] = replace(own, encoder=encoder)
    if "on_corrupt" in asked:
        files = {name: own for name, own in found.items() if hasattr(own, "on_corrupt")}
        found |= {name: replace(own, on_corrupt=asked["on_corrupt"]) for name, own in files.items()}
    return found or None


def _column(rows: pd.DataFrame, name: str) -> pd.Series:
    if name not in rows:
        known = [str(column) for column in rows.columns]
        raise DataError(f"the target is a column of the table; {name!r} came{_guess(name, known)}")
    return rows[name]


def _is_regression(target: pd.Series, task: str | None) -> bool:
    from pandas.api.types import is_float_dtype

    if task not in (None, "classification", "regression"):
        raise ConfigError(
            f"task is classification or regression; {task!r} came; leave it out to let polymodal see"
        )
    if task is None:
        return is_float_dtype(target) and bool((target.dropna() % 1 != 0).any())
    return task == "regression"


def _labels(column: pd.Series, *, regression: bool) -> np.ndarray:
    """(n,) labels of a column, None or NaN where its cell is empty; whole numbers stay whole despite gaps."""
    import numpy as np
    from pandas.api.types import is_float_dtype, is_numeric_dtype

    if regression and is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    whole = is_float_dtype(column) and not (column.dropna() % 1 != 0).any()
    cells = [
        None if empty else int(cell) if whole else cell
        for cell, empty in zip(column, column.isna(), strict=True)
    ]
    return np.array(cells, dtype=object)


def _predictions(model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """``prediction`` and one ``probability:CLASS`` a class; multi-label: one ``prediction:LABEL`` a label."""
    import pandas as pd

    prediction = model.predict(rows)
    if prediction.ndim == 2:
        found = {f"prediction:{c}": prediction[:, i] for i, c in enumerate(model.classes_)}
    else:
        found = {"prediction": prediction}
    if hasattr(model, "predict_proba"):
        chances = model.predict_proba(rows)
        found |= {f"probability:{c}": chances[:, i] for i, c in enumerate(model.classes_)}
    return pd.DataFrame(found)


# ---- what is shown ---------------------------------------------------------------------------------------


def _described(config: Mapping[str, Any]) -> dict[str, str]:
    classes = config["classes"]
    modalities = config["modalities"]
    described = modalities if isinstance(modalities, list) else list(modalities.values())
    return {
        "estimator": config["estimator"],
        "method": config["method"],
        "task": f"{config['task']['kind']}, {config['task']['n_outputs']} outputs",
        "classes": "-" if classes is None else ", ".join(str(c) for c in classes["values"]),
        **{f"modality {m['name']}": f"{m['kind']} {_short(m['columns'])}" for m in described},
        "training": f"{len(config['history'])} epochs; {config['stopping_rule']}",
        "settings": ", ".join(f"{name}={value}" for name, value in config["method_config"].items()),
    }


def _counted(tensors: Mapping[str, Tensor]) -> str:
    """How many numbers the method learnt, and how many the floors beside it."""
    counts = {True: 0, False: 0}
    for name, tensor in tensors.items():
        counts[name.startswith("floor/")] += tensor.numel()
    return f"{counts[False]:,}" + (f", and {counts[True]:,} of its floors" if counts[True] else "")


def _short(columns: Any) -> str:
    names = [columns] if isinstance(columns, str) else [str(column) for column in columns]
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, ..., {names[-1]} ({len(names)})"


def _first_line(documented: Any) -> str:
    return _plain(documented.__doc__.strip().partition("\n")[0])


def _plain(words: str) -> str:
    return " ".join(words.replace("``", "").split())


def _documented_fields(config: type) -> dict[str, str]:
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


def _documented_parameters(estimator: type) -> dict[str, str]:
    """Each keyword that ``--set`` takes: its default, and its entry in the class docstring."""
    import inspect
    import re

    _, _, entries = inspect.getdoc(estimator).partition("Args:")  # type: ignore[union-attr]
    meanings = dict(re.findall(r"^    (\w+): ((?:.+\n(?:     .+\n)*))", entries, flags=re.MULTILINE))
    parameters = inspect.signature(estimator).parameters.values()
    return {
        f"{parameter.name}={parameter.default!r}": _plain(meanings[parameter.name])
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "settings"
    }


def _print(shown: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(shown)


def _print_pairs(pairs: Mapping[str, str], title: str | None = None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        table.add_row(Text(name, style="bold", no_wrap=True), Text(value))
    if title:
        _print(Text(title, style="bold underline"))
    _print(table)
