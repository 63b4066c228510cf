"""Every verb: it reads what was asked, and asks other rooms; nothing heavy is imported before one runs."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.asked import KINDS, columns_of, number_of, read_config, settings_of, without_none, words_of
from polymodal.cli.shown import (
    AsJson,
    counted_numbers,
    described_model,
    documented_fields,
    documented_parameters,
    first_line,
    print_json,
    print_pairs,
    put,
    warn,
)
from polymodal.cli.tables import labels_of, modalities_of, predicted, read_rows, target_column, trained
from polymodal.errors import ConfigError, DataError

app = typer.Typer(
    name="polymodal",
    help="Multimodal models that never invent an input, and tell how well every combination of inputs works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)


@app.callback()
def _common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error, after any verb.")
    ] = False,
) -> None:
    """``--debug`` is taken out by ``main``, wherever it stands; it is named here for the help alone."""


Table = Annotated[Path, typer.Argument(help="Rows: a CSV, JSON lines or Parquet file.", show_default=False)]
ModelDirectory = Annotated[Path, typer.Argument(help="What fit wrote.", show_default=False)]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("polymodal-demo"),
    as_json: AsJson = False,
) -> None:
    """Train the default on bundled data, beside simple floors."""
    from polymodal import bench, demo

    table = demo.run(out, (lambda _: None) if as_json else put)
    if as_json:
        print_json(bench.to_rows(table))


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
    method: Annotated[str | None, typer.Option(help="See: polymodal options. [default: committee]")] = None,
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
    epochs: Annotated[
        int | None, typer.Option(help="At most so many, of methods trained in steps. [default: 100]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model. [default: 0]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON or TOML file with these options by name; options given win.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a table with gaps, and save it."""
    given = (tabular, vector, series, text, image, audio, video)
    flags = dict(zip(KINDS, given, strict=True))
    asked = read_config(config) | without_none(
        table=table,
        target=target,
        out=out,
        method=method,
        task=task,
        epochs=epochs,
        seed=seed,
        on_corrupt=on_corrupt,
    )
    asked |= {kind: asked.get(kind, {}) | columns_of(kind, flags[kind]) for kind in KINDS}
    asked["set"] = asked.get("set", {}) | settings_of(set_)
    asked["encoder"] = asked.get("encoder", {}) | settings_of(encoder, "encoder")
    for needed in ("table", "target", "out"):
        if needed not in asked:
            raise ConfigError(f"fit needs {needed}; none came; give it on the command line or in --config")
    model, n_labelled, n = trained(asked)
    model.save(asked["out"])
    facts = {"out": str(asked["out"]), "method": model.method, "n_rows": n, "n_labelled": n_labelled}
    if as_json:
        print_json(facts | {"stopping_rule": model.stopping_rule_})
        return
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
    as_json: AsJson = False,
) -> None:
    """Encode a table into the cache ($POLYMODAL_CACHE); what is there is passed over."""
    from polymodal.encoders.filling import fill
    from polymodal.progress import progress

    flags = dict(zip(KINDS[3:], (text, image, audio, video), strict=True))
    columns = {kind: columns_of(kind, flags.get(kind)) for kind in KINDS}
    modalities: Any = modalities_of(columns | {"encoder": settings_of(encoder, "encoder")})
    if modalities is None:
        raise ConfigError("encode needs a column; none came; give --text, --image, --audio or --video")
    rows = read_rows(table, modalities)
    with progress("encode", len(rows) * len(modalities), verbose=True) as shown:
        filled = fill(
            rows, modalities, n_workers=workers, step=lambda n: shown.step(lambda: f"{shown.done} cells", n)
        )
    if as_json:
        print_json({name: asdict(own) for name, own in filled.items()})
        return
    for name, own in filled.items():
        unreadable = f", {own.n_corrupt} cannot be read" if own.n_corrupt else ""
        print(f"{name}: {own.n_cells} cells by {own.encoder}, width {own.width}{unreadable}")


