"""Bench: the same draws for every method, hidden labels gone, runs that resume, the promised keys."""

import json
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from polymodal import bench, methods
from polymodal.bench import files, fitting, grid, running
from polymodal.bench.given import _groups
from polymodal.data.readers import Dataset
from polymodal.encoders import cache
from polymodal.encoders.image import Descriptors
from polymodal.encoders.text import Tfidf
from polymodal.errors import ConfigError, DataError, PolymodalError, PresenceWarning
from polymodal.estimators import load
from polymodal.schema import Image, Text, Vector

KEYS = ["dataset", "method", "seed", "labels", "subset", "metric", "value"]
FAST = ["majority", "late_fusion"]


def toy(task="multiclass", n=120, groups=None):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    X = {"a": random.normal(size=(n, 4)) + y[:, None], "b": random.normal(size=(n, 3)) - y[:, None]}
    return Dataset(
        name="toy",
        X=X,
        y=y.astype(np.int64) if task == "multiclass" else y + random.normal(size=n),
        modalities={"a": Vector(), "b": Vector()},
        task=task,
        classes=("x", "y", "z") if task == "multiclass" else (),
        groups=groups,
        splits={},
        metrics=("accuracy", "macro_f1") if task == "multiclass" else ("mae", "pearson_r"),
        notes="",
        licence="",
        source="",
        citation="",
    )


def fast_cells(**more):
    return bench.cells("mfeat", FAST, seeds=[0], **({"labels": [0.05], "missing_train": 0.3} | more))


# ---- what a method gets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_hidden_labels_are_overwritten(task):
    data = toy(task)
    given = bench.problem(data, seed=1, labels=0.25)
    kept = given.y_train != -1 if task == "multiclass" else ~np.isnan(given.y_train)
    assert kept.sum() == round(0.25 * len(given.y_train))
    train, _ = data.train_test(1)
    assert np.array_equal(given.y_train[kept], data.y[train][kept])
    assert not np.isin(-1, data.y)  # the data set itself is untouched


def test_few_labels_lie_inside_many():
    few, many = (bench.problem(toy(), seed=2, labels=share).y_train != -1 for share in (0.1, 0.5))
    assert few.sum() < many.sum()
    assert (few <= many).all()


def test_absent_inputs_are_nan_at_the_rate_asked_for_and_never_in_the_test_rows():
    given = bench.problem(toy(n=2000), seed=0, missing_train=0.3)
    absent = np.stack([np.isnan(values).all(axis=1) for values in given.X_train.values()], axis=1)
    assert absent.mean() == pytest.approx(0.3, abs=0.03)
    assert not absent.all(axis=1).any()
    assert not any(np.isnan(values).any() for values in given.X_test.values())


def test_draws_depend_on_the_seed_alone():
    once, again, other = (bench.problem(toy(), seed=s, labels=0.5, missing_train=0.3) for s in (3, 3, 4))
    assert once.hashes == again.hashes
    assert all(once.hashes[name] != other.hashes[name] for name in ("split", "labels", "presence"))


def test_a_regime_takes_from_training_and_test_rows_alike():
    given = bench.problem(toy(n=2000), seed=0, missing="random_50")
    for X, mask in zip((given.X_train, given.X_test), given.masks, strict=True):
        absent = np.stack([np.isnan(values).all(axis=1) for values in X.values()], axis=1)
        assert np.array_equal(absent, ~mask.mask)
        assert absent.mean() == pytest.approx(0.5, abs=0.03)
    assert given.hashes["presence"] != given.hashes["presence_test"]
    assert bench.problem(toy(n=2000), seed=0).hashes["split"] == given.hashes["split"]


def test_a_regime_beside_missing_train_is_refused():
    with pytest.raises(ConfigError, match=r"missing='imbalanced' came beside missing_train=0.3"):
        bench.problem(toy(), seed=0, missing="imbalanced", missing_train=0.3)


def test_rows_are_capped_by_the_seed_with_a_row_of_every_class():
    data = toy(n=400)
    once, again, other = (bench.problem(data, seed=s, max_train=50, max_test=30) for s in (0, 0, 1))
    assert (len(once.y_train), len(once.y_test)) == (50, 30)
    assert set(once.y_train) == set(once.y_test) == {0, 1, 2}
    assert once.hashes == again.hashes
    assert once.hashes["split"] != other.hashes["split"]
    roomy = bench.problem(data, seed=0, max_train=5000)
    assert roomy.hashes == bench.problem(data, seed=0).hashes


