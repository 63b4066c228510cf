"""The suite: the grid reads, its cells run, resume and fail by themselves, and the verdict holds."""

import importlib.util
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polymodal import bench, cli, suite
from polymodal.bench import Cell, Result
from polymodal.data import regimes
from polymodal.errors import ConfigError, MissingExtraError, TrainingError
from polymodal.methods import METHODS
from polymodal.methods.floors import FLOORS, floors_for
from polymodal.ranking import critical_difference
from polymodal.suite import Suite, grid, running, verdict

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
TINY = Suite(
    name="tiny",
    about="",
    sets=("htad",),
    methods=("late_fusion", "imputation_concat", "majority"),
    labels=(0.05, 1.0),
    missing=("complete", "not_at_random"),
    seeds=2,
    max_train=150,
    max_test=80,
)


# ---- the grid ------------------------------------------------------------------------------------


def test_every_name_in_the_grid_is_known():
    content = grid._grid()
    for name in suite.suites():
        own = suite.read(name)
        assert set(own.sets) <= set(content["sets"])
        assert set(own.methods) <= {*METHODS, *FLOORS}
        assert set(own.missing) <= set(regimes.REGIMES)
        assert set(floors_for("multiclass")) <= set(own.methods)
    assert set(content["methods"]) <= set(METHODS)
    assert set(content["seconds"]) <= set(content["sets"])
    assert suite.suites() == ("core", "quick", "full")


def test_the_core_grid_is_the_one_promised():
    core, full = suite.read("core"), suite.read("full")
    assert core.labels == (0.01, 0.05, 1.0)
    assert core.missing == ("complete", "random_50", "imbalanced", "not_at_random")
    assert core.seeds == 3
    assert full.labels == (0.01, 0.05, 0.1, 0.5, 1.0)
    assert full.missing == regimes.REGIMES
    assert full.seeds == 5
    assert set(suite.read("quick").sets) == {"mfeat", "htad"}  # the bundled ones


def test_the_seconds_stated_for_the_core_grid_fit_four_hours_on_two_cores():
    core = suite.read("core")
    stated = grid.seconds()
    cells = sum(
        seconds * len(core.labels) * len(core.missing) * core.seeds
        for own in (stated[grid._data_name(key)] for key in core.sets)
        for seconds in own.values()
    )
    assert cells < 4 * 3600 * 2


def test_cells_are_every_combination_and_carry_the_caps():
    cells = suite.cells(TINY)
    assert len(cells) == len(set(cells)) == 3 * 2 * 2 * 2
    assert {(c.max_train, c.max_test) for c in cells} == {(150, 80)}
    assert Counter(c.missing for c in cells) == {"complete": 12, "not_at_random": 12}
    only = suite.cells(TINY, methods=["majority"])
    assert set(only) == {c for c in cells if c.method == "majority"}


def test_a_regime_that_two_modalities_repeat_is_left_out():
    cells = suite.cells(replace(TINY, missing=("random_50", "random_70")))  # htad has two
    assert {c.missing for c in cells} == {"random_50"}


def test_few_epochs_are_for_methods_that_name_theirs():
    cells = suite.cells(replace(TINY, methods=("robult", "pgm", "majority"), max_epochs=3))
    settings = {c.method: dict(c.settings) for c in cells}
    assert settings["robult"]["max_epochs"] == settings["pgm"]["max_epochs"] == 3
    assert settings["pgm"]["n_iterations"] == 1
    assert settings["majority"] == {}


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"suites are core, quick, full; 'cor' came; did you mean 'core'"):
        suite.read("cor")
    with pytest.raises(ConfigError, match=r"of the suite tiny are .*; 'robult' came"):
        suite.cells(TINY, methods=["robult"])


# ---- how long it takes ---------------------------------------------------------------------------


def timed(cell, seconds):
    return Result(cell, [], {"cpu_seconds": seconds})


