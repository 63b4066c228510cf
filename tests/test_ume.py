"""UME: the prediction is a mean, and nothing passes from one modality to another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from batches import MIXED, TASKS, VECTORS, random_batch, spoilt
from polymodal.batch import Batch
from polymodal.errors import ConfigError
from polymodal.methods.base import Step
from polymodal.methods.ume import UME, UMEConfig

STEP = Step("train", 0, 0.0)


def method(inputs=VECTORS, kind: str = "multiclass", **settings) -> UME:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UME(inputs, TASKS[kind], UMEConfig(d_latent=8, **settings))


def rows(inputs=VECTORS, kind: str = "multiclass", n: int = 12) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return random_batch(inputs, TASKS[kind], n)


def gradients(method_: UME, batch: Batch) -> dict[str, torch.Tensor]:
    method_.zero_grad()
    method_.losses(batch, method_(batch), STEP)["task"].backward()
    return {name: p.grad.clone() for name, p in method_.named_parameters()}


def own(name: str, gradient: torch.Tensor, i: int) -> torch.Tensor | None:
    """Of a gradient, what belongs to the modality i."""
    if name.startswith("networks.heads."):
        return gradient[i]
    return gradient if name.startswith(f"networks.branches.branches.{i}.") else None


@pytest.mark.parametrize("inputs", [VECTORS, MIXED], ids=["vectors", "mixed"])
@pytest.mark.parametrize("kind", TASKS)
def test_the_prediction_is_the_mean_of_the_present_modalities(inputs, kind):
    method_, batch = method(inputs, kind).eval(), rows(inputs, kind)
    method_.prior.uniform_(0.1, 0.2)
    output = method_(batch)
    for row in range(len(batch)):
        said = []
        for i in range(len(inputs)):
            if batch.presence[row, i]:
                weight, bias = method_.networks.heads.weight[i], method_.networks.heads.bias[i, 0]
                logits = output.latents["features"][row, i] @ weight + bias
                said.append(method_.to_prediction(logits))
        expected = torch.stack(said).mean(0) if said else method_.prior
        torch.testing.assert_close(output.prediction[row], expected)


def test_the_loss_is_the_sum_of_each_modalitys_own():
    method_, batch = method(), rows(n=30)
    logits = method_(batch).latents["logits"].detach().double().log_softmax(2).numpy()
    expected = 0.0
    for i in range(3):
        counted = [r for r in range(30) if batch.labelled[r] and batch.presence[r, i]]
        assert counted
        expected -= np.mean([logits[r, i, batch.y[r]] for r in counted])
    found = method_.losses(batch, method_(batch), STEP)["task"]
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", TASKS)
def test_a_modality_trains_on_itself_alone(kind):
    """Other values in one modality, or other presence, change no gradient of the others."""
    method_, batch = method(kind=kind), rows(kind=kind)
    expected = gradients(method_, batch)
    presence = batch.presence.clone()
    presence[:6, 0] = ~presence[:6, 0]
    others = [
        Batch({**batch.values, "a": 3 * batch.values["a"] + 1}, batch.presence, {}, batch.y, batch.labelled),
        Batch(batch.values, presence, {}, batch.y, batch.labelled),
    ]
    for other in others:
        found = gradients(method_, other)
        moved = [own(name, found[name] - expected[name], 0) for name in expected]
        assert any(part is not None and part.abs().max() > 1e-4 for part in moved)
        for i in (1, 2):
            for name in expected:
                if own(name, expected[name], i) is not None:
                    assert torch.equal(own(name, found[name], i), own(name, expected[name], i)), name


def test_no_parameter_serves_two_modalities():
    method_, batch = method().train(), rows()
    for i, name in enumerate(batch.names):
        found = gradients(method_, batch.only((name,)))
        for j in range(3):
            parts = [own(n, g, j) for n, g in found.items()]
            reached = any(part is not None and part.abs().max() > 0 for part in parts)
            assert reached == (i == j)


def test_unlabelled_rows_and_absent_bytes_train_nothing():
    method_, batch = method(MIXED), rows(MIXED)
    expected = gradients(method_, batch)
    for name, gradient in gradients(method_, spoilt(batch)).items():
        torch.testing.assert_close(gradient, expected[name])
    for name, gradient in gradients(method_, batch.rows(batch.labelled.nonzero().squeeze(1))).items():
        torch.testing.assert_close(gradient, expected[name])


def test_learns_every_subset_of_an_easy_problem():
    method_, batch = method().train(), rows(n=200)
    batch = Batch(
        {n: torch.randn_like(v) + 2 * batch.y.unsqueeze(1) for n, v in batch.values.items()},
        torch.ones_like(batch.presence),
        {},
        batch.y,
        torch.ones_like(batch.labelled),
    )
    optimizer = torch.optim.AdamW(method_.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        method_.losses(batch, method_(batch), STEP)["task"].backward()
        optimizer.step()
    method_.eval()
    for subset in (("a",), ("b",), ("c",), ("a", "b"), ("a", "b", "c")):
        assert (method_(batch.only(subset)).prediction.argmax(1) == batch.y).float().mean() > 0.8, subset


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_latent": 0}, "d_latent must be a whole number from 1 up; got 0; leave it out"),
        ({"dropout": 1.0}, "dropout must be a number from 0 up and below 1; got 1.0"),
        ({"weight_decay": -1}, "weight_decay must be a number from 0 up; got -1"),
        ({"sequence": "lstm"}, "sequence must be a known name; got 'lstm'; choose one of gru, transformer"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        UMEConfig(**settings)