def test_under_a_regime_the_test_rows_are_evaluated_as_they_come():
    cell = bench.Cell("toy", "late_fusion", 0, missing="not_at_random", max_test=30)
    estimator, result = bench.fitted(toy(), cell)
    assert {row["subset"] for row in result.rows} == {"observed"}
    given = bench.problem_of(cell, toy())
    right = (estimator.predict_proba(given.X_test).argmax(axis=1) == given.y_test).mean()
    (accuracy,) = [row["value"] for row in result.rows if row["metric"] == "accuracy"]
    assert accuracy == pytest.approx(right)
    rates = [mask.rates() for mask in given.masks]
    assert result.record["absent"] == [{k: round(v, 4) for k, v in part.items()} for part in rates]


def test_a_partial_file_from_before_the_regimes_is_still_read(tmp_path):
    cell = fast_cells()[0]
    path = tmp_path / "f.partial.jsonl"
    files.append(path, bench.Result(cell, [], {}))
    line = json.loads(path.read_text())
    for later in ("missing", "max_train", "max_test"):
        del line["cell"][later]
    path.write_text(json.dumps(line) + "\n")
    assert list(bench.finished(path)) == [cell.key]


def test_a_cell_that_failed_counts_as_not_done(tmp_path):
    files.append(tmp_path / "f.partial.jsonl", bench.Result(fast_cells()[0], [], {"failed": "why"}))
    assert bench.finished(tmp_path / "f.partial.jsonl") == {}


def test_groups_go_to_fit_and_stay_apart():
    groups = np.repeat(np.arange(12), 10)
    given = bench.problem(toy(groups=groups), seed=0)
    assert given.groups_train is not None
    assert len(given.groups_train) == len(given.y_train)
    assert len(np.unique(given.groups_train)) < 12


# ---- cells -----------------------------------------------------------------------------------------------


def test_default_is_the_librarys_and_every_floor_once():
    names = [cell.method for cell in bench.cells("mfeat", ["default", methods.DEFAULT], seeds=[0])]
    assert names[0] == methods.DEFAULT
    assert {"majority", "self_training", "soft_self_training"} <= set(names)
    assert len(names) == len(set(names))


def test_variants_carry_settings_under_a_name():
    variants = {"no rec": {"method": "robult", "loss_weights": {"reconstruction": 0.0}}}
    (cell,) = bench.cells("mfeat", variants, seeds=[0])
    assert (cell.name, cell.method) == ("no rec", "robult")
    assert cell.settings == (("loss_weights", {"reconstruction": 0.0}),)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("mfeet", ["robult"]), ConfigError, "'mfeet' came"),
        (("mfeat", ["robolt"]), ConfigError, "'robolt' came"),
        (("wesad", ["robult"]), DataError, "wesad"),
    ],
)
def test_unknown_names_are_refused(arguments, error, words, monkeypatch):
    monkeypatch.delenv("POLYMODAL_DATA", raising=False)
    with pytest.raises(error, match=words):
        bench.cells(*arguments, seeds=[0])


def test_settings_reach_the_estimator_and_its_method():
    cell = bench.Cell("toy", "robult", 5, settings=(("max_epochs", 3), ("temperature", 0.5)))
    estimator = bench.build(cell, toy())
    assert (estimator.max_epochs, estimator.settings, estimator.random_state) == (3, {"temperature": 0.5}, 5)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("method", ["robult", "late_fusion"])
def test_a_cell_gives_every_subset_and_its_record(task, method):
    settings = (("max_epochs", 1), ("device", "cpu")) if method == "robult" else ()
    cell = bench.Cell("toy", method, 0, 0.5, 0.2, settings=settings, name="mine")
    _, result = bench.fitted(toy(task), cell)
    assert {"a", "b", "a+b", "observed", "rate=0.3"} <= {row["subset"] for row in result.rows}
    assert all(list(row) == KEYS for row in result.rows)
    assert {(row["dataset"], row["method"], row["labels"]) for row in result.rows} == {("toy", "mine", 0.5)}
    assert result.record["n_parameters"] > 0
    assert set(result.record["sha256"]) == {"split", "labels", "presence", "presence_test"}


