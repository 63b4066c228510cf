"""Saved models and resumed fits: what was written is what is read, or nothing is."""

import json
import os
import pickle
import struct
import warnings

import numpy as np
import pytest
import torch

from polymodal import checkpoint, methods
from polymodal.checkpoint import Snapshot, load_checkpoint, load_directory, save_checkpoint, save_directory
from polymodal.errors import CheckpointError, TrainingError, TrainingWarning
from polymodal.training import TrainingConfig, fit, loop
from tiny_method import CLASSES, INPUTS, rows, tiny

TIED = torch.arange(6.0).reshape(2, 3)
MODEL = {
    "tensors": {"w": TIED, "tied": TIED, "view": TIED.T, "half": torch.ones(2, dtype=torch.bfloat16)},
    "config": {"estimator": "Tiny", "b": 1, "a": 2, "classes": ["é", "b"], "history": [{"loss": 0.1}]},
    "preprocessing": {"a": {"kind": "vector"}},
    "preprocessing_arrays": {"a/mean": np.arange(3.0), "a/view": np.arange(6.0).reshape(2, 3).T},
}


def save(path, scale=1.0):
    save_directory(path, **{**MODEL, "tensors": {k: scale * v for k, v in MODEL["tensors"].items()}})


# ---- model directories ---------------------------------------------------------------------------------


def test_a_model_comes_back_as_it_was(tmp_path):
    save_directory(tmp_path / "deep" / "model", **MODEL)
    saved = load_directory(tmp_path / "deep" / "model")
    assert saved.tensors.keys() == MODEL["tensors"].keys()
    for name, tensor in MODEL["tensors"].items():
        assert torch.equal(saved.tensors[name], tensor)
        assert saved.tensors[name].dtype == tensor.dtype
    assert saved.config == MODEL["config"]
    assert list(saved.config) == list(MODEL["config"]), "keys keep their order"
    assert saved.preprocessing == MODEL["preprocessing"]
    for name, array in MODEL["preprocessing_arrays"].items():
        np.testing.assert_array_equal(saved.preprocessing_arrays[name], array)


def test_a_model_directory_holds_five_files_and_leaves_nothing_beside_it(tmp_path):
    for _ in range(2):
        save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    assert sorted(os.listdir(tmp_path / "model")) == sorted([*checkpoint.FILES["model"], "manifest.json"])
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["version"] == 1
    assert manifest["files"]["config.json"]["size"] == (tmp_path / "model" / "config.json").stat().st_size


def test_a_newer_model_replaces_an_older_one_or_an_empty_directory(tmp_path):
    (tmp_path / "model").mkdir()
    for scale in (1.0, 2.0):
        save(tmp_path / "model", scale)
        assert torch.equal(load_directory(tmp_path / "model").tensors["w"], scale * TIED)


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for scale in (1.0, 2.0):
        save("model", scale)
    assert torch.equal(load_directory("model").tensors["w"], 2 * TIED)


