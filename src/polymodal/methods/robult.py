"""Robult: shared, unique and synergistic parts of every modality, learnt from few labels.

"Robult: Leveraging Redundancy and Modality-Specific Features for Robust Multimodal Learning",
arXiv 2509.03477, IJCAI 2025. Each modality i has a branch f_i, a unique part U_i = g_i(H_i) and a shared
part Z_i = g_0(H_i); one classifier c reads both and serves every branch. A fused branch f_0 sees all
modalities and gives the synergy S = g_0(H_0), towards which a soft positive-unlabelled contrast pulls each
Z_i. Prediction is late: the mean of the present branches, so one model serves every subset of modalities.

Where the paper leaves something open, ``NOTE[DIFF n]`` marks what we do; the list is in ``docs/robult.md``.
Letters: B rows, M modalities, T steps, d latent width, k unique width, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input, Output, Task
from polymodal.blocks import (
    Branches,
    CrossModalFusion,
    FlatGRUBranch,
    LinearPerModality,
    ResidualMLP,
    SetFusion,
    blank,
    mlp,
)
from polymodal.errors import ConfigError, DataError
from polymodal.losses import (
    ContrastTerms,
    Reference,
    Weighting,
    latent_reconstruction,
    reference_distances,
    soft_pu_contrast,
)
from polymodal.methods import robult_diagnostics
from polymodal.methods.base import Method, Step
from polymodal.methods.robult_diagnostics import Space

T = TypeVar("T")

N_REFERENCE = 1024
"""Distances of true positive pairs that are remembered for each modality."""
N_REFERENCE_STEP = 256
"""At most so many of them come from one batch."""
N_DIAGNOSED = 256
"""Rows that the figures of an epoch are read from."""
N_BINS = 7
"""Classes that a regression label is cut into for the contrast."""
LOSSES = ("labelled", "unlabelled", "reconstruction", "supervised")
"""The terms: L_lb, L_ulb, L_rec, L_sup."""


@dataclass(frozen=True)
class RobultConfig:
    """Settings of :class:`Robult`."""

    preset: Literal["default", "mosi"] = "default"
    """``"mosi"`` takes the GMC backbone for aligned series of up to 50 steps; see the method's page."""
    d_latent: int | None = None
    """Width d of H, Z and S; None takes the preset's: 64, or 60 for ``"mosi"``."""
    d_unique: int | None = None
    """Width k of U; 0 leaves the unique part out; None takes the preset's: d / 4, or d for ``"mosi"``."""
    temperature: float = 0.3
    """Temperature of the contrast."""
    weighting: Weighting = "l1"
    """Trust in a pair that shares a pseudo-label: rbf, rbf_one_sided, l1, l2, hard, none or density.

    NOTE[DIFF 11]: the paper settles on rbf and finds l1 and l2 level with it; here rbf lost to both.
    """
    loss_weights: Mapping[str, float] | None = None
    """Weights of labelled, unlabelled, reconstruction and supervised; one that is not named weighs 1."""
    ramp: float = 0.2
    """Share of the epochs over which the unlabelled part of the contrast grows to its full weight."""
    sequence: Literal["gru", "transformer"] = "gru"
    """The branch of a series."""
    dropout: float = 0.0
    """Dropout in the branches."""
    learning_rate: float = 1e-3
    """Step size of AdamW.

    NOTE[DIFF 12]: the optimiser, and the share of labelled rows in a batch, are ours.
    """
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""


@dataclass(frozen=True)
class Preset:
    """What a preset fixes."""

    d_latent: int
    n_steps: int | None = None
    bin_edges: tuple[float, ...] | None = None


PRESETS = {
    "default": Preset(d_latent=64),
    "mosi": Preset(d_latent=60, n_steps=50, bin_edges=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)),
}


# ---- judging a config ----------------------------------------------------------------------------


