"""ActionMAE: masking, places and losses against loops, then what holds for every subset."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from polymodal.batch import Batch, Input, Task
from polymodal.errors import ConfigError
from polymodal.methods.actionmae import (
    ActionMAE,
    ActionMAEConfig,
    fill,
    fill_as_published,
    random_masking,
    reconstruction,
)
from polymodal.methods.base import Step

NAMES = ("a", "b", "c")
INPUTS = (Input("a", "vector", 4), Input("b", "vector", 3), Input("c", "series", 2))
SUBSETS = [s for k in (1, 2, 3) for s in combinations(range(3), k)]
STEP = Step("train", 0, 0.0)
TASK = Task("multiclass", 3)


def method(seed: int = 0, task: Task = TASK, **settings) -> ActionMAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ActionMAE(INPUTS, task, ActionMAEConfig(d_model=8, n_heads=2, **settings))


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


def mask(subset: tuple[int, ...], n_modalities: int = 3) -> torch.Tensor:
    return torch.tensor([[i in subset for i in range(n_modalities)]])


# ---- masking -------------------------------------------------------------------------------------


def test_masking_keeps_a_uniform_number_of_what_is_there():
    torch.manual_seed(0)
    presence = torch.tensor([[True, True, True, False]]).expand(6000, 4)
    kept = random_masking(presence)
    assert not kept[:, 3].any()
    shares = torch.bincount(kept.sum(1), minlength=4)[1:] / len(kept)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    torch.testing.assert_close(kept[:, :3].float().mean(0), torch.full((3,), 2 / 3), atol=0.03, rtol=0)


def test_masking_keeps_nothing_of_nothing_and_all_of_one():
    presence = torch.tensor([[False, False], [True, False], [False, True]]).repeat(50, 1)
    assert torch.equal(random_masking(presence), presence)


# ---- places: the fault of the public code, and its repair ------------------------------------------


def placed_by_loops(encoded, kept, mask_token, *, published: bool) -> torch.Tensor:
    """Row by row, the slots as lists: ours in place, the public code's pushed to the front."""
    filled = []
    for tokens, row in zip(encoded, kept.tolist(), strict=True):
        slots = [mask_token] * len(row)
        for nth, i in enumerate(i for i, is_kept in enumerate(row) if is_kept):
            slots[nth if published else i] = tokens[i]
        filled.append(torch.stack(slots))
    return torch.stack(filled)


@pytest.mark.parametrize("published", [False, True])
def test_places_agree_with_loops(published):
    encoded, mask_token = torch.randn(7, 3, 2), torch.randn(2)
    kept = torch.cat([mask(s) for s in SUBSETS])
    place = fill_as_published if published else fill
    expected = placed_by_loops(encoded, kept, mask_token, published=published)
    assert torch.equal(place(encoded, kept, mask_token), expected)


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_only_prefixes_are_rightly_placed_by_the_public_code(subset):
    encoded = torch.arange(1.0, 4.0).reshape(1, 3, 1)  # token i holds i + 1, the mask token 0
    is_prefix = subset == tuple(range(len(subset)))
    right = fill(encoded, mask(subset), torch.zeros(1))
    published = fill_as_published(encoded, mask(subset), torch.zeros(1))
    assert right.flatten().tolist() == [i + 1.0 if i in subset else 0.0 for i in range(3)]
    assert torch.equal(published, right) == is_prefix


def test_published_masking_hands_the_head_a_token_in_the_wrong_slot():
    """With modality b alone, the public code predicts as if b's token were a's, in training it does not."""
    method_ = method(published_masking=True, dropout=0.0)
    tokens = torch.randn(2, 3, 8)
    only_b, only_a = mask((1,)).expand(2, 3), mask((0,)).expand(2, 3)
    as_a = tokens[:, [1, 0, 2]]  # b's token where a's belongs
    assert torch.equal(method_.eval().complete(tokens, only_b), method_.complete(as_a, only_a))
    method_.train()
    assert not torch.allclose(method_.complete(tokens, only_b), method_.complete(as_a, only_a))


def test_published_masking_has_no_position_and_ours_has():
    tokens = torch.randn(2, 3, 8)
    for published in (True, False):
        method_ = method(published_masking=published).eval()
        before = method_.complete(tokens, mask((0, 1)).expand(2, 3))
        method_.position.data.normal_()
        after = method_.complete(tokens, mask((0, 1)).expand(2, 3))
        assert torch.equal(before, after) == published


