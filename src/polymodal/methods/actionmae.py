"""ActionMAE: a masked autoencoder over modality tokens.

Woo, Lee, Park, Nugroho and Kim, "Towards Good Practices for Missing Modality Robust Action Recognition",
AAAI 2023. One token a modality; whole modalities are dropped at random while training; a transformer
encoder reads the remaining tokens beside learnt memory tokens, a transformer decoder fills the gaps, and
the class is read from the filled row. Where we differ is marked ``NOTE[DIFF n]`` and listed in
``docs/actionmae.md``. Letters: B rows, M modalities, K memory tokens, D width, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import Branches, Transformer
from polymodal.errors import ConfigError
from polymodal.methods.base import Method, Step, judge_number


@dataclass(frozen=True)
class ActionMAEConfig:
    """Settings of :class:`ActionMAE`; the published size is ``d_model=512, n_heads=8, dropout=0``."""

    d_model: int = 64
    """D, the width of a modality token; the feed-forward layers are four times as wide."""
    n_heads: int = 4
    """Attention heads; must divide ``d_model``."""
    n_layers: int = 2
    """Transformer layers of the encoder, and as many of the decoder."""
    n_memory: int = 1
    """K, the number of learnt memory tokens, at least 1."""
    dropout: float = 0.1
    """Dropout in the branches and the transformers."""
    reconstruction_weight: float = 1.0
    """Weight of the reconstruction loss beside the task's loss."""
    published_masking: bool = False
    """Repeat the public code's three faults in masking, to quote its figures: see docs/actionmae.md."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-2
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        for name in ("d_model", "n_heads", "n_layers", "n_memory"):
            judge_number(self, name, least=1, whole=True)
        judge_number(self, "dropout", least=0, below=1)
        for name in ("reconstruction_weight", "learning_rate", "weight_decay"):
            judge_number(self, name, least=0)
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"n_heads must divide d_model; got {self.n_heads} and {self.d_model}; change one of them"
            )


# ---- losses --------------------------------------------------------------------------------------------


def reconstruction(filled: Tensor, tokens: Tensor, dropped: Tensor) -> Tensor:
    """Mean squared error at the dropped places, against the normalised true tokens.

    Args:
        filled: (B, M, D) what the decoder says.
        tokens: (B, M, D) what the branches said; never differentiated (NOTE[DIFF 3]: else the branches
            could lower the loss by saying what is easy to guess).
        dropped: (B, M) bool, modalities that a row has and that training hid. An absent modality is never
            a target: it has no truth.

    Returns:
        Scalar; 0 where nothing was dropped.
    """
    target = F.layer_norm(tokens.detach(), tokens.shape[-1:])
    error = (filled - target).square().mean(dim=-1)
    return torch.where(dropped, error, torch.zeros_like(error)).sum() / dropped.sum().clamp(min=1)


# ---- masking and places -------------------------------------------------------------------------------


def random_masking(presence: Tensor) -> Tensor:
    """Hide a random part of what each row has: first how many are kept, 1 to all alike, then which.

    NOTE[DIFF 1]: the public code draws the number once for a whole batch.

    Args:
        presence: (B, M) bool.

    Returns:
        (B, M) bool, True where kept; a row without any modality keeps none.
    """
    n_present = presence.sum(dim=1)
    draw = torch.rand(len(presence), device=presence.device)
    n_kept = (draw * n_present).long().clamp(max=n_present - 1) + 1
    noise = torch.rand(presence.shape, device=presence.device).masked_fill(~presence, 2.0)
    rank = noise.argsort(dim=1).argsort(dim=1)
    return presence & (rank < n_kept.unsqueeze(1))


def fill(encoded: Tensor, kept: Tensor, mask_token: Tensor) -> Tensor:
    """Each kept token in its own modality's slot, the mask token in every other slot.

    Args:
        encoded: (B, M, D) encoded tokens; entries that are not kept are never read.
        kept: (B, M) bool.
        mask_token: (D,).

    Returns:
        (B, M, D).
    """
    return torch.where(kept.unsqueeze(-1), encoded, mask_token)


def fill_as_published(encoded: Tensor, kept: Tensor, mask_token: Tensor) -> Tensor:
    """The public code's fault at prediction: kept tokens are pushed into the first slots, in order.

    With modalities (a, b, c) and b absent, c's token lands in b's slot; with a absent, b's in a's. Subsets
    that are prefixes of the modalities, (a), (a, b), (a, b, c), are the only ones it leaves alone.
    Arguments and result as in :func:`fill`.
    """
    order = (~kept).long().argsort(dim=1, stable=True)
    pushed = encoded.gather(1, order.unsqueeze(-1).expand_as(encoded))
    return fill(pushed, kept.gather(1, order), mask_token)


# ---- blocks --------------------------------------------------------------------------------------------


def small_normal(*shape: int) -> nn.Parameter:
    """A learnt token or position, started as in the public code."""
    return nn.Parameter(0.02 * torch.randn(*shape))


# ---- the method ----------------------------------------------------------------------------------------


class ActionMAE(Method):
    """Masked autoencoder over modality tokens; one pass a subset.

    Attributes of ``Output.latents``: ``shared`` (B, M * D) the filled row that the head reads; ``logits``
    (B, C); ``tokens``, ``filled`` (B, M, D); ``dropped`` (B, M) bool.
    """

    Config = ActionMAEConfig
    late_fusion = False
    config: ActionMAEConfig

    def __init__(self, inputs: Sequence[Input], task: Task, config: ActionMAEConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        c = self.config
        self.branches = Branches(self.inputs, c.d_model, dropout=c.dropout)
        self.token_norm = nn.LayerNorm(c.d_model)
        # NOTE[DIFF 5]: a learnt position, and one that is added.
        self.position = small_normal(len(self.inputs), c.d_model)
        self.memory = small_normal(c.n_memory, c.d_model)
        self.mask_token = small_normal(c.d_model)
        self.encoder = Transformer(c.d_model, c.n_heads, c.n_layers, c.dropout)
        self.decoder = Transformer(c.d_model, c.n_heads, c.n_layers, c.dropout)
        self.to_token = nn.Linear(c.d_model, c.d_model)
        # NOTE[DIFF 6]: one linear layer over the filled row is the published sum of one a modality.
        self.head = nn.Linear(len(self.inputs) * c.d_model, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Predict from the modalities a row has; while training, from a random part of them."""
        kept = random_masking(batch.presence) if self.training else batch.presence
        tokens = self.token_norm(self.branches(batch))
        filled = self.complete(tokens, kept)
        shared = filled.flatten(1)
        logits = self.head(shared)
        known = batch.presence.any(dim=1, keepdim=True)
        return Output(
            prediction=torch.where(known, self.to_prediction(logits), self.prior),
            branches=None,
            latents={
                "shared": shared,
                "logits": logits,
                "tokens": tokens,
                "filled": filled,
                "dropped": batch.presence & ~kept,
            },
        )

    def complete(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """The row with its gaps filled, (B, M, D), from the kept tokens alone."""
        published = self.config.published_masking
        # The public code computes its position embedding and never adds it.
        position = torch.zeros_like(self.position) if published else self.position
        n_memory, n_modalities = len(self.memory), len(self.inputs)
        sequence = torch.cat([self.memory.expand(len(tokens), -1, -1), tokens + position], dim=1)
        readable = F.pad(kept, (n_memory, 0), value=True)
        read = self.encoder(sequence, readable)
        memory, encoded = read.split([n_memory, n_modalities], dim=1)
        place = fill_as_published if published and not self.training else fill
        slots = place(encoded, kept, self.mask_token) + position
        # NOTE[DIFF 2]: complete rows pass through the decoder too, so that one path serves every subset.
        decoded = self.decoder(torch.cat([memory, slots], dim=1), torch.ones_like(readable))
        filled = self.to_token(decoded[:, n_memory:])
        if published:
            # The public code skips the decoder for complete rows, and then reads the first M of the
            # encoder's K + M outputs: memory tokens, not modalities.
            filled = torch.where(kept.all(dim=1)[:, None, None], read[:, :n_modalities], filled)
        return filled

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """The task's loss on labelled rows, and the reconstruction of what was dropped on all rows."""
        del step
        at = output.latents
        # NOTE[DIFF 4]: unlabelled rows, which the paper does not have, serve the reconstruction.
        return {
            "task": self.supervised_loss(batch, at["logits"]),
            "reconstruction": self.config.reconstruction_weight
            * reconstruction(at["filled"], at["tokens"], at["dropped"]),
        }
