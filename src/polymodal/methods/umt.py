"""UMT: a multimodal network whose branches are held to the features of uni-modal teachers.

Du et al., "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023, arXiv 2305.01233.
First a network for each modality learns the task alone (:mod:`polymodal.methods.ume`). Then these are frozen
and become the teachers: a multimodal network reads fresh branches side by side and learns the task, while
each branch is pulled towards its teacher's features, so that none is left unlearnt for an easier modality.
Where we differ is marked ``NOTE[DIFF n]`` and listed in ``docs/umt.md``. Letters: B rows, M modalities,
D width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import Branches, blank, mlp, random_subset
from polymodal.errors import ConfigError
from polymodal.methods.base import Method, ParameterGroup, Stage, Step, judge_number
from polymodal.methods.mmin import masked_mse
from polymodal.methods.ume import UniModalNetworks, judge_sequence, uni_modal_loss


@dataclass(frozen=True)
class UMTConfig:
    """Settings of :class:`UMT`; with ``distillation=0`` it is plain neural concatenation."""

    d_latent: int = 64
    """D, the width of a modality's features."""
    distillation: float = 30.0
    """Weight of the pull towards the teachers' features; 0 leaves the teachers and their stage out."""
    teacher_share: float = 0.3
    """The part of the epochs in which the teachers learn."""
    modality_dropout: float = 0.5
    """Share of the training rows that are read with a random part of their modalities."""
    sequence: Literal["gru", "transformer"] = "gru"
    """The branch of a series."""
    dropout: float = 0.0
    """Dropout in the branches and the head."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        judge_number(self, "d_latent", least=1, whole=True)
        for name in ("teacher_share", "modality_dropout", "dropout"):
            judge_number(self, name, least=0, below=1)
        for name in ("distillation", "learning_rate", "weight_decay"):
            judge_number(self, name, least=0)
        judge_sequence(self.sequence)
        if self.teacher_share == 0:
            raise ConfigError("teacher_share must be above 0; got 0; distillation=0 leaves the teachers out")


class UMT(Method):
    """Uni-modal teacher; one pass a subset.

    ``Output.latents``: ``shared`` (B, M * D + M) what the head reads; ``features`` (B, M, D) of all present
    modalities; ``logits`` (B, C), or (B, M, C) while the teachers learn.
    """

    Config = UMTConfig
    late_fusion = False
    training_only = ("teacher",)
    config: UMTConfig

    def __init__(self, inputs: Sequence[Input], task: Task, config: UMTConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        c, n = self.config, len(self.inputs)
        # NOTE[DIFF 1]: branches as in every other method, and a head of two layers.
        self.branches = Branches(self.inputs, c.d_latent, sequence=c.sequence, dropout=c.dropout)
        self.head = mlp(n * (c.d_latent + 1), 2 * c.d_latent, task.n_outputs, c.dropout)
        self.teacher = None if c.distillation == 0 else self.new_teacher()
        self.teaching = False

    def new_teacher(self) -> UniModalNetworks:
        """One network a modality, with branches of the student's form."""
        c = self.config
        return UniModalNetworks(
            self.inputs, c.d_latent, self.task.n_outputs, sequence=c.sequence, dropout=c.dropout
        )

    def stages(self) -> Iterator[Stage]:
        """The teachers, each alone; then the multimodal network."""
        share = 0.0 if self.config.distillation == 0 else self.config.teacher_share
        if share > 0:
            yield Stage("teach", share)
        yield Stage("fuse", 1.0 - share)

    def forward(self, batch: Batch) -> Output:
        """Predict from the modalities a row has; while training, some rows from a random part of them."""
        if self.teaching:
            return self.ensemble(batch)
        features = self.branches(batch)
        joint = self.joint(features, self.kept(batch.presence))
        logits = self.head(joint)
        known = batch.presence.any(dim=1, keepdim=True)
        return Output(
            prediction=torch.where(known, self.to_prediction(logits), self.prior),
            branches=None,
            latents={"shared": joint, "features": features, "logits": logits},
        )

    def ensemble(self, batch: Batch) -> Output:
        """What the teachers say, fused by their mean; there is no student yet."""
        assert self.teacher is not None
        features, logits = self.teacher(batch)
        return Output(
            prediction=self.late_fuse(self.to_prediction(logits), batch.presence),
            branches=None,
            latents={
                "shared": self.joint(features, batch.presence),
                "features": features,
                "logits": logits,
            },
        )

    def kept(self, presence: Tensor) -> Tensor:
        """(B, M) bool: what the head reads of each row; NOTE[DIFF 2]: the paper has every modality always."""
        if not self.training:
            return presence
        chosen = torch.rand(len(presence), 1, device=presence.device) < self.config.modality_dropout
        return torch.where(chosen, random_subset(presence), presence)

    def joint(self, features: Tensor, kept: Tensor) -> Tensor:
        """(B, M * D + M): features side by side, zeros where not kept, and a flag for each modality."""
        return torch.cat([blank(features, kept).flatten(1), kept.to(features.dtype)], dim=1)

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """The task's loss on labelled rows, and in the second stage the distillation on all rows."""
        logits, features = output.latents["logits"], output.latents["features"]
        if step.stage == "teach":
            return {"task": uni_modal_loss(self, batch, logits)}
        terms = {"task": self.supervised_loss(batch, logits)}
        if self.teacher is not None:
            # NOTE[DIFF 3]: the mean over (row, modality) pairs, NOTE[DIFF 4]: those of unlabelled rows too.
            distance = masked_mse(features, self.teach(batch), batch.presence)
            terms["distillation"] = self.config.distillation * distance
        return terms

    @torch.no_grad()
    def teach(self, batch: Batch) -> Tensor:
        """The frozen teachers' features (B, M, D), without dropout."""
        assert self.teacher is not None
        self.teacher.eval()
        return self.teacher.branches(batch)

    def trainable(self, stage: Stage) -> Iterable[ParameterGroup]:
        """The teachers; then all but them."""
        self.teaching = stage.name == "teach"
        parts = [self.teacher] if self.teaching else [self.branches, self.head]
        yield {
            "params": [parameter for part in parts if part is not None for parameter in part.parameters()],
            "lr": self.config.learning_rate,
            "weight_decay": self.config.weight_decay,
            "name": stage.name,
        }
