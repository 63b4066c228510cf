"""Random batches for tests of methods: vectors and series, some of them absent, some rows unlabelled."""

import torch

from polymodal.batch import Batch, Input, Task

VECTORS = (Input("a", "vector", 5), Input("b", "vector", 3), Input("c", "vector", 4))
SERIES = (Input("s", "series", 3), Input("t", "series", 2))
MIXED = (Input("a", "vector", 5), Input("s", "series", 3))
TASKS = {
    "multiclass": Task("multiclass", 3),
    "multilabel": Task("multilabel", 4),
    "regression": Task("regression", 1),
}


def random_labels(task: Task, n_rows: int) -> torch.Tensor:
    if task.kind == "multiclass":
        return torch.randint(task.n_outputs, (n_rows,))
    if task.kind == "multilabel":
        return (torch.rand(n_rows, task.n_outputs) < 0.5).float()
    return torch.randn(n_rows, dtype=torch.float64)


def random_batch(
    inputs, task: Task, n_rows: int = 12, *, n_steps: int = 6, share_labelled: float = 0.5
) -> Batch:
    """Values of absent modalities are zeros, as the data door leaves them."""
    presence = torch.rand(n_rows, len(inputs)) < 0.7
    values, lengths = {}, {}
    for i, source in enumerate(inputs):
        present = presence[:, i]
        if source.kind == "vector":
            values[source.name] = torch.randn(n_rows, source.width) * present.unsqueeze(1)
            continue
        lengths[source.name] = torch.randint(1, n_steps + 1, (n_rows,)) * present
        steps = torch.arange(n_steps) < lengths[source.name].unsqueeze(1)
        values[source.name] = torch.randn(n_rows, n_steps, source.width) * steps.unsqueeze(2)
    labelled = torch.rand(n_rows) < share_labelled
    return Batch(values, presence, lengths, random_labels(task, n_rows), labelled)


def spoilt(batch: Batch, poison: float = float("nan")) -> Batch:
    """The same rows with other bytes wherever a modality is absent or padded, and in hidden labels."""
    values = {}
    for i, name in enumerate(batch.names):
        value = batch.values[name].clone()
        value[~batch.presence[:, i]] = poison
        if name in batch.lengths:
            padding = torch.arange(value.shape[1]) >= batch.lengths[name].unsqueeze(1)
            value[padding] = poison
        values[name] = value
    y = batch.y.clone()
    y[~batch.labelled] = 0 if y.dtype == torch.int64 else poison
    return Batch(values, batch.presence, batch.lengths, y, batch.labelled)
