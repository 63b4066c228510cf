"""Figures of PgM's partition by epoch, and warnings about a finished history.

Everything here is a pure function that reads; nothing changes training. Letters: B rows, M modalities,
D neurons, K chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from polymodal.partition import SHARES, GateKind, Gates
from polymodal.partitioned import Parts

MIN_EPOCHS = 10
"""A shorter history is not judged."""
FULL = 0.98
"""A share above this is a collapse."""
N_FULL = 3
"""For so many epochs."""
NAMES = {"uni": "uni-modal", "paired": "paired", "shared": "shared", "unassigned": "unassigned"}


# ---- figures of one epoch ------------------------------------------------------------------------


def figures(parts: Parts, names: Sequence[str]) -> dict[str, float]:
    """Shares, cuts and reconstruction of each modality that some row has; meanings in the method's page."""
    found: dict[str, float] = {}
    for i, name in enumerate(names):
        rows = parts.presence[:, i]
        if rows.any():
            gates = Gates(parts.gates.uni[rows, i], parts.gates.paired[rows, i])
            found |= {f"{figure}/{name}{rest}": value for figure, rest, value in gate_figures(gates)}
            found[f"rebuilt/{name}"] = explained(parts.rebuilt[rows, i], parts.representation[rows, i])
    return {name: value for name, value in found.items() if isfinite(value)}


def gate_figures(gates: Gates) -> Iterator[tuple[str, str, float]]:
    """(figure, what follows the modality's name, value) of gates (N, K)."""
    for part, share in zip(SHARES, gates.shares().mean(0).tolist(), strict=True):
        yield f"share_{part}", "", share
    n_chunks = gates.uni.shape[-1]
    u, p = gates.cuts()
    for part, cut, place in (("uni", u, (u + 1) / n_chunks), ("paired", p, p / n_chunks)):
        yield f"cut_{part}", "", float(place.mean())
        yield f"cut_{part}_std", "", float(place.std(unbiased=False))
        shares = torch.bincount(cut, minlength=n_chunks) / len(cut)
        yield from ((f"cuts_{part}", f"/{k}", share) for k, share in enumerate(shares.tolist()) if share > 0)


def explained(rebuilt: Tensor, target: Tensor) -> float:
    """R2 of the reconstruction (N, D): 1 is perfect, 0 no better than the mean row; NaN for one row."""
    variance = (target - target.mean(0)).square().sum()
    return float(1 - (rebuilt - target).square().sum() / variance) if variance > 0 else float("nan")


# ---- sentences about a finished history ----------------------------------------------------------


def judge(history: Sequence[Mapping[str, Any]], *, gate: GateKind, rebuilding: bool) -> list[str]:
    """Warnings, each a sentence, about a history of epochs; none about one shorter than ``MIN_EPOCHS``.

    Args:
        history: as training keeps it.
        gate: only learnt gates collapse, and only ordered ones have cuts.
        rebuilding: whether reconstruction has a weight beside the task.
    """
    if len(history) < MIN_EPOCHS:
        return []
    return [
        *(judge_collapse(history) if gate in ("row", "static", "sigmoid") else ()),
        *(judge_cuts(history) if gate in ("row", "static") else ()),
        *(judge_reconstruction(history) if rebuilding else ()),
    ]


def judge_collapse(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A share that took nearly all neurons."""
    for part in SHARES:
        for name, last in by_modality(history[-1], f"share_{part}"):
            ending = [epoch.get(f"share_{part}/{name}", 0.0) for epoch in history[-N_FULL:]]
            if min(ending) > FULL:
                yield (
                    f"the partition of modality {name!r} has collapsed: {last:.0%} of its neurons are "
                    f"{NAMES[part]}; set overlap_weight above 0, or lower learning_rates for 'partitioner'"
                )


def judge_cuts(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Cuts that are, for every row and to the end, where they began."""
    first, last = history[0], history[-1]
    for name, _ in by_modality(last, "cut_uni"):
        still = all(
            abs(last[f"cut_{part}/{name}"] - first.get(f"cut_{part}/{name}", -1.0)) < 1e-6
            and last[f"cut_{part}_std/{name}"] < 1e-6
            for part in ("uni", "paired")
        )
        if still:
            yield (
                f"the cuts of modality {name!r} never left their start, so its partition has learnt nothing; "
                "raise learning_rates for 'partitioner', or train longer"
            )


def judge_reconstruction(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A reconstruction that explains little while the task's loss has halved."""
    tasks = [epoch["loss/task"] for epoch in history if "loss/task" in epoch]
    if len(tasks) < 2 or tasks[-1] >= max(tasks) / 2:  # a ramp begins at 0
        return
    for name, value in by_modality(history[-1], "rebuilt"):
        if value < 0.1:
            yield (
                f"the features of modality {name!r} rebuild {max(value, 0):.0%} of it although the task "
                "improved: the parts keep the task and lose the input; raise alpha or d_decoder"
            )


def by_modality(epoch: Mapping[str, Any], figure: str) -> Iterator[tuple[str, float]]:
    """(modality, value) of every ``figure/...`` of an epoch."""
    for name, value in epoch.items():
        if name.startswith(f"{figure}/"):
            yield name.removeprefix(f"{figure}/"), value