def test_diagnostics_are_those_of_the_epoch_that_was_kept():
    first = {"stage": "pretrain", "epoch": 0, "validation_loss": 0.1, "gap": 9.0}
    best, worse = (
        {"stage": "finetune", "epoch": e, "validation_loss": loss, "gap": loss, "cuts_uni/a/3": 0.5}
        for e, loss in ((1, 0.2), (2, 0.3))
    )
    assert bench.diagnostics([first, best, worse]) == {"validation_loss": 0.2, "gap": 0.2}
    fixed = [{"stage": "s", "loss": 1.0}, {"stage": "s", "loss": 2.0, "r2": np.nan, "warnings": ["words"]}]
    assert bench.diagnostics(fixed) == {"loss": 2.0}
    assert bench.diagnostics([]) == {}


@pytest.mark.parametrize(("method", "some"), [("robult", True), ("majority", False)])
def test_a_record_holds_the_diagnostics_of_a_method(method, some):
    settings = (("max_epochs", 1), ("device", "cpu")) if some else ()
    _, result = bench.fitted(toy(), bench.Cell("toy", method, 0, settings=settings))
    assert ("loss" in result.record["diagnostics"]) == some
    json.dumps(result.record, allow_nan=False)


def test_the_same_cell_gives_the_same_rows():
    cell = bench.Cell("toy", "robult", 0, 0.5, 0.2, settings=(("max_epochs", 2), ("device", "cpu")))
    once, again = (bench.fitted(toy(), cell)[1].rows for _ in range(2))
    assert once == again


def test_warnings_are_kept_for_the_record_and_others_shown():
    with pytest.warns(DeprecationWarning, match="old"), bench.kept_warnings() as kept:  # noqa: PT031
        warnings.warn("alone", PresenceWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert kept == ["alone"]
    cell = fast_cells()[0]
    results = [bench.Result(cell, [], {"warnings": said}) for said in ([], ["a", "a"], ["a"])]
    assert bench.said(results) == ["a (2 of the runs)"]


def test_a_named_split_is_named_in_the_table():
    assert replace(fast_cells()[0], split="random").data_name == "mfeat/random"


# ---- raw cells -------------------------------------------------------------------------------------------


def raw_toy(n=90):
    random = np.random.default_rng(0)
    data = toy(n=n)
    images = random.integers(0, 256, (n, 8, 8), dtype=np.uint8)
    images[:, :3] = (80 * data.y[:, None, None]).astype(np.uint8)
    words = np.array([f"a thing of kind {'xyz'[y]}, number {i}" for i, y in enumerate(data.y)], dtype=object)
    return replace(
        data,
        X={"text": words, "image": images, "b": data.X["b"]},
        modalities={"text": Text(), "image": Image(), "b": Vector()},
    )


@pytest.fixture
def encoded_cells(monkeypatch):
    """How many cells each encoder got, by its class."""
    counts = {Tfidf: 0, Descriptors: 0}
    for own in counts:
        original = own.encode

        def counting(self, cells, own=own, original=original):
            counts[own] += len(cells)
            return original(self, cells)

        monkeypatch.setattr(own, "encode", counting)
    return counts


QUICK = (("max_epochs", 2), ("device", "cpu"))


@pytest.mark.parametrize("method", ["robult", "late_fusion", "dropout_concat"])
def test_raw_cells_are_encoded_once_a_cell_whatever_is_evaluated(method, encoded_cells):
    cell = bench.Cell("toy", method, 0, missing_train=0.3, settings=QUICK if method == "robult" else ())
    with cache.use(None):
        _, result = bench.fitted(raw_toy(), cell)
    given = bench.problem(raw_toy(), seed=0, missing_train=0.3)
    for name, own in (("text", Tfidf), ("image", Descriptors)):
        there = [cell is not None for cell in given.X_train[name]]
        assert not all(there)
        assert encoded_cells[own] == sum(there) + len(given.y_test)
    assert {"text", "image+b", "text+image+b", "rate=0.3"} <= {row["subset"] for row in result.rows}
    assert result.record["seconds_encode"] > 0


def test_what_was_encoded_before_comes_from_the_cache(encoded_cells, tmp_path):
    with cache.use(tmp_path):
        once = bench.fitted(raw_toy(), bench.Cell("toy", "late_fusion", 0))[1]
        assert encoded_cells[Descriptors] == 90
        again = bench.fitted(raw_toy(), bench.Cell("toy", "late_fusion", 0))[1]
    assert encoded_cells[Descriptors] == 90
    assert once.rows == again.rows


def test_encoded_rows_give_what_raw_rows_give():
    given = bench.problem(raw_toy(), seed=0)
    cell = bench.Cell("toy", "robult", 0, settings=QUICK)
    estimator, _ = bench.fitted(raw_toy(), cell)
    raw = bench.build(cell, raw_toy()).fit(given.X_train, given.y_train)
    np.testing.assert_allclose(
        raw.predict_proba(given.X_test), estimator.predict_proba(given.X_test), atol=1e-6
    )


def test_a_saved_model_of_a_cell_reads_raw_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "load_once", lambda *named: raw_toy())
    bench.run_cell(bench.Cell("toy", "robult", 0, settings=QUICK), model=tmp_path / "model")
    given = bench.problem(raw_toy(), seed=0)
    raw = bench.build(bench.Cell("toy", "robult", 0, settings=QUICK), raw_toy())
    expected = raw.fit(given.X_train, given.y_train).predict_proba(given.X_test)
    found = load(tmp_path / "model").predict_proba(given.X_test)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_absent_cells_are_none_and_images_stay_images():
    given = bench.problem(raw_toy(), seed=0, missing_train=0.3)
    kinds = {name: {type(cell) for cell in given.X_train[name]} for name in ("text", "image")}
    assert kinds == {"text": {str, type(None)}, "image": {np.ndarray, type(None)}}
    assert {cell.dtype for cell in given.X_train["image"] if cell is not None} == {np.dtype(np.uint8)}


