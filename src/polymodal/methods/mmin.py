"""MMIN: imagine the features of the missing modalities from those at hand.

Zhao, Li and Jin, "Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing
Modalities", ACL 2021. First the branches learn the task on whatever is present. Then their frozen copy
becomes the teacher: modalities are hidden at random, a cascade of residual autoencoders imagines the
features that the teacher gives for the hidden ones, a second cascade goes back from the imagined to what
was at hand, and the class is read from the first cascade's latents. Where we differ is marked
``NOTE[DIFF n]`` and listed in ``docs/mmin.md``. Letters: B rows, M modalities, D width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import Branches, blank, random_subset
from polymodal.methods.base import Method, ParameterGroup, Stage, Step, judge_number


@dataclass(frozen=True)
class MMINConfig:
    """Settings of :class:`MMIN`; the published size is ``d_model=128, d_latent=64, n_blocks=5``."""

    d_model: int = 64
    """D, the width of a modality's features."""
    d_latent: int = 32
    """Width of an autoencoder's narrowest layer; the layers before it are four and two times as wide."""
    n_blocks: int = 3
    """Autoencoders in a cascade."""
    dropout: float = 0.3
    """Dropout in the branches and the heads."""
    pretrain_share: float = 0.3
    """The part of the epochs in which the branches learn the task, before anything is imagined."""
    imagination_weight: float = 4.0
    """Weight of the imagination loss (published: 4)."""
    cycle_weight: float = 2.0
    """Weight of the way back (published: 2)."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-2
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        for name in ("d_model", "d_latent", "n_blocks"):
            judge_number(self, name, least=1, whole=True)
        for name in ("dropout", "pretrain_share"):
            judge_number(self, name, least=0, below=1)
        for name in ("imagination_weight", "cycle_weight", "learning_rate", "weight_decay"):
            judge_number(self, name, least=0)


# ---- losses --------------------------------------------------------------------------------------------


def masked_mse(guess: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the (row, modality) pairs of a mask.

    Args:
        guess: (B, M, D).
        truth: (B, M, D), never differentiated.
        mask: (B, M) bool.

    Returns:
        Scalar; 0 where the mask is empty.
    """
    error = (guess - truth.detach()).square().mean(dim=-1)
    return torch.where(mask, error, torch.zeros_like(error)).sum() / mask.sum().clamp(min=1)


# ---- blocks --------------------------------------------------------------------------------------------


