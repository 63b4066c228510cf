"""PgM: representations partitioned into what one modality tells alone and what several tell together.

"Partitioner Guided Modal Learning Framework", arXiv 2507.11661, ACM MM 2025. Ordered gates split every
modality's representation into a uni-modal and a paired-modal part; a learner of its own reads each part under
an attention mask; a decoder rebuilds the representation; a head reads all features. Training has two stages:
the partition and its learners on the reconstruction, then everything on reconstruction and task.

The partition is in :mod:`polymodal.partition`, learners and decoder in :mod:`polymodal.partitioned`. Where
the paper leaves something open, ``NOTE[DIFF n]`` marks what we do; the list is in ``docs/pgm.md``.
Letters: B rows, M modalities, D neurons of a representation, K chunks, V votes, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import Branches, LinearPerModality, SetFusion, blank, random_subset
from polymodal.errors import ConfigError
from polymodal.losses import symmetric_info_nce
from polymodal.methods import pgm_diagnostics
from polymodal.methods.base import Method, ParameterGroup, Stage, Step, judge_number
from polymodal.partition import GateKind, Gates, own_parameters
from polymodal.partitioned import MaskReading, PartitionLearner, PartNames, Parts, judge_name

Fusion = Literal["concat", "gated", "attention", "partitioned"]
"""How the features of all modalities become one prediction."""
Schedule = Literal["two_stage", "joint", "ramp"]
"""In which order reconstruction and task are learnt."""
PARTS = ("branch", "partitioner", "uni", "paired", "decoder", "head")
"""Parts with learning rates of their own."""


@dataclass(frozen=True)
class PgMConfig:
    """Settings of :class:`PgM`."""

    d_latent: int = 64
    """Width D of a representation, in neurons."""
    chunk: int = 8
    """Neurons that share a gate; the width is a multiple of it."""
    d_token: int = 16
    """Width of a token inside the learners."""
    n_layers: int = 1
    """Attention layers of each learner; 0 leaves the learners out."""
    n_iterations: int = 3
    """Rounds N through learners and decoder, with the same weights."""
    gate: GateKind = "row"
    """Gates: row (a cut each), static (one for all), sigmoid (no order), fixed (halves), open (no mask)."""
    mask: MaskReading = "chunks"
    """What the masks hide: chunks (tokens are chunks of neurons), channels (single neurons) or values."""
    parts: PartNames = "both"
    """Parts that are learnt: both, or uni or paired alone."""
    d_decoder: int = 64
    """Hidden width of the decoder; 0 for a linear one."""
    fusion: Fusion = "concat"
    """Head: concat, gated, attention, or partitioned (uni parts vote late, paired parts fuse early)."""
    schedule: Schedule = "two_stage"
    """Stages: two_stage (reconstruction first), joint (one stage) or ramp (one, the task grows in)."""
    pretrain_share: float = 2 / 7
    """Share of the epochs for the first stage, or for the growing in."""
    alpha: float = 1.0
    """Weight of the pre-training losses beside the task."""
    beta: float = 1.0
    """Weight of the task."""
    uni_weight: float = 0.0
    """Weight of a task loss on each uni part alone."""
    contrast_weight: float = 0.0
    """Weight of a contrast between the paired parts of two modalities of one row."""
    overlap_weight: float = 0.0
    """Weight of a penalty on neurons that are in both parts."""
    modality_dropout: float = 0.5
    """Share of the rows that lose a random part of their modalities in a training step."""
    sequence: Literal["gru", "transformer"] = "gru"
    """The branch of a series: gru or transformer."""
    dropout: float = 0.0
    """Dropout in branches and learners."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    learning_rates: Mapping[str, float] | None = None
    """Factors by part (branch, partitioner, uni, paired, decoder, head), part/modality or */modality."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""


# ---- judging a config ----------------------------------------------------------------------------


def judge_config(config: PgMConfig, names: Sequence[str]) -> None:
    """Refuse settings out of range; those of the partition are judged where it is built.

    Raises:
        ConfigError: a value is unknown or out of range.
    """
    judge_name("fusion", config.fusion, get_args(Fusion))
    judge_name("schedule", config.schedule, get_args(Schedule))
    judge_name("sequence", config.sequence, ("gru", "transformer"))
    if config.fusion == "partitioned" and config.parts != "both":
        raise ConfigError(
            f"fusion='partitioned' lets uni and paired parts vote; got parts={config.parts!r}; "
            "take another fusion, or both parts"
        )
    for name, least in (("d_latent", 2), ("chunk", 1), ("d_token", 1), ("n_iterations", 1)):
        judge_number(config, name, least=least, whole=True)
    for name in ("n_layers", "d_decoder"):
        judge_number(config, name, least=0, whole=True)
    for name in ("alpha", "beta", "uni_weight", "contrast_weight", "overlap_weight", "weight_decay"):
        judge_number(config, name, least=0)
    for name in ("pretrain_share", "dropout"):
        judge_number(config, name, least=0, below=1)
    judge_share(config.modality_dropout)
    judge_number(config, "learning_rate", least=1e-12)
    judge_rates({} if config.learning_rates is None else config.learning_rates, names)


def judge_share(share: Any) -> None:
    """Refuse a share of the rows outside [0, 1]."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigError(f"modality_dropout is a share from 0 to 1; got {share!r}; 0 switches it off")


