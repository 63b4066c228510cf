"""PgM for cross-modal retrieval: every modality embedded alone, in one common space.

The partition of PgM (arXiv 2507.11661; :mod:`polymodal.methods.pgm`) with another end: the uni and paired
features of a modality, side by side, are mapped to a common space and brought to unit length. The paper names
the task and gives no equation for it; everything behind the partition is [ours].

An embedding must not know what it will be compared with: each modality goes through the learners as if it
were the row's only one, so its paired part attends to itself. What the paired parts have in common comes from
the contrast.

Letters: B rows, M modalities, D neurons of a representation, d width of the common space, C classes (0 where
there are none).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import Branches, LinearPerModality, blank
from polymodal.errors import ConfigError
from polymodal.losses import NORM_FLOOR, supervised_multiclass, symmetric_info_nce
from polymodal.methods import pgm_diagnostics
from polymodal.methods.base import Method, ParameterGroup, Stage, Step, judge_number
from polymodal.partition import GateKind, Gates
from polymodal.partitioned import MaskReading, PartitionLearner, PartNames, Parts, judge_name


@dataclass(frozen=True)
class PgMRetrievalConfig:
    """Settings of :class:`PgMRetrieval`."""

    d_latent: int = 64
    """Width D of a representation, in neurons."""
    d_embed: int = 64
    """Width d of the common space that the contrast learns."""
    chunk: int = 8
    """Neurons that share a gate; the width is a multiple of it."""
    d_token: int = 16
    """Width of a token inside the learners."""
    n_layers: int = 1
    """Attention layers of each learner; 0 leaves the learners out."""
    n_iterations: int = 3
    """Rounds N through learners and decoder, with the same weights."""
    gate: GateKind = "row"
    """row (a cut for each row), static (one for all), sigmoid (no order), fixed (half and half) or open."""
    mask: MaskReading = "chunks"
    """What the masks hide: chunks (tokens are chunks of neurons), channels (single neurons) or values."""
    parts: PartNames = "both"
    """both, or uni or paired alone."""
    d_decoder: int = 64
    """Hidden width of the decoder; 0 for a linear one."""
    pretrain_share: float = 2 / 7
    """Share of the epochs for the first stage."""
    alpha: float = 1.0
    """Weight of the reconstruction in the second stage."""
    pair_weight: float = 1.0
    """Weight of the contrast between the two sides of a pair."""
    class_weight: float = 1.0
    """Weight of the classifier that all modalities share."""
    temperature: float = 0.1
    """Of the contrast."""
    class_temperature: float = 0.1
    """Of the classifier."""
    same_class: bool = True
    """Rows of one class are positives of each other in the contrast."""
    semantic: float = 0.5
    """Length of the class probabilities in the common space, beside the contrast's 1."""
    input_dropout: float = 0.3
    """Share of the input numbers that a training step sets to 0."""
    sequence: Literal["gru", "transformer"] = "gru"
    """The branch of a series."""
    dropout: float = 0.2
    """Dropout in branches, learners and before the common space."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""


def judge_config(config: PgMRetrievalConfig) -> None:
    """Refuse settings out of range; those of the partition are judged where it is built.

    Raises:
        ConfigError: a value is unknown or out of range.
    """
    judge_name("sequence", config.sequence, ("gru", "transformer"))
    for name, least in (("d_latent", 2), ("d_embed", 1), ("chunk", 1), ("d_token", 1), ("n_iterations", 1)):
        judge_number(config, name, least=least, whole=True)
    for name in ("n_layers", "d_decoder"):
        judge_number(config, name, least=0, whole=True)
    for name in ("alpha", "pair_weight", "class_weight", "semantic", "weight_decay"):
        judge_number(config, name, least=0)
    for name in ("pretrain_share", "input_dropout", "dropout"):
        judge_number(config, name, least=0, below=1)
    for name in ("temperature", "class_temperature", "learning_rate"):
        judge_number(config, name, least=1e-12)


class PgMRetrieval(Method):
    """A common space for any number of modalities.

    ``Output.prediction`` is the mean of the present modalities' class probabilities (B, C).
    ``Output.latents``: ``embeddings`` (B, M, d + C) of unit length, NaN where absent; ``contrast`` (B, M, d),
    what the contrast reads; ``logits`` (B, M, C) of the classes; ``uni``, ``paired``, ``rebuilt``,
    ``representation`` (B, M, D), ``gate_uni`` and ``gate_paired`` (B, M, K), each modality's as if it were
    alone.

    Raises:
        ConfigError: a setting is out of range, or the task is none of retrieval.
    """

    Config = PgMRetrievalConfig
    late_fusion = True
    config: PgMRetrievalConfig

    def __init__(self, inputs: Sequence[Input], task: Task, config: PgMRetrievalConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        judge_config(self.config)
        if task.kind != "retrieval":
            raise ConfigError(
                f"PgMRetrieval learns a common space; the task {task.kind} came; take PgM for it"
            )
        c, n = self.config, len(self.inputs)
        self.branches = Branches(self.inputs, c.d_latent, sequence=c.sequence, dropout=c.dropout)
        self.learner = PartitionLearner(
            n,
            c.d_latent,
            chunk=c.chunk,
            d_token=c.d_token,
            n_layers=c.n_layers,
            n_iterations=c.n_iterations,
            gate=c.gate,
            mask=c.mask,
            parts=c.parts,
            d_decoder=c.d_decoder,
            dropout=c.dropout,
        )
        self.drop = nn.Dropout(c.dropout)
        self.project = LinearPerModality(n, 2 * c.d_latent, c.d_embed)
        self.classifier = nn.Linear(c.d_embed, task.n_outputs) if task.n_outputs else None
        self.hardness = 0.0

    # ---- embedding -------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Output:
        """Embed each present modality by itself."""
        parts = self.parts_alone(batch)
        features = torch.cat([parts.uni, parts.paired], dim=-1)
        contrast = unit(self.project(self.drop(features)))
        there = batch.presence.unsqueeze(2)
        logits = self.classify(blank(contrast, batch.presence))
        branches = torch.where(there, logits.float().softmax(-1), torch.nan)
        return Output(
            prediction=self.late_fuse(branches, batch.presence),
            branches=branches,
            latents={
                "embeddings": torch.where(there, self.space(contrast, branches), torch.nan),
                "contrast": contrast,
                "logits": logits,
                "uni": parts.uni,
                "paired": parts.paired,
                "rebuilt": parts.rebuilt,
                "representation": parts.representation,
                "gate_uni": blank(parts.gates.uni, batch.presence),
                "gate_paired": blank(parts.gates.paired, batch.presence),
            },
        )

    def space(self, contrast: Tensor, probabilities: Tensor) -> Tensor:
        """(B, M, d + C) of unit length: what the contrast has learnt, and class probabilities less the prior.

        The second is the common space of semantic matching (Rasiwasia et al., ACM Multimedia 2010).
        """
        classes = unit(probabilities.detach() - self.prior)
        return unit(torch.cat([contrast, self.config.semantic * classes], dim=-1))

    def classify(self, contrast: Tensor) -> Tensor:
        """Unit vectors (B, M, d) to logits (B, M, C), by a classifier that all modalities share."""
        if self.classifier is None:
            return contrast[..., :0]
        return self.classifier(contrast) / self.config.class_temperature

    def parts_alone(self, batch: Batch) -> Parts:
        """The parts of each modality as if it were the only one of its row."""
        if self.training and self.config.input_dropout:
            values = {name: self.lose(value) for name, value in batch.values.items()}
            batch = replace(batch, values=values)
        hidden = self.branches(batch)
        representation = F.layer_norm(hidden, hidden.shape[-1:])
        return self.learner(representation, batch.presence, hardness=self.hardness, alone=True)

    def lose(self, value: Tensor) -> Tensor:
        """Some numbers set to 0, which is their mean; for a sequence the same columns in all steps."""
        noise = torch.ones_like(value if value.dim() == 2 else value[:, :1])
        return value * F.dropout(noise, self.config.input_dropout)

    # ---- losses ----------------------------------------------------------------------------------

    def stages(self) -> Iterator[Stage]:
        """The reconstruction alone, then everything."""
        share = self.config.pretrain_share
        if share > 0:
            yield Stage("pretrain", share)
        yield Stage("finetune", 1 - share)

    def begin_epoch(self, step: Step) -> None:
        """Gates go from soft to hard over the last stage."""
        self.hardness = 0.0 if step.stage == "pretrain" else step.progress

    def observe(self, y: Tensor) -> None:
        """Class shares, where there are classes."""
        if len(y):
            counts = torch.bincount(y, minlength=self.task.n_outputs).to(self.prior)
            self.prior.copy_(counts / counts.sum())

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """L_UPR in the first stage; alpha L_UPR, the contrast and the classes after it."""
        c, latents = self.config, output.latents
        reconstruction = parts_of(latents, batch.presence).reconstruction_loss()
        if step.stage == "pretrain":
            return {"reconstruction": reconstruction}
        terms = {"reconstruction": c.alpha * reconstruction}
        if c.pair_weight:
            terms["pairs"] = c.pair_weight * self.pair_loss(batch, latents["contrast"])
        if c.class_weight and self.task.n_outputs:
            terms["classes"] = c.class_weight * self.class_loss(batch, latents["logits"])
        return terms

    def pair_loss(self, batch: Batch, contrast: Tensor) -> Tensor:
        """Mean contrast of all pairs of modalities, each over the rows that have both."""
        assert batch.y is not None
        assert batch.labelled is not None
        terms = [self.project.bias.sum() * 0]
        for i in range(contrast.shape[1]):
            for j in range(i):
                both = (batch.presence[:, i] & batch.presence[:, j]).nonzero().squeeze(1)
                positives = None
                if self.config.same_class and self.task.n_outputs:
                    positives = same_class(batch.y[both], batch.labelled[both])
                terms.append(
                    symmetric_info_nce(
                        contrast[both, i],
                        contrast[both, j],
                        temperature=self.config.temperature,
                        positives=positives,
                    )
                )
        return torch.stack(terms).sum() / max(1, len(terms) - 1)

    def class_loss(self, batch: Batch, logits: Tensor) -> Tensor:
        """Cross-entropy of every present modality of the labelled rows."""
        assert batch.y is not None
        assert batch.labelled is not None
        n = logits.shape[1]
        counted = batch.labelled.unsqueeze(1) & batch.presence
        return supervised_multiclass(logits.flatten(0, 1), batch.y.repeat_interleave(n), counted.flatten())

    # ---- training --------------------------------------------------------------------------------

    def trainable(self, stage: Stage) -> Iterator[ParameterGroup]:
        """The partition alone in the first stage: branches stand where the paper has frozen encoders."""
        module = self.learner if stage.name == "pretrain" else self
        yield {
            "params": list(module.parameters()),
            "lr": self.config.learning_rate,
            "weight_decay": self.config.weight_decay,
            "name": "partition" if stage.name == "pretrain" else "all",
        }

    def diagnostics(self, batch: Batch, output: Output, monitor: Tensor | None) -> dict[str, float]:
        """Shares, cuts and reconstruction of each modality."""
        del monitor
        return pgm_diagnostics.figures(parts_of(output.latents, batch.presence), batch.names)


def unit(x: Tensor) -> Tensor:
    """Rows of unit length, (..., d) in float32."""
    return F.normalize(x.float(), dim=-1, eps=NORM_FLOOR)


def same_class(y: Tensor, labelled: Tensor) -> Tensor:
    """(N, N) bool: a row and itself, and labelled rows of one class."""
    same = (y.unsqueeze(1) == y) & labelled & labelled.unsqueeze(1)
    return same.fill_diagonal_(True)


def parts_of(latents: Mapping[str, Tensor], presence: Tensor) -> Parts:
    """The parts that a pass has left in its latents."""
    return Parts(
        **{name: latents[name] for name in ("uni", "paired", "rebuilt", "representation")},
        gates=Gates(latents["gate_uni"], latents["gate_paired"]),
        presence=presence,
    )


__all__ = ["PgMRetrieval", "PgMRetrievalConfig"]