def test_an_estimate_is_of_like_cells_then_of_the_grid_then_a_guess(monkeypatch):
    monkeypatch.setattr(grid, "seconds", lambda: {"htad": {"pgm": 8.0}})
    cells = [Cell("htad", name, 0, max_train=500) for name in ("robult", "pgm", "majority")]
    assert suite.estimate(cells).seconds == pytest.approx(0.5 * (20 + 8 + 20))
    near = timed(replace(cells[0], seed=1), 2.0)
    far = [timed(replace(cells[0], seed=s, labels=0.5), 9.0) for s in range(2)]
    found = suite.estimate(cells, [near, *far])
    assert found.seconds == pytest.approx(2 + 4 + 10)
    assert (found.n_cells, found.n_recorded) == (3, 1)
    assert suite.estimate(cells[:1], far).seconds == 9.0
    two_hours = suite.Estimate(7200.0, 3, 1)
    assert str(two_hours).startswith(
        "3 cells to run, 1 of them timed by like cells that are done; about 2.0 h"
    )
    assert two_hours.wall(2) == "60 minutes"


# ---- running -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The files of a tiny run, and its results."""
    out = tmp_path_factory.mktemp("suite") / "tiny.json"
    return out, suite.run(TINY, out, command="polymodal bench --suite tiny", verbose=False)


def test_a_run_writes_a_tidy_table_three_times(tiny):
    out, results = tiny
    rows = json.loads(out.read_text())
    assert all(list(row) == running.TABLE for row in rows)
    table = suite.to_table(results)
    pd.testing.assert_frame_equal(pd.DataFrame(rows), table)
    parquet = pytest.importorskip("pandas").read_parquet(out.with_suffix(".parquet"))
    pd.testing.assert_frame_equal(parquet, table, check_dtype=False)
    assert set(table["metric"]) == {"accuracy"}
    subsets = table.groupby("missing")["subset"].agg(set)
    assert subsets["complete"] == {"audio", "accelerometer", "audio+accelerometer", "observed"}
    assert subsets["not_at_random"] == {"observed"}


def test_without_pyarrow_it_is_csv(tiny, tmp_path, monkeypatch):
    original = running.tables.write

    def no_parquet(table, path):
        if path.endswith(".parquet"):
            raise MissingExtraError("Parquet", "pyarrow", "parquet")
        original(table, path)

    monkeypatch.setattr(running.tables, "write", no_parquet)
    suite.running.write(tmp_path / "t.json", tiny[1])
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(suite.to_table(tiny[1]))


def test_the_record_names_each_problem_once_and_each_cell(tiny):
    out, results = tiny
    head, *lines = json.loads(out.with_name("tiny.meta.json").read_text())
    assert head["command"] == "polymodal bench --suite tiny"
    problems = [line for line in lines if "problem" in line]
    cells = [line for line in lines if "cell" in line]
    assert (len(problems), len(cells)) == (2 * 2 * 2, len(results))
    assert set(problems[0]["sha256"]) == {"split", "labels", "presence", "presence_test"}
    assert all(line["cpu_seconds"] >= 0 for line in cells)


def test_the_audit_draws_the_masks_again_and_finds_a_changed_one(tiny):
    lines = json.loads(tiny[0].with_name("tiny.meta.json").read_text())
    assert suite.audit(lines) == []
    changed = next(line for line in lines if "problem" in line)
    changed["sha256"]["presence_test"] = "0" * 64
    (wrong,) = suite.audit(lines)
    assert "presence_test is" in wrong
    assert "recorded 000000000000" in wrong


def test_what_is_done_is_not_run_again_and_methods_add_up(tmp_path, monkeypatch):
    out = tmp_path / "t.json"
    small = replace(TINY, labels=(1.0,), seeds=1, missing=("complete",))
    suite.run(small, out, methods=["majority"], verbose=False)
    run = []
    original = running.work
    monkeypatch.setattr(running, "work", lambda cell, *rest: run.append(cell.name) or original(cell, *rest))
    results = suite.run(small, out, methods=["late_fusion"], verbose=False)
    assert run == ["late_fusion"]
    assert {r.cell.name for r in results} == {"majority", "late_fusion"}
    assert {row["method"] for row in json.loads(out.read_text())} == {"majority", "late_fusion"}