@pytest.mark.parametrize("case", ["file", "folder", "link", "lookalike"])
def test_nothing_but_a_model_is_replaced(tmp_path, case):
    path = tmp_path / "model"
    if case == "file":
        path.write_text("precious")
    elif case == "link":
        save(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
        (path / ("thesis.txt" if case == "folder" else "manifest.json")).write_text("precious")
    with pytest.raises(CheckpointError, match=r"over an older model; .*model holds something else; choose"):
        save(path)
    assert case == "link" or any("precious" in f.read_text() for f in [path, *path.glob("*")] if f.is_file())


class Killed(BaseException):
    """Stands for a process that ends."""


@pytest.mark.parametrize("nth", range(3))
def test_between_any_two_renames_a_model_can_be_loaded(tmp_path, monkeypatch, nth):
    path = tmp_path / "model"
    save(path)
    calls = []
    rename = type(path).rename

    def dying_rename(self, target):
        if len(calls) == nth:
            raise Killed
        calls.append(target)
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", dying_rename)
    if nth == 2:
        save(path, 2.0)
    else:
        with pytest.raises(Killed):
            save(path, 2.0)
    monkeypatch.undo()
    assert torch.equal(load_directory(path).tensors["w"], (2.0 if nth == 2 else 1.0) * TIED)
    save(path, 3.0)
    assert torch.equal(load_directory(path).tensors["w"], 3 * TIED)
    assert os.listdir(tmp_path) == ["model"], "what the dead process left is cleared away"


# ---- hostile directories -------------------------------------------------------------------------------


class Bomb:
    """Runs when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def resigned(path, name, content, **changes):
    """Write a file and a manifest that agrees with it, as an attacker would."""
    contents = {other: (path / other).read_bytes() for other in checkpoint.FILES["model"]}
    (path / name).write_bytes(content)
    (path / "manifest.json").write_bytes(checkpoint._manifest({**contents, name: content}, "model"))


@pytest.fixture
def model(tmp_path):
    save(tmp_path / "model")
    return tmp_path / "model"


def header(value, tail=b""):
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + tail


HOSTILE_TENSORS = {
    "pickle": pickle.dumps(Bomb()),
    "empty": b"",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "large header": struct.pack("<Q", 2**27) + b"{}",
    "huge tensor": header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "overflowing shape": header(
        {"w": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "unknown type": header({"w": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
    "negative offsets": header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
    "text": b"../../etc/passwd" * 10,
}


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessing.safetensors"])
@pytest.mark.parametrize("case", HOSTILE_TENSORS)
def test_tensors_that_are_not(model, name, case):
    resigned(model, name, HOSTILE_TENSORS[case])
    with pytest.raises(CheckpointError, match=f"{name}: it is not a safetensors file; restore it"):
        load_directory(model)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pickle.dumps(Bomb()), "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"1" * 5000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_json_that_is_not(model, content, what):
    resigned(model, "config.json", content)
    with pytest.raises(CheckpointError, match=f"config.json: {what}"):
        load_directory(model)


@pytest.mark.parametrize("name", [*checkpoint.FILES["model"], "manifest.json"])
def test_missing_and_further_files(model, name):
    (model / name).rename(model / "other.bin")
    match = (
        "holds manifest.json"
        if name == "manifest.json"
        else f"missing or too much: {name}, other.bin|other.bin"
    )
    with pytest.raises(CheckpointError, match=match):
        load_directory(model)


@pytest.mark.parametrize("name", [*checkpoint.FILES["model"], "manifest.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_files_that_are_not_plain(model, name, kind):
    (model / name).rename(model.parent / "moved")
    if kind == "link":
        (model / name).symlink_to(model.parent / "moved")
    elif kind == "pipe":
        os.mkfifo(model / name)
    else:
        (model / name).mkdir()
    with pytest.raises(CheckpointError, match=f"{name}: it is a link, a pipe or a folder"):
        load_directory(model)


def rewritten(model, change):
    manifest = json.loads((model / "manifest.json").read_text())
    manifest.pop("sha256")
    change(manifest)
    signed = {**manifest, "sha256": checkpoint._hash(checkpoint._json(manifest))}
    (model / "manifest.json").write_bytes(checkpoint._json(signed))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.update(version=2), "reads the format 'polymodal model' 1; .* says 'polymodal model' 2"),
        (lambda m: m.update(version="x" * 10_000), "reads the format"),
        (lambda m: m.update(format="polymodal checkpoint"), "says 'polymodal checkpoint' 1"),
        (lambda m: m["files"].update({"../x": m["files"]["config.json"]}), r"lists .*'\.\./x'"),
        (lambda m: m["files"].pop("config.json"), "a manifest lists"),
        (lambda m: m.update(files=[]), "its checksum of itself does not fit"),
        (lambda m: m["files"].update({"config.json": None}), "a manifest lists"),
        (lambda m: m["files"]["config.json"].update(size=2**40), "claims a size of 1099511627776 bytes"),
        (lambda m: m["files"]["config.json"].update(size=-1), "claims a size of -1 bytes"),
        (lambda m: m["files"]["config.json"].update(size="1"), "claims a size of 1 bytes"),
        (lambda m: m["files"]["model.safetensors"].update(size=3), "bytes where at most 3 are expected"),
        (lambda m: m["files"]["model.safetensors"].update(sha256=None), "size or checksum is not"),
    ],
)
def test_manifests_that_lie(model, change, match):
    rewritten(model, change)
    with pytest.raises(CheckpointError, match=match):
        load_directory(model)


def test_a_huge_manifest_is_not_read(model):
    with (model / "manifest.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: costs no disk
    with pytest.raises(CheckpointError, match="bytes where at most 65536 are expected"):
        load_directory(model)


def test_a_path_without_a_model(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be listed"):
        load_directory(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"holds manifest\.json; .* does not"):
        load_directory(tmp_path)


# ---- training checkpoints ------------------------------------------------------------------------------


def folders(path):
    return [f.name for f in checkpoint.checkpoints(path)]


def test_the_last_two_checkpoints_are_kept(tmp_path):
    assert load_checkpoint(tmp_path) is None
    for number in range(1, 5):
        save_checkpoint(tmp_path, Snapshot(number, {"w": TIED * number}, {"epoch": number}))
    assert folders(tmp_path) == ["epoch-000003", "epoch-000004"]
    saved = load_checkpoint(tmp_path)
    assert (saved.number, saved.state) == (4, {"epoch": 4})
    assert torch.equal(saved.tensors["w"], 4 * TIED)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    for number in (1, 2):
        save_checkpoint(tmp_path, Snapshot(number, {"w": TIED}, {}))
    (tmp_path / "epoch-000002" / "state.json").write_text("")
    with pytest.warns(TrainingWarning, match="going on from the checkpoint before it"):
        assert load_checkpoint(tmp_path).number == 1
    (tmp_path / "epoch-000001" / "state.json").unlink()
    with (
        pytest.warns(TrainingWarning),
        pytest.raises(CheckpointError, match=r"missing or too much: state\.json"),
    ):
        load_checkpoint(tmp_path)


CONFIG = TrainingConfig(max_epochs=6, batch_size=16, patience=6)


def train(folder=None, *, resume=False, method=None, config=CONFIG, seed=1, data=None):
    method = tiny(stages=("first", "second")) if method is None else method
    config = TrainingConfig(**{**vars(config), "checkpoint_dir": folder})
    data = rows(80, 20) if data is None else data
    history = fit(method, data, rows(30, 30, seed=1), config, seed=seed, resume=resume, verbose=False)
    return {k: v.clone() for k, v in method.state_dict().items()}, history


def timeless(history):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


def interrupted(after):
    """A method whose training fails after a number of steps."""
    method = tiny(stages=("first", "second"))

    class Dying(type(method)):
        def losses(self, batch, output, step):
            terms = super().losses(batch, output, step)
            return {**terms, "bad": terms["size"] * (torch.inf if self.n_steps > after else 0)}

    method.__class__ = Dying
    return method


@pytest.fixture(scope="module")
def uninterrupted():
    return train(method=interrupted(10_000))


@pytest.mark.parametrize("after", [0, 1, 7, 14, 15, 20, 24, 29])
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path, after, uninterrupted):
    expected, history = uninterrupted
    with pytest.raises(TrainingError):
        train(tmp_path, method=interrupted(after))
    weights, resumed_history = train(tmp_path, resume=True, method=interrupted(10_000))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert timeless(resumed_history) == timeless(history)


@pytest.mark.parametrize("name", [name for name in methods.METHODS if not methods.get(name).learns_alone])
def test_every_method_resumes_bit_for_bit(tmp_path, monkeypatch, name):
    def new(seed):
        torch.manual_seed(seed)
        return methods.get(name)(INPUTS, CLASSES)

    save, config = checkpoint.save_checkpoint, TrainingConfig(max_epochs=4, batch_size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)  # so short a fit is nothing to be proud of
        expected, history = train(method=new(0), config=config)
        for n_saved in (1, 2, 3):

            def dying(folder, snapshot, last=n_saved):
                save(folder, snapshot)
                if snapshot.number == last:
                    raise Killed

            monkeypatch.setattr(loop, "save_checkpoint", dying)
            with pytest.raises(Killed):
                train(tmp_path / str(n_saved), method=new(0), config=config)
            monkeypatch.setattr(loop, "save_checkpoint", save)
            weights, again = train(tmp_path / str(n_saved), method=new(1), config=config, resume=True)
            for key in expected:
                torch.testing.assert_close(weights[key], expected[key], rtol=0, atol=0, equal_nan=True)
            assert str(timeless(again)) == str(timeless(history))  # as text: NaN is NaN


def test_checkpoints_change_nothing(tmp_path):
    plain, written = train()[0], train(tmp_path)[0]
    assert all(torch.equal(plain[name], written[name]) for name in plain)


def test_resuming_a_finished_fit_gives_its_result(tmp_path):
    expected, history = train(tmp_path)
    weights, again = train(tmp_path, resume=True, method=tiny(seed=9, stages=("first", "second")))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert again == history


def test_resuming_after_an_early_stop_stays_stopped(tmp_path):
    config = TrainingConfig(max_epochs=60, batch_size=8, patience=2)
    one = tiny(learning_rate=0.5, dropout=0.0)
    expected, history = train(tmp_path, method=one, config=config)
    assert len(history) < 60
    weights, again = train(
        tmp_path, method=tiny(learning_rate=0.5, dropout=0.0, seed=3), config=config, resume=True
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert len(again) == len(history)


def test_the_log_of_a_resumed_fit_is_whole(tmp_path):
    config = TrainingConfig(**{**vars(CONFIG), "log_dir": tmp_path / "log"})
    with pytest.raises(TrainingError):
        train(tmp_path / "c", method=interrupted(14), config=config)
    _, history = train(tmp_path / "c", method=interrupted(10_000), config=config, resume=True)
    lines = (tmp_path / "log" / "history.jsonl").read_text().splitlines()
    assert (
        [json.loads(line)["epoch"] for line in lines]
        == [entry["epoch"] for entry in history]
        == list(range(6))
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seed": 2}, "the seed differ"),
        ({"data": rows(80, 20, seed=5)}, "the training rows differ"),
        ({"data": rows(80, 21)}, "the training rows differ"),
        ({"config": TrainingConfig(max_epochs=7, batch_size=16, patience=6)}, "the training settings differ"),
        ({"method": tiny(stages=("first", "second"), dropout=0.1)}, "the method differ"),
    ],
)
def test_another_fit_cannot_be_resumed(tmp_path, change, match):
    train(tmp_path)
    with pytest.raises(CheckpointError, match=f"{match} from those in .*; restore them"):
        train(tmp_path, resume=True, **change)


def test_checkpoints_are_not_overwritten_by_a_new_fit(tmp_path):
    train(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"needs a folder without checkpoints; .* pass resume=True"):
        train(tmp_path)
