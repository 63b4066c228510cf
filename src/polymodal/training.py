"""The training loop: fit -> run_stage -> run_epoch -> train_step.

A method says what it minimises and in which stages; this file decides which rows a step sees, on which
device, when training stops, and what is written down. The order of the rows is a function of the seed and
the epoch alone, so it needs no state of its own; every other random number comes from generators that are
put aside for the time of the fit, so the caller's are left as they were.

Letters: B rows of a batch, M modalities, C outputs.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Output, TaskKind
from polymodal.checkpoint import Snapshot, checkpoints, load_checkpoint, save_checkpoint
from polymodal.errors import (
    CheckpointError,
    ConfigError,
    LabelError,
    MissingExtraError,
    TrainingError,
    TrainingWarning,
)
from polymodal.methods.base import Method, Stage, Step
from polymodal.progress import Progress, progress

WEIGHT_DECAY = 1e-2
WARM_UP = 0.02  # share of a stage's steps
N_DIAGNOSED = 512  # rows
ROWS_PER_PASS = 4096  # of a validation pass
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


# ---- settings ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig:
    """How a method is trained.

    Attributes:
        max_epochs: epochs over all stages.
        batch_size: rows of a step, at most.
        labelled_share: where fewer rows than this share are labelled, each batch holds this share of
            labelled rows; 0 leaves batches as they fall.
        patience: epochs of the last stage without a better validation loss before training stops.
        gradient_clip: largest norm of the gradient; infinite for no limit.
        precision: ``"auto"`` (bfloat16 on CUDA, float32 elsewhere), ``"float32"``, ``"bfloat16"``, or
            ``"float16"`` (CUDA only). Losses are computed in float32 always.
        checkpoint_dir: folder for a checkpoint an epoch, from which a fit can be resumed; None for none.
        log_dir: folder for ``history.jsonl``, one line an epoch; None for none.
        tensorboard: also write TensorBoard event files to ``log_dir``.
    """

    max_epochs: int = 100
    batch_size: int = 256
    labelled_share: float = 0.25
    patience: int = 20
    gradient_clip: float = 1.0
    precision: str = "auto"
    checkpoint_dir: str | Path | None = None
    log_dir: str | Path | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size", "patience"):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer)
            _rule(whole and value >= 1, f"{name} is a whole number of at least 1", value)
        _rule(0 <= self.labelled_share < 1, "labelled_share is a share in [0, 1)", self.labelled_share)
        _rule(self.gradient_clip > 0, "gradient_clip is a norm above 0", self.gradient_clip)
        _rule(self.precision in PRECISIONS, f"precision is one of {', '.join(PRECISIONS)}", self.precision)
        if self.tensorboard and self.log_dir is None:
            raise ConfigError("tensorboard=True needs a log_dir; None came; name a folder")


def _rule(holds: Any, rule: str, came: Any) -> None:
    if not holds:
        raise ConfigError(f"{rule}; {came!r} came; choose another value")


def choose_device(device: str) -> torch.device:
    """The device that a name means.

    Args:
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: no such device, or not on this machine.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda", 0) if n_cuda else torch.device("cpu")
    kind, _, number = str(device).partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or not number) or (kind == "cpu" and number):
        raise ConfigError(f"a device is auto, cpu, cuda or cuda:N; {device!r} came; choose one of these")
    if kind == "cpu":
        return torch.device("cpu")
    if int(number or 0) >= n_cuda:
        raise ConfigError(
            f"a device must be there; {device!r} came, CUDA devices found: {n_cuda}; use 'auto'"
        )
    return torch.device("cuda", int(number or 0))


# ---- which rows a step sees ----------------------------------------------------------------------------


