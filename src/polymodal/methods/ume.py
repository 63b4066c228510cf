"""UME: an ensemble of uni-modal networks, each of which learns the task alone.

Du et al., "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023, arXiv 2305.01233.
Trained together, modalities lean on the easiest of them; trained apart, each must learn what it can. The
prediction is the mean of the present modalities' predictions. Where we differ is marked ``NOTE[DIFF n]`` and
listed in ``docs/ume.md``. Letters: B rows, M modalities, D width, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import SEQUENCE_BRANCHES, Branches, LinearPerModality
from polymodal.errors import ConfigError
from polymodal.methods.base import Method, Step, judge_number


@dataclass(frozen=True)
class UMEConfig:
    """Settings of :class:`UME`."""

    d_latent: int = 64
    """D, the width of a modality's features."""
    sequence: Literal["gru", "transformer"] = "gru"
    """The branch of a series."""
    dropout: float = 0.0
    """Dropout in the branches."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        judge_number(self, "d_latent", least=1, whole=True)
        judge_number(self, "dropout", least=0, below=1)
        for name in ("learning_rate", "weight_decay"):
            judge_number(self, name, least=0)
        judge_sequence(self.sequence)


def judge_sequence(sequence: str) -> None:
    """Refuse an unknown branch for series.

    Raises:
        ConfigError: it is unknown.
    """
    if sequence not in SEQUENCE_BRANCHES:
        raise ConfigError(
            f"sequence must be a known name; got {sequence!r}; choose one of {', '.join(SEQUENCE_BRANCHES)}"
        )


# ---- losses --------------------------------------------------------------------------------------------


def uni_modal_loss(method: Method, batch: Batch, logits: Tensor) -> Tensor:
    """Sum over the modalities of the task's loss of each alone, over its labelled rows.

    Args:
        method: whose task it is.
        batch: rows with ``y`` and ``labelled``.
        logits: (B, M, C) raw outputs of each modality's head; never read where absent.
    """
    terms = []
    for i, own in enumerate(logits.unbind(dim=1)):
        alone = Batch({}, batch.presence[:, i : i + 1], y=batch.y, labelled=batch.labelled)
        terms.append(method.supervised_loss(alone, own))
    return torch.stack(terms).sum()


# ---- blocks --------------------------------------------------------------------------------------------


class UniModalNetworks(nn.Module):
    """A branch and a linear head for each modality; no parameter serves two of them."""

    def __init__(
        self, inputs: Sequence[Input], d: int, n_outputs: int, *, sequence: str = "gru", dropout: float = 0.0
    ) -> None:
        super().__init__()
        # NOTE[DIFF 1]: branches as in every other method.
        self.branches = Branches(inputs, d, sequence=sequence, dropout=dropout)
        self.heads = LinearPerModality(len(inputs), d, n_outputs)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, M, D), zeros where absent, and logits (B, M, C)."""
        features = self.branches(batch)
        return features, self.heads(features)


# ---- the method ----------------------------------------------------------------------------------------


class UME(Method):
    """Uni-modal ensemble; a pass of the branches serves every subset.

    ``Output.latents``: ``shared`` (B, M * D) the features side by side, zeros where absent; ``features``
    (B, M, D); ``logits`` (B, M, C).
    """

    Config = UMEConfig
    late_fusion = True
    config: UMEConfig

    def __init__(self, inputs: Sequence[Input], task: Task, config: UMEConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        c = self.config
        self.networks = UniModalNetworks(
            self.inputs, c.d_latent, task.n_outputs, sequence=c.sequence, dropout=c.dropout
        )

    def forward(self, batch: Batch) -> Output:
        """Predict by each present modality alone; fuse by their mean."""
        features, logits = self.networks(batch)
        # NOTE[DIFF 2]: the mean over what a row has.
        branches = self.to_prediction(logits)
        return Output(
            prediction=self.late_fuse(branches, batch.presence),
            branches=torch.where(batch.presence.unsqueeze(-1), branches, torch.nan),
            latents={"shared": features.flatten(1), "features": features, "logits": logits},
        )

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """Each modality's own task loss."""
        del step
        # NOTE[DIFF 3]: the modalities train side by side, with one clipping of gradients and one stopping.
        return {"task": uni_modal_loss(self, batch, output.latents["logits"])}
