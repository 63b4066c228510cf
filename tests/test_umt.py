"""UMT: the teachers, the distillation against a loop, and plain concatenation without them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from batches import MIXED, TASKS, VECTORS, random_batch
from polymodal.batch import Batch
from polymodal.blocks import mlp
from polymodal.errors import ConfigError
from polymodal.methods.base import Stage, Step
from polymodal.methods.ume import UME, UMEConfig
from polymodal.methods.umt import UMT, UMTConfig
from polymodal.training import TrainingConfig, fit

TEACH, FUSE = Step("teach", 0, 0.0), Step("fuse", 0, 0.0)


def method(inputs=VECTORS, kind: str = "multiclass", seed: int = 0, **settings) -> UMT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UMT(inputs, TASKS[kind], UMTConfig(d_latent=8, **settings))


def rows(inputs=VECTORS, kind: str = "multiclass", n: int = 24, seed: int = 1) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return random_batch(inputs, TASKS[kind], n)


def begin(method_: UMT, name: str) -> torch.optim.AdamW:
    """What a trainer does at the start of a stage."""
    (group,) = method_.trainable(Stage(name))
    trained = {id(p) for p in group["params"]}
    for parameter in method_.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    return torch.optim.AdamW(group["params"], lr=group["lr"], weight_decay=group["weight_decay"])


def descend(method_: UMT, batch: Batch, step: Step, optimizer: torch.optim.Optimizer) -> None:
    output = method_.train()(batch)
    optimizer.zero_grad()
    sum(method_.losses(batch, output, step).values()).backward()
    optimizer.step()


def copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


# ---- stages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"teacher_share": 0.2}, {"distillation": 0.0}])
def test_stages_share_all_epochs(settings):
    stages = list(method(**settings).stages())
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    if "distillation" in settings:
        assert [stage.name for stage in stages] == ["fuse"]
    else:
        assert [stage.name for stage in stages] == ["teach", "fuse"]
        assert stages[0].share == settings.get("teacher_share", UMTConfig().teacher_share)


def test_each_stage_trains_its_own_part():
    method_ = method()
    for name, parts in (("teach", ["teacher"]), ("fuse", ["branches", "head"])):
        (group,) = method_.trainable(Stage(name))
        found = {id(p) for p in group["params"]}
        assert found == {id(p) for n, p in method_.named_parameters() if n.split(".")[0] in parts}


def test_the_first_stage_is_the_uni_modal_ensemble():
    """The teachers with the ensemble's weights say what it says, lose what it loses, step as it steps."""
    batch, teacher = rows(), method()
    begin(teacher, "teach")
    ensemble = UME(VECTORS, TASKS["multiclass"], UMEConfig(d_latent=8))
    ensemble.networks.load_state_dict(teacher.teacher.state_dict())
    assert torch.equal(teacher(batch).prediction, ensemble(batch).prediction)
    found = teacher.losses(batch, teacher(batch), TEACH)
    expected = ensemble.losses(batch, ensemble(batch), Step("train", 0, 0.0))
    assert found.keys() == expected.keys()
    assert torch.equal(found["task"], expected["task"])


def test_the_teacher_stands_still_in_the_second_stage():
    method_, batch = method(dropout=0.3), rows()
    optimizer = begin(method_, "teach")
    before = copied(method_.teacher)
    for _ in range(3):
        descend(method_, batch, TEACH, optimizer)
    learnt = copied(method_.teacher)
    assert any(not torch.equal(learnt[name], before[name]) for name in learnt)
    optimizer = begin(method_, "fuse")
    method_.zero_grad(set_to_none=True)
    for _ in range(3):
        descend(method_, batch, FUSE, optimizer)
        assert not any(module.training for module in method_.teacher.modules())
        assert all(p.grad is None for p in method_.teacher.parameters())
    for name, value in method_.teacher.state_dict().items():
        assert torch.equal(value, learnt[name]), name