def test_a_method_that_fails_is_recorded_ranked_last_and_tried_again(tmp_path, monkeypatch):
    small = replace(TINY, labels=(1.0,), seeds=2)
    original = bench.fitted

    def failing(dataset, cell):
        if cell.name == "late_fusion":
            raise TrainingError("a loss is finite;\n it was not; lower the step")
        return original(dataset, cell)

    monkeypatch.setattr(bench, "fitted", failing)
    results = suite.run(small, tmp_path / "t.json", verbose=False)
    table = suite.ranked(*suite.blocks(suite.to_table(results), methods=small.methods))
    assert table["method"].iloc[-1] == "late_fusion"
    assert table["n_failed"].tolist() == [0, 0, 2]
    failed = [r for r in results if "failed" in r.record]
    assert {r.cell.name for r in failed} == {"late_fusion"}
    assert failed[0].record["failed"] == "TrainingError: a loss is finite; it was not; lower the step"
    monkeypatch.setattr(bench, "fitted", original)
    results = suite.run(small, tmp_path / "t.json", verbose=False)
    assert not any("failed" in r.record for r in results)


# ---- the verdict ---------------------------------------------------------------------------------


def made_up(n_seeds=3, datasets=("d1", "d2"), metrics=("accuracy", "mae"), methods=("a", "b", "c")):
    """A table in which a is the best by far, and c is not made for d2."""
    random = np.random.default_rng(0)
    rows = []
    for dataset, metric in zip(datasets, metrics, strict=True):
        sign = 1 if metric == "accuracy" else -1
        for missing in ("complete", "random_50"):
            for i, method in enumerate(methods):
                if (dataset, method) == ("d2", "c"):
                    continue
                for seed in range(n_seeds):
                    subsets = ("x", "y", "x+y", "observed") if missing == "complete" else ("observed",)
                    for subset in subsets:
                        value = 0.9 - 0.1 * i + 0.005 * random.normal() + 0.05 * (subset == "x+y")
                        rows.append((dataset, missing, method, seed, 0.05, subset, metric, sign * value))
    return pd.DataFrame(rows, columns=running.TABLE)


def test_a_figure_is_the_mean_over_combinations_or_the_rows_as_they_come():
    table = made_up()
    found = verdict.figures(table).set_index(["dataset", "missing", "method", "seed"])["value"]
    own = table[(table["dataset"] == "d1") & (table["method"] == "b") & (table["seed"] == 1)]
    complete = own[(own["missing"] == "complete") & (own["subset"] != "observed")]["value"]
    gaps = own[own["missing"] == "random_50"]["value"]
    assert found["d1", "complete", "b", 1] == pytest.approx(complete.mean())
    assert found["d1", "random_50", "b", 1] == gaps.item()
    everything = verdict.figures(table, "all").set_index(["dataset", "missing", "method", "seed"])["value"]
    assert everything["d1", "complete", "b", 1] == complete.iloc[2]


@pytest.mark.parametrize("missing", ["complete", "random_50"])
def test_one_regime_alone_is_enough(missing):
    table = made_up()
    blocks, names = suite.blocks(table[table["missing"] == missing])
    assert {b.missing for b in blocks} == {missing}
    assert suite.ranked(blocks, names)["method"].tolist() == ["a", "b", "c"]


def test_blocks_hold_every_seed_greater_is_better_and_nan_where_there_is_none():
    blocks, names = suite.blocks(made_up())
    assert names == ["a", "b", "c"]
    assert [(b.dataset, b.missing) for b in blocks] == [
        (d, m) for d in ("d1", "d2") for m in ("complete", "random_50")
    ]
    assert all(b.scores.shape == (3, 3) for b in blocks)
    assert np.isnan(blocks[2].scores[:, 2]).all()
    assert (blocks[2].scores[:, 0] > blocks[2].scores[:, 1]).all()
    np.testing.assert_array_equal(blocks[2].values, -blocks[2].scores)