def mlp(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with a leaky ReLU (and dropout) between them."""
    layers: list[nn.Module] = []
    for d_in, d_out in pairwise(widths[:-1]):
        layers += [nn.Linear(d_in, d_out), nn.LeakyReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class Cascade(nn.Module):
    """Cascade residual autoencoder: each autoencoder corrects the sum of those before it.

    Args:
        d_in: width of what is read.
        d_out: width of what is imagined.
        d_latent: width of an autoencoder's latent.
        n_blocks: autoencoders in the cascade.
    """

    def __init__(self, d_in: int, d_out: int, d_latent: int, n_blocks: int) -> None:
        super().__init__()
        widths = [d_in, 4 * d_latent, 2 * d_latent, d_latent]
        self.encoders = nn.ModuleList(mlp(widths) for _ in range(n_blocks))
        self.decoders = nn.ModuleList(mlp(widths[::-1]) for _ in range(n_blocks))
        self.transition = mlp([d_in, d_in, d_out])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From (B, d_in) to the imagined (B, d_out) and the latents (B, n_blocks * d_latent)."""
        latents = []
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            latents.append(encoder(x))
            x = x + decoder(latents[-1])
        return self.transition(x), torch.cat(latents, dim=1)


# ---- the method ----------------------------------------------------------------------------------------


class MMIN(Method):
    """Missing modality imagination network; one pass a subset.

    ``Output.latents``: ``shared`` (B, n_blocks * d_latent) the joint latents that the head reads; ``logits``
    (B, C); ``features``, ``imagined`` (B, M, D); ``kept``, ``dropped`` (B, M) bool.
    """

    Config = MMINConfig
    late_fusion = False
    training_only = ("pretrain_head", "teacher", "taught", "backward_cascade")
    config: MMINConfig

    taught: Tensor

    def __init__(self, inputs: Sequence[Input], task: Task, config: MMINConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        c = self.config
        d_joint = len(self.inputs) * c.d_model
        d_flagged = d_joint + len(self.inputs)
        d_hidden = 2 * c.d_model
        # NOTE[DIFF 6]: branches as in every other method.
        self.branches = Branches(self.inputs, c.d_model, dropout=c.dropout)
        self.forward_cascade = Cascade(d_flagged, d_joint, c.d_latent, c.n_blocks)
        self.head = mlp([c.n_blocks * c.d_latent, d_hidden, d_hidden, task.n_outputs], c.dropout)
        self.pretrain_head = mlp([d_flagged, d_hidden, d_hidden, task.n_outputs], c.dropout)
        self.backward_cascade = Cascade(d_joint, d_joint, c.d_latent, c.n_blocks)
        self.teacher = deepcopy(self.branches).requires_grad_(False)
        self.register_buffer("taught", torch.tensor(False))
        self.pretraining = False

    def stages(self) -> Iterator[Stage]:
        """The branches on the task, then the imagination."""
        yield Stage("pretrain", self.config.pretrain_share)
        yield Stage("imagine", 1.0 - self.config.pretrain_share)

    def forward(self, batch: Batch) -> Output:
        """Predict from the modalities a row has; while training, from a random part of them."""
        features = self.branches(batch)
        # NOTE[DIFF 2]: the hidden modalities are drawn for each row, none hidden included.
        hide = self.training and not self.pretraining
        kept = random_subset(batch.presence) if hide else batch.presence
        joint = self.joint(features, kept)
        imagined, latents = self.forward_cascade(joint)
        logits = self.pretrain_head(joint) if self.pretraining else self.head(latents)
        known = batch.presence.any(dim=1, keepdim=True)
        return Output(
            prediction=torch.where(known, self.to_prediction(logits), self.prior),
            branches=None,
            latents={
                "shared": latents,
                "logits": logits,
                "features": features,
                "imagined": imagined.unflatten(1, features.shape[1:]),
                "kept": kept,
                "dropped": batch.presence & ~kept,
            },
        )

    def joint(self, features: Tensor, kept: Tensor) -> Tensor:
        """What a cascade reads: all features side by side, zero slots where not kept, and a flag for each.

        NOTE[DIFF 1]: the published branches read a zeroed input, and a slot holds what they make of it.
        """
        return torch.cat([blank(features, kept).flatten(1), kept.to(features.dtype)], dim=1)

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """The task's loss on labelled rows; in the second stage imagination and the way back, on all rows."""
        at = output.latents
        terms = {"task": self.supervised_loss(batch, at["logits"])}
        # NOTE[DIFF 5]: the first stage takes rows that lack modalities too.
        if step.stage == "pretrain":
            return terms
        # NOTE[DIFF 3]: targets are the hidden modalities alone; the published target also holds what the
        # teacher makes of zeros in the other slots. An absent modality is never a target.
        truth = self.teach(batch)
        returned, _ = self.backward_cascade(at["imagined"].flatten(1))
        returned = returned.view_as(truth)
        # NOTE[DIFF 4]: unlabelled rows, which the paper does not have, serve both.
        imagination = masked_mse(at["imagined"], truth, at["dropped"])
        terms["imagination"] = self.config.imagination_weight * imagination
        terms["cycle"] = self.config.cycle_weight * masked_mse(returned, at["features"], at["kept"])
        return terms

    @torch.no_grad()
    def teach(self, batch: Batch) -> Tensor:
        """The frozen branches' features, (B, M, D), without dropout."""
        self.teacher.eval()
        return self.teacher(batch)

    def trainable(self, stage: Stage) -> Iterable[ParameterGroup]:
        """The branches and their head; then all the rest, with the teacher frozen as the branches stand."""
        self.pretraining = stage.name == "pretrain"
        if not self.pretraining and not self.taught:  # not again where a stage goes on from a checkpoint
            self.teacher.load_state_dict(self.branches.state_dict())
        self.taught.fill_(not self.pretraining)
        parts = (
            [self.branches, self.pretrain_head]
            if self.pretraining
            else [self.branches, self.forward_cascade, self.backward_cascade, self.head]
        )
        yield {
            "params": [parameter for part in parts for parameter in part.parameters()],
            "lr": self.config.learning_rate,
            "weight_decay": self.config.weight_decay,
            "name": stage.name,
        }
