"""The ladder: fit -> run_stage -> run_epoch -> train_step.

Every random number comes from generators that are put aside for the time of the fit, so the caller's are
left as they were.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from polymodal.batch import Batch
from polymodal.checkpoint import save_checkpoint
from polymodal.encoders.top import Top
from polymodal.errors import TrainingError, TrainingWarning
from polymodal.methods.base import Method, ParameterGroup, Stage, Step
from polymodal.methods.contract import judge_losses
from polymodal.progress import progress
from polymodal.training.log import written
from polymodal.training.precision import Precision
from polymodal.training.resume import fingerprint, restore, resumed_from, snapshot
from polymodal.training.rows import Rows, diagnosed_rows, labels_of, without_hidden_labels
from polymodal.training.run import Run
from polymodal.training.settings import TrainingConfig, choose_device

WEIGHT_DECAY = 1e-2
WARM_UP = 0.02  # share of a stage's steps


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
        LabelError: no labelled row to learn from, or none to validate on; retrieval needs neither.
        CheckpointError: the checkpoints in ``config.checkpoint_dir`` are another fit's, or all damaged, or
            there are some and ``resume`` is False.
        TrainingError: a loss is not finite.
    """
    place = choose_device(device)
    precision = Precision(config.precision, place)
    kind = method.task.kind
    y, labelled = labels_of(train, "training", kind)
    if validation is not None:
        labels_of(validation, "validation", kind)
    train = without_hidden_labels(train)
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
            run.resumed = resumed_from(run, config.checkpoint_dir, resume)
        run_stages(run, list(method.stages()), verbose=verbose)
    return _finished(run)


def run_stages(run: Run, stages: Sequence[Stage], *, verbose: bool) -> None:
    """All stages in order, shown and written down."""
    if run.resumed is not None:
        run.history = run.resumed.state["history"]
    n_steps = len(run.batches()) * (sum(n_epochs(stage, run.config) for stage in stages) - len(run.history))
    with (
        written(run.config, run.history) as run.log,
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


def n_epochs(stage: Stage, config: TrainingConfig) -> int:
    """Epochs of a stage: its share, at least one; none for a share of 0."""
    return max(1, round(stage.share * config.max_epochs)) if stage.share > 0 else 0


def make_optimizer(method: Method, stage: Stage) -> torch.optim.AdamW:
    """A fresh AdamW over what a stage trains; gradients of everything else are switched off."""
    groups = [{"weight_decay": WEIGHT_DECAY, **group} for group in slowed(method, method.trainable(stage))]
    groups = [{**group, "full_lr": group["lr"]} for group in groups]
    trained = {id(p) for group in groups for p in group["params"]}
    for p in method.parameters():
        p.requires_grad_(id(p) in trained)
    return torch.optim.AdamW(groups, fused=True)


def slowed(method: Method, groups: Iterable[ParameterGroup]) -> Iterator[ParameterGroup]:
    """The groups with pretrained layers in groups of their own, at their own part of the learning rate."""
    tops = [module for module in method.modules() if isinstance(module, Top)]
    parts = {id(p): part for top in tops for p, part in top.learning_rates()}
    for group in groups:
        by_part: dict[float, list[Tensor]] = {1.0: []}
        for p in group["params"]:
            by_part.setdefault(parts.get(id(p), 1.0), []).append(p)
        for part, params in by_part.items():
            if params and part > 0:  # 0: what adapters stand in for
                yield {**group, "params": params, "lr": part * group["lr"]}


def run_epoch(run: Run, stage: Stage, epoch: int, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """One epoch of steps, then validation and diagnostics; returns its history entry."""
    start = time.perf_counter()
    batches, n = run.batches(), n_epochs(stage, run.config)
    step = Step(stage.name, epoch, epoch / n)
    terms = Means(step)
    run.method.train()
    run.method.begin_epoch(step)
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
    judge_losses(run.method, losses)
    first, *others = losses.values()
    run.precision.descend(sum(others, start=first), optimizer, run.config.gradient_clip)
    return losses


def warm_up(optimizer: torch.optim.Optimizer, done: float) -> None:
    """Raise the learning rates linearly over the first part of a stage; constant after it."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * min(1.0, done / WARM_UP)


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