def test_encoders_of_a_cell_are_named_without_the_folders_of_this_machine(monkeypatch):
    named = (("text", "tfidf"), ("image", "hf:$SOMEWHERE/image-model"))
    cell = bench.Cell("toy", "robult", 0, split="official", variant="raw", encoders=named)
    monkeypatch.setenv("SOMEWHERE", "/folder")
    modalities = bench.declared(raw_toy(), dict(cell.encoders))
    assert [m.encoder for m in list(modalities.values())[:2]] == ["tfidf", "hf:/folder/image-model"]
    assert cell.data_name == "toy:raw/official (tfidf+image-model)"
    assert "/folder" not in cell.key


def test_encoders_for_what_is_not_raw_are_refused():
    with pytest.raises(ConfigError, match=r"of toy \['text', 'image'\]; 'b' came"):
        bench.declared(raw_toy(), {"b": "tfidf"})
    with pytest.raises(ConfigError, match=r"of mfeat \[\]; 'pix' came"):
        bench.cells("mfeat", FAST, seeds=[0], encoders={"pix": "descriptors"})


def test_a_set_for_retrieval_is_refused(monkeypatch):
    monkeypatch.setattr(grid, "load_once", lambda *named: replace(toy(), task="retrieval"))
    with pytest.raises(ConfigError, match="toy is for retrieval"):
        bench.cells("toy", FAST, seeds=[0])


def test_a_finished_cell_is_known_again_by_its_encoders_and_variant(tmp_path):
    chosen = [replace(fast_cells()[0], variant="raw", encoders=(("text", "tfidf"),)), fast_cells()[0]]
    for cell in chosen:
        files.append(tmp_path / "f.partial.jsonl", bench.Result(cell, [], {}))
    assert [result.cell for result in bench.finished(tmp_path / "f.partial.jsonl").values()] == chosen


# ---- runs and files --------------------------------------------------------------------------------------


def test_a_run_writes_its_rows_and_what_an_auditor_asks(tmp_path):
    out = tmp_path / "new" / "figures.json"
    results = bench.run(fast_cells(), out=out, command="polymodal bench mfeat", verbose=False)
    rows = json.loads(out.read_text())
    assert all(list(row) == KEYS for row in rows)
    assert {row["method"] for row in rows} == set(FAST)
    assert len(rows) == sum(len(result.rows) for result in results)
    meta = json.loads((tmp_path / "new" / "figures.meta.json").read_text())
    assert meta["command"] == "polymodal bench mfeat"
    assert meta["versions"]["polymodal"]
    hashes = [record["sha256"] for record in meta["cells"]]
    assert hashes[0] == hashes[1]  # both methods got the same draws
    assert all(record["seconds_fit"] >= 0 for record in meta["cells"])
    assert all(record["cpu_seconds_fit"] >= 0 for record in meta["cells"])


