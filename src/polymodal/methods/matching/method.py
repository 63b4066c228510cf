"""A committee for retrieval: each modality embedded alone, in unlike common spaces side by side.

The spaces are canonical components, those of a Gaussian kernel (:mod:`.canonical`), networks that learn by
contrast (:mod:`.towers`), and, where there are classes, the probabilities that the committee of
classifiers gives to them (:mod:`polymodal.methods.committee`), which learns from unlabelled rows too. How
much each counts is learnt on held-out pairs (:mod:`.pool`); then all learn again from all rows.

Letters: B rows, M modalities, d width, E spaces, D width of a space, C classes (0 where there are none).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import blank, masked_mean, step_mask
from polymodal.errors import ConfigError
from polymodal.losses import NORM_FLOOR
from polymodal.methods.base import Method, judge_number
from polymodal.methods.committee.method import MOST_SPREADS, Committee, CommitteeConfig, summarise
from polymodal.methods.matching import pool
from polymodal.methods.matching.canonical import Components, RandomFeatures
from polymodal.methods.matching.towers import N_EPOCHS, Towers
from polymodal.progress import Progress, progress

HELD_SHARE = 0.2
MOST_HELD = 800
"""Pairs that are held out, at most."""
MOST_JUDGED = 4000
"""Rows that are learnt from to be judged, at most."""
LEAST_HELD = 20
"""With fewer there is nothing to learn weights from."""


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of :class:`Matching`; the defaults are the same for all data."""

    n_towers: int = 2
    """Networks that learn by contrast."""
    n_trees: int = 100
    """Trees of a forest of the classes."""
    n_trees_judged: int = 40
    """Trees of a forest that serves judgement alone."""

    def __post_init__(self) -> None:
        judge_number(self, "n_towers", least=0, whole=True)
        judge_number(self, "n_trees", least=1, whole=True)
        judge_number(self, "n_trees_judged", least=1, whole=True)


def columns_of(source: Input) -> int:
    """d: how many columns the spaces see of a modality."""
    plain = source.kind == "vector" or source.top is not None
    return source.width if plain else 5 * source.width + 1


def columns(source: Input, value: Tensor, lengths: Tensor | None, present: Tensor) -> Tensor:
    """(B, d) columns of a modality, a sequence's being statistics; zeros where absent.

    Of a model whose last layers could be trained, they are the mean of the hidden states below.
    """
    if lengths is not None and source.top is not None:
        value = masked_mean(value, step_mask(lengths, value.shape[1]))
    elif lengths is not None:
        value = summarise(value, blank(lengths, present))
    return blank(value.float(), present)


class Spaces(nn.Module):
    """What is learnt from pairs: E common spaces."""

    def __init__(self, widths: Sequence[int], n_towers: int) -> None:
        super().__init__()
        for m, d in enumerate(widths):
            self.register_buffer(f"centre_{m}", torch.zeros(d))
            self.register_buffer(f"spread_{m}", torch.ones(d))
        self.linear = Components(widths)
        self.features = nn.ModuleList(RandomFeatures(d) for d in widths)
        self.kernel = Components([len(cast(RandomFeatures, own).phase) for own in self.features])
        self.towers = nn.ModuleList(Towers(widths) for _ in range(n_towers))

    @property
    def n_spaces(self) -> int:
        """E."""
        return 2 + len(self.towers)

    def standardise(self, x: Tensor, m: int) -> Tensor:
        """Columns (B, d) of modality m at mean 0 and spread 1, held within bounds."""
        x = (x - getattr(self, f"centre_{m}")) / getattr(self, f"spread_{m}")
        return x.clamp(-MOST_SPREADS, MOST_SPREADS)

    def learn(self, read: Sequence[Tensor], presence: Tensor, seed: int, shown: Progress) -> None:
        """Learn from the columns (n, d) of each modality and (n, M) presence."""
        values = []
        for m, (x, here) in enumerate(zip(read, presence.unbind(1), strict=True)):
            self._observe(x[here].double(), m)
            values.append(blank(self.standardise(x, m), here))
        there, random = presence.numpy(), np.random.default_rng(seed)
        self.linear.learn([value.double().numpy() for value in values], there)
        shown.step(lambda: "canonical components")
        for own in self.features:
            cast(RandomFeatures, own).draw(random)
        bent = [own(value) for own, value in zip(self.features, values, strict=True)]
        self.kernel.learn([value.double().numpy() for value in bent], there)
        shown.step(lambda: "canonical components of a kernel")
        for number, towers in enumerate(self.towers):
            told = lambda: shown.step(lambda: "contrast")  # noqa: E731 (a step a line)
            cast(Towers, towers).learn(values, presence, seed=seed + number, told=told)

    def _observe(self, x: Tensor, m: int) -> None:
        """Learn mean and spread of the (n, d) rows that have modality m."""
        if len(x):
            spread = x.std(dim=0, unbiased=False)
            getattr(self, f"centre_{m}").copy_(x.mean(dim=0))
            constant = spread <= 1e-6 * x.mean(dim=0).abs() + 1e-12
            getattr(self, f"spread_{m}").copy_(torch.where(constant, 1.0, spread))

    def forward(self, x: Tensor, m: int) -> Tensor:
        """(B, d) columns of modality m to (B, E, D), each of unit length."""
        x = self.standardise(x, m)
        found = [self.linear(x, m), self.kernel(self.features[m](x), m), *(t(x, m) for t in self.towers)]
        return torch.stack([F.normalize(z, dim=-1, eps=NORM_FLOOR) for z in found], dim=1)