def test_the_student_gives_the_teacher_no_gradient_even_where_it_could():
    method_, batch = method().train(), rows()
    list(method_.trainable(Stage("fuse")))
    assert all(p.requires_grad for p in method_.teacher.parameters())
    sum(method_.losses(batch, method_(batch), FUSE).values()).backward()
    assert all(p.grad is None for p in method_.teacher.parameters())


def test_the_student_does_not_start_from_the_teacher():
    method_ = method()
    before = copied(method_.branches)
    descend(method_, rows(), TEACH, begin(method_, "teach"))
    begin(method_, "fuse")
    for name, value in method_.branches.state_dict().items():
        assert torch.equal(value, before[name]), name
    taught = method_.teacher.branches.state_dict()
    assert any(not torch.equal(value, taught[name]) for name, value in before.items())


# ---- the distillation ----------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", [VECTORS, MIXED], ids=["vectors", "mixed"])
def test_the_distillation_agrees_with_a_loop(inputs):
    """Every present modality of every row counts, labelled or not, whatever the head reads of it."""
    method_, batch = method(inputs, distillation=3.0, modality_dropout=0.9).train(), rows(inputs)
    list(method_.trainable(Stage("fuse")))
    assert (~batch.labelled).any()
    student, teacher = method_.branches(batch), method_.teacher.branches(batch)
    distances = [
        sum((student[i, j, d] - teacher[i, j, d]) ** 2 for d in range(8)) / 8
        for i in range(len(batch))
        for j in range(len(inputs))
        if batch.presence[i, j]
    ]
    expected = 3.0 * torch.stack(distances).mean()
    torch.testing.assert_close(method_.losses(batch, method_(batch), FUSE)["distillation"], expected)


def test_unlabelled_rows_train_the_branches_and_not_the_head():
    method_, batch = method().train(), rows()
    optimizer = begin(method_, "fuse")
    unlabelled = Batch(batch.values, batch.presence, {}, batch.y, torch.zeros(len(batch), dtype=torch.bool))
    losses = method_.losses(unlabelled, method_(unlabelled), FUSE)
    assert losses["task"] == 0
    optimizer.zero_grad()
    sum(losses.values()).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in method_.head.parameters())
    assert all(p.grad.abs().max() > 0 for p in method_.branches.parameters())


def test_the_branches_come_closer_to_their_teachers():
    method_, batch = method(learning_rate=1e-2), rows(n=60)
    optimizer = begin(method_, "fuse")
    distances = []
    for _ in range(40):
        distances.append(float(method_.losses(batch, method_.eval()(batch), FUSE)["distillation"].detach()))
        descend(method_, batch, FUSE, optimizer)
    assert distances[-1] < 0.3 * distances[0]


# ---- the student ---------------------------------------------------------------------------------