def test_the_time_left_goes_by_the_seconds_that_cells_take(monkeypatch):
    totals, steps = [], []

    class Shown:
        def step(self, text, n):
            steps.append((text(), n))

    @contextmanager
    def progress(title, total, *, verbose):
        totals.append(total)
        yield Shown()

    monkeypatch.setattr(running, "progress", progress)
    chosen = fast_cells()
    bench.run(chosen, work=named, seconds={chosen[0].key: 2.0, chosen[1].key: 0.01})
    assert totals == [21]  # tenths of a second, one at least
    assert steps == [("1/2 cells", 20), ("2/2 cells", 1)]


def test_a_run_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    out = tmp_path / "figures.json"
    whole = bench.run(fast_cells(), out=out, verbose=False)
    text = out.read_text()
    partial = tmp_path / "figures.partial.jsonl"
    lines = partial.read_text().splitlines(keepends=True)
    partial.write_text(lines[0] + lines[1][:40])  # killed while the second cell was being written
    out.unlink()
    run = []
    original = bench.run_cell
    monkeypatch.setattr(running, "run_cell", lambda cell, *rest: run.append(cell) or original(cell, *rest))
    resumed = bench.run(fast_cells(), out=out, verbose=False)
    assert [cell.method for cell in run] == [FAST[1]]
    assert [result.rows for result in resumed] == [result.rows for result in whole]
    assert out.read_text() == text
    bench.run(fast_cells(), out=out, verbose=False)
    assert len(run) == 1  # the line cut off did not spoil the one after it


def named(cell, data, model):
    return bench.Result(cell, [], {"name": cell.name, "warnings": []})


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_other_work_can_be_done_with_a_cell(tmp_path, jobs):
    results = bench.run(fast_cells(), out=tmp_path / "f.json", jobs=jobs, work=named, verbose=False)
    assert [result.record["name"] for result in results] == FAST


def test_other_cells_do_not_take_each_others_results(tmp_path):
    out = tmp_path / "figures.json"
    bench.run(fast_cells(labels=[0.05]), out=out, verbose=False)
    results = bench.run(fast_cells(labels=[0.5]), out=out, verbose=False)
    assert {row["labels"] for row in json.loads(out.read_text())} == {0.5}
    assert {result.cell.labels for result in results} == {0.5}


def test_a_failure_names_its_cell_and_keeps_what_was_done(tmp_path):
    good, bad = fast_cells()
    bad = replace(bad, missing_train=0.99)
    with pytest.raises(PolymodalError, match=r"late_fusion on mfeat, 5% of the labels, seed 0: .*rate"):
        bench.run([good, bad], out=tmp_path / "f.json", verbose=False)
    assert set(bench.finished(tmp_path / "f.partial.jsonl")) == {good.key}


def test_jobs_below_one_are_refused():
    with pytest.raises(ConfigError, match="at least 1; 0 came"):
        bench.run(fast_cells(), jobs=0)


@pytest.mark.slow
def test_several_processes_give_the_same_rows():
    cells = [
        *fast_cells(),
        bench.Cell("mfeat", "robult", 0, 0.05, 0.3, settings=(("max_epochs", 2), ("device", "cpu"))),
    ]
    here, there = (bench.run(cells, jobs=jobs, verbose=False) for jobs in (1, 2))
    assert [result.rows for result in here] == [result.rows for result in there]


def test_what_is_not_defined_is_null_in_the_file(tmp_path):
    row = dict(zip(KEYS, ["d", "m", 0, 1.0, "a", "accuracy", None], strict=True))
    cell = fast_cells()[0]
    bench.write(tmp_path / "f.json", [bench.Result(cell, [row], {})])
    assert json.loads((tmp_path / "f.json").read_text()) == [row]
    assert np.isnan(bench.to_table([bench.Result(cell, [row], {})])["value"]).all()


def test_validation_goes_by_group_only_where_the_test_does():
    groups = np.array(["ann", "bob", "eve", "ann", "bob", "eve"])
    rows = np.arange(6)
    assert _groups(groups, rows[:3], rows[3:]) is None
    found = _groups(groups, rows[groups != "eve"], rows[groups == "eve"])
    assert found.tolist() == ["ann", "bob", "ann", "bob"]
    assert _groups(None, rows[:3], rows[3:]) is None
