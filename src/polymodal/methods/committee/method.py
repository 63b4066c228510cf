"""The committee: unlike models of each modality, pooled; generations of them, judged by held-out labels.

The members of a modality are two ridge regressions and a forest of randomised trees (:mod:`.members`). The
pool (:mod:`.pool`) is a weighted geometric mean of whatever a row has. It labels the unlabelled rows for the
next generation of members, as long as labels that it never saw are told better for it (:mod:`.generations`).
Letters: B rows, M modalities, T steps, d width, E members of a modality, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import blank, last_step, masked_mean, step_mask
from polymodal.errors import ConfigError
from polymodal.methods.base import Method, judge_number
from polymodal.methods.committee import generations
from polymodal.methods.committee.evidence import Evidence
from polymodal.methods.committee.forest import Forest
from polymodal.methods.committee.generations import Learnt
from polymodal.methods.committee.interactions import Crossing
from polymodal.methods.committee.linear import Directions
from polymodal.methods.committee.members import (
    N_MEMBERS,
    PENALTIES,
    Branch,
    abstaining,
    forest_scores,
    linear_scores,
)
from polymodal.methods.committee.pool import Weights, fused, opinions
from polymodal.methods.committee.sequences import COLUMNS, N_SEGMENTS, Kernels, segment_means
from polymodal.methods.committee.teams import Rows

MOST_SPREADS = 8.0
"""A column's standardised values are held within this many standard deviations."""


@dataclass(frozen=True)
class CommitteeConfig:
    """Settings of :class:`Committee`; the defaults are the same for all data."""

    n_trees: int = 150
    """Trees of a forest."""
    n_trees_judged: int = 50
    """Trees of a forest that serves cross-validation alone."""
    n_generations: int = 6
    """Generations of students, at most; 0 never looks at unlabelled rows."""
    joint: bool = True
    """Also try members that read several modalities at once, and presence."""

    def __post_init__(self) -> None:
        judge_number(self, "n_trees", least=1, whole=True)
        judge_number(self, "n_trees_judged", least=1, whole=True)
        judge_number(self, "n_generations", least=0, whole=True)
        if not isinstance(self.joint, bool):
            raise ConfigError(f"joint is True or False; got {self.joint!r}; leave it out for the default")


WEIGHTS = tuple(field.name for field in fields(Weights))
EVIDENCE = tuple(field.name for field in fields(Evidence))
"""Names of the numbers of the pool, and of what presence tells, which are kept as buffers."""

# ---- what members read -------------------------------------------------------------------------------------


def columns_of(source: Input) -> int:
    """d: how many columns all members see of a modality."""
    if source.kind == "vector" or source.top is not None:
        return source.width
    return (5 + N_SEGMENTS) * source.width + 1


def summarise(value: Tensor, lengths: Tensor) -> Tensor:
    """Statistics of each sequence: (B, T, D) and (B,) lengths to (B, 5 D + 1).

    Mean, standard deviation, minimum, maximum and last value of each column, and the length.
    """
    mask = step_mask(lengths, value.shape[1])
    value = blank(value, mask)
    mean = masked_mean(value, mask)
    spread = masked_mean((value - mean.unsqueeze(1)).square(), mask).sqrt()
    inside = mask.unsqueeze(2)
    low = torch.where(inside, value, torch.inf).amin(dim=1)
    high = torch.where(inside, value, -torch.inf).amax(dim=1)
    parts = [mean, spread, low, high, last_step(value, lengths), lengths.to(mean).unsqueeze(1)]
    return torch.cat(parts, dim=1)


def columns(value: Tensor, lengths: Tensor | None, present: Tensor, kernels: Kernels | None) -> Tensor:
    """Columns of a modality, zeros where absent: (B, d), and those of the kernels behind them.

    Of a model whose last layers could be trained, whose states no kernels read, members see the mean of the
    hidden states below.
    """
    if lengths is not None and kernels is not None:
        lengths = blank(lengths, present)
        parts = [summarise(value, lengths), segment_means(value, lengths), kernels(value, lengths)]
        value = torch.cat(parts, dim=1)
    elif lengths is not None:
        value = masked_mean(value, step_mask(lengths, value.shape[1]))
    return blank(value.float(), present)


