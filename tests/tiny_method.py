"""A method as small as one can be, for tests of what surrounds a method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.methods.base import Method, ParameterGroup, Stage, Step


@dataclass(frozen=True)
class TinyConfig:
    learning_rate: float = 1e-2
    dropout: float = 0.2
    with_branches: bool = True
    stages: tuple[str, ...] = ("train",)


class Tiny(Method):
    """One linear branch a modality, late fusion; the unlabelled rows' predictions are made confident."""

    Config = TinyConfig
    late_fusion = True
    training_only = ("n_steps",)

    def __init__(self, inputs, task: Task, config: TinyConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        self.branches = nn.ModuleDict({i.name: nn.Linear(i.width, task.n_outputs) for i in self.inputs})
        self.dropout = nn.Dropout(self.config.dropout)
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def stages(self) -> Iterator[Stage]:
        for name in self.config.stages:
            yield Stage(name, 1 / len(self.config.stages))

    def trainable(self, stage: Stage) -> Iterable[ParameterGroup]:
        names = list(self.branches)
        chosen = names[:1] if stage.name == "first" else names
        for name in chosen:
            yield {"params": self.branches[name].parameters(), "lr": self.config.learning_rate, "name": name}

    def forward(self, batch: Batch) -> Output:
        logits = torch.stack(
            [self.branches[name](self.dropout(value)) for name, value in batch.values.items()], dim=1
        )
        branches = self.to_prediction(logits)
        fused = self.late_fuse(branches, batch.presence)
        branches = torch.where(batch.presence.unsqueeze(-1), branches, torch.nan)
        shared = torch.cat(list(batch.values.values()), dim=1)
        return Output(
            fused, branches if self.config.with_branches else None, {"logits": logits, "shared": shared}
        )

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        if self.training:
            self.n_steps += 1
        mask = batch.labelled.unsqueeze(1) & batch.presence
        logits = output.latents["logits"]
        y = batch.y.unsqueeze(1).expand(mask.shape + batch.y.shape[1:])
        if self.task.kind == "multiclass":
            task = nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none")
        elif self.task.kind == "multilabel":
            task = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(2)
        else:
            task = ((self.to_prediction(logits)[..., 0] - y) / self.scale).square()
        task = torch.where(mask, task, 0.0).sum() / mask.sum().clamp(min=1)
        free = (~batch.labelled).unsqueeze(1) & batch.presence
        size = torch.where(free, logits.square().mean(2), 0.0).sum() / free.sum().clamp(min=1)
        return {"task": task, "size": 1e-3 * size}

    def diagnostics(self, batch: Batch, output: Output, monitor: Tensor | None) -> dict[str, float]:
        figures = {"mean_prediction": output.prediction.mean().item()}
        if monitor is not None:
            figures["monitor_mean"] = monitor.double().mean().item() + 0 * torch.rand(()).item()
        return figures

    def judge(self, history) -> list[str]:
        return ["the tiny method is tiny"] if len(history) == 3 else []


INPUTS = (Input("a", "vector", 5), Input("b", "vector", 3))


CLASSES = Task("multiclass", 3)


def tiny(task: Task = CLASSES, seed: int = 0, **config) -> Tiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tiny(INPUTS, task, TinyConfig(**config))


def rows(n: int = 60, n_labelled: int = 60, kind: str = "multiclass", seed: int = 0) -> Batch:
    """Rows whose classes show in both modalities, a third of them without the second one."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=random)
    presence = torch.ones(n, 2, dtype=torch.bool)
    presence[::3, 1] = False
    a = torch.randn(n, 5, generator=random) + y.unsqueeze(1)
    b = torch.where(presence[:, 1:], torch.randn(n, 3, generator=random) - y.unsqueeze(1), 0.0)
    labels = {
        "multiclass": y,
        "regression": y.double(),
        "multilabel": nn.functional.one_hot(y, 3).double(),
    }[kind]
    return Batch({"a": a, "b": b}, presence, y=labels, labelled=torch.arange(n) < n_labelled)
