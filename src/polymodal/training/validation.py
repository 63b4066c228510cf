"""What early stopping selects on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, TaskKind
from polymodal.methods.base import Method, Step
from polymodal.training.rows import Rows


def validation_loss(method: Method, rows: Rows) -> float:
    """Task loss of the whole input plus the mean over each modality alone, so that subsets count.

    Each is a mean over the labelled rows that have the modality (over every labelled row for the whole
    input): the negative log-likelihood of classes or labels, or the squared error. Retrieval predicts no
    label: there it is what the method minimises at last.
    """
    kind = method.task.kind
    if kind == "retrieval":
        return _own_loss(method, rows)
    chunks = [torch.stack([_summed_loss(*view, kind) for view in _views(method, b)]) for b in rows.chunks()]
    sums, counts = torch.stack(chunks).sum(dim=0).cpu().unbind(dim=1)
    whole, *alone = (sums / counts)[counts > 0].tolist()
    return whole + (sum(alone) / len(alone) if alone else 0.0)


def _own_loss(method: Method, rows: Rows) -> float:
    """Mean over the rows of the losses of the method's last stage."""
    *_, last = method.stages()
    total = torch.zeros((), dtype=torch.float64)
    for batch in rows.chunks():
        losses = method.losses(batch, method(batch), Step(last.name, 0, 0.0))
        total += len(batch) * sum(losses.values(), start=torch.zeros(())).double().cpu()
    return float(total / len(rows))


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
