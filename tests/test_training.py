"""The training loop: which rows a step sees, what is selected, what is written, and what never matters."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from polymodal.batch import Task
from polymodal.errors import ConfigError, LabelError, MissingExtraError, TrainingError, TrainingWarning
from polymodal.methods.base import Stage
from polymodal.progress import Progress, counted_steps, progress
from polymodal.training import TrainingConfig, choose_device, fit, loop, precision
from polymodal.training import rows as training_rows
from polymodal.training.rows import Rows, epoch_batches
from polymodal.training.validation import validation_loss
from tiny_method import rows, tiny

SHORT = TrainingConfig(max_epochs=4, batch_size=16)
FEW = TrainingConfig(batch_size=32, labelled_share=0.25)


def fitted(method=None, train=None, validation=None, config=SHORT, seed=1, **settings):
    method = tiny() if method is None else method
    history = fit(
        method,
        rows(100, 20) if train is None else train,
        validation,
        config,
        seed=seed,
        verbose=False,
        **settings,
    )
    return method, history


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- which rows a step sees ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(1, 8), (2, 1), (7, 7), (8, 7), (100, 32), (97, 32)])
def test_an_epoch_of_labelled_rows_covers_each_once(n, size):
    batches = epoch_batches(np.ones(n, dtype=bool), TrainingConfig(batch_size=size), seed=3, epoch=0)
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("n", "n_labelled"), [(1000, 50), (1000, 1), (1000, 240), (40, 2), (2, 0), (10, 9)])
def test_few_labelled_rows_get_their_share_of_each_batch(n, n_labelled):
    labelled = np.zeros(n, dtype=bool)
    labelled[:n_labelled] = True
    if n_labelled == 0:
        labelled[0] = True
    batches = epoch_batches(labelled, FEW, seed=0, epoch=0)
    counts = np.bincount(torch.cat(batches).numpy(), minlength=n)
    assert (counts[~labelled] == 1).all()
    assert (counts[labelled] >= 1).all()
    assert np.ptp(counts[labelled]) <= 1, "labelled rows must go round evenly"
    if labelled.mean() < 0.25:
        shares = [labelled[batch.numpy()].mean() for batch in batches]
        assert shares == pytest.approx([0.25] * len(batches), abs=0.5 / min(map(len, batches)) + 1e-9)
    assert max(map(len, batches)) <= 32


def test_the_order_is_a_function_of_seed_and_epoch():
    labelled = np.arange(200) < 20
    one, again, later, other = (
        torch.cat(epoch_batches(labelled, FEW, seed=seed, epoch=epoch)).tolist()
        for seed, epoch in [(1, 2), (1, 2), (1, 3), (2, 2)]
    )
    assert one == again
    assert one != later
    assert one != other


def test_no_share_leaves_batches_as_they_fall():
    labelled = np.arange(200) < 20
    batches = epoch_batches(labelled, TrainingConfig(batch_size=32, labelled_share=0), seed=0, epoch=0)
    assert sorted(torch.cat(batches).tolist()) == list(range(200))


def test_streamed_rows_equal_resident_rows(monkeypatch):
    validation = rows(30, 30, seed=1)
    resident, resident_history = fitted(validation=validation)
    monkeypatch.setattr(training_rows, "memory_for_data", lambda device: 0.0)
    assert not Rows(rows(), torch.device("cpu")).resident
    streamed, streamed_history = fitted(validation=validation)
    assert same(resident, streamed)
    assert [e["validation_loss"] for e in resident_history] == [
        e["validation_loss"] for e in streamed_history
    ]


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_handful_of_rows_trains(n, size):
    _, history = fitted(train=rows(n, 1), config=TrainingConfig(max_epochs=2, batch_size=size))
    assert all(math.isfinite(entry["loss"]) for entry in history)


# ---- what does and does not matter ---------------------------------------------------------------------


def test_the_seed_decides_every_bit():
    assert same(fitted()[0], fitted()[0])
    assert not same(fitted()[0], fitted(seed=2)[0])


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, _ = fitted(validation=rows(30, 30, seed=1))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    assert same(one, fitted(validation=rows(30, 30, seed=1))[0]), "the caller's generator must not matter"


def test_monitored_labels_reach_diagnostics_alone():
    plain, history = fitted()
    watched, watched_history = fitted(monitor=rows(100, 100).y)
    assert same(plain, watched)
    assert "monitor_mean" in watched_history[0]
    assert "monitor_mean" not in history[0]


@pytest.mark.parametrize("kind", ["multiclass", "regression", "multilabel"])
def test_hidden_labels_are_never_read(kind):
    task = Task(kind, 1 if kind == "regression" else 3)
    clean, garbage = rows(100, 20, kind), rows(100, 20, kind)
    garbage.y[20:] = 999999 if kind == "multiclass" else math.nan
    one, _ = fitted(tiny(task), clean)
    other, _ = fitted(tiny(task), garbage)
    assert same(one, other)
    assert garbage.y[20:].isnan().all() if kind != "multiclass" else (garbage.y[20:] == 999999).all()


def test_validation_rows_select_but_do_not_train():
    config = TrainingConfig(max_epochs=4, batch_size=16, patience=4)
    seen = [rows(30, 30, seed=s) for s in (1, 2)]
    histories = [fitted(validation=batch, config=config)[1] for batch in seen]
    assert [e["loss"] for e in histories[0]] == [e["loss"] for e in histories[1]]
    assert [e["validation_loss"] for e in histories[0]] != [e["validation_loss"] for e in histories[1]]


def test_hidden_validation_labels_are_never_read():
    half, garbage = rows(40, 20, seed=1), rows(40, 20, seed=1)
    garbage.y[20:] = 999999
    assert (
        fitted(validation=half)[1][-1]["validation_loss"]
        == fitted(validation=garbage)[1][-1]["validation_loss"]
    )


# ---- selection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "regression", "multilabel"])
@pytest.mark.parametrize("with_branches", [True, False])
def test_validation_loss_against_a_loop(kind, with_branches):
    n_outputs = 1 if kind == "regression" else 3
    method = tiny(Task(kind, n_outputs), with_branches=with_branches).eval()
    batch = rows(50, 40, kind, seed=1)
    if kind == "multilabel":
        batch.y[::4, 1] = math.nan

    def loss(prediction, y):
        if kind == "multiclass":
            return [-math.log(prediction[y])]
        if kind == "regression":
            return [(prediction[0] - y) ** 2]
        return [
            -math.log(p if t == 1 else 1 - p) for p, t in zip(prediction, y, strict=True) if not math.isnan(t)
        ]

    with torch.no_grad():
        output = method(batch)
        alone = [method(batch.only((name,))).prediction.tolist() for name in "ab"]
        found = validation_loss(method, Rows(batch, torch.device("cpu")))
    y = batch.y.tolist()
    whole = [value for i in range(40) for value in loss(output.prediction[i].tolist(), y[i])]
    singles = [
        [value for i in range(40) if batch.presence[i, m] for value in loss(alone[m][i], y[i])]
        for m in (0, 1)
    ]
    assert found == pytest.approx(np.mean(whole) + np.mean([np.mean(single) for single in singles]), rel=1e-5)


def test_validation_in_pieces_is_validation_at_once(monkeypatch):
    method, batch = tiny().eval(), rows(50, 40, seed=1)
    with torch.no_grad():
        at_once = validation_loss(method, Rows(batch, torch.device("cpu")))
        monkeypatch.setattr(training_rows, "ROWS_PER_PASS", 7)
        assert validation_loss(method, Rows(batch, torch.device("cpu"))) == pytest.approx(at_once, rel=1e-9)


def test_the_best_epoch_is_kept_and_patience_ends_training():
    config = TrainingConfig(max_epochs=60, batch_size=8, patience=3)
    validation = rows(30, 30, seed=1)
    method, history = fitted(
        tiny(learning_rate=0.5, dropout=0.0), rows(12, 12, seed=4), validation, config=config
    )
    losses = [entry["validation_loss"] for entry in history]
    assert len(history) < 60
    assert len(history) - 1 - int(np.argmin(losses)) == 3
    assert not method.training
    with torch.no_grad():
        assert validation_loss(method, Rows(validation, torch.device("cpu"))) == min(losses)


def test_without_validation_every_epoch_runs():
    _, history = fitted(config=TrainingConfig(max_epochs=7, batch_size=16, patience=1))
    assert len(history) == 7
    assert "validation_loss" not in history[0]


# ---- stages --------------------------------------------------------------------------------------------


def test_each_stage_trains_its_own_part_and_only_the_last_selects():
    before = tiny(stages=("first", "second"))
    start = {k: v.clone() for k, v in before.state_dict().items()}
    seen = {}

    class Watched(type(before)):
        def trainable(self, stage):
            seen[stage.name] = {k: v.clone() for k, v in self.state_dict().items()}
            return super().trainable(stage)

    before.__class__ = Watched
    config = TrainingConfig(max_epochs=6, batch_size=16, patience=1)
    _, history = fitted(before, validation=rows(30, 30, seed=1), config=config)
    stages = [entry["stage"] for entry in history]
    assert stages[:3] == ["first"] * 3, "only the last stage may stop early"
    assert set(stages[3:]) == {"second"}
    assert [entry["epoch"] for entry in history] == list(range(len(history)))
    assert torch.equal(start["branches.b.weight"], seen["second"]["branches.b.weight"])
    assert not torch.equal(start["branches.a.weight"], seen["second"]["branches.a.weight"])
    assert not torch.equal(start["branches.b.weight"], before.state_dict()["branches.b.weight"])
    assert all(p.requires_grad and p.grad is None for p in before.parameters())


@pytest.mark.parametrize(
    ("shares", "epochs"), [((0.3, 0.7), (3, 7)), ((0.01, 0.99), (1, 10)), ((0.0, 1.0), (0, 10))]
)
def test_stages_get_their_share_of_the_epochs(shares, epochs):
    method = tiny()
    method.stages = lambda: (Stage(name, share) for name, share in zip("ab", shares, strict=True))
    _, history = fitted(method, config=TrainingConfig(max_epochs=10, batch_size=64))
    assert tuple(sum(entry["stage"] == name for entry in history) for name in "ab") == epochs


def test_the_learning_rate_warms_up():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": 0.5, "full_lr": 0.5}])
    rates = []
    for step in range(1, 101):
        loop.warm_up(optimizer, step / 100)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.25)
    assert rates[1:] == [0.5] * 99


def test_a_loss_learns():
    method, history = fitted(train=rows(300, 300), config=TrainingConfig(max_epochs=30, batch_size=32))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    test = rows(100, 100, seed=9)
    with torch.no_grad():
        assert (method(test).prediction.argmax(1) == test.y).double().mean() > 0.6


# ---- what is written down ------------------------------------------------------------------------------


def test_history_and_its_log(tmp_path):
    config = TrainingConfig(max_epochs=2, batch_size=16, log_dir=tmp_path / "log")
    _, history = fitted(validation=rows(30, 30, seed=1), config=config)
    entry = history[0]
    assert list(entry) == [
        *("stage", "epoch", "loss", "loss/task", "loss/size"),
        *("validation_loss", "learning_rate", "mean_prediction", "seconds"),
    ]
    assert entry["loss"] == pytest.approx(entry["loss/task"] + entry["loss/size"])
    assert entry["learning_rate"] == 1e-2
    assert history[-1]["warnings"] == []
    lines = [json.loads(line) for line in (tmp_path / "log" / "history.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [entry["loss"] for entry in history]


def test_warnings_of_a_method_are_given_and_kept():
    with pytest.warns(TrainingWarning, match="the tiny method is tiny") as given:
        _, history = fitted(config=TrainingConfig(max_epochs=3, batch_size=16))
    assert given[0].filename == __file__
    assert history[-1]["warnings"] == ["the tiny method is tiny"]


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted(config=TrainingConfig(max_epochs=1, log_dir=tmp_path, tensorboard=True))
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_tensorboard_missing_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polymodal\[tensorboard\]'"):
        fitted(config=TrainingConfig(max_epochs=1, log_dir=tmp_path, tensorboard=True))


def test_progress_lines_come_every_few_seconds(monkeypatch, capsys):
    monkeypatch.setattr("polymodal.progress.SECONDS_BETWEEN_LINES", 0.0)
    fit(tiny(), rows(), None, TrainingConfig(max_epochs=2, batch_size=60), seed=0, verbose=True)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("fit: 50 %, train 1/2, loss ")
    assert "task" in first
    assert last.endswith("at most 0 s left")


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    import io

    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("polymodal.progress.SECONDS_BETWEEN_FRAMES", 0.0)
    with progress("fit", 2, verbose=True, stream=stream) as shown:
        shown.step(lambda: "loss 1")
        shown.step(lambda: "loss 0.5")
    assert "loss 0.5" in stream.getvalue()


def test_quiet_progress_never_asks_for_text(capsys):
    Progress(1, None, 0.0).step(lambda: pytest.fail("asked"))
    fitted()
    assert capsys.readouterr() == ("", "")


# ---- refusals ------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_named():
    train = rows(40, 40)
    train.values["a"][7] = math.inf
    with pytest.raises(TrainingError, match=r"'task' became (nan|inf) in stage 'train', epoch 0"):
        fitted(train=train)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"max_epochs": 0}, "max_epochs is a whole number of at least 1; 0 came"),
        ({"batch_size": 1.5}, "batch_size is a whole number of at least 1; 1.5 came"),
        ({"patience": -1}, "patience is a whole number"),
        ({"labelled_share": 1.0}, r"labelled_share is a share in \[0, 1\); 1.0 came"),
        ({"gradient_clip": 0.0}, "gradient_clip is a norm above 0"),
        ({"precision": "half"}, "precision is one of auto, float32, bfloat16, float16; 'half' came"),
        ({"tensorboard": True}, "needs a log_dir"),
    ],
)
def test_settings_out_of_range(settings, match):
    with pytest.raises(ConfigError, match=match):
        TrainingConfig(**settings)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", "", "cuda:-1"])
def test_unknown_devices(device):
    with pytest.raises(ConfigError, match="a device is auto, cpu, cuda or cuda:N"):
        choose_device(device)


def test_a_device_that_is_not_there():
    with pytest.raises(ConfigError, match=r"'cuda:99' came, CUDA devices found: [0-9]+; use 'auto'"):
        choose_device("cuda:99")


def test_no_label_at_all():
    with pytest.raises(LabelError, match="training needs at least one labelled row; none of 10 rows is"):
        fitted(train=rows(10, 0))
    with pytest.raises(LabelError, match="validation needs at least one labelled row"):
        fitted(validation=rows(10, 0))


def test_float16_needs_cuda():
    with pytest.raises(ConfigError, match="float16 trains on CUDA only; the device is cpu"):
        fitted(config=TrainingConfig(precision="float16"))


def test_bfloat16_trains_and_losses_see_float32():
    method = tiny()
    dtypes = set()

    class Watched(type(method)):
        def losses(self, batch, output, step):
            dtypes.update(t.dtype for t in [output.prediction, output.branches, *output.latents.values()])
            return super().losses(batch, output, step)

    method.__class__ = Watched
    _, history = fitted(method, config=TrainingConfig(max_epochs=2, batch_size=16, precision="bfloat16"))
    assert dtypes == {torch.float32}
    assert math.isfinite(history[-1]["loss"])
    assert not same(method, fitted(config=TrainingConfig(max_epochs=2, batch_size=16))[0])


def test_gradients_are_clipped_by_norm():
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
            seen.append(torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads])).item())

    linear = nn.Linear(3, 1)
    total = 1e3 * linear(torch.ones(4, 3)).sum()
    full = precision.Precision("float32", torch.device("cpu"))
    full.descend(total, Watched(linear.parameters(), lr=0.1), clip=0.5)
    assert seen == [pytest.approx(0.5, rel=1e-4)]


def test_steps_are_called_what_they_are():
    assert counted_steps([{"stage": "train"}] * 12) == "12 epochs"
    assert counted_steps([{"stage": "generation"}] * 3) == "3 generations"
    assert counted_steps([{"stage": "judged"}]) == "1 round"
    assert counted_steps([{}]) == "1 epoch"
    assert counted_steps([]) == "0 epochs"