def epoch_batches(labelled: np.ndarray, config: TrainingConfig, *, seed: int, epoch: int) -> list[Tensor]:
    """The rows of each batch of an epoch.

    An epoch covers every row. Where fewer than ``labelled_share`` of the rows are labelled, each batch
    holds that share of labelled rows, which go round in permutations, and each unlabelled row comes once.
    Batches of one kind differ by one row at most, so none is left over with a single row.

    Args:
        labelled: (n,) bool.
        config: gives ``batch_size`` and ``labelled_share``.
        seed: seed of the fit.
        epoch: number of the epoch over all stages.

    Returns:
        (B,) int64 row numbers for each batch.
    """
    random = np.random.default_rng([seed, epoch])
    known, unknown = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    share = config.labelled_share
    if len(known) >= share * len(labelled):
        return _tensors(_split(random.permutation(len(labelled)), config.batch_size))
    n_known = max(1, round(share * config.batch_size))
    parts = _split(random.permutation(unknown), max(1, config.batch_size - n_known))
    quotas = [max(1, round(len(part) * share / (1 - share))) for part in parts]
    rounds = -(-sum(quotas) // len(known))
    cycled = np.concatenate([random.permutation(known) for _ in range(rounds)])
    ends = np.cumsum(quotas)
    return _tensors(
        np.concatenate([cycled[end - quota : end], part])
        for part, quota, end in zip(parts, quotas, ends, strict=True)
    )


def _split(rows: np.ndarray, most: int) -> list[np.ndarray]:
    return np.array_split(rows, max(1, -(-len(rows) // most)))


def _tensors(batches: Iterable[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(batch) for batch in batches]


def memory_for_data(device: torch.device) -> float:
    """Bytes that rows may take on a device for good: half of what is free."""
    return torch.cuda.mem_get_info(device)[0] / 2 if device.type == "cuda" else math.inf


class Rows:
    """Rows given out on a device: held there whole where they fit, sent batch by batch otherwise.

    Args:
        batch: all rows, on the CPU.
        device: where they are wanted.
    """

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.resident = _n_bytes(batch) <= memory_for_data(device)
        self._batch = batch.to(device) if self.resident else batch
        self._device = device

    def __len__(self) -> int:
        return len(self._batch)

    def take(self, index: Tensor) -> Batch:
        """The rows of an index (K,) int64 on the CPU."""
        if self.resident:
            return self._batch.rows(index.to(self._device, non_blocking=True))
        return self._sent(self._batch.rows(index))

    def chunks(self) -> Iterator[Batch]:
        """All rows in order, in pieces of a size for passes without gradients."""
        for start in range(0, len(self), ROWS_PER_PASS):
            piece = self._batch.slice(start, start + ROWS_PER_PASS)
            yield piece if self.resident else self._sent(piece)

    def _sent(self, batch: Batch) -> Batch:
        if self._device.type == "cuda":  # pinned memory is copied while the device computes
            return batch.map(lambda tensor: tensor.pin_memory().to(self._device, non_blocking=True))
        return batch.to(self._device)


def _n_bytes(batch: Batch) -> int:
    return sum(tensor.nbytes for tensor in _tensors_of(batch).values())


def _tensors_of(batch: Batch) -> dict[str, Tensor]:
    """Every tensor of a batch by name, in a fixed order."""
    tensors = {"presence": batch.presence, "y": batch.y, "labelled": batch.labelled}
    tensors |= {f"values/{name}": value for name, value in batch.values.items()}
    tensors |= {f"lengths/{name}": value for name, value in batch.lengths.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


# ---- precision -----------------------------------------------------------------------------------------


class Precision:
    """Forward passes in the wanted precision, and float16 gradients kept from vanishing.

    Args:
        name: as in :class:`TrainingConfig`.
        device: where training runs.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "float16" and device.type != "cuda":
            raise ConfigError(f"float16 trains on CUDA only; the device is {device}; use precision='auto'")
        if name == "auto":
            name = "bfloat16" if device.type == "cuda" else "float32"
        self._device = device.type
        self._dtype = None if name == "float32" else getattr(torch, name)
        self.scaler = torch.amp.GradScaler("cuda", enabled=name == "float16")

    def forward(self, method: Method, batch: Batch) -> Output:
        """The method's output, in float32 whatever it was computed in."""
        if self._dtype is None:
            return method(batch)
        with torch.autocast(self._device, self._dtype):
            output = method(batch)
        return Output(
            prediction=output.prediction.float(),
            branches=None if output.branches is None else output.branches.float(),
            latents={name: _float32(latent) for name, latent in output.latents.items()},
        )

    def descend(self, total: Tensor, optimizer: torch.optim.Optimizer, clip: float) -> None:
        """One step down the gradient of a loss, the gradient's norm held to ``clip``."""
        optimizer.zero_grad()
        self.scaler.scale(total).backward()
        if math.isfinite(clip):
            self.scaler.unscale_(optimizer)
            self._clip([p for group in optimizer.param_groups for p in group["params"]], clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def _clip(self, parameters: list[nn.Parameter], clip: float) -> None:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._device == "cpu" and norm <= clip:  # elsewhere, to look at the norm would stall the device
            return
        nn.utils.clip_grads_with_norm_(parameters, clip, norm)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


Log = Callable[[Mapping[str, Any]], None]


# ---- what a fit holds ----------------------------------------------------------------------------------


@dataclass
class Run:
    """What the steps of the ladder share.

    Attributes:
        method: the method in training, on ``device``.
        config: how to train.
        seed: seed of the fit.
        device: where training runs.
        precision: of forward passes.
        train: training rows.
        labelled: (n,) bool, which training rows have labels.
        validation: rows for early stopping, or None.
        diagnosed: the training rows that diagnostics look at.
        monitor: their true labels, or None.
        history: one entry an epoch done.
        best_weights: the method's state in the best epoch of the last stage.
        best_epoch: that epoch's number over all stages.
        fingerprint: what a checkpoint must agree with to be resumed.
        resumed: the checkpoint to go on from, until the stage it belongs to has taken it up.
        display: shows progress.
        log: writes a history entry down.
    """

    method: Method
    config: TrainingConfig
    seed: int
    device: torch.device
    precision: Precision
    train: Rows
    labelled: np.ndarray
    validation: Rows | None
    diagnosed: Batch
    monitor: Tensor | None
    history: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    best_epoch: int = -1
    fingerprint: dict[str, Any] = field(default_factory=dict)
    resumed: Snapshot | None = None
    display: Progress = field(default_factory=lambda: Progress(0, None, 0.0))
    log: Log = field(default_factory=lambda: _nothing)

    def batches(self) -> list[Tensor]:
        """The rows of each batch of the coming epoch."""
        return epoch_batches(self.labelled, self.config, seed=self.seed, epoch=len(self.history))

    def validated(self) -> dict[str, float]:
        """``validation_loss``, where there is validation."""
        if self.validation is None:
            return {}
        return {"validation_loss": validation_loss(self.method, self.validation)}

    def diagnostics(self) -> dict[str, float]:
        """The method's own figures of the epoch."""
        output = self.method(self.diagnosed)
        return {k: float(v) for k, v in self.method.diagnostics(self.diagnosed, output, self.monitor).items()}

    def keep_best(self) -> None:
        """Remember the weights if the last epoch has the lowest validation loss so far."""
        loss = self.history[-1]["validation_loss"]
        if self.best_weights is None or loss < self.history[self.best_epoch]["validation_loss"]:
            self.best_epoch = len(self.history) - 1
            self.best_weights = {k: v.clone() for k, v in self.method.state_dict().items()}

    def out_of_patience(self) -> bool:
        """True when ``patience`` epochs have passed since the best one."""
        waited = len(self.history) - 1 - self.best_epoch
        return self.best_weights is not None and waited >= self.config.patience


def n_epochs(stage: Stage, config: TrainingConfig) -> int:
    """Epochs of a stage."""
    return max(1, round(stage.share * config.max_epochs))


# ---- the ladder ----------------------------------------------------------------------------------------


def fit(
    method: Method,
    train: Batch,
    validation: Batch | None,
    config: TrainingConfig,
    *,
    seed: int,
    device: str = "cpu",
    resume: bool = False,
    monitor: Tensor | None = None,
    verbose: bool = True,
) -> list[dict[str, Any]]:
    """Train a method through its stages.

    The method ends on ``device``, in evaluation mode, with the weights of the last stage's best epoch on
    ``validation``, or without validation with its last weights.

    Args:
        method: the method to train, in place.
        train: all training rows on the CPU; the labels of unlabelled rows are never read.
        validation: rows for early stopping, never trained on; None trains for ``max_epochs``.
        config: how to train.
        seed: the same seed gives the same weights, bit for bit on a CPU.
        device: see :func:`choose_device`.
        resume: go on from the newest sound checkpoint in ``config.checkpoint_dir``, if there is one.
        monitor: (n,) or (n, C) true labels of all training rows, for the method's diagnostics alone.
        verbose: show progress on standard error.

    Returns:
        The history, one flat dict an epoch: ``stage``, ``epoch`` (over all stages, from 0), ``loss`` (the
        sum that is minimised) and ``loss/TERM`` (means over the epoch's batches), ``validation_loss``
        (where there is validation), ``learning_rate``, ``seconds``, and the method's own diagnostics. The
        last entry also holds ``warnings``, the sentences also given as :class:`TrainingWarning`.

    Raises:
        ConfigError: a setting does not fit the device.
        LabelError: no labelled row to learn from, or none to validate on.
        CheckpointError: the checkpoints in ``config.checkpoint_dir`` are another fit's, or all damaged, or
            there are some and ``resume`` is False.
        TrainingError: a loss is not finite.
    """
    place = choose_device(device)
    precision = Precision(config.precision, place)
    y, labelled = _labels(train, "training")
    if validation is not None:
        _labels(validation, "validation")
    train = _without_hidden_labels(train)
    with _own_generators(place, seed), _restored_requires_grad(method):
        method.to(place)
        method.observe(y[labelled].to(place))
        rows, sample = Rows(train, place), diagnosed_rows(len(train), seed)
        run = Run(
            method=method,
            config=config,
            seed=seed,
            device=place,
            precision=precision,
            train=rows,
            labelled=labelled.numpy(),
            validation=None if validation is None else Rows(validation, place),
            diagnosed=rows.take(sample),
            monitor=None if monitor is None else monitor[sample].to(place),
        )
        if config.checkpoint_dir is not None:
            run.fingerprint = fingerprint(run, train, validation)
            run.resumed = _resumed(run, config.checkpoint_dir, resume)
        run_stages(run, list(method.stages()), verbose=verbose)
    return _finished(run)


def run_stages(run: Run, stages: Sequence[Stage], *, verbose: bool) -> None:
    """All stages in order, shown and written down."""
    if run.resumed is not None:
        run.history = run.resumed.state["history"]
    n_steps = len(run.batches()) * (sum(n_epochs(stage, run.config) for stage in stages) - len(run.history))
    with (
        _written(run.config, run.history) as run.log,
        progress("fit", n_steps, verbose=verbose) as run.display,
    ):
        for number, stage in enumerate(stages):
            run_stage(run, stage, number, last=number == len(stages) - 1)


def run_stage(run: Run, stage: Stage, number: int, *, last: bool) -> None:
    """All epochs of a stage, or fewer when it is the last one and stops early."""
    optimizer = make_optimizer(run.method, stage)
    first = 0
    if run.resumed is not None:
        if number < run.resumed.state["stage"]:
            return  # done by an earlier run; entered here so that the method stands as it did then
        first = restore(run, run.resumed, optimizer)
        run.resumed = None
    for epoch in range(first, n_epochs(stage, run.config)):
        if run.out_of_patience():
            break
        run.history.append(run_epoch(run, stage, epoch, optimizer))
        if last and run.validation is not None:
            run.keep_best()
        if run.config.checkpoint_dir is not None:
            save_checkpoint(run.config.checkpoint_dir, snapshot(run, number, epoch, optimizer))
        run.log(run.history[-1])


def make_optimizer(method: Method, stage: Stage) -> torch.optim.AdamW:
    """A fresh AdamW over what a stage trains; gradients of everything else are switched off."""
    groups = [{"weight_decay": WEIGHT_DECAY, **group} for group in method.trainable(stage)]
    groups = [{**group, "params": list(group["params"]), "full_lr": group["lr"]} for group in groups]
    trained = {id(p) for group in groups for p in group["params"]}
    for p in method.parameters():
        p.requires_grad_(id(p) in trained)
    return torch.optim.AdamW(groups, fused=True)


def run_epoch(run: Run, stage: Stage, epoch: int, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """One epoch of steps, then validation and diagnostics; returns its history entry."""
    start = time.perf_counter()
    batches, n = run.batches(), n_epochs(stage, run.config)
    step = Step(stage.name, epoch, epoch / n)
    terms = Means(step)
    run.method.train()
    for i, index in enumerate(batches, start=epoch * len(batches)):
        warm_up(optimizer, (i + 1) / (n * len(batches)))
        terms.add(train_step(run, run.train.take(index), step, optimizer))
        run.display.step(lambda: f"{stage.name} {epoch + 1}/{n}, {terms}")
    run.method.eval()
    with torch.no_grad(), _aside(run.device):
        return {
            "stage": stage.name,
            "epoch": len(run.history),
            **terms.entry(),
            **run.validated(),
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
            **run.diagnostics(),
            "seconds": time.perf_counter() - start,
        }


def train_step(run: Run, batch: Batch, step: Step, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One step down the sum of the losses; returns its terms."""
    output = run.precision.forward(run.method, batch)
    losses = run.method.losses(batch, output, step)
    first, *others = losses.values()
    run.precision.descend(sum(others, start=first), optimizer, run.config.gradient_clip)
    return losses


def warm_up(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Raise the learning rates linearly over the first part of a stage; constant after it."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * min(1.0, progress / WARM_UP)


class Means:
    """Means of named losses over the batches of an epoch, summed on the device.

    Args:
        step: where training stands, for the error.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._sums: dict[str, Tensor] = {}
        self._n = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one batch."""
        self._n += 1
        for name, loss in losses.items():
            if name in self._sums:
                self._sums[name] += loss.detach()
            else:
                self._sums[name] = loss.detach().clone()

    def entry(self) -> dict[str, float]:
        """``loss`` and each ``loss/TERM``.

        Raises:
            TrainingError: a term is not finite.
        """
        values = (torch.stack(list(self._sums.values())) / self._n).tolist()
        entry = dict(zip(self._sums, values, strict=True))
        for name, value in entry.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"every loss must be finite; {name!r} became {value} in stage {self._step.stage!r}, "
                    f"epoch {self._step.epoch}; look for extreme inputs, or lower the learning rate"
                )
        return {"loss": sum(values), **{f"loss/{name}": value for name, value in entry.items()}}

    def __str__(self) -> str:
        return ", ".join(f"{name.removeprefix('loss/')} {value:.3g}" for name, value in self.entry().items())


# ---- validation and diagnostics ------------------------------------------------------------------------


def validation_loss(method: Method, rows: Rows) -> float:
    """Task loss of the whole input plus the mean over each modality alone, so that subsets count.

    Each is a mean over the labelled rows that have the modality (over every labelled row for the whole
    input): the negative log-likelihood of classes or labels, or the squared error.
    """
    kind = method.task.kind
    chunks = [torch.stack([_summed_loss(*view, kind) for view in _views(method, b)]) for b in rows.chunks()]
    sums, counts = torch.stack(chunks).sum(dim=0).cpu().unbind(dim=1)
    whole, *alone = (sums / counts)[counts > 0].tolist()
    return whole + (sum(alone) / len(alone) if alone else 0.0)


def _views(method: Method, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Predictions (B, C), labels and which rows count: for the whole input, then for each modality alone."""
    assert batch.y is not None
    assert batch.labelled is not None
    output = method(batch)
    yield output.prediction, batch.y, batch.labelled
    for m, name in enumerate(batch.names):
        if output.branches is not None:
            prediction = output.branches[:, m]
        else:
            prediction = method(batch.only((name,))).prediction
        yield prediction, batch.y, batch.labelled & batch.presence[:, m]


def _summed_loss(prediction: Tensor, y: Tensor, counted: Tensor, kind: TaskKind) -> Tensor:
    """Sum of the task loss over the counted rows, and how many entries it sums: (2,) float64."""
    prediction, y = prediction[counted], y[counted]
    if kind == "regression":
        losses = (prediction[:, 0].double() - y).square()
    elif kind == "multiclass":
        losses = nn.functional.nll_loss(_log(prediction), y, reduction="none")
    else:
        known = ~y.isnan()
        prediction, y = prediction[known], y[known]
        losses = -(y * _log(prediction) + (1 - y) * _log(1 - prediction.double()))
    return torch.stack([losses.sum(), losses.new_tensor(losses.numel())])


def _log(probability: Tensor) -> Tensor:
    return probability.double().clamp(min=1e-12).log()


def diagnosed_rows(n: int, seed: int) -> Tensor:
    """The training rows that diagnostics look at in every epoch."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(random.choice(n, min(n, N_DIAGNOSED), replace=False)))


# ---- checkpoints ---------------------------------------------------------------------------------------


def snapshot(run: Run, stage: int, epoch: int, optimizer: torch.optim.Optimizer) -> Snapshot:
    """Everything that the epochs to come depend on, after an epoch of a stage."""
    tensors = {f"method/{name}": tensor for name, tensor in run.method.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in (run.best_weights or {}).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if run.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(run.device)
    state = {
        "fingerprint": run.fingerprint,
        "stage": stage,
        "epoch": epoch,
        "history": run.history,
        "best_epoch": run.best_epoch,
        "scaler": run.precision.scaler.state_dict(),
    }
    return Snapshot(len(run.history), tensors, state)


def restore(run: Run, saved: Snapshot, optimizer: torch.optim.Optimizer) -> int:
    """Take up a checkpoint of the running stage; returns the stage's next epoch."""
    run.method.load_state_dict(_under("method/", saved.tensors))
    best = _under("best/", saved.tensors)
    run.best_weights = {name: tensor.to(run.device) for name, tensor in best.items()} or None
    run.best_epoch = saved.state["best_epoch"]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer/", saved.tensors).items():
        number, _, moment = name.partition("/")
        moments.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    run.precision.scaler.load_state_dict(saved.state["scaler"])
    torch.set_rng_state(saved.tensors["random/cpu"])
    if run.device.type == "cuda":
        torch.cuda.set_rng_state(saved.tensors["random/cuda"], run.device)
    return saved.state["epoch"] + 1


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _resumed(run: Run, folder: str | Path, resume: bool) -> Snapshot | None:
    """The checkpoint to go on from, or None to start.

    Raises:
        CheckpointError: it is another fit's, or there is one and the fit was not to be resumed.
    """
    if not resume:
        if checkpoints(folder):
            raise CheckpointError(
                f"a new fit needs a folder without checkpoints; {folder} holds some; pass resume=True "
                "to go on from them, or name another folder"
            )
        return None
    saved = load_checkpoint(folder)
    if saved is None:
        return None
    theirs = saved.state["fingerprint"]
    different = [name for name, value in run.fingerprint.items() if theirs.get(name) != value]
    if different:
        raise CheckpointError(
            f"a fit is resumed with what it was started with; {' and '.join(different)} differ from those in "
            f"{folder}; restore them, or name another folder"
        )
    return saved


def fingerprint(run: Run, train: Batch, validation: Batch | None) -> dict[str, Any]:
    """What the weights depend on, apart from the machine: each part short enough to keep."""
    settings = asdict(run.config)
    for name in ("checkpoint_dir", "log_dir", "tensorboard"):
        del settings[name]
    method = run.method
    return {
        "the training rows": _hash(train),
        "the validation rows": None if validation is None else _hash(validation),
        "the training settings": settings,
        "the method": f"{type(method).__name__}({method.inputs}, {method.task}, {method.config})",
        "the seed": run.seed,
        "the device type": run.device.type,
    }


def _hash(batch: Batch) -> str:
    """SHA-256 of every tensor of a batch, read in pieces so that a memory map stays on disk."""
    digest = hashlib.sha256()
    for name, tensor in _tensors_of(batch).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        for piece in tensor.split(ROWS_PER_PASS):
            digest.update(piece.contiguous().numpy().data)
    return digest.hexdigest()


# ---- what surrounds a fit ------------------------------------------------------------------------------


def _labels(batch: Batch, what: str) -> tuple[Tensor, Tensor]:
    """The labels and which rows have one.

    Raises:
        LabelError: none has.
    """
    if batch.y is None or batch.labelled is None or not batch.labelled.any():
        raise LabelError(f"{what} needs at least one labelled row; none of {len(batch)} rows is; label some")
    return batch.y, batch.labelled


def _without_hidden_labels(batch: Batch) -> Batch:
    """The same rows with the labels of unlabelled rows overwritten: what is not there cannot be read."""
    y, labelled = _labels(batch, "training")
    mask = labelled if y.ndim == 1 else labelled.unsqueeze(1)
    return replace(batch, y=torch.where(mask, y, torch.zeros_like(y)))


def _finished(run: Run) -> list[dict[str, Any]]:
    """The history, with the method at its best weights and its warnings given."""
    if run.best_weights is not None:
        run.method.load_state_dict(run.best_weights)
    run.method.eval()
    run.history[-1]["warnings"] = run.method.judge(run.history)
    for sentence in run.history[-1]["warnings"]:
        warnings.warn(sentence, TrainingWarning, stacklevel=3)
    return run.history


@contextmanager
def _own_generators(device: torch.device, seed: int) -> Iterator[None]:
    """Seeded random generators within the block; the caller's are as before after it."""
    with _aside(device):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _aside(device: torch.device) -> Any:
    """Random numbers drawn within the block leave no trace after it."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextmanager
def _restored_requires_grad(method: Method) -> Iterator[None]:
    """Which parameters want gradients is a matter of the stages; after them it is as before."""
    before = {name: p.requires_grad for name, p in method.named_parameters()}
    try:
        yield
    finally:
        for name, p in method.named_parameters():
            p.requires_grad_(before.get(name, p.requires_grad))
            p.grad = None


@contextmanager
def _written(config: TrainingConfig, history: Sequence[Mapping[str, Any]]) -> Iterator[Log]:
    """A function that writes history entries to ``log_dir``, after those of an earlier run."""
    if config.log_dir is None:
        yield _nothing
        return
    folder = Path(config.log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "history.jsonl").open("w", encoding="utf-8") as lines, _events(config) as event:

        def write(entry: Mapping[str, Any]) -> None:
            print(json.dumps({k: _json_value(v) for k, v in entry.items()}), file=lines, flush=True)
            event(entry)

        for entry in history:
            write(entry)
        yield write


def _nothing(entry: Mapping[str, Any]) -> None:
    """Write nothing down."""
    del entry


def _json_value(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _events(config: TrainingConfig) -> Iterator[Log]:
    if not config.tensorboard:
        yield _nothing
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard=True", "tensorboard", "tensorboard") from error
    with SummaryWriter(config.log_dir) as writer:

        def write(entry: Mapping[str, Any]) -> None:
            for name, value in entry.items():
                if isinstance(value, int | float) and name != "epoch":
                    writer.add_scalar(name, value, entry["epoch"])

        yield write