# ---- one modality ------------------------------------------------------------------------------------------


class BranchMembers(nn.Module):
    """The members of one modality as tensors, and the kernels by which they read a sequence."""

    centre: Tensor
    spread: Tensor
    shares: Tensor
    bounds: Tensor
    silent: Tensor

    def __init__(self, source: Input, n_outputs: int) -> None:
        super().__init__()
        ordered = source.kind == "series" and source.top is None
        self.kernels = Kernels(source.width) if ordered else None
        self.d_plain = columns_of(source)
        n, d = len(PENALTIES), self.d_plain + (COLUMNS if ordered else 0)
        self.weight = nn.Parameter(torch.zeros(n, d, n_outputs), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(n, 1, n_outputs), requires_grad=False)
        self.forest = Forest(self.d_plain, n_outputs)
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("spread", torch.ones(d))
        self.register_buffer("shares", torch.full((n_outputs,), 1.0 / n_outputs))
        self.register_buffer("bounds", torch.zeros(2, n_outputs))
        self.register_buffer("silent", torch.zeros(n_outputs))

    def standardise(self, x: Tensor) -> Tensor:
        """Columns (B, d) at mean 0 and spread 1, held within bounds."""
        return ((x - self.centre) / self.spread).clamp(-MOST_SPREADS, MOST_SPREADS)

    def observe(self, x: Tensor) -> None:
        """Learn mean and spread from the (n, d) rows that have the modality."""
        if len(x):
            centre, spread = x.double().mean(dim=0), x.double().std(dim=0, unbiased=False)
            self.centre.copy_(centre)
            self.spread.copy_(torch.where(spread > 1e-6 * centre.abs() + 1e-12, spread, 1.0))

    def take(self, learnt: Branch, directions: Directions) -> None:
        """Become what was learnt."""
        weight = np.stack([directions.back(linear.weight) for linear in learnt.linears])
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.copy_(torch.from_numpy(np.stack([linear.bias for linear in learnt.linears])).unsqueeze(1))
        self.shares.copy_(torch.from_numpy(learnt.shares))
        self.bounds.copy_(torch.from_numpy(learnt.bounds))
        self.silent.copy_(torch.from_numpy(learnt.silent))
        if learnt.forest is not None:
            self.forest.take(learnt.forest)

    def forward(self, x: Tensor, kind: Any) -> Tensor:
        """Standardised columns (B, d) to scores (B, E, C)."""
        raw = torch.baddbmm(self.bias, x.expand(len(PENALTIES), -1, -1), self.weight).transpose(0, 1)
        said = self.forest(x[:, : self.d_plain]) if self.forest.n_trees else self.shares.expand(len(x), -1)
        trees = forest_scores(said, self.shares, kind).unsqueeze(1)
        said = torch.cat([linear_scores(raw, self.bounds, kind), trees], dim=1)
        return abstaining(said, self.silent, kind)


# ---- the method --------------------------------------------------------------------------------------------