class Matching(Method):
    """A committee of common spaces; learns by itself, without the training loop.

    ``Output.prediction`` is the mean of the present modalities' class probabilities (B, C).
    ``Output.latents``: ``embeddings`` (B, M, E D + C + M) of unit length, NaN where absent.

    Raises:
        ConfigError: the task is none of retrieval.
    """

    Config = MatchingConfig
    late_fusion = True
    learns_alone = True
    config: MatchingConfig

    pair_weights: Tensor
    class_weight: Tensor

    def __init__(self, inputs: Sequence[Input], task: Task, config: MatchingConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        if task.kind != "retrieval":
            raise ConfigError(
                f"Matching learns a common space; the task {task.kind} came; take the committee for it"
            )
        self.widths = [columns_of(source) for source in self.inputs]
        self._renew(self.config.n_trees)
        self.register_buffer("pair_weights", torch.full((self.spaces.n_spaces,), pool.START))
        self.register_buffer("class_weight", torch.tensor(pool.START_CLASSES))

    def _renew(self, n_trees: int) -> None:
        """Spaces and classifiers that have learnt nothing."""
        c = self.config
        self.spaces = Spaces(self.widths, c.n_towers)
        self.classifiers = None
        if self.task.n_outputs > 1:
            trees = CommitteeConfig(n_trees=n_trees, n_trees_judged=c.n_trees_judged, joint=False)
            self.classifiers = Committee(self.inputs, Task("multiclass", self.task.n_outputs), trees)

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
        """Learn weights from held-out pairs, then everything from all rows; see :meth:`Method.learn`."""
        del monitor
        assert rows.y is not None
        assert rows.labelled is not None
        self.observe(rows.y[rows.labelled])
        held, kept = held_out(rows.presence.numpy(), groups, np.random.default_rng(seed))
        entry: dict[str, Any] = {"stage": "judged", "epoch": 0}
        per_pass = 2 + self.config.n_towers * N_EPOCHS
        start = time.perf_counter()
        with progress("fit", 2 * per_pass, verbose=verbose) as shown:
            if len(held):
                own = None if groups is None else groups[kept]
                self._learn_from(rows.rows(torch.from_numpy(kept)), seed, own, shown, judged=True)
                entry |= self._weigh(rows.rows(torch.from_numpy(held)))
            self._learn_from(rows, seed, groups, shown, judged=False)
        rule = f"weights learnt on {len(held)} held-out pairs"
        if not len(held):
            rule = f"equal weights: fewer than {LEAST_HELD} held-out pairs to learn them from"
        return [entry | {"seconds": time.perf_counter() - start, "rule": rule}]

    def _learn_from(
        self, rows: Batch, seed: int, groups: np.ndarray | None, shown: Progress, *, judged: bool
    ) -> None:
        self._renew(self.config.n_trees_judged if judged else self.config.n_trees)
        self.spaces.learn(self._columns(rows), rows.presence, seed, shown)
        assert rows.labelled is not None
        if self.classifiers is not None and rows.labelled.any():
            self.classifiers.learn(rows, seed=seed, groups=groups)

    @torch.no_grad()
    def _weigh(self, held: Batch) -> dict[str, float]:
        """Learn the weights from pairs that nothing has learnt from; what came of it, for the history."""
        spaces, classes = self._spaces(held), self._class_space(held)
        similar = pool.similarities(spaces, held.presence)
        with torch.enable_grad():
            self.pair_weights.copy_(pool.pair_weights(similar, self.spaces.n_spaces))
        names = ("linear", "kernel", *(f"contrast_{i}" for i in range(self.config.n_towers)))
        entry = {f"weight/{n}": w for n, w in zip(names, self.pair_weights.tolist(), strict=True)}
        entry["validation_loss"] = float(pool.pair_loss(self.pair_weights, similar)) if similar else 0.0
        assert held.y is not None
        assert held.labelled is not None
        known = held.labelled & (held.presence.sum(dim=1) > 1)
        similar = pool.similarities(spaces[known], held.presence[known])
        if self.classifiers is not None and similar and known.sum() >= LEAST_HELD:
            found = pool.class_weight(
                similar, self.pair_weights, classes[known], held.presence[known], held.y[known]
            )
            self.class_weight.fill_(found[0])
            entry |= dict(zip(("weight/classes", "class_share", "map"), found, strict=True))
        return entry

    def observe(self, y: Tensor) -> None:
        """Class shares, not quite 0, where there are classes."""
        if self.task.n_outputs:
            counts = torch.bincount(y, minlength=self.task.n_outputs).to(self.prior) + 0.5
            self.prior.copy_(counts / counts.sum())

    # ---- embedding -------------------------------------------------------------------------------

    def _columns(self, batch: Batch) -> list[Tensor]:
        return [
            columns(source, batch.values[source.name], batch.lengths.get(source.name), present)
            for source, present in zip(self.inputs, batch.presence.unbind(1), strict=True)
        ]

    def _spaces(self, batch: Batch) -> Tensor:
        """(B, M, E, D), each of unit length, zeros where absent."""
        found = [
            blank(self.spaces(x, m), here)
            for m, (x, here) in enumerate(zip(self._columns(batch), batch.presence.unbind(1), strict=True))
        ]
        return torch.stack(found, dim=1)

    def _shares(self, batch: Batch) -> Tensor:
        """(B, M, C) probabilities of the classes by each modality alone, NaN where absent."""
        if self.classifiers is None:
            return self.prior.expand(*batch.presence.shape, -1)
        branches = self.classifiers(batch).branches
        assert branches is not None
        return branches

    def _class_space(self, batch: Batch) -> Tensor:
        """(B, M, C): inner products are how much likelier than by chance two rows are of one class."""
        return self._shares(batch) / self.prior.sqrt()

    def forward(self, batch: Batch) -> Output:
        """Embed each present modality by itself."""
        there = batch.presence.unsqueeze(2)
        shares = torch.where(there, self._shares(batch), torch.nan)
        return Output(
            prediction=self.late_fuse(shares, batch.presence),
            branches=shares,
            latents={"embeddings": torch.where(there, self._embeddings(batch), torch.nan)},
        )

    def _embeddings(self, batch: Batch) -> Tensor:
        """(B, M, E D + C + M): all spaces by their weights, and what is lacking to unit length.

        The last has a direction of its own for each modality: it says nothing between two of them.
        """
        spaces = (self._spaces(batch) * self.pair_weights.sqrt().unsqueeze(1)).flatten(2)
        parts, most = [spaces], self.pair_weights.sum()
        if self.classifiers is not None:
            parts.append(self._class_space(batch) * self.class_weight.sqrt())
            most = most + self.class_weight / self.prior.min()
        found = torch.cat(parts, dim=2) / most.sqrt()
        lacking = (1 - found.square().sum(dim=2)).clamp(min=0.0).sqrt()
        return torch.cat([found, torch.diag_embed(lacking)], dim=2)


def held_out(
    presence: np.ndarray, groups: np.ndarray | None, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs to judge by, and the rows to learn from: whole groups, where there are groups.

    Args:
        presence: (n, M) bool.
        groups: (n,) of the rows, or None.
        random: of the draw.
    """
    everything, pairs = np.arange(len(presence)), presence.sum(axis=1) > 1
    names = everything if groups is None else np.unique(groups, return_inverse=True)[1]
    drawn = random.permutation(np.unique(names[pairs]))
    mine = np.isin(names, drawn[: round(HELD_SHARE * len(drawn))])
    held = np.flatnonzero(mine & pairs)
    if len(held) < LEAST_HELD or not (pairs & ~mine).any():
        return np.empty(0, dtype=np.int64), everything
    chosen = np.sort(random.permutation(held)[:MOST_HELD])
    kept = np.flatnonzero(~mine if groups is not None else ~np.isin(everything, chosen))
    kept = random.permutation(kept)
    kept = kept[np.argsort(~pairs[kept], kind="stable")]  # pairs before others
    return chosen, np.sort(kept[:MOST_JUDGED])


__all__ = ["Matching", "MatchingConfig"]