def judge_config(config: RobultConfig, inputs: Sequence[Input]) -> None:
    """Refuse settings out of range.

    Raises:
        ConfigError: a value is unknown or out of range, or the preset does not fit the inputs.
    """
    judge_choices(config)
    for name, least in (("d_latent", 2), ("d_unique", 0)):
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ConfigError(
                f"{name} must be a whole number from {least} up; got {value!r}; leave it out for the preset's"
            )
    for name in ("temperature", "learning_rate"):
        value = getattr(config, name)
        if not (is_number(value) and value > 0):
            raise ConfigError(f"{name} must be a number above 0; got {value!r}; leave it out for the default")
    for name in ("ramp", "dropout"):
        value = getattr(config, name)
        if not (is_number(value) and 0 <= value < 1):
            raise ConfigError(f"{name} must lie in [0, 1); got {value!r}; 0 switches it off")
    if not (is_number(config.weight_decay) and config.weight_decay >= 0):
        raise ConfigError(f"weight_decay must be 0 or more; got {config.weight_decay!r}; 0 switches it off")
    judge_loss_weights(config.loss_weights or {})
    if config.preset == "mosi":
        judge_mosi(config, inputs)


def is_number(value: object) -> bool:
    """Whether this is a finite int or float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def judge_choices(config: RobultConfig) -> None:
    """Refuse unknown names."""
    choices = {
        "preset": tuple(PRESETS),
        "weighting": get_args(Weighting),
        "sequence": ("gru", "transformer"),
    }
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ConfigError(
                f"{name} must be a known name; got {getattr(config, name)!r}; "
                f"choose one of {', '.join(known)}"
            )


def judge_loss_weights(weights: Mapping[str, float]) -> None:
    """Refuse unknown losses and negative weights."""
    for name, weight in weights.items():
        if name not in LOSSES:
            raise ConfigError(f"loss_weights names losses; got {name!r}; choose among {', '.join(LOSSES)}")
        if not (is_number(weight) and weight >= 0):
            raise ConfigError(
                f"a loss weight must be 0 or more; got {weight!r} for {name!r}; 0 switches it off"
            )


def judge_mosi(config: RobultConfig, inputs: Sequence[Input]) -> None:
    """The GMC backbone reads two or more series through GRUs, with five heads."""
    vectors = [source.name for source in inputs if source.kind != "series"]
    if vectors or len(inputs) < 2:
        came = f"modality {vectors[0]!r} is a vector" if vectors else f"{len(inputs)} modality came"
        raise ConfigError(f"preset 'mosi' needs two or more series; {came}; use preset='default'")
    if config.sequence != "gru":
        raise ConfigError(
            f"preset 'mosi' reads series by GRUs; got sequence={config.sequence!r}; leave it out"
        )


# ---- parts ---------------------------------------------------------------------------------------


def scale_free(x: Tensor) -> Tensor:
    """Layer norm without parameters over the last axis: parts that are added come on one scale."""
    return F.layer_norm(x, x.shape[-1:])


class GMCBranches(nn.Module):
    """f_1..f_M of the preset ``mosi``: (B, M, d), zeros where absent."""

    def __init__(self, inputs: Sequence[Input], n_steps: int, d: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.branches = nn.ModuleList(FlatGRUBranch(source.width, d // 2, n_steps, d) for source in inputs)

    def forward(self, batch: Batch) -> Tensor:
        """(B, M, d).

        Raises:
            DataError: a present series is longer than ``n_steps``.
        """
        outputs = []
        for i, (name, module) in enumerate(zip(batch.names, self.branches, strict=True)):
            present, lengths = batch.presence[:, i], batch.lengths[name]
            longest = int(blank(lengths, present).max()) if len(lengths) else 0
            if longest > self.n_steps:
                raise DataError(
                    f"preset 'mosi' reads up to {self.n_steps} steps (shorter series are padded); "
                    f"modality {name!r} has one of {longest}; cut it or use preset='default'"
                )
            outputs.append(module(batch.values[name], present, lengths))
        return blank(torch.stack(outputs, dim=1), batch.presence)


class DefaultFusion(nn.Module):
    """f_0 by default: a masked mean of the present H_i plus a set transformer over them.

    NOTE[DIFF 10]: reads whatever is present; nothing stands in for an absent modality, here or in a loss.
    """

    def __init__(self, n_modalities: int, d: int, dropout: float) -> None:
        super().__init__()
        self.fusion = SetFusion(n_modalities, d, dropout)

    def forward(self, batch: Batch, hidden: Tensor) -> Tensor:
        """H (B, M, d) to H_0 (B, d)."""
        return self.fusion(hidden, batch.presence)


class GMCFusion(nn.Module):
    """f_0 of the preset ``mosi``, from the raw series.

    NOTE[DIFF 10]: an absent source's cross-modal output is zero, and so is an absent target's block.
    """

    def __init__(self, inputs: Sequence[Input], d: int, dropout: float) -> None:
        super().__init__()
        self.fusion = CrossModalFusion(inputs, d_model=30, n_heads=5, n_layers=5, d=d, dropout=dropout)

    def forward(self, batch: Batch, hidden: Tensor) -> Tensor:
        """The series of a batch to H_0 (B, d)."""
        del hidden
        return self.fusion(batch)


class Pairs(NamedTuple):
    """What the contrast of one modality reads, over the K rows that have it."""

    anchors: Tensor
    targets: Tensor
    classes: Tensor | None
    labelled: Tensor
    label_sets: Tensor | None


# ---- the method ----------------------------------------------------------------------------------


class Robult(Method):
    """Robult for vectors and series; prediction is the mean of the present modalities' branches.

    ``Output.latents``: ``hidden`` H (B, M, d), ``redundant`` Z (B, M, d), ``logits`` (B, M, C), and
    ``shared`` (B, d): the mean of the present modalities' Z_i, each of unit length; NaN for a row without any
    modality.

    Raises:
        ConfigError: a setting is out of range.
    """

    Config = RobultConfig
    late_fusion = True
    # NOTE[DIFF 1]: f_0 has no part in a prediction (late fusion), so it is not saved either.
    training_only = ("fusion", "reconstruction", "reference", "bin_edges")
    config: RobultConfig

    reference: Tensor
    bin_edges: Tensor

    def __init__(self, inputs: Sequence[Input], task: Task, config: RobultConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        judge_config(self.config, self.inputs)
        preset = PRESETS[self.config.preset]
        n, d = len(self.inputs), self.config.d_latent or preset.d_latent
        if self.config.preset == "mosi":
            self.build_gmc(n, d, preset.n_steps or 0)
        else:
            self.build_default(n, d)
        self.register_buffer("reference", torch.full((n, N_REFERENCE), torch.nan))
        edges = preset.bin_edges or (torch.nan,) * (N_BINS - 1)
        self.register_buffer("bin_edges", torch.tensor(edges))

    def build_default(self, n: int, d: int) -> None:
        """Small networks, any mixture of vectors and series."""
        c = self.config
        # NOTE[DIFF 2]: U is narrower than H, else r_i could copy H out of U alone.
        k = max(1, d // 4) if c.d_unique is None else c.d_unique
        self.branches: nn.Module = Branches(self.inputs, d, sequence=c.sequence, dropout=c.dropout)
        self.fusion: nn.Module = DefaultFusion(n, d, c.dropout)
        self.extract_shared: nn.Module = mlp(d, d, d)
        self.build_unique(n, d, k)
        self.classifier: nn.Module = nn.Linear(d, self.task.n_outputs)

    def build_gmc(self, n: int, d: int, n_steps: int) -> None:
        """NOTE[DIFF 3]: the backbone of GMC (arXiv 2202.03390), inferred from the paper's parameter count."""
        k = d if self.config.d_unique is None else self.config.d_unique
        self.branches = GMCBranches(self.inputs, n_steps, d)
        self.fusion = GMCFusion(self.inputs, d, self.config.dropout)
        self.extract_shared = nn.Linear(d, d)
        self.build_unique(n, d, k)
        self.classifier = nn.Sequential(ResidualMLP(d), nn.Linear(d, self.task.n_outputs))

    def build_unique(self, n: int, d: int, k: int) -> None:
        """g_1..g_M and r_1..r_M, two layers each, side by side; U is mapped to d where it is added."""
        self.d_unique = k
        if k == 0:
            self.reconstruction = None
            return
        self.extract_unique = nn.Sequential(LinearPerModality(n, d, d), nn.GELU(), LinearPerModality(n, d, k))
        self.lift_unique = nn.Identity() if k == d else LinearPerModality(n, k, d)
        self.reconstruction = nn.Sequential(
            LinearPerModality(n, k + d, d), nn.GELU(), LinearPerModality(n, d, d)
        )

    # ---- prediction ------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Output:
        """Every present modality through its own branch, and their mean."""
        hidden = self.branches(batch)
        redundant = self.extract_shared(hidden)
        logits = self.classifier(self.join(hidden, redundant))
        branches = self.to_prediction(logits)
        present = batch.presence.unsqueeze(-1)
        return Output(
            prediction=self.late_fuse(branches, batch.presence),
            branches=torch.where(present, branches, torch.nan),
            latents={
                "hidden": hidden,
                "redundant": redundant,
                "logits": logits,
                "shared": mean_direction(redundant, batch.presence),
            },
        )

    def join(self, hidden: Tensor, redundant: Tensor) -> Tensor:
        """What c reads on a modality branch, (B, M, d).

        NOTE[DIFF 4]: Z_i + U_i, each on the same scale; with Z_i alone L_rec could reach no prediction.
        """
        if self.d_unique == 0:
            return scale_free(redundant)
        return scale_free(redundant) + scale_free(self.lift_unique(self.extract_unique(hidden)))

    def synergy(self, batch: Batch, hidden: Tensor) -> Tensor:
        """S = g_0(f_0(x_1..x_M)), (B, d)."""
        return self.extract_shared(self.fusion(batch, hidden))

    # ---- losses ----------------------------------------------------------------------------------

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """L_lb, L_ulb, L_rec and L_sup, weighted."""
        hidden, redundant = output.latents["hidden"], output.latents["redundant"]
        synergy = self.synergy(batch, hidden)
        contrast = self.contrast(batch, output, synergy)
        # NOTE[DIFF 5]: L_ulb grows in, for the first pseudo-labels are wrong.
        ramp = min(1.0, step.progress / self.config.ramp) if self.config.ramp > 0 else 1.0
        terms = {
            "labelled": contrast.labelled,
            "unlabelled": ramp * contrast.unlabelled,
            "supervised": self.supervised(batch, output.latents["logits"], synergy),
        }
        if self.d_unique:
            terms["reconstruction"] = self.reconstruct(hidden, redundant, batch.presence)
        weights = self.config.loss_weights or {}
        return {name: weights.get(name, 1.0) * term for name, term in terms.items()}

    def contrast(self, batch: Batch, output: Output, synergy: Tensor) -> ContrastTerms:
        """L_lb and L_ulb: S against each Z_i over the rows that have modality i.

        NOTE[DIFF 6]: the mean over the modalities, so that more of them do not make the contrast heavier.
        """
        classes, label_sets = self.classes(batch, output.prediction.detach())
        terms = []
        for i in range(len(self.inputs)):
            rows = batch.presence[:, i].nonzero().squeeze(1)
            pairs = Pairs(
                synergy[rows],
                output.latents["redundant"][rows, i],
                None if classes is None else classes[rows],
                given(batch.labelled)[rows],
                None if label_sets is None else label_sets[rows],
            )
            if self.training:
                self.remember(i, pairs)
            terms.append(self.contrast_of(i, pairs))
        return ContrastTerms(*(torch.stack(parts).mean() for parts in zip(*terms, strict=True)))

    def contrast_of(self, i: int, pairs: Pairs) -> ContrastTerms:
        """L_lb and L_ulb of one modality."""
        return soft_pu_contrast(
            pairs.anchors,
            pairs.targets,
            pairs.classes,
            pairs.labelled,
            temperature=self.config.temperature,
            weighting=self.config.weighting,
            reference=self.reference_of(i),
            label_sets=pairs.label_sets,
        )

    def remember(self, i: int, pairs: Pairs) -> None:
        """Put the batch's distances of true positive pairs before the older ones of modality i.

        NOTE[DIFF 7]: a buffer for each modality, of the last ``N_REFERENCE`` distances.
        """
        distances = reference_distances(
            pairs.anchors,
            pairs.targets,
            pairs.classes,
            pairs.labelled,
            limit=N_REFERENCE_STEP,
            label_sets=pairs.label_sets,
        )
        self.reference[i] = torch.cat([distances.to(self.reference), self.reference[i]])[:N_REFERENCE]

    def reference_of(self, i: int) -> Reference:
        """The remembered distances of modality i."""
        row = self.reference[i]
        return Reference.from_distances(row[~row.isnan()])

    def classes(self, batch: Batch, prediction: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class (B,) of every row, or its label set (B, C): its label, or its pseudo-label.

        Args:
            batch: labels are read where ``labelled``.
            prediction: (B, C), detached; the fused prediction.
        """
        y, labelled = given(batch.y), given(batch.labelled)
        if self.task.kind == "multilabel":
            # NOTE[DIFF 8]: a masked entry of a labelled row is filled by its pseudo-label.
            known = labelled.unsqueeze(1) & ~y.isnan()
            return None, torch.where(known, y >= 0.5, prediction >= 0.5)
        if self.task.kind == "multiclass":
            return torch.where(labelled, y, prediction.argmax(dim=1)), None
        return self.bins(torch.where(labelled, y.to(prediction.dtype), prediction.squeeze(1))), None

    def bins(self, values: Tensor) -> Tensor:
        """The class (N,) of regression values (N,)."""
        return torch.bucketize(values.contiguous(), self.bin_edges.to(values.dtype))

    def reconstruct(self, hidden: Tensor, redundant: Tensor, presence: Tensor) -> Tensor:
        """L_rec over present (row, modality) pairs; H and Z enter detached: only g_i and r_i learn."""
        assert self.reconstruction is not None
        hidden, redundant = hidden.detach(), redundant.detach()
        unique = self.extract_unique(hidden)
        rebuilt = self.reconstruction(torch.cat([unique, redundant], dim=-1))
        return latent_reconstruction(rebuilt[presence], hidden[presence])

    def supervised(self, batch: Batch, logits: Tensor, synergy: Tensor) -> Tensor:
        """L_sup: the task's loss on labelled rows, over every present branch (B, M, C) and the fused one."""
        fused = self.classifier(scale_free(synergy)).unsqueeze(1)
        some = batch.presence.any(dim=1, keepdim=True)
        n_branches = logits.shape[1] + 1
        stacked = Batch(
            values={},
            presence=torch.cat([batch.presence, some], dim=1).reshape(-1, 1),
            y=given(batch.y).repeat_interleave(n_branches, dim=0),
            labelled=given(batch.labelled).repeat_interleave(n_branches),
        )
        return self.supervised_loss(stacked, torch.cat([logits, fused], dim=1).flatten(0, 1))

    # ---- training --------------------------------------------------------------------------------

    def observe(self, y: Tensor) -> None:
        """Learn the prior, the scale, and the class edges of a regression from the labelled rows."""
        super().observe(y)
        if self.task.kind == "regression" and PRESETS[self.config.preset].bin_edges is None:
            # NOTE[DIFF 9]: "class" of a value: one of seven equal bins over the labelled range.
            edges = torch.linspace(float(y.min()), float(y.max()), N_BINS + 1)[1:-1]
            self.bin_edges.copy_(edges)

    # ---- what a user is told ---------------------------------------------------------------------

    @torch.no_grad()
    def diagnostics(self, batch: Batch, output: Output, monitor: Tensor | None) -> dict[str, float]:
        """Figures of one epoch, from at most ``N_DIAGNOSED`` rows; their meaning is in the method's page."""
        every = -(-len(batch) // N_DIAGNOSED)
        kept = torch.arange(0, len(batch), max(1, every), device=batch.presence.device)
        batch, hidden = batch.rows(kept), output.latents["hidden"][kept].detach()
        prediction = output.prediction[kept].detach()
        classes, label_sets = self.classes(batch, prediction)
        space = Space(
            batch=batch,
            prediction=prediction,
            branches=given(output.branches)[kept].detach(),
            synergy=self.synergy(batch, hidden),
            redundant=output.latents["redundant"][kept].detach(),
            unique=self.extract_unique(hidden) if self.d_unique else None,
            classes=given(classes)
            if label_sets is None
            else label_sets.unique(dim=0, return_inverse=True)[1],
            confidence=self.confidence(prediction),
        )
        found = robult_diagnostics.figures(space) | robult_diagnostics.reference_figures(self.reference)
        found |= self.branch_figures(space)
        if monitor is not None:
            found |= self.monitor_figures(space, classes, label_sets, monitor[kept])
        return found

    def confidence(self, prediction: Tensor) -> Tensor | None:
        """(B,) how sure each prediction (B, C) is; None for a regression."""
        if self.task.kind == "regression":
            return None
        if self.task.kind == "multilabel":
            return torch.maximum(prediction, 1 - prediction).mean(1)
        return prediction.amax(1)

    def branch_figures(self, space: Space) -> dict[str, float]:
        """Score of each branch on labelled rows, and how far it is above chance."""
        y, labelled = given(space.batch.y), given(space.batch.labelled)
        found: dict[str, float] = {}
        for i, name in enumerate(space.batch.names):
            rows = labelled & space.batch.presence[:, i]
            if rows.any():
                score, chance = self.score(space.branches[rows, i], y[rows])
                found |= {f"branch_score/{name}": score, f"branch_gain/{name}": score - chance}
        return found

    def score(self, prediction: Tensor, y: Tensor) -> tuple[float, float]:
        """Accuracy (of classes, of label entries) or R2 of (N, C) predictions, and what the prior gets."""
        if self.task.kind == "multiclass":
            return float((prediction.argmax(1) == y).float().mean()), float(
                (self.prior.argmax() == y).float().mean()
            )
        if self.task.kind == "multilabel":
            known = ~y.isnan()
            right = ((prediction >= 0.5) == (y >= 0.5))[known]
            right_by_prior = ((self.prior >= 0.5) == (y >= 0.5))[known]
            return float(right.float().mean()), float(right_by_prior.float().mean())
        error = (prediction.squeeze(1) - y).square().mean() / self.scale.square()
        return float(1 - error), 0.0

    def monitor_figures(
        self, space: Space, classes: Tensor | None, label_sets: Tensor | None, monitor: Tensor
    ) -> dict[str, float]:
        """Pseudo-label accuracy, and mean weights of true and false positive pairs, against hidden labels."""
        everything = Batch(
            {}, space.batch.presence, y=monitor, labelled=torch.ones_like(given(space.batch.labelled))
        )
        true_classes, true_sets = self.classes(everything, space.prediction)
        unlabelled = ~given(space.batch.labelled) & space.batch.presence.any(dim=1)
        guess, truth = (classes, true_classes) if label_sets is None else (label_sets, true_sets)
        right = (given(guess) == given(truth))[unlabelled].float()
        found = {"pseudo_accuracy": float(right.mean())} if len(right) else {}
        references = [self.reference_of(i) for i in range(len(self.inputs))]
        return found | robult_diagnostics.monitored_weights(
            space, alike(given(guess)), alike(given(truth)), self.config.weighting, references
        )

    def judge(self, history: Sequence[Mapping[str, Any]]) -> list[str]:
        """Warnings about collapse, idle parts, drifting pseudo-labels, and useless or doubled modalities."""
        return robult_diagnostics.judge(history)


def given(value: T | None) -> T:
    """What is there by contract: a batch in training has labels."""
    assert value is not None
    return value


def alike(classes: Tensor) -> Tensor:
    """(B, B) bool: the same class of (B,), or a Jaccard index of at least 1/2 of label sets (B, C)."""
    if classes.dim() == 1:
        return classes.unsqueeze(1) == classes
    sets = classes.float()
    shared = sets @ sets.T
    return 2 * shared >= (sets.sum(1, keepdim=True) + sets.sum(1) - shared).clamp(min=1)


def mean_direction(parts: Tensor, presence: Tensor) -> Tensor:
    """Mean over present modalities of the unit vectors of (B, M, d); NaN where there is none."""
    total = blank(F.normalize(parts.float(), dim=-1), presence).sum(1)
    count = presence.sum(1, keepdim=True)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)


__all__ = ["Robult", "RobultConfig"]
