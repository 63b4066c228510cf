"""PgM: stages, learning rates by name, fusions and losses against loops, diagnostics, the public door."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from batches import MIXED, TASKS, VECTORS, random_batch
from polymodal import MethodClassifier, checkpoint, load, load_dataset
from polymodal.batch import Batch
from polymodal.errors import ConfigError, TrainingWarning
from polymodal.methods import pgm_diagnostics
from polymodal.methods.base import Stage, Step
from polymodal.methods.pgm import HEADS, PARTS, PgM, PgMConfig
from polymodal.partition import SHARES, Gates
from polymodal.partitioned import Parts
from polymodal.training import TrainingConfig, fit, loop

SMALL = {
    **{"d_latent": 8, "chunk": 2, "d_token": 4, "d_decoder": 6, "n_iterations": 1, "n_layers": 1},
    **{"gate": "row", "mask": "chunks", "parts": "both", "fusion": "concat", "schedule": "two_stage"},
    **{"pretrain_share": 2 / 7, "alpha": 1.0, "beta": 1.0, "modality_dropout": 0.5, "learning_rate": 1e-3},
    **{"uni_weight": 0.0, "contrast_weight": 0.0, "overlap_weight": 0.0},
}
"""Small, and with defaults spelt out, so that a better default breaks no test."""
LAST = Step("finetune", 0, 0.5)


def method(inputs=VECTORS, kind: str = "multiclass", seed: int = 0, **settings) -> PgM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PgM(inputs, TASKS[kind], PgMConfig(**{**SMALL, **settings}))


def rows(inputs=VECTORS, kind: str = "multiclass", n: int = 24, seed: int = 1) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return random_batch(inputs, TASKS[kind], n)


def fitted(method_: PgM, batch: Batch, *, max_epochs: int = 7, **settings) -> list[dict]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        config = TrainingConfig(max_epochs=max_epochs, batch_size=12, **settings)
        return fit(method_, batch, None, config, seed=0, verbose=False)


def losses(method_: PgM, batch: Batch, step: Step = LAST) -> dict[str, Tensor]:
    return method_.losses(batch, method_(batch), step)


def unchanged(before: dict[str, Tensor], method_: PgM) -> set[int]:
    """Ids of the parameters that are, bit for bit, what they were."""
    return {id(p) for name, p in method_.named_parameters() if torch.equal(p, before[name])}


def copied(method_: PgM) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in method_.named_parameters()}


# ---- stages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [("pretrain", 2 / 7), ("finetune", 5 / 7)]),
        ({"pretrain_share": 0.4}, [("pretrain", 0.4), ("finetune", 0.6)]),
        ({"schedule": "joint"}, [("joint", 1.0)]),
        ({"schedule": "ramp"}, [("ramp", 1.0)]),
    ],
)
def test_each_schedule_has_its_stages(settings, expected):
    found = [(stage.name, stage.share) for stage in method(**settings).stages()]
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [share for _, share in found] == pytest.approx([share for _, share in expected])


def test_without_pretraining_there_is_one_stage():
    (stage,) = method(schedule="two_stage", pretrain_share=0.0).stages()
    assert stage.share == 1


def test_the_first_stage_leaves_the_head_alone():
    method_, batch = method(schedule="two_stage", pretrain_share=0.3), rows()
    start, between = copied(method_), {}

    class Watched(PgM):
        def trainable(self, stage: Stage):
            between[stage.name] = copied(self)
            return super().trainable(stage)

    method_.__class__ = Watched
    history = fitted(method_, batch)
    assert [entry["stage"] for entry in history] == ["pretrain"] * 2 + ["finetune"] * 5
    for name, value in between["finetune"].items():
        assert torch.equal(value, start[name]) == name.startswith("head."), name
    assert "loss/task" not in history[0]
    for name, value in copied(method_).items():
        assert not torch.equal(value, between["finetune"][name]), name


@pytest.mark.parametrize("schedule", ["two_stage", "joint", "ramp"])
def test_gates_harden_over_the_last_stage(schedule):
    method_, seen = method(schedule=schedule, pretrain_share=0.3), []

    class Watched(PgM):
        def begin_epoch(self, step: Step) -> None:
            super().begin_epoch(step)
            seen.append((step.stage, self.hardness))

    method_.__class__ = Watched
    fitted(method_, rows(), max_epochs=10)
    expected = (
        [0.0] * 3 + [i / 7 for i in range(7)] if schedule == "two_stage" else [i / 10 for i in range(10)]
    )
    assert [hardness for _, hardness in seen] == pytest.approx(expected)


def test_hardness_is_a_matter_of_training_alone():
    method_, batch = method(modality_dropout=0.0), rows()
    for training in (True, False):
        method_.train(training)
        predictions = []
        for progress in (0.0, 0.9):
            method_.begin_epoch(Step("finetune", 0, progress))
            predictions.append(method_(batch).prediction)
        assert torch.equal(*predictions) != training


# ---- learning rates by name ----------------------------------------------------------------------

BUILDS = [
    {},
    {"n_layers": 0},
    {"n_layers": 2, "d_decoder": 0},
    {"uni_weight": 1.0},
    {"parts": "uni"},
    {"schedule": "joint"},
    *({"gate": gate} for gate in ("static", "sigmoid", "fixed", "open")),
    *({"fusion": fusion} for fusion in HEADS),
]


@pytest.mark.parametrize("inputs", [VECTORS, MIXED], ids=["vectors", "mixed"])
@pytest.mark.parametrize("settings", BUILDS, ids=str)
def test_every_parameter_is_in_one_group(settings, inputs):
    method_ = method(inputs, **settings)
    *earlier, last = method_.stages()
    groups = list(method_.trainable(last))
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in method_.parameters())
    names = [source.name for source in inputs]
    for group in groups:
        part, _, name = group["name"].partition("/")
        assert part in PARTS
        assert name in (*names, "")
        assert group["params"]
    assert {group["name"].split("/")[0] for group in groups} >= {"branch", "decoder", "head"}
    for stage in earlier:
        trained = {id(p) for group in method_.trainable(stage) for p in group["params"]}
        assert {id(p) for p in method_.parameters()} - trained == {id(p) for p in method_.head.parameters()}


def test_factors_multiply():
    rates = {"partitioner": 2.0, "uni": 10, "uni/a": 0.5, "*/b": 3.0, "head": 0.25}
    method_ = method(learning_rates=rates, learning_rate=0.01, weight_decay=0.3)
    *_, last = method_.stages()
    found = {group["name"]: group["lr"] / 0.01 for group in method_.trainable(last)}
    expected = {f"{part}/{name}": 1.0 for part in ("branch", "decoder", "paired") for name in "abc"}
    expected |= {f"partitioner/{name}": 2.0 for name in "abc"} | {f"uni/{name}": 10.0 for name in "abc"}
    expected |= {"paired": 1.0, "head": 0.25, "uni/a": 5.0}
    for name in expected:
        if name.endswith("/b"):
            expected[name] *= 3
    assert found == pytest.approx(expected)
    assert {group["weight_decay"] for group in method_.trainable(last)} == {0.3}


@pytest.mark.parametrize(
    "frozen", [{"branch"}, {"uni/a", "decoder/b"}, {"*/c"}, {"partitioner", "head", "paired"}]
)
def test_a_factor_of_0_freezes(frozen):
    method_, batch = method(learning_rates=dict.fromkeys(frozen, 0.0), weight_decay=0.1), rows()
    *_, last = method_.stages()
    expected = set()
    for group in method_.trainable(last):
        part, _, name = group["name"].partition("/")
        if {part, group["name"], f"*/{name}"} & frozen:
            expected |= {id(p) for p in group["params"]}
    before = copied(method_)
    fitted(method_, batch)
    assert expected
    assert unchanged(before, method_) == expected


@pytest.mark.parametrize(
    ("rates", "match"),
    [
        (
            {"encoder": 1.0},
            r"learning_rates names parts \(branch, partitioner, uni, paired, decoder, head\), part/modality "
            r"or \*/modality; got 'encoder'; the modalities are a, b, c",
        ),
        ({"uni/d": 1.0}, r"got 'uni/d'; the modalities are a, b, c"),
        ({"uni/": 1.0}, "got 'uni/'"),
        ({"*": 1.0}, r"got '\*'"),
        ({"*/d": 1.0}, r"got '\*/d'"),
        ({"a": 1.0}, "got 'a'"),
        ({"head/a": 1.0}, "got 'head/a'; the modalities are a, b, c, and all of them share the head"),
        ({"uni": -1}, "a factor of the learning rate is 0 or more; got -1 for 'uni'; 1 changes nothing"),
        ({"uni": True}, "got True for 'uni'"),
        ({"uni": "1"}, "got '1' for 'uni'"),
        ({"uni": math.nan}, "got nan for 'uni'"),
        ({"uni": math.inf}, "got inf for 'uni'"),
    ],
)
def test_factors_of_nothing_are_refused(rates, match):
    with pytest.raises(ConfigError, match=match):
        method(learning_rates=rates)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"fusion": "sum"},
            "fusion must be a known name; got 'sum'; choose one of concat, gated, attention, part",
        ),
        (
            {"schedule": "three"},
            "schedule must be a known name; got 'three'; choose one of two_stage, joint, ramp",
        ),
        ({"sequence": "lstm"}, "sequence must be a known name; got 'lstm'; choose one of gru, transformer"),
        ({"gate": "soft"}, "gate must be a known name; got 'soft'"),
        ({"mask": "soft"}, "mask must be a known name; got 'soft'"),
        ({"parts": "soft"}, "parts must be a known name; got 'soft'"),
        ({"chunk": 3}, "the width is a multiple of chunk; got 8 and chunk=3"),
        ({"chunk": 8}, "needs 2 chunks or more; got 1"),
        ({"d_latent": 1}, "d_latent must be a whole number from 2 up; got 1"),
        ({"n_iterations": 0}, "n_iterations must be a whole number from 1 up; got 0"),
        ({"n_layers": -1}, "n_layers must be a whole number from 0 up; got -1"),
        ({"d_decoder": 0.5}, "d_decoder must be a whole number from 0 up; got 0.5"),
        ({"alpha": -1}, "alpha must be a number from 0 up; got -1"),
        ({"beta": math.nan}, "beta must be a number from 0 up; got nan"),
        ({"pretrain_share": 1.0}, "pretrain_share must be a number from 0 up and below 1; got 1.0"),
        ({"modality_dropout": 1.5}, "modality_dropout is a share from 0 to 1; got 1.5; 0 switches it off"),
        ({"learning_rate": 0}, "learning_rate must be a number from 1e-12 up; got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        method(**settings)


# ---- what a pass sees ----------------------------------------------------------------------------


def test_modality_dropout():
    batch = rows(n=400)
    several = batch.presence.sum(1) > 1
    for share in (0.0, 0.5, 1.0):
        kept = method(modality_dropout=share).train()(batch).latents["kept"]
        assert not (kept & ~batch.presence).any()
        assert torch.equal(kept.any(1), batch.presence.any(1))
        lost = (kept != batch.presence).any(1)
        assert not lost[~several].any()
        if share == 0:
            assert not lost.any()
        # Of the 3 (7) non-empty parts of 2 (3) modalities one is the whole: it loses nothing.
        proper = 1 - 1 / (2.0 ** batch.presence[several].sum(1) - 1)
        assert float(lost[several].float().mean()) == pytest.approx(share * float(proper.mean()), abs=0.1)
        assert torch.equal(method(modality_dropout=share).eval()(batch).latents["kept"], batch.presence)


def test_what_is_dropped_is_not_read():
    """A row that lost a modality says, loses and teaches what a row without it does."""
    method_, batch = method(modality_dropout=1.0).train(), rows()
    torch.manual_seed(0)
    output = method_(batch)
    kept = output.latents["kept"]
    assert (kept != batch.presence).any()
    without = Batch(batch.values, kept, {}, batch.y, batch.labelled)
    method_.config = PgMConfig(**{**SMALL, "modality_dropout": 0.0})
    expected = method_(without)
    assert torch.equal(output.prediction, expected.prediction)
    found = method_.losses(batch, output, LAST)
    for name, loss in method_.losses(without, expected, LAST).items():
        assert torch.equal(found[name], loss), name


def test_latents_have_their_shapes_and_absent_slots_are_zero():
    method_, batch = method().eval(), rows()
    latents = method_(batch).latents
    for name in ("uni", "paired", "rebuilt", "representation"):
        assert latents[name].shape == (24, 3, 8)
        assert not latents[name][~batch.presence].any()
    for name in ("gate_uni", "gate_paired"):
        assert latents[name].shape == (24, 3, 4)
        assert ((latents[name] > 0) & (latents[name] < 1)).any(), "soft"
    for row in range(24):
        present = batch.presence[row]
        features = torch.cat([latents["uni"][row, present], latents["paired"][row, present]], dim=1)
        torch.testing.assert_close(latents["shared"][row], features.mean(0), equal_nan=True)


def test_representations_have_one_scale():
    method_, batch = method().eval(), rows()
    latents = method_(batch).latents
    present = latents["representation"][batch.presence]
    torch.testing.assert_close(present.mean(1), torch.zeros(len(present)), atol=1e-5, rtol=0)
    torch.testing.assert_close(present.var(1, unbiased=False), torch.ones(len(present)), atol=1e-2, rtol=0)


# ---- fusions -------------------------------------------------------------------------------------


def linear(module: torch.nn.Linear, x: Tensor) -> Tensor:
    return module.weight @ x + module.bias


def twin_votes(method_: PgM, row: int, latents: dict, present: list[int]) -> list[tuple[float, Tensor]]:
    """(weight, logits) of one row by the words of each fusion."""
    head, uni, paired = method_.head, latents["uni"][row], latents["paired"][row]
    there = torch.tensor([float(i in present) for i in range(3)])
    if method_.config.fusion == "concat":
        features = [feature for i in range(3) for feature in (uni[i], paired[i])]
        return [(1.0, linear(head.network, torch.cat([*features, there])))]
    if method_.config.fusion == "gated":
        features = [(i, uni[i]) for i in present] + [(i + 3, paired[i]) for i in present]
        scores = [float(x @ head.score.weight[j, :, 0] + head.score.bias[j, 0, 0]) for j, x in features]
        total = sum(math.exp(score) for score in scores)
        fused = sum(
            math.exp(score) / total * (x @ head.project.weight[j] + head.project.bias[j, 0])
            for score, (j, x) in zip(scores, features, strict=True)
        )
        return [(1.0, linear(head.network, fused))]
    if method_.config.fusion == "attention":
        features = torch.zeros(6, uni.shape[1])
        for j, x in [(i, uni[i]) for i in present] + [(i + 3, paired[i]) for i in present]:
            features[j] = x @ head.project.weight[j] + head.project.bias[j, 0]
        fused = head.fusion(features.unsqueeze(0), there.bool().repeat(1, 2))[0]
        return [(1.0, linear(head.network, fused))]
    votes = [(0.5 / len(present), uni[i] @ head.uni.weight[i] + head.uni.bias[i, 0]) for i in present]
    early = linear(head.paired, torch.cat([*paired, there]))
    return [*votes, (0.5, early)]


@pytest.mark.parametrize("fusion", HEADS)
@pytest.mark.parametrize("kind", TASKS)
@torch.no_grad()
def test_a_prediction_is_the_weighted_mean_of_votes(fusion, kind):
    method_, batch = method(kind=kind, fusion=fusion).eval(), rows(kind=kind)
    method_.prior.uniform_(0.1, 0.2)
    output = method_(batch)
    for row in range(24):
        present = batch.presence[row].nonzero().flatten().tolist()
        if not present:
            assert torch.equal(output.prediction[row], method_.prior)
            continue
        votes = twin_votes(method_, row, output.latents, present)
        assert sum(weight for weight, _ in votes) == pytest.approx(1)
        expected = sum(weight * method_.to_prediction(logits) for weight, logits in votes)
        torch.testing.assert_close(output.prediction[row], expected)


@pytest.mark.parametrize("fusion", HEADS)
def test_mixed_precision_trains_rows_without_any_modality(fusion):
    method_, batch = method(fusion=fusion).train(), rows()
    batch.presence[:3] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = method_(batch)
    assert output.prediction.isfinite().all()
    sum(method_.losses(batch, output, LAST).values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method_.parameters())


# ---- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", [Step("pretrain", 0, 0.5), LAST, Step("joint", 0, 0.5), Step("ramp", 0, 0.5)]
)
def test_terms_are_there_where_they_have_a_weight(step):
    weights = {"uni_weight": "uni_modal", "contrast_weight": "contrast", "overlap_weight": "overlap"}
    always = {"reconstruction"} if step.stage == "pretrain" else {"reconstruction", "task"}
    assert set(losses(method(), rows(), step)) == always
    for weight, name in weights.items():
        assert set(losses(method(**{weight: 0.1}), rows(), step)) == always | {name}
    every = dict.fromkeys(weights, 0.1)
    assert set(losses(method(**every), rows(), step)) == always | set(weights.values())


def test_weights_multiply():
    batch = rows()
    base = {"modality_dropout": 0.0, "uni_weight": 1.0, "contrast_weight": 1.0, "overlap_weight": 1.0}
    terms = losses(method(**base), batch)
    for name, weight in (
        ("uni_modal", "uni_weight"),
        ("contrast", "contrast_weight"),
        ("overlap", "overlap_weight"),
    ):
        found = losses(method(**{**base, weight: 3.0}), batch)
        torch.testing.assert_close(found.pop(name), 3 * terms[name])
        assert all(torch.equal(found[other], terms[other]) for other in found)
    found = losses(method(**base, alpha=2.0, beta=5.0), batch)
    for name, loss in terms.items():
        torch.testing.assert_close(found[name], (5 if name == "task" else 2) * loss)
    pre = losses(method(**base, alpha=2.0), batch, Step("pretrain", 0, 0.5))
    assert all(torch.equal(pre[name], terms[name]) for name in pre), "alpha is a weight beside the task"


@pytest.mark.parametrize(
    ("progress", "share", "expected"),
    [(0.0, 0.5, 0.0), (0.25, 0.5, 0.5), (0.5, 0.5, 1.0), (0.9, 0.5, 1.0), (0.0, 0.0, 1.0)],
)
def test_the_task_grows_in_over_a_ramp(progress, share, expected):
    method_, batch = method(schedule="ramp", pretrain_share=share, modality_dropout=0.0), rows()
    whole = losses(method_, batch, Step("joint", 0, progress))
    found = losses(method_, batch, Step("ramp", 0, progress))
    torch.testing.assert_close(found["task"], expected * whole["task"])
    assert torch.equal(found["reconstruction"], whole["reconstruction"])


def crossed(logits: Tensor, y: int) -> float:
    return -float(logits.detach().double().log_softmax(0)[y])


@pytest.mark.parametrize("fusion", ["concat", "partitioned"])
def test_the_task_s_loss_is_that_of_a_loop_over_votes(fusion):
    method_, batch = method(fusion=fusion, modality_dropout=0.0, uni_weight=1.0), rows()
    output = method_(batch)
    task, own = [], []
    for row in range(24):
        present = batch.presence[row].nonzero().flatten().tolist()
        if not (present and batch.labelled[row]):
            continue
        votes = output.latents["votes"][row]
        counted = [0] if fusion == "concat" else [*present, 3]
        task += [crossed(votes[i], batch.y[row]) for i in counted]
        for i in present:
            head = method_.uni_heads
            logits = output.latents["uni"][row, i] @ head.weight[i] + head.bias[i, 0]
            own.append(crossed(logits, batch.y[row]))
    found = method_.losses(batch, output, LAST)
    assert float(found["task"].detach()) == pytest.approx(np.mean(task), rel=1e-5)
    assert float(found["uni_modal"].detach()) == pytest.approx(np.mean(own), rel=1e-5)


def twin_contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Symmetric InfoNCE of cosines at temperature 0.1, in loops."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    total = 0.0
    for i in range(len(a)):
        for one, other in ((a, b), (b, a)):
            exps = [math.exp(one[i] @ other[j] / 0.1) for j in range(len(a))]
            total -= math.log(exps[i] / sum(exps))
    return total / (2 * len(a))


def test_contrast_and_overlap_are_those_of_loops():
    method_, batch = method(contrast_weight=1.0, overlap_weight=1.0, modality_dropout=0.0), rows()
    output = method_(batch)
    found = method_.losses(batch, output, LAST)
    paired = output.latents["paired"].detach().double().numpy()
    pairs = []
    for i in range(3):
        for j in range(i):
            both = [r for r in range(24) if batch.presence[r, i] and batch.presence[r, j]]
            pairs.append(twin_contrast(paired[both, i], paired[both, j]))
    assert float(found["contrast"].detach()) == pytest.approx(np.mean(pairs), rel=1e-4)
    overlap = [
        float(output.latents["gate_uni"][r, i, k].detach() * output.latents["gate_paired"][r, i, k].detach())
        for r in range(24)
        for i in range(3)
        if batch.presence[r, i]
        for k in range(4)
    ]
    assert float(found["overlap"].detach()) == pytest.approx(np.mean(overlap), rel=1e-5)


def test_the_penalty_on_overlap_shrinks_the_overlap():
    shares = []
    for weight in (0.0, 20.0):
        history = fitted(method(overlap_weight=weight, learning_rate=1e-2), rows(n=48), max_epochs=10)
        shares.append(np.mean([history[-1][f"share_shared/{name}"] for name in "abc"]))
    assert shares[1] < 0.6 * shares[0]


def test_every_part_gets_a_gradient_from_its_losses():
    method_ = method(VECTORS, uni_weight=0.1, contrast_weight=0.1, overlap_weight=0.1).train()
    batch = rows(n=48)
    sum(losses(method_, batch).values()).backward()
    for name, parameter in method_.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


# ---- figures of an epoch -------------------------------------------------------------------------


def diagnosed(kind: str = "multiclass", **settings) -> tuple[PgM, Batch, dict[str, float]]:
    method_, batch = method(kind=kind, **settings).eval(), rows(kind=kind)
    if kind == "regression":
        method_.observe(batch.y * 7 + 3)
    return method_, batch, method_.diagnostics(batch, method_(batch), None)


def test_the_figures_of_an_epoch_have_their_names():
    _, _, found = diagnosed()
    for name in "abc":
        fixed = {f"share_{part}/{name}" for part in SHARES}
        fixed |= {
            f"{cut}/{name}" for cut in ("cut_uni", "cut_paired", "cut_uni_std", "cut_paired_std", "rebuilt")
        }
        assert fixed <= set(found)
        assert sum(found[f"share_{part}/{name}"] for part in SHARES) == pytest.approx(1, abs=1e-6)
        for cut in ("cuts_uni", "cuts_paired"):
            places = {key: value for key, value in found.items() if key.startswith(f"{cut}/{name}/")}
            assert sum(places.values()) == pytest.approx(1, abs=1e-6)
            assert all(0 <= int(key.rsplit("/")[-1]) < 4 and value > 0 for key, value in places.items())
            fixed |= set(places)
        assert fixed == {key for key in found if f"/{name}" in key}
    assert {key for key in found if "/" not in key} == {"soft_hard_gap"}


def test_the_figures_of_an_epoch_are_those_of_loops():
    method_, batch, found = diagnosed()
    latents = method_(batch).latents
    for i, name in enumerate("abc"):
        present = [r for r in range(24) if batch.presence[r, i]]
        cuts = {"uni": [], "paired": []}
        unassigned = []
        for row in present:
            uni, paired = latents["gate_uni"][row, i].tolist(), latents["gate_paired"][row, i].tolist()
            cuts["uni"].append(max([k for k in range(4) if uni[k] >= 0.5], default=0))
            cuts["paired"].append(min([k for k in range(4) if paired[k] >= 0.5], default=3))
            unassigned += [(1 - u) * (1 - p) for u, p in zip(uni, paired, strict=True)]
        assert found[f"share_unassigned/{name}"] == pytest.approx(np.mean(unassigned), rel=1e-5)
        for part, open_from in (("uni", 1), ("paired", 0)):
            places = (np.array(cuts[part]) + open_from) / 4
            assert found[f"cut_{part}/{name}"] == pytest.approx(places.mean(), rel=1e-6)
            assert found[f"cut_{part}_std/{name}"] == pytest.approx(places.std(), abs=1e-6)
            for k in range(4):
                expected = cuts[part].count(k) / len(present)
                assert found.get(f"cuts_{part}/{name}/{k}", 0.0) == pytest.approx(expected, rel=1e-6)
        target = latents["representation"][present, i].detach().double().numpy()
        rebuilt = latents["rebuilt"][present, i].detach().double().numpy()
        r2 = 1 - ((rebuilt - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
        assert found[f"rebuilt/{name}"] == pytest.approx(r2, rel=1e-4)


@pytest.mark.parametrize("kind", TASKS)
def test_the_gap_between_soft_and_hard_masks(kind):
    method_, batch, found = diagnosed(kind)
    hard, _ = method_.predict(method_.parts(batch, batch.presence, hard=True))
    soft, _ = method_.predict(method_.parts(batch, batch.presence, hard=False))
    gaps = []
    for row in range(24):
        if batch.presence[row].any():
            apart = (soft[row] - hard[row]).detach().abs().tolist()
            if kind == "regression":
                spread = float(torch.std(batch.y * 7 + 3, unbiased=False))
                gaps.append(apart[0] / spread)
            else:
                gaps.append(sum(apart) / 2 if kind == "multiclass" else sum(apart) / len(apart))
    assert found["soft_hard_gap"] == pytest.approx(np.mean(gaps), rel=1e-4)
    assert found["soft_hard_gap"] > 0


def test_a_modality_that_no_row_has_has_no_figures():
    method_, batch = method().eval(), rows().only(("a",))
    found = method_.diagnostics(batch, method_(batch), None)
    assert {key.split("/")[1] for key in found if "/" in key} == {"a"}
    empty = batch.only(())
    assert method_.diagnostics(empty, method_(empty), None) == {}


def test_a_perfect_reconstruction_explains_everything():
    target = torch.randn(6, 1, 4)
    gates = Gates(torch.ones(6, 1, 2), torch.ones(6, 1, 2))
    there = torch.ones(6, 1, dtype=torch.bool)
    for rebuilt, expected in ((target, 1.0), (target.mean(0, keepdim=True).expand(6, -1, -1), 0.0)):
        found = pgm_diagnostics.figures(Parts(target, target, rebuilt, target, gates, there), ["a"])
        assert found["rebuilt/a"] == pytest.approx(expected, abs=1e-5)
        assert found["share_shared/a"] == 1.0
    one = Parts(*[target[:1]] * 4, Gates(gates.uni[:1], gates.paired[:1]), there[:1])
    assert "rebuilt/a" not in pgm_diagnostics.figures(one, ["a"]), "one row varies in nothing"


def test_the_history_of_a_fit_holds_the_figures():
    history = fitted(method(), rows())
    for entry in history:
        assert entry["share_uni/a"] + entry["share_paired/a"] <= 1
        assert 0 <= entry["soft_hard_gap"] <= 1


# ---- sentences about a history -------------------------------------------------------------------

SOUND = {
    **{f"share_{part}/a": share for part, share in zip(SHARES, (0.3, 0.3, 0.2, 0.2), strict=True)},
    **{"cut_uni/a": 0.5, "cut_uni_std/a": 0.1, "cut_paired/a": 0.5, "cut_paired_std/a": 0.1},
    **{"rebuilt/a": 0.9, "loss/reconstruction": 0.2, "loss/task": 1.0},
}


def history_of(n: int = 12, change=None) -> list[dict[str, float]]:
    """A sound history, or one that ``change`` has made less so: a function of the epoch, from 0."""
    return [{**SOUND, **(change(epoch) if change else {})} for epoch in range(n)]


def sentences(history, *, rebuilding: bool = True) -> list[str]:
    return pgm_diagnostics.judge(history, gate="row", rebuilding=rebuilding)


def test_a_sound_history_has_no_warnings():
    assert sentences(history_of()) == []
    assert sentences(history_of(change=lambda epoch: {"loss/task": 1 / (1 + epoch)})) == []


@pytest.mark.parametrize("part", SHARES)
def test_a_collapse_is_told(part):
    def collapsed(share: float, since: int):
        return lambda epoch: {f"share_{part}/a": share if epoch >= since else 0.3}

    (sentence,) = sentences(history_of(change=collapsed(0.99, 9)))
    word = {"uni": "uni-modal"}.get(part, part)
    assert sentence.startswith(
        f"the partition of modality 'a' has collapsed: 99% of its neurons are {word}; set"
    )
    assert sentences(history_of(change=collapsed(0.99, 10))) == [], "two epochs are not three"
    assert sentences(history_of(change=collapsed(0.97, 0))) == []
    recovered = history_of(change=lambda epoch: {f"share_{part}/a": 0.99 if epoch < 11 else 0.5})
    assert sentences(recovered) == []


def test_cuts_that_never_leave_their_start_are_told():
    still = {"cut_uni_std/a": 0.0, "cut_paired_std/a": 0.0}
    (sentence,) = sentences(history_of(change=lambda epoch: still))
    assert sentence.startswith("the cuts of modality 'a' never left their start")
    assert sentences(history_of(change=lambda epoch: {"cut_uni_std/a": 0.0})) == [], "rows differ in p"
    moved = [still | {"cut_uni/a": 0.5 if epoch < 6 else 0.6} for epoch in range(12)]
    assert sentences([{**SOUND, **entry} for entry in moved]) == []


@pytest.mark.parametrize("rebuilt", [0.05, -3.0])
def test_a_task_learnt_without_the_input_is_told(rebuilt):
    def improving(epoch: int) -> dict[str, float]:
        return {"loss/task": 1 / (1 + epoch), "rebuilt/a": rebuilt}

    (sentence,) = sentences(history_of(change=improving))
    percent = max(0, round(100 * rebuilt))
    assert sentence.startswith(
        f"the features of modality 'a' rebuild {percent}% of it although the task improved"
    )
    assert sentences(history_of(change=improving), rebuilding=False) == []
    assert sentences(history_of(change=lambda epoch: {"rebuilt/a": rebuilt})) == [], (
        "the task did not improve"
    )

    def ramp(epoch: int) -> dict[str, float]:
        return {"loss/task": min(1.0, epoch / 4) * 2 / (1 + epoch), "rebuilt/a": rebuilt}

    assert len(sentences(history_of(change=ramp))) == 1, "a ramp begins at 0"
    assert sentences(history_of(change=lambda epoch: {"loss/task": 0.0, "rebuilt/a": rebuilt})) == []


def test_pretraining_is_no_improvement_of_the_task():
    history = history_of(change=lambda epoch: {"rebuilt/a": 0.0})
    for entry in history[:11]:
        del entry["loss/task"]
    assert sentences(history) == []


def test_what_cannot_be_judged_is_not():
    def bad(epoch: int) -> dict[str, float]:
        return {"share_shared/a": 1.0, "cut_uni_std/a": 0.0, "cut_paired_std/a": 0.0}

    assert len(sentences(history_of(change=bad))) == 2
    assert sentences(history_of(9, change=bad)) == []
    for gate in ("fixed", "open"):
        assert method(gate=gate).judge(history_of(change=bad)) == []
    for gate, n in (("row", 2), ("static", 2), ("sigmoid", 1)):
        assert len(method(gate=gate).judge(history_of(change=bad))) == n


# ---- the public door -----------------------------------------------------------------------------

FAST = {
    **{"floors": False, "random_state": 0, "device": "cpu", "missing_label": None, "batch_size": 64},
    "settings": {"d_latent": 16, "chunk": 4, "n_iterations": 1, "learning_rate": 3e-3},
}


def quick(X, y, **settings) -> MethodClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        return MethodClassifier("pgm", **{**FAST, "max_epochs": 8, **settings}).fit(X, y)


@pytest.fixture(scope="module")
def activities():
    """Bundled activities of daily living, rows to train on and rows to test on."""
    data = load_dataset("htad")
    order = np.random.default_rng(0).permutation(len(data.y))
    parts = [
        ({name: x[index] for name, x in data.X.items()}, data.y[index])
        for index in (order[:500], order[500:800])
    ]
    return data.modalities, *parts


@pytest.fixture(scope="module")
def model(activities):
    modalities, (X, y), _ = activities
    return quick(X, y, modalities=modalities)


def test_learns_activities_far_above_the_majority(model, activities):
    *_, (X, y) = activities
    majority = np.bincount(y).max() / len(y)
    assert model.score(X, y) > majority + 0.35
    for name, x in X.items():
        assert model.score({name: x}, y) > majority + 0.1, f"with {name} alone"


def test_the_seed_decides_every_prediction(activities):
    modalities, (X, y), (X_test, _) = activities
    X, y = {name: x[:120] for name, x in X.items()}, y[:120]
    found = [
        quick(X, y, modalities=modalities, max_epochs=2, random_state=seed).predict_proba(X_test)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_saved_model_predicts_the_same(model, activities, tmp_path):
    *_, (X, _) = activities
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(loaded.transform(X), model.transform(X))
    one = {"audio": X["audio"]}
    assert np.array_equal(loaded.predict_proba(one), model.predict_proba(one))


class Killed(BaseException):
    """Stands for a process that ends."""


@pytest.mark.parametrize(("schedule", "after"), [("two_stage", 1), ("two_stage", 3), ("ramp", 2)])
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path, monkeypatch, schedule, after):
    """Within either stage, and with gates on their way to hard ones."""
    settings = {"schedule": schedule, "pretrain_share": 0.4, "uni_weight": 0.1, "overlap_weight": 0.1}
    settings |= {"learning_rates": {"partitioner": 2.0, "*/b": 0.5}, "gate": "static", "dropout": 0.1}
    whole, batch = method(**settings), rows(n=48)
    history = fitted(whole, batch, max_epochs=5)
    save = checkpoint.save_checkpoint

    def dying(folder, snapshot):
        save(folder, snapshot)
        if snapshot.number == after:
            raise Killed

    monkeypatch.setattr(loop, "save_checkpoint", dying)
    with pytest.raises(Killed):
        fitted(method(**settings), batch, max_epochs=5, checkpoint_dir=tmp_path)
    monkeypatch.undo()
    resumed = method(seed=9, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        config = TrainingConfig(max_epochs=5, batch_size=12, checkpoint_dir=tmp_path)
        again = fit(resumed, batch, None, config, seed=0, resume=True, verbose=False)
    for (name, expected), found in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert [entry["loss"] for entry in again] == [entry["loss"] for entry in history]


# ---- golden values -------------------------------------------------------------------------------

GOLDEN = {
    "concat": [
        *(0.24906523525714874, 0.3858683407306671, 0.36506640911102295),
        *(0.7442615297576646, 0.5475593145019884, 0.23619949882218227, 0.044043790691332, 1.1407158923698961),
    ],
    "partitioned": [
        *(0.40925038854281104, 0.365845521291097, 0.22490404546260834),
        *(0.7442615297576646, 0.5475593145019884, 0.23619949882218227, 0.044043790691332, 1.0060161375980994),
    ],
}
"""Probabilities of the first row, and each loss of a training pass."""


def golden() -> dict[str, list[float]]:
    """What PgM with weights sin(1), sin(2), ... says of a few rows, in double precision."""
    weights = {"uni_weight": 0.5, "contrast_weight": 0.5, "overlap_weight": 0.5}
    found = {}
    for fusion in ("concat", "partitioned"):
        method_ = method(fusion=fusion, n_iterations=2, modality_dropout=0.0, **weights).double()
        for parameter in method_.parameters():
            numbers = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
            parameter.data = 0.3 * numbers.sin().view_as(parameter)
        values = {
            source.name: torch.arange(4.0 * source.width, dtype=torch.float64).cos().view(4, -1)
            for source in VECTORS
        }
        presence = torch.tensor([[True] * 3, [True, False, True], [False] * 3, [True, True, False]])
        batch = Batch(values, presence, {}, torch.tensor([0, 1, 2, 1]), torch.ones(4, dtype=torch.bool))
        with torch.no_grad():
            prediction = method_.eval()(batch).prediction[0].tolist()
            terms = losses(method_.train(), batch)
        found[fusion] = [*prediction, *(float(loss) for loss in terms.values())]
    return found


@pytest.mark.parametrize("fusion", ["concat", "partitioned"])
def test_golden_values(fusion):
    assert golden()[fusion] == pytest.approx(GOLDEN[fusion], rel=1e-5), (
        "PgM's arithmetic has changed; if that is meant, print new values with `python tests/test_pgm.py`"
    )


if __name__ == "__main__":
    print(golden())