@app.command()
def predict(
    model: ModelDirectory,
    table: Table,
    out: Annotated[Path, typer.Option(help="CSV, JSON lines or Parquet file to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Predict every row of a table from whatever it has."""
    from polymodal import estimators
    from polymodal.data import tables

    fitted = estimators.load(model)
    found = predicted(fitted, read_rows(table, fitted.modalities_))
    tables.write(found, out)
    if as_json:
        print_json({"out": str(out), "n_rows": len(found)})


@app.command()
def evaluate(
    model: ModelDirectory,
    table: Table,
    target: Annotated[str, typer.Option(help="Column with the true labels.", show_default=False)],
    metrics: Annotated[str | None, typer.Option(help="Names of metrics, with commas.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the rows of the table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on every combination of modalities."""
    from sklearn.base import is_regressor

    from polymodal import bench, estimators, evaluation

    fitted = estimators.load(model)
    rows = read_rows(table, fitted.modalities_)
    rows = rows[target_column(rows, target).notna()].reset_index(drop=True)
    if not len(rows):
        raise DataError(
            f"evaluate needs true labels; column {target!r} of {table} is empty; name another one"
        )
    y = labels_of(rows[target], regression=is_regressor(fitted))
    report = fitted.subset_report(rows, y, metrics=words_of(metrics), dataset=table.stem)
    if out is not None:
        bench.write_json(out, bench.to_rows(report))
    if as_json:
        print_json(bench.to_rows(report))
    else:
        put(evaluation.show(report, floors=fitted.floors_))


@app.command()
def bench(
    dataset: Annotated[
        str | None,
        typer.Argument(help="See: polymodal data list. Left out with --suite.", show_default=False),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="The audited grid in place of one data set: core, quick or full.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of data sets. [default: $POLYMODAL_DATA]")] = None,
    methods: Annotated[
        str, typer.Option(help="Names with commas; default: the default and all floors, or all of the suite.")
    ] = "default",
    labels: Annotated[str, typer.Option(help="Shares of the labels that are kept, with commas.")] = "1.0",
    missing_train: Annotated[float, typer.Option(help="Share of the training inputs made absent.")] = 0.0,
    split: Annotated[str | None, typer.Option(help="A published split, or random.")] = None,
    variant: Annotated[str | None, typer.Option(help="A variant of the data set.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=ENCODER of a raw modality; without one, the built-in encoder."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, ...")] = 5,
    jobs: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file for the rows; a run cut off goes on from it. [suite: suite-NAME.json]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods and floors on the same splits and seeds."""
    from polymodal import bench, evaluation
    from polymodal.cli import suites
    from polymodal.methods import floors

    if (suite is None) == (dataset is None):
        raise ConfigError(
            f"bench takes a data set or a suite; {dataset!r} and --suite {suite!r} came; give one of them"
        )
    if suite is not None:
        named = None if methods == "default" else words_of(methods)
        suites.run(suite, out, methods=named, data=data, jobs=jobs, as_json=as_json)
        return
    assert dataset is not None
    chosen = bench.cells(
        dataset,
        words_of(methods) or [],
        seeds=range(seeds),
        labels=[number_of("--labels", share) for share in words_of(labels) or []],
        missing_train=missing_train,
        split=split,
        variant=variant,
        encoders=settings_of(encoder, "encoder"),
        data=data,
    )
    if not chosen:
        raise ConfigError(
            "bench needs a method, a share of labels and a seed; one of them is empty; name one"
        )
    command = shlex.join(["polymodal", *sys.argv[1:]])
    results = bench.run(chosen, data=data, jobs=jobs, out=out, command=command)
    table = bench.to_table(results)
    if as_json:
        print_json(bench.to_rows(table))
    else:
        put(evaluation.show(table, floors=floors.FLOORS))
    for warning in bench.said(results):
        warn(warning)


@app.command()
def explain(
    model: ModelDirectory,
    table: Table,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("explain"),
    as_json: AsJson = False,
) -> None:
    """Show what each modality tells alone and with others; for methods with a partition, such as pgm."""
    from polymodal import estimators, explanation

    fitted = estimators.load(model)
    rows = read_rows(table, fitted.modalities_)
    found, written = explanation.write(fitted, rows, out, dataset=table.stem)
    if as_json:
        partition = found.astype(object).where(found.notna(), None).to_dict("records")
        print_json({"partition": partition, "out": str(out), "files": written})
        return
    put(explanation.show(found))
    print(f"Written to {out}: {', '.join(written)}")


@app.command()
def info(model: ModelDirectory, as_json: AsJson = False) -> None:
    """Say what is in a model directory."""
    from polymodal import checkpoint

    saved = checkpoint.load_directory(model)
    facts = described_model(saved.config) | {"numbers": counted_numbers(saved.tensors)}
    (print_json if as_json else print_pairs)(facts)


@app.command()
def options(
    method: Annotated[str | None, typer.Argument(help="A method; without one, all are listed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods, or the settings of one."""
    from polymodal import methods
    from polymodal.methods import floors

    if method is None:
        shown = {
            "methods": {name: first_line(methods.get(name)) for name in methods.METHODS},
            "floors": {name: first_line(floor) for name, floor in floors.FLOORS.items()},
        }
    else:
        from polymodal.estimators import MethodClassifier
        from polymodal.estimators.shell import ONLY_THE_LOOP_READS

        chosen = methods.get(method)
        unread = ONLY_THE_LOOP_READS if chosen.learns_alone else ()
        shown = {
            method: documented_fields(chosen.Config),
            "training": documented_parameters(MethodClassifier, unread),
        }
    if as_json:
        print_json(shown)
        return
    for name, pairs in shown.items():
        print_pairs(pairs, name if method is None else f"{name}: --set NAME=VALUE")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices and extras."""
    from polymodal import doctor

    (print_json if as_json else print_pairs)(doctor.examine())