class Concatenation(torch.nn.Module):
    """Branches, zeros where absent, flags, an MLP: written out for vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = torch.nn.ModuleList(mlp(source.width, 16, 8) for source in VECTORS)
        self.head = mlp(27, 16, 3)

    def forward(self, batch: Batch, kept: torch.Tensor) -> torch.Tensor:
        slots = [
            torch.where(kept[:, i : i + 1], branch(batch.values[source.name]), 0.0)
            for i, (source, branch) in enumerate(zip(VECTORS, self.branches, strict=True))
        ]
        return self.head(torch.cat([*slots, kept.float()], dim=1))


def test_without_distillation_it_is_concatenation():
    """The same weights from the same seed, step for step, and no teacher anywhere."""
    batch, method_ = rows(), method(distillation=0.0, modality_dropout=0.0)
    assert method_.teacher is None
    assert not any(name.startswith("teacher") for name in method_.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = Concatenation()
    optimizer = begin(method_, "fuse")
    twin_optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1e-4)
    counted = batch.labelled & batch.presence.any(1)
    for _ in range(5):
        descend(method_, batch, FUSE, optimizer)
        twin_optimizer.zero_grad()
        F.cross_entropy(twin(batch, batch.presence)[counted], batch.y[counted]).backward()
        twin_optimizer.step()
    assert set(method_.losses(batch, method_(batch), FUSE)) == {"task"}
    some = batch.presence.any(1)
    torch.testing.assert_close(
        method_.eval()(batch).prediction[some], twin(batch, batch.presence)[some].softmax(1)
    )


def test_the_distillation_alone_tells_the_student_apart():
    """Whatever its weight, a seed draws the same student before the teachers."""
    plain, taught = method(distillation=0.0), method()
    for part in ("branches", "head"):
        expected = getattr(plain, part).state_dict()
        for name, value in getattr(taught, part).state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_modality_dropout_takes_its_share_of_the_rows():
    presence = torch.ones(4000, 3, dtype=torch.bool)
    presence[:1000, 0] = False
    for share in (0.0, 0.5):
        method_ = method(modality_dropout=share).train()
        torch.manual_seed(0)
        kept = method_.kept(presence)
        assert not (kept & ~presence).any()
        assert kept.any(1).all()
        hidden = (kept != presence).any(1)[1000:].float().mean()
        assert float(hidden) == pytest.approx(share * 6 / 7, abs=0.03)  # of 7 subsets one is the whole
        assert torch.equal(method_.eval().kept(presence), presence)


def test_hidden_features_never_enter_the_head():
    method_, batch = method().eval(), rows()
    features = method_.branches(batch)
    kept = torch.rand(len(batch), 3) < 0.5
    spoilt = torch.where(kept.unsqueeze(-1), features, torch.nan)
    assert torch.equal(method_.joint(features, kept), method_.joint(spoilt, kept))


# ---- the whole -----------------------------------------------------------------------------------


def test_prediction_needs_no_teacher():
    method_, batch = method().eval(), rows()
    before = method_(batch).prediction
    n_student = sum(p.numel() for part in (method_.branches, method_.head) for p in part.parameters())
    method_.drop_training_parts()
    assert torch.equal(method_(batch).prediction, before)
    assert sum(p.numel() for p in method_.parameters()) == n_student
    assert not any(name.startswith("teacher") for name in method_.state_dict())


@pytest.mark.parametrize("kind", TASKS)
def test_a_fit_goes_through_both_stages(kind):
    method_, batch = method(MIXED, kind, teacher_share=0.5), rows(MIXED, kind)
    history = fit(method_, batch, None, TrainingConfig(max_epochs=4), seed=0, verbose=False)
    assert [entry["stage"] for entry in history] == ["teach", "teach", "fuse", "fuse"]
    assert all("loss/distillation" in entry for entry in history[2:])
    assert method_(batch).prediction.isfinite().all()
    assert not method_.teaching


def test_learns_every_subset_of_an_easy_problem():
    batch, method_ = rows(n=200), method(learning_rate=1e-2)
    batch = Batch(
        {n: torch.randn_like(v) + 2 * batch.y.unsqueeze(1) for n, v in batch.values.items()},
        torch.ones_like(batch.presence),
        {},
        batch.y,
        torch.ones_like(batch.labelled),
    )
    torch.manual_seed(0)
    for step in (TEACH, FUSE):
        optimizer = begin(method_, step.stage)
        for _ in range(100):
            descend(method_, batch, step, optimizer)
    method_.eval()
    for subset in (("a",), ("b",), ("c",), ("a", "b"), ("a", "b", "c")):
        assert (method_(batch.only(subset)).prediction.argmax(1) == batch.y).float().mean() > 0.8, subset


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_latent": 0}, "d_latent must be a whole number from 1 up; got 0; leave it out"),
        ({"distillation": -1}, "distillation must be a number from 0 up; got -1"),
        ({"modality_dropout": 1.0}, "modality_dropout must be a number from 0 up and below 1; got 1.0"),
        ({"teacher_share": 0}, "teacher_share must be above 0; got 0; distillation=0 leaves the teachers"),
        ({"sequence": "lstm"}, "sequence must be a known name; got 'lstm'; choose one of gru, transformer"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        UMTConfig(**settings)