class Committee(Method):
    """A committee of simple models with judged generations; learns by itself, without the training loop.

    ``Output.latents``: ``opinions`` (B, M, C) the pooled scores of each modality alone, zeros where absent;
    ``shared`` (B, M * C) the same side by side.
    """

    Config = CommitteeConfig
    late_fusion = False
    learns_alone = True
    shared_pass = True
    config: CommitteeConfig

    theta: Tensor
    temper: Tensor
    alpha: Tensor
    sharpness: Tensor
    joint: Tensor
    crossing: Tensor
    joint_shares: Tensor
    presence_temper: Tensor
    presence_weight: Tensor
    presence_bias: Tensor
    presence_centre: Tensor
    presence_inverse: Tensor
    presence_reach: Tensor

    def __init__(self, inputs: Sequence[Input], task: Task, config: CommitteeConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        self.branches = nn.ModuleList(BranchMembers(source, task.n_outputs) for source in self.inputs)
        width = sum(columns_of(source) for source in self.inputs)
        self.joint_forest = Forest(width, task.n_outputs)  # without trees where it was not worth a pass
        self.register_buffer("joint_shares", torch.full((task.n_outputs,), 1.0 / task.n_outputs))
        widths = [branch.d_plain for branch in self.own]
        self.products = Crossing(widths, task.n_outputs)  # without terms where none were worth it
        start = Weights.start(len(self.inputs), N_MEMBERS, task.kind)
        for name in WEIGHTS:
            self.register_buffer(name, getattr(start, name))
        nothing = Evidence.none(len(self.inputs), task.n_outputs)
        for name in EVIDENCE:
            self.register_buffer(f"presence_{name}", getattr(nothing, name))
        self.register_load_state_dict_pre_hook(_heard_everywhere)

    # ---- learning ----

    def learn(
        self,
        rows: Batch,
        *,
        seed: int,
        groups: np.ndarray | None = None,
        monitor: Tensor | None = None,
        verbose: bool = False,
    ) -> list[dict[str, Any]]:
        """Learn from labelled and unlabelled rows; see :meth:`polymodal.methods.base.Method.learn`."""
        assert rows.y is not None
        assert rows.labelled is not None
        self.observe(rows.y[rows.labelled])
        self._observe_order(rows, seed)
        read = self._columns(rows)
        values, order = [], []
        for m, (branch, x) in enumerate(zip(self.own, read, strict=True)):
            branch.observe(x[rows.presence[:, m]])
            plain, more = np.split(branch.standardise(x).numpy(), [branch.d_plain], axis=1)
            values.append(plain)
            order.append(more)
        codes = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        target = self._target(rows).numpy()
        table = Rows(tuple(values), rows.presence.numpy(), target, codes, self.task.kind, tuple(order))
        c = self.config
        learnt = generations.learn(
            table,
            n_trees=c.n_trees,
            n_trees_judged=c.n_trees_judged,
            n_generations=c.n_generations,
            joint=c.joint,
            seed=seed,
            watch=lambda index, said: {} if monitor is None else self._watched(monitor[index], said),
            verbose=verbose,
        )
        self._take(learnt)
        return learnt.history

    def _observe_order(self, rows: Batch, seed: int) -> None:
        for m, (source, branch) in enumerate(zip(self.inputs, self.own, strict=True)):
            if branch.kernels is not None:
                here = rows.presence[:, m]
                value, lengths = rows.values[source.name][here], rows.lengths[source.name][here]
                branch.kernels.observe(value, lengths, np.random.default_rng([seed, m]))

    def _watched(self, truth: Tensor, said: np.ndarray) -> dict[str, float]:
        """How right a teacher is: share of right classes or labels, or mean absolute error of values."""
        if self.task.kind == "regression":
            values = self.to_prediction(torch.from_numpy(said))[:, 0]
            return {"pseudo_error": float((values - truth).abs().mean())}
        found = said.argmax(axis=1) if self.task.kind == "multiclass" else said > 0.5
        return {"pseudo_accuracy": float((found == truth.numpy()).mean())}

    def _target(self, rows: Batch) -> Tensor:
        """(n, C) float64: classes as shares, labels, or standardised values; NaN where unlabelled."""
        assert rows.y is not None
        assert rows.labelled is not None
        if self.task.kind == "multiclass":
            y = torch.where(rows.labelled, rows.y, 0)
            target = nn.functional.one_hot(y, self.task.n_outputs).double()
        elif self.task.kind == "multilabel":
            target = rows.y.double()
        else:
            target = ((rows.y - self.prior) / self.scale).double().unsqueeze(1)
        return torch.where(rows.labelled.unsqueeze(1), target, torch.nan)

    def _take(self, learnt: Learnt) -> None:
        for module, branch, directions in zip(self.own, learnt.branches, learnt.directions, strict=True):
            module.take(branch, directions)
        if learnt.joint is not None:
            self.joint_forest.take(learnt.joint.forest)
            self.joint_shares.copy_(torch.from_numpy(learnt.joint.shares))
        if learnt.crossing is not None:
            self.products.take(learnt.crossing, learnt.plain)
        for name in WEIGHTS:
            getattr(self, name).copy_(getattr(learnt.weights, name))
        if learnt.heard is not None:
            for name in EVIDENCE:
                getattr(self, f"presence_{name}").copy_(getattr(learnt.heard, name))
        if learnt.cut is not None and self.cut is not None:
            self.cut.copy_(learnt.cut)

    # ---- predicting ----

    def _columns(self, batch: Batch) -> list[Tensor]:
        return [
            columns(batch.values[name], batch.lengths.get(name), present, branch.kernels)
            for name, branch, present in zip(batch.names, self.own, batch.presence.unbind(1), strict=True)
        ]

    def forward(self, batch: Batch) -> Output:
        """Ask every member of what a row has, and pool what they say."""
        read = self.read(batch)
        alone = opinions(read["scores"], batch.presence, self.weights)
        branches = torch.where(batch.presence.unsqueeze(2), self.to_prediction(alone), torch.nan)
        prediction = self.predict_from(read, batch.presence)
        return Output(prediction, branches, {"shared": alone.flatten(1), "opinions": alone})

    def read(self, batch: Batch) -> dict[str, Tensor]:
        """What all combinations of a row's modalities share.

        Returns:
            ``scores`` (B, M * E, C) of the members of each modality, zeros where it is absent; ``columns``
            (B, sum of d) for the joint member, without any column where there is none; ``products`` (B, P).
        """
        scores, columns = [], []
        for branch, x, present in zip(self.own, self._columns(batch), batch.presence.unbind(1), strict=True):
            x = branch.standardise(x)
            scores.append(blank(branch(x, self.task.kind), present))
            columns.append(blank(x[:, : branch.d_plain], present))
        side_by_side = (
            torch.cat(columns, dim=1) if self.joint_forest.n_trees else scores[0].new_zeros(len(batch), 0)
        )
        products = self.products.products(torch.cat(columns, dim=1))
        return {"scores": torch.cat(scores, dim=1), "columns": side_by_side, "products": products}

    def predict_from(self, read: Mapping[str, Tensor], presence: Tensor) -> Tensor:
        """(B, C): the pool of what the present modalities' members say; the prior without any."""
        crossed = joint = None
        if self.products.n_terms:
            crossed = self.products(read["products"], presence).unsqueeze(1)
        if self.joint_forest.n_trees:
            joint = self._joint_scores(read["columns"], presence).unsqueeze(1)
        said = opinions(read["scores"], presence, self.weights)
        z = self.heard(fused(said, presence.unsqueeze(1), self.weights, crossed, joint)[:, 0], presence)
        return torch.where(presence.any(dim=1, keepdim=True), self.to_prediction(z), self.prior)

    def _joint_scores(self, columns: Tensor, presence: Tensor) -> Tensor:
        """(B, C) scores of the joint member; zeros where a row has fewer than two modalities."""
        scores = columns.new_zeros(len(columns), self.task.n_outputs)
        here = presence.sum(1) > 1
        widths = torch.tensor([branch.d_plain for branch in self.own], device=presence.device)
        seen = torch.where(presence[here].repeat_interleave(widths, dim=1), columns[here], torch.nan)
        raw = self.joint_forest(seen)
        said = torch.where(self.joint_forest.adds, raw.softmax(dim=1), raw)  # boosted trees speak of classes
        scores[here] = forest_scores(said, self.joint_shares, self.task.kind)
        return scores

    @property
    def own(self) -> tuple[BranchMembers, ...]:
        """The members of each modality."""
        return tuple(cast(BranchMembers, branch) for branch in self.branches)

    @property
    def heard(self) -> Evidence:
        """What presence tells: nothing, where it was not worth hearing."""
        return Evidence(*(getattr(self, f"presence_{name}") for name in EVIDENCE))

    @property
    def weights(self) -> Weights:
        """Of the pool."""
        return Weights(*(getattr(self, name) for name in WEIGHTS))


def _heard_everywhere(method: Committee, state: dict[str, Tensor], *_: Any) -> None:
    """Models of before have no word for how far presence is heard: they heard it of every row."""
    for name in ("presence_centre", "presence_inverse", "presence_reach"):
        state.setdefault(name, torch.zeros_like(getattr(method, name)))