def judge_rates(rates: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse factors for parts or modalities that do not exist."""
    if not isinstance(rates, Mapping):
        raise ConfigError(
            f"learning_rates is a mapping of parts to factors; got {rates!r}; "
            'write {"partitioner": 0.5}, or use learning_rate for one rate of all'
        )
    for key, factor in rates.items():
        part, slash, name = key.partition("/")
        fits = name in names and part != "head" if slash else part != "*"
        if part not in (*PARTS, "*") or not fits:
            raise ConfigError(
                f"learning_rates names parts ({', '.join(PARTS)}), part/modality or */modality; got {key!r}; "
                f"the modalities are {', '.join(names)}, and all of them share the head"
            )
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < inf:
            raise ConfigError(
                f"a factor of the learning rate is 0 or more; got {factor!r} for {key!r}; 1 changes nothing"
            )


# ---- heads: features in, votes out ---------------------------------------------------------------


class Votes(NamedTuple):
    """What a head says: V predictions a row, and how much each counts.

    Attributes:
        logits: (B, V, C).
        weights: (B, V), 0 where a vote is absent; they sum to 1 where a row has anything.
    """

    logits: Tensor
    weights: Tensor


def one_vote(logits: Tensor) -> Votes:
    """(B, C) as the only vote."""
    return Votes(logits.unsqueeze(1), logits.new_ones(len(logits), 1))


class ConcatHead(nn.Module):
    """All features side by side, and which are there, through a linear layer.

    NOTE[DIFF 7]: the paper says a feed-forward. The learners before it are deep enough: with few labels a
    hidden layer over all features learns them by heart.
    """

    def __init__(self, n_modalities: int, d: int, n_outputs: int) -> None:
        super().__init__()
        self.network = nn.Linear(n_modalities * (2 * d + 1), n_outputs)

    def forward(self, parts: Parts) -> Votes:
        """Parts to one vote."""
        there = parts.presence.to(parts.uni.dtype)
        return one_vote(self.network(torch.cat([parts.features, there], dim=1)))


class GatedHead(nn.Module):
    """A weighted mean of all features, weights by softmax of a score that each feature has of its own."""

    def __init__(self, n_modalities: int, d: int, n_outputs: int) -> None:
        super().__init__()
        self.project = LinearPerModality(2 * n_modalities, d, d)
        self.score = LinearPerModality(2 * n_modalities, d, 1)
        self.network = nn.Linear(d, n_outputs)

    def forward(self, parts: Parts) -> Votes:
        """Parts to one vote."""
        features, there = side_by_side(parts)
        scores = self.score(features).squeeze(2)
        weights = scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(dim=1)
        fused = (weights.unsqueeze(2) * blank(self.project(features), there)).sum(1)
        return one_vote(self.network(fused))


class AttentionHead(nn.Module):
    """A set transformer over all features."""

    def __init__(self, n_modalities: int, d: int, n_outputs: int) -> None:
        super().__init__()
        self.project = LinearPerModality(2 * n_modalities, d, d)
        self.fusion = SetFusion(2 * n_modalities, d)
        self.network = nn.Linear(d, n_outputs)

    def forward(self, parts: Parts) -> Votes:
        """Parts to one vote."""
        features, there = side_by_side(parts)
        return one_vote(self.network(self.fusion(self.project(features), there)))


class PartitionedHead(nn.Module):
    """Uni parts vote late, each through a head of its own; paired parts fuse early into one more vote.

    The paired vote counts as much as all uni votes together.
    """

    def __init__(self, n_modalities: int, d: int, n_outputs: int) -> None:
        super().__init__()
        self.uni = LinearPerModality(n_modalities, d, n_outputs)
        self.paired = nn.Linear(n_modalities * (d + 1), n_outputs)

    def forward(self, parts: Parts) -> Votes:
        """Parts to M + 1 votes."""
        there = parts.presence.to(parts.uni.dtype)
        early = self.paired(torch.cat([parts.paired.flatten(1), there], dim=1))
        logits = torch.cat([self.uni(parts.uni), early.unsqueeze(1)], dim=1)
        late = there / there.sum(1, keepdim=True).clamp(min=1)
        some = parts.presence.any(dim=1, keepdim=True).to(there.dtype)
        return Votes(logits, torch.cat([late, some], dim=1) / 2)


def side_by_side(parts: Parts) -> tuple[Tensor, Tensor]:
    """Uni and paired features (B, 2 M, D), and which are there (B, 2 M)."""
    return torch.cat([parts.uni, parts.paired], dim=1), parts.presence.repeat(1, 2)


HEADS: dict[str, type[nn.Module]] = {
    "concat": ConcatHead,
    "gated": GatedHead,
    "attention": AttentionHead,
    "partitioned": PartitionedHead,
}


# ---- the method ----------------------------------------------------------------------------------


class PgM(Method):
    """PgM for vectors and series; a prediction reads whatever is present.

    ``Output.latents``: ``uni``, ``paired``, ``rebuilt``, ``representation`` (B, M, D), ``gate_uni`` and
    ``gate_paired`` (B, M, K) before they are made hard, ``votes`` (B, V, C), ``kept`` (B, M) the presence
    that the pass has seen (in training a random part of it), and ``shared`` (B, 2 D): the mean over the
    present modalities of their uni and paired features; NaN for a row without any modality.

    Raises:
        ConfigError: a setting is out of range.
    """

    Config = PgMConfig
    late_fusion = False
    training_only = ("uni_heads",)
    config: PgMConfig

    def __init__(self, inputs: Sequence[Input], task: Task, config: PgMConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        c, names = self.config, [source.name for source in self.inputs]
        judge_config(c, names)
        n, d = len(names), c.d_latent
        self.branches = Branches(self.inputs, d, sequence=c.sequence, dropout=c.dropout)
        self.learner = PartitionLearner(
            n,
            d,
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
        self.head = HEADS[c.fusion](n, d, task.n_outputs)
        self.uni_heads = LinearPerModality(n, d, task.n_outputs) if c.uni_weight else None
        self.hardness = 0.0

    # ---- prediction ------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Output:
        """Predict from whatever is present; in training some rows lose a random part of it."""
        kept = self.kept(batch.presence)
        parts = self.parts(batch, kept)
        prediction, votes = self.predict(parts)
        return Output(
            prediction=prediction,
            branches=None,
            latents={
                "uni": parts.uni,
                "paired": parts.paired,
                "rebuilt": parts.rebuilt,
                "representation": parts.representation,
                "gate_uni": blank(parts.gates.uni, kept),
                "gate_paired": blank(parts.gates.paired, kept),
                "votes": votes.logits,
                "vote_weights": votes.weights,
                "kept": kept,
                "shared": shared(parts),
            },
        )

    def kept(self, presence: Tensor) -> Tensor:
        """Presence (B, M), in training less a random part for a share of the rows.

        NOTE[DIFF 5]: the paper knows complete rows only. A row keeps one modality at least; what it lost has
        no part in masks and losses.
        """
        if not (self.training and self.config.modality_dropout):
            return presence
        chosen = torch.rand(len(presence), 1, device=presence.device) < self.config.modality_dropout
        return torch.where(chosen, random_subset(presence), presence)

    def parts(self, batch: Batch, presence: Tensor, *, hard: bool | None = None) -> Parts:
        """Representations split, learnt and rebuilt."""
        hidden = self.branches(batch)
        # NOTE[DIFF 6]: on one scale, for branches are learnt here and must not shrink to be rebuilt easily.
        representation = F.layer_norm(hidden, hidden.shape[-1:])
        return self.learner(representation, presence, hardness=self.hardness, hard=hard)

    def predict(self, parts: Parts) -> tuple[Tensor, Votes]:
        """Prediction (B, C) and the votes it is the weighted mean of; the prior where a row has nothing."""
        votes = self.head(parts)
        mean = (votes.weights.unsqueeze(2) * self.to_prediction(votes.logits)).sum(1)
        there = parts.presence.any(dim=1, keepdim=True)
        return torch.where(there, mean, self.prior.to(mean.dtype)), votes

    # ---- losses ----------------------------------------------------------------------------------

    def stages(self) -> Iterator[Stage]:
        """Two stages, or one."""
        if self.config.schedule != "two_stage":
            yield Stage(self.config.schedule)
            return
        share = self.config.pretrain_share
        if share > 0:
            yield Stage("pretrain", share)
        yield Stage("finetune", 1 - share)

    def begin_epoch(self, step: Step) -> None:
        """Gates go from soft to hard over the last stage: its last epoch sees nearly what prediction sees.

        NOTE[DIFF 13]: the paper does not say how soft masks become hard ones.
        """
        self.hardness = 0.0 if step.stage == "pretrain" else step.progress

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """L_pre in the first stage; alpha L_pre + beta L_task after it."""
        pre = self.pretraining_losses(batch, output)
        if step.stage == "pretrain":
            return pre
        grown = self.grown(step)
        terms = {name: self.config.alpha * loss for name, loss in pre.items()}
        return terms | {"task": self.config.beta * grown * self.task_loss(batch, output)}

    def grown(self, step: Step) -> float:
        """Share of the task's weight that has grown in."""
        if step.stage != "ramp" or self.config.pretrain_share == 0:
            return 1.0
        return min(1.0, step.progress / self.config.pretrain_share)

    def pretraining_losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """L_pre: L_UPR, and what has a weight beside it.

        NOTE[DIFF 14]: the other three terms are ours; by default they weigh nothing.
        """
        c, latents = self.config, output.latents
        kept = latents["kept"]
        parts = parts_of(latents)
        terms = {"reconstruction": parts.reconstruction_loss()}
        if c.uni_weight:
            terms["uni_modal"] = c.uni_weight * self.uni_modal_loss(batch, latents["uni"], kept)
        if c.contrast_weight:
            terms["contrast"] = c.contrast_weight * contrast_of_pairs(latents["paired"], kept)
        if c.overlap_weight:
            overlap = parts.gates.shared[kept]
            terms["overlap"] = c.overlap_weight * overlap.sum() / max(overlap.numel(), 1)
        return terms

    def task_loss(self, batch: Batch, output: Output) -> Tensor:
        """L_task: the task's loss of every vote, over labelled rows."""
        there = output.latents["vote_weights"] > 0
        return self.stacked_loss(batch, output.latents["votes"], there)

    def uni_modal_loss(self, batch: Batch, uni: Tensor, kept: Tensor) -> Tensor:
        """The task's loss of a head on each uni part."""
        assert self.uni_heads is not None
        return self.stacked_loss(batch, self.uni_heads(uni), kept)

    def stacked_loss(self, batch: Batch, logits: Tensor, there: Tensor) -> Tensor:
        """The task's loss over labelled rows and all votes (B, V, C) that are there (B, V)."""
        assert batch.y is not None
        assert batch.labelled is not None
        n_votes = logits.shape[1]
        stacked = Batch(
            values={},
            presence=(there & batch.presence.any(dim=1, keepdim=True)).reshape(-1, 1),
            y=batch.y.repeat_interleave(n_votes, dim=0),
            labelled=batch.labelled.repeat_interleave(n_votes),
        )
        return self.supervised_loss(stacked, logits.flatten(0, 1))

    # ---- training --------------------------------------------------------------------------------

    def trainable(self, stage: Stage) -> Iterator[ParameterGroup]:
        """A group for each part of each modality, with a learning rate of its own.

        The first stage has no use for the heads.

        NOTE[DIFF 8]: branches are trained from the start; in the paper frozen encoders stand in their place.
        """
        groups = list(self.own_groups())
        if stage.name == "pretrain":
            groups = [group for group in groups if group[0] != "head"]
        rates = self.config.learning_rates or {}
        for part, name, parameters in groups:
            factor = rates.get(part, 1.0) * rates.get(f"{part}/{name}", 1.0) * rates.get(f"*/{name}", 1.0)
            yield {
                "params": parameters,
                "lr": self.config.learning_rate * factor,
                "weight_decay": self.config.weight_decay,
                "name": f"{part}/{name}" if name else part,
            }

    def own_groups(self) -> Iterator[tuple[str, str, list[nn.Parameter]]]:
        """(part, modality or "", parameters), each parameter once; groups without parameters are left out."""
        learner, names = self.learner, [source.name for source in self.inputs]
        modules = {"partitioner": learner.partitioner, "uni": learner.uni, "decoder": learner.decoder}
        paired = [getattr(learner.paired, name, nn.Identity()) for name in ("embed", "unembed")]
        for i, name in enumerate(names):
            yield "branch", name, list(self.branches.branches[i].parameters())
            for part, module in modules.items():
                yield from some(part, name, own_parameters(module, i))
            yield from some("paired", name, (p for module in paired for p in own_parameters(module, i)))
        together = getattr(learner.paired, "layers", nn.Identity())
        yield from some("paired", "", together.parameters())
        if self.uni_heads is not None:
            yield "uni", "", list(self.uni_heads.parameters())
        yield "head", "", list(self.head.parameters())

    # ---- what a user is told ---------------------------------------------------------------------

    @torch.no_grad()
    def diagnostics(self, batch: Batch, output: Output, monitor: Tensor | None) -> dict[str, float]:
        """Shares, cuts and reconstruction of each modality, and the gap between soft and hard masks."""
        del monitor
        parts = parts_of(output.latents)
        soft, _ = self.predict(self.parts(batch, batch.presence, hard=False))
        hard, _ = self.predict(parts)
        found = pgm_diagnostics.figures(parts, batch.names)
        rows = batch.presence.any(dim=1)
        if rows.any():
            difference = (soft - hard)[rows].abs() / self.scale
            per_row = difference.mean(1) if self.task.kind != "multiclass" else difference.sum(1) / 2
            found["soft_hard_gap"] = float(per_row.mean())
        return found

    def judge(self, history: Sequence[Mapping[str, Any]]) -> list[str]:
        """Warnings about collapse, cuts that never move, and a reconstruction that stays high."""
        return pgm_diagnostics.judge(history, gate=self.config.gate, rebuilding=self.config.alpha > 0)


def some(part: str, name: str, parameters: Any) -> Iterator[tuple[str, str, list[nn.Parameter]]]:
    """One group, or none where it would be empty."""
    found = list(parameters)
    if found:
        yield part, name, found


def parts_of(latents: Mapping[str, Tensor]) -> Parts:
    """The parts that a pass has left in its latents."""
    return Parts(
        **{name: latents[name] for name in ("uni", "paired", "rebuilt", "representation")},
        gates=Gates(latents["gate_uni"], latents["gate_paired"]),
        presence=latents["kept"],
    )


def shared(parts: Parts) -> Tensor:
    """(B, 2 D): mean of the present modalities' uni and paired features; NaN where there is none."""
    count = parts.presence.sum(1, keepdim=True)
    total = torch.cat([parts.uni, parts.paired], dim=-1).sum(1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)


def contrast_of_pairs(paired: Tensor, presence: Tensor) -> Tensor:
    """Mean contrast between the paired features (B, M, D) of two modalities, over the rows that have both."""
    terms = [paired.sum() * 0]
    for i in range(paired.shape[1]):
        for j in range(i):
            both = presence[:, i] & presence[:, j]
            terms.append(symmetric_info_nce(paired[both, i], paired[both, j], temperature=0.1))
    return torch.stack(terms).sum() / max(1, len(terms) - 1)


__all__ = ["PgM", "PgMConfig"]
