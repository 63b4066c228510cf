"""Whether a method keeps its contract, asked of a few rows before it trains: a door for your own.

``tests/test_method_contract.py`` asks more. Letters: B rows, M modalities, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any, NoReturn

import torch
from torch import Tensor

from polymodal.batch import Batch, Output
from polymodal.errors import ConfigError
from polymodal.methods.base import Method

N_ROWS = 4
"""Rows that a method is judged by."""
TOLERANCE = 1e-3
"""Differences below this are rounding."""


def judge(method: Method, rows: Batch) -> None:
    """Refuse a method whose predictions break the contract; its training state stays as it was.

    Args:
        method: a method that has not trained yet, on the CPU.
        rows: rows of its training; the first few are read.

    Raises:
        ConfigError: the output's form is wrong, an absent modality's bytes change a prediction, or a row
            without any modality gets something else than the prior.
    """
    few = rows.slice(0, N_ROWS)
    was_training = method.training
    method.eval()
    with torch.no_grad():
        judge_form(method, method(with_absent(few, few.presence, 0.0)), few)
        judge_absence(method, few)
    method.train(was_training)


def judge_form(method: Method, output: Any, batch: Batch) -> None:
    """Refuse an output of another form than :class:`polymodal.batch.Output` promises.

    Raises:
        ConfigError: its form is wrong.
    """
    n_rows, n_modalities, n_outputs = *batch.presence.shape, method.task.n_outputs
    if not isinstance(output, Output):
        _refuse(method, "forward returns an Output", f"a {type(output).__name__}", "see polymodal.batch")
    if shape_of(output.prediction) != (n_rows, n_outputs):
        rule = f"a prediction is (B, C), here {(n_rows, n_outputs)}"
        _refuse(method, rule, shape_of(output.prediction), "end forward with self.to_prediction(logits)")
    if not are_possible(output.prediction, method.task.kind):
        rule = "predictions are finite, and probabilities where there are classes or labels"
        _refuse(method, rule, "others", "end forward with self.to_prediction(logits)")
    wanted = (n_rows, n_modalities, n_outputs)
    if method.late_fusion and shape_of(output.branches) != wanted:
        rule = f"late_fusion needs branches of (B, M, C), here {wanted}"
        _refuse(method, rule, shape_of(output.branches), "return them, or set late_fusion = False")
    shared = shape_of(output.latents.get("shared"))
    if isinstance(shared, str) or len(shared) != 2 or shared[0] != n_rows:
        rule = f"latents['shared'] is (B, d), here ({n_rows}, d), what transform returns"
        _refuse(method, rule, shared, "return it")


def judge_absence(method: Method, batch: Batch) -> None:
    """Refuse a method that reads what is absent, or has an opinion where everything is.

    Raises:
        ConfigError: it does.
    """
    n_rows, n_modalities = batch.presence.shape
    lost = torch.arange(n_rows).unsqueeze(1) % n_modalities == torch.arange(n_modalities)
    here = batch.presence & ~lost
    clean = method(with_absent(batch, here, 0.0)).prediction
    if not torch.allclose(method(with_absent(batch, here, nan)).prediction, clean, atol=TOLERANCE):
        _refuse(
            method,
            "the bytes of an absent modality change no prediction",
            "another one where they are NaN",
            "blank them by torch.where with batch.presence, as polymodal.blocks.Branches does",
        )
    nothing = method(with_absent(batch, torch.zeros_like(here), 0.0)).prediction
    if not torch.allclose(nothing, method.prior.expand_as(nothing).to(nothing), atol=TOLERANCE):
        _refuse(
            method,
            "a row without any modality gets the prior",
            "something else",
            "write torch.where(batch.presence.any(1, keepdim=True), prediction, self.prior)",
        )


def judge_losses(method: Method, losses: Any) -> None:
    """Refuse losses that are no named scalars.

    Raises:
        ConfigError: they are not.
    """
    if not isinstance(losses, Mapping) or not losses:
        _refuse(method, "losses are named", f"a {type(losses).__name__}", 'return {"task": loss}')
    for name, loss in losses.items():
        if shape_of(loss) != ():
            _refuse(method, f"a loss is a scalar; {name!r} is not", shape_of(loss), "take its mean")


# ---- parts ---------------------------------------------------------------------------------------------


def with_absent(batch: Batch, presence: Tensor, filling: float) -> Batch:
    """The rows with fewer modalities, and a number in place of whatever they lack."""
    values, lengths = {}, {}
    for i, (name, value) in enumerate(batch.values.items()):
        here = presence[:, i].reshape(-1, *[1] * (value.dim() - 1))
        values[name] = torch.where(here, value, torch.full((), filling, dtype=value.dtype))
        if name in batch.lengths:
            lengths[name] = batch.lengths[name] * presence[:, i]
    return Batch(values, presence, lengths)


def are_possible(prediction: Tensor, kind: str) -> bool:
    """Whether numbers can be the predictions of a task."""
    if not bool(prediction.isfinite().all()):
        return False
    if kind == "regression":
        return True
    within = bool(((prediction >= -TOLERANCE) & (prediction <= 1 + TOLERANCE)).all())
    return within and (kind == "multilabel" or bool(((prediction.sum(1) - 1).abs() < TOLERANCE).all()))


def shape_of(value: Any) -> tuple[int, ...] | str:
    """The shape of a tensor; of anything else its type."""
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _refuse(method: Method, rule: str, came: Any, way_out: str) -> NoReturn:
    raise ConfigError(f"{rule}; {type(method).__name__} gave {came}; {way_out}")
