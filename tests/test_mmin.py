"""MMIN: cascade and losses against loops, the two stages, and what holds for every subset."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from polymodal.batch import Batch, Input, Task
from polymodal.errors import ConfigError
from polymodal.methods.base import Stage, Step
from polymodal.methods.mmin import MMIN, Cascade, MMINConfig, masked_mse

NAMES = ("a", "b", "c")
INPUTS = (Input("a", "vector", 4), Input("b", "vector", 3), Input("c", "series", 2))
SUBSETS = [s for k in (1, 2, 3) for s in combinations(NAMES, k)]
TASK = Task("multiclass", 3)
PRETRAIN, IMAGINE = Step("pretrain", 0, 0.0), Step("imagine", 0, 0.0)


def method(seed: int = 0, task: Task = TASK, **settings) -> MMIN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MMIN(INPUTS, task, MMINConfig(d_model=8, d_latent=4, n_blocks=2, **settings))


def rows(n: int = 12, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    return Batch(
        values={
            "a": torch.randn(n, 4, generator=random),
            "b": torch.randn(n, 3, generator=random),
            "c": torch.randn(n, 5, 2, generator=random),
        },
        presence=torch.ones(n, 3, dtype=torch.bool),
        lengths={"c": torch.randint(1, 6, (n,), generator=random)},
        y=torch.randint(0, 3, (n,), generator=random),
        labelled=torch.arange(n) % 2 == 0,
    )


def begin(method_: MMIN, name: str) -> torch.optim.AdamW:
    """What a trainer does at the start of a stage."""
    groups = list(method_.trainable(Stage(name)))
    trained = {id(p) for group in groups for p in group["params"]}
    for parameter in method_.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    return torch.optim.AdamW([{"params": g["params"], "lr": g["lr"]} for g in groups])


def descend(method_: MMIN, batch: Batch, step: Step, optimizer: torch.optim.Optimizer) -> None:
    output = method_.train()(batch)
    optimizer.zero_grad()
    sum(method_.losses(batch, output, step).values()).backward()
    optimizer.step()


# ---- parts ---------------------------------------------------------------------------------------


def by_hand(network: torch.nn.Sequential, x: np.ndarray) -> np.ndarray:
    """Linear layers with a leaky ReLU between them, in NumPy."""
    layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    for i, layer in enumerate(layers):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if i < len(layers) - 1:
            x = np.where(x > 0, x, 0.01 * x)
    return x


def test_the_cascade_agrees_with_its_equations():
    torch.manual_seed(0)
    cascade = Cascade(d_in=6, d_out=5, d_latent=2, n_blocks=3).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    reached, latents = x.numpy(), []
    for encoder, decoder in zip(cascade.encoders, cascade.decoders, strict=True):
        latents.append(by_hand(encoder, reached))
        reached = reached + by_hand(decoder, latents[-1])
    imagined, joint = cascade(x)
    np.testing.assert_allclose(imagined.detach().numpy(), by_hand(cascade.transition, reached), rtol=1e-12)
    np.testing.assert_allclose(joint.detach().numpy(), np.concatenate(latents, axis=1), rtol=1e-12)


def test_masked_mse_agrees_with_loops_and_reads_nothing_else():
    guess, truth = torch.randn(4, 3, 5).double(), torch.randn(4, 3, 5).double()
    mask = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]).bool()
    pairs = mask.nonzero().tolist()
    expected = torch.stack([((guess[i, j] - truth[i, j]) ** 2).mean() for i, j in pairs]).mean()
    torch.testing.assert_close(masked_mse(guess, truth, mask), expected)
    guess[~mask] = 1e9
    torch.testing.assert_close(masked_mse(guess, truth, mask), expected)
    assert masked_mse(guess, truth, torch.zeros_like(mask)) == 0


# ---- losses --------------------------------------------------------------------------------------


def test_the_second_stage_has_all_three_losses_and_the_first_the_task():
    method_, batch = method().train(), rows()
    assert set(method_.losses(batch, method_(batch), PRETRAIN)) == {"task"}
    losses = method_.losses(batch, method_(batch), IMAGINE)
    assert set(losses) == {"task", "imagination", "cycle"}
    assert all(loss > 0 for loss in losses.values())


def test_weights_scale_their_losses():
    batch, terms = rows(), []
    for settings in ({"imagination_weight": 1.0, "cycle_weight": 1.0}, {}):
        method_ = method(dropout=0.0, **settings).train()
        torch.manual_seed(1)
        terms.append(method_.losses(batch, method_(batch), IMAGINE))
    torch.testing.assert_close(terms[1]["imagination"], 4 * terms[0]["imagination"])
    torch.testing.assert_close(terms[1]["cycle"], 2 * terms[0]["cycle"])


def test_an_absent_modality_is_never_a_target():
    """Whatever the imagination says of an absent modality, no loss changes."""
    batch, method_ = rows().only(("a", "b")), method(dropout=0.0).train()
    output = method_(batch)
    assert output.latents["dropped"].any()
    assert not (output.latents["dropped"] & ~batch.presence).any()
    before = method_.losses(batch, output, IMAGINE)["imagination"]
    output.latents["imagined"][:, 2] = 1e6
    assert torch.equal(method_.losses(batch, output, IMAGINE)["imagination"], before)


def test_unlabelled_rows_train_the_imagination_and_not_the_task():
    batch = rows()
    unlabelled = Batch(
        batch.values, batch.presence, batch.lengths, batch.y, torch.zeros(len(batch), dtype=torch.bool)
    )
    method_ = method().train()
    losses = method_.losses(unlabelled, method_(unlabelled), IMAGINE)
    assert losses["task"] == 0
    assert losses["imagination"] > 0
    assert losses["cycle"] > 0


# ---- stages --------------------------------------------------------------------------------------


def test_stages_share_all_epochs():
    stages = list(method(pretrain_share=0.25).stages())
    assert [(stage.name, stage.share) for stage in stages] == [("pretrain", 0.25), ("imagine", 0.75)]


def test_the_first_stage_hides_nothing_and_the_second_does():
    method_, batch = method(), rows(64)
    begin(method_, "pretrain")
    assert not method_.train()(batch).latents["dropped"].any()
    begin(method_, "imagine")
    assert method_.train()(batch).latents["dropped"].any()
    assert not method_.eval()(batch).latents["dropped"].any()


def test_the_teacher_is_the_branches_at_the_end_of_the_first_stage_and_stays():
    method_, batch = method(), rows(32)
    optimizer = begin(method_, "pretrain")
    for _ in range(3):
        descend(method_, batch, PRETRAIN, optimizer)
    learnt = {name: value.clone() for name, value in method_.branches.state_dict().items()}
    optimizer = begin(method_, "imagine")
    for _ in range(3):
        descend(method_, batch, IMAGINE, optimizer)
    for name, value in method_.teacher.state_dict().items():
        assert torch.equal(value, learnt[name]), name
    assert any(not torch.equal(value, learnt[name]) for name, value in method_.branches.state_dict().items())


def test_a_stage_that_goes_on_from_a_checkpoint_keeps_its_teacher():
    method_, batch = method(), rows(32)
    descend(method_, batch, PRETRAIN, begin(method_, "pretrain"))
    descend(method_, batch, IMAGINE, begin(method_, "imagine"))
    resumed = method(seed=1)
    resumed.load_state_dict(method_.state_dict())
    begin(resumed, "imagine")
    for name, value in resumed.teacher.state_dict().items():
        assert torch.equal(value, method_.teacher.state_dict()[name]), name


def test_the_teacher_sees_no_dropout_and_gets_no_gradient():
    method_, batch = method(dropout=0.5).train(), rows()
    assert torch.equal(method_.teach(batch), method_.teach(batch))
    sum(method_.losses(batch, method_(batch), IMAGINE).values()).backward()
    assert all(parameter.grad is None for parameter in method_.teacher.parameters())


# ---- the whole -----------------------------------------------------------------------------------


def test_hidden_features_never_enter_the_cascade():
    method_, batch = method().eval(), rows()
    features = method_.branches(batch)
    kept = torch.rand(len(batch), 3) < 0.5
    spoilt = torch.where(kept.unsqueeze(-1), features, torch.nan)
    assert torch.equal(method_.joint(features, kept), method_.joint(spoilt, kept))


def test_prediction_needs_no_training_part():
    method_, batch = method().eval(), rows()
    before = method_(batch).prediction
    n_before = sum(parameter.numel() for parameter in method_.parameters())
    method_.drop_training_parts()
    assert torch.equal(method_(batch).prediction, before)
    assert sum(parameter.numel() for parameter in method_.parameters()) < n_before
    gone = ("teacher", "pretrain_head", "backward_cascade", "taught")
    assert not any(name.startswith(gone) for name in method_.state_dict())


def test_learns_every_subset_of_an_easy_problem():
    batch, method_ = rows(200), method(dropout=0.0, learning_rate=5e-3)
    for name, values in batch.values.items():
        values += 2 * batch.y.reshape(-1, *[1] * (values.dim() - 1)) * (1 if name == "a" else -1)
    torch.manual_seed(0)
    for step, n_steps in ((PRETRAIN, 60), (IMAGINE, 140)):
        optimizer = begin(method_, step.stage)
        for _ in range(n_steps):
            descend(method_, batch, step, optimizer)
    method_.eval()
    for subset in SUBSETS:
        accuracy = (method_(batch.only(subset)).prediction.argmax(1) == batch.y).float().mean()
        assert accuracy > 0.8, (subset, accuracy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 0}, "d_model must be a whole number from 1 up; got 0; leave it out"),
        ({"n_blocks": True}, "n_blocks must be a whole number from 1 up; got True"),
        ({"pretrain_share": 1.0}, "pretrain_share must be a number from 0 up and below 1; got 1.0"),
        ({"cycle_weight": -1}, "cycle_weight must be a number from 0 up; got -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MMINConfig(**settings)