def test_published_masking_reads_the_memory_of_complete_rows():
    method_ = method(published_masking=True, n_memory=3, dropout=0.0).eval()
    tokens = torch.randn(1, 3, 8)
    sequence = torch.cat([method_.memory.expand(1, -1, -1), tokens], dim=1)
    read = method_.encoder(sequence, torch.ones(1, 6, dtype=torch.bool))
    assert torch.equal(method_.complete(tokens, mask((0, 1, 2))), read[:, :3])


# ---- the loss ------------------------------------------------------------------------------------


def test_reconstruction_agrees_with_loops_and_reads_dropped_places_only():
    filled, tokens = torch.randn(4, 3, 5).double(), torch.randn(4, 3, 5).double()
    dropped = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]).bool()
    errors = []
    for row, column in dropped.nonzero().tolist():
        token = tokens[row, column]
        target = (token - token.mean()) / (token.var(unbiased=False) + 1e-5).sqrt()
        errors.append(((filled[row, column] - target) ** 2).mean())
    expected = torch.stack(errors).mean()
    torch.testing.assert_close(reconstruction(filled, tokens, dropped), expected)
    filled[~dropped] = 1e9
    torch.testing.assert_close(reconstruction(filled, tokens, dropped), expected)


def test_reconstruction_leaves_its_targets_alone_and_is_zero_without_any():
    filled, tokens = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    reconstruction(filled, tokens, torch.ones(2, 3, dtype=torch.bool)).backward()
    assert tokens.grad is None
    assert filled.grad.abs().sum() > 0
    assert reconstruction(filled, tokens, torch.zeros(2, 3, dtype=torch.bool)) == 0


def test_an_absent_modality_is_never_a_target():
    batch = rows().only(("a", "b"))
    output = method().train()(batch)
    assert output.latents["dropped"].any()
    assert not (output.latents["dropped"] & ~batch.presence).any()


def test_unlabelled_rows_train_the_reconstruction_and_not_the_task():
    batch = rows()
    unlabelled = Batch(
        batch.values, batch.presence, batch.lengths, batch.y, torch.zeros(len(batch), dtype=torch.bool)
    )
    method_ = method().train()
    losses = method_.losses(unlabelled, method_(unlabelled), STEP)
    assert losses["task"] == 0
    assert losses["reconstruction"] > 0
    losses["reconstruction"].backward()
    assert method_.memory.grad.abs().sum() > 0


# ---- the whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_what_is_hidden_cannot_be_seen(subset, published):
    method_ = method(published_masking=published).eval()
    kept = mask(subset).expand(4, 3)
    tokens = torch.randn(4, 3, 8)
    other = torch.where(kept.unsqueeze(-1), tokens, torch.randn(4, 3, 8))
    torch.testing.assert_close(method_.complete(tokens, kept), method_.complete(other, kept))


def test_training_hides_and_prediction_does_not():
    batch, method_ = rows(64), method()
    assert method_.train()(batch).latents["dropped"].any()
    assert not method_.eval()(batch).latents["dropped"].any()


def test_learns_every_subset_of_an_easy_problem():
    batch, method_ = rows(200), method(dropout=0.0)
    for name, values in batch.values.items():
        values += 2 * batch.y.reshape(-1, *[1] * (values.dim() - 1)) * (1 if name == "a" else -1)
    optimizer = torch.optim.AdamW(list(method_.trainable(next(iter(method_.stages())))), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(150):
        output = method_.train()(batch)
        optimizer.zero_grad()
        sum(method_.losses(batch, output, STEP).values()).backward()
        optimizer.step()
    method_.eval()
    for subset in SUBSETS:
        kept = batch.only(tuple(NAMES[i] for i in subset))
        accuracy = (method_(kept).prediction.argmax(1) == batch.y).float().mean()
        assert accuracy > 0.8, (subset, accuracy)


def test_the_published_size_is_what_the_page_says():
    config = ActionMAEConfig(d_model=512, n_heads=8, n_memory=4, dropout=0.0)
    inputs = [Input("rgb", "vector", 512), Input("depth", "vector", 512)]
    method_ = ActionMAE(inputs, Task("multiclass", 60), config)
    transformers = [method_.encoder, method_.decoder]
    assert sum(p.numel() for part in transformers for p in part.parameters()) == 12_611_584


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 0}, "d_model must be a whole number from 1 up; got 0; leave it out"),
        ({"n_memory": 0}, "n_memory must be a whole number from 1 up; got 0"),
        ({"n_layers": 1.5}, "n_layers must be a whole number from 1 up; got 1.5"),
        ({"dropout": 1.0}, "dropout must be a number from 0 up and below 1; got 1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number from 0 up; got nan"),
        ({"d_model": 10, "n_heads": 4}, "n_heads must divide d_model; got 4 and 10"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ActionMAEConfig(**settings)