def test_the_ranked_table_says_what_was_made_up():
    blocks, names = suite.blocks(made_up())
    table = suite.ranked(blocks, names).set_index("method")
    assert table["mean_rank"].to_dict() == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert table["n_best"].to_dict() == {"a": 4, "b": 0, "c": 0}
    assert table["n_behind"].to_dict() == {"a": 0, "b": 4, "c": 4}
    assert table["n_failed"].to_dict() == {"a": 0, "b": 0, "c": 2}
    assert table["points"].tolist() == pytest.approx([0, -10, -20], abs=1)
    assert table["low"]["b"] <= table["points"]["b"] <= table["high"]["b"] < 0
    assert table.attrs["critical_difference"] == critical_difference(3, 4)


def test_differences_keep_to_one_kind_of_metric():
    blocks, _ = suite.blocks(made_up())
    points, errors = verdict.difference(blocks, 1, 0), verdict.difference(blocks, 1, 0, "mae")
    assert points.mean == pytest.approx(-10, abs=1)
    assert errors.mean == pytest.approx(-0.1, abs=0.01)
    assert verdict.difference(blocks, 2, 0, "mae") is None


# ---- the page ------------------------------------------------------------------------------------


@pytest.fixture
def leaderboard():
    path = EXPERIMENTS / "suite" / "leaderboard.py"
    spec = importlib.util.spec_from_file_location("leaderboard", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_page_and_a_picture_come_of_a_run(tiny, leaderboard, tmp_path):
    out, results = tiny
    text = leaderboard.text(out)
    assert "`polymodal bench --suite tiny` wrote" in text
    table = suite.ranked(*suite.blocks(suite.to_table(results)))
    for line in table.itertuples():
        assert f"| {line.method} | {line.mean_rank:.2f} |" in text
    assert "8 cells" not in text
    assert "4 cells, 3 methods" in text
    assert "nan" not in text
    leaderboard.draw(out, tmp_path / "ranks.svg")
    assert (
        "late_fusion" in (tmp_path / "ranks.svg").read_text()
        or (tmp_path / "ranks.svg").stat().st_size > 5000
    )


def test_the_committed_page_is_that_of_the_committed_results(leaderboard):
    if not leaderboard.RESULTS.exists():
        pytest.skip("the core grid has not been run")
    assert leaderboard.PAGE.read_text() == leaderboard.text()
    marked = leaderboard.README.read_text().split(leaderboard.START)[1].split(leaderboard.END)[0]
    assert marked.strip() == leaderboard.in_short()


def test_the_committed_results_have_the_masks_that_are_drawn_now(leaderboard):
    if not leaderboard.RESULTS.exists():
        pytest.skip("the core grid has not been run")
    lines = json.loads(leaderboard.RESULTS.with_suffix(".meta.json").read_text())
    bundled = [line for line in lines if line.get("problem", {}).get("dataset") in ("mfeat", "htad")]
    assert bundled
    assert suite.audit(bundled) == []


# ---- the command line ----------------------------------------------------------------------------


def test_the_verb_says_how_long_it_takes_and_shows_the_ranks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "read", lambda name: TINY)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--suite", "quick"])
    said = capsys.readouterr()
    assert stopped.value.code == 0
    assert "quick: 24 cells to run" in said.err
    assert "Mean rank over 4 cells" in said.out
    assert "late_fusion" in said.out
    assert (tmp_path / "suite-quick.json").exists()
    assert str(tmp_path) not in (tmp_path / "suite-quick.meta.json").read_text()


@pytest.mark.parametrize("words", [["bench"], ["bench", "htad", "--suite", "quick"]])
def test_a_data_set_or_a_suite(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert "bench takes a data set or a suite" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_part_of_the_quick_suite_in_two_processes(tmp_path):
    quick = replace(suite.read("quick"), sets=("htad",), labels=(0.05,), seeds=1, max_epochs=3)
    results = suite.run(quick, tmp_path / "quick.json", jobs=2, verbose=False)
    assert [r.cell for r in results if "failed" in r.record] == []
    blocks, names = suite.blocks(suite.to_table(results))
    assert len(names) == len(quick.methods)
    table = suite.ranked(blocks, names).set_index("method")
    assert table["mean_rank"]["majority"] > table["mean_rank"]["late_fusion"]
