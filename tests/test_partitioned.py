"""Learners over a partition: against a twin of loops, what masks hide, what absence may touch, the block."""

from __future__ import annotations

import copy
import math
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

import polymodal
from polymodal.errors import ConfigError, DataError
from polymodal.partition import Gates, own_parameters
from polymodal.partitioned import (
    EPSILON,
    GatedLayer,
    PartitionedFusion,
    PartitionLearner,
    Parts,
    Tokens,
    UniLearner,
    key_bias,
)

MASKS = ("chunks", "channels", "values")
FIELDS = ("uni", "paired", "rebuilt", "representation")


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def learner(n_modalities: int = 2, d: int = 8, **settings) -> PartitionLearner:
    """A learner in double precision, its gates far enough from a ramp to hide something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = PartitionLearner(n_modalities, d, **{"chunk": 2, "d_token": 4, **settings}).double()
        for parameter in made.partitioner.parameters():
            nn.init.normal_(parameter, std=0.8)
    return made


def rows(n: int = 4, n_modalities: int = 2, d: int = 8) -> tuple[Tensor, Tensor]:
    """Representations and presence; row 1 lacks the last modality, row 2 everything."""
    presence = torch.ones(n, n_modalities, dtype=torch.bool)
    presence[1, -1] = False
    presence[2] = False
    return seeded(n, n_modalities, d, seed=5), presence


def cut(made: PartitionLearner, u: int, p: int) -> PartitionLearner:
    """A static learner whose uni part ends with chunk u and whose paired part begins with chunk p."""
    for logits in made.partitioner.logits:
        falling, rising = logits.data.view(2, -1)
        falling.zero_()
        rising.zero_()
        falling[u + 1] = rising[p] = 6.0
    return made


# ---- the twin: rows, modalities, tokens and heads in loops ---------------------------------------


def weight_of(maps, i: int, token: int = 0):
    bias = maps.biases[i].detach().numpy()
    return maps.weights[i].detach().numpy(), bias[token if len(bias) > 1 else 0]


def mapped(maps, i: int, x, token: int = 0):
    weight, bias = weight_of(maps, i, token)
    return x @ weight + bias


def normed(x):
    return (x - x.mean()) / math.sqrt(x.var() + 1e-5)


def gelu(x):
    return np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x])


def twin_layer(layer: GatedLayer, group: int, tokens: list, weights: list[float]) -> list:
    """One layer over the tokens of one row; ``weights``: how much each token counts as a key, 0 hides it."""
    d = len(tokens[0])
    width = d // layer.n_heads
    projected = [
        mapped(layer.project_in, group, normed(token)).reshape(3, layer.n_heads, width) for token in tokens
    ]
    updated = []
    for i, token in enumerate(tokens):
        heads = []
        for head in range(layer.n_heads):
            shares = [
                weight * math.exp(projected[i][0, head] @ key[1, head] / math.sqrt(width)) if weight else 0.0
                for key, weight in zip(projected, weights, strict=True)
            ]
            total = sum(shares)
            heads.append(
                sum(
                    share / total * key[2, head]
                    for key, share in zip(projected, shares, strict=True)
                    if share
                )
            )
        token = token + mapped(layer.project_out, group, np.concatenate(heads))
        hidden = gelu(mapped(layer.widen, group, normed(token)))
        updated.append(token + mapped(layer.narrow, group, hidden))
    return updated


def twin_tokens(tokens: Tokens, x, gate):
    """The tokens of one modality of one row, and how much each counts as a key."""
    neurons = np.repeat(gate, tokens.chunk)
    if tokens.reading == "values":
        return [x * neurons], [1.0]
    if tokens.reading == "channels":
        return [x[i : i + 1] for i in range(len(x))], list(neurons)
    return [x[k * tokens.chunk : (k + 1) * tokens.chunk] for k in range(len(gate))], list(gate)


def twin_learn(part, xs: list, gates: list, present: list[bool], soft: float, *, together: bool) -> list:
    """Features of one row's modalities: each alone, or all present ones together."""
    embedded, weights = [], []
    for i, (x, gate) in enumerate(zip(xs, gates, strict=True)):
        pieces, counts = twin_tokens(part.tokens, x, gate)
        embedded.append([mapped(part.embed, i, piece, n) for n, piece in enumerate(pieces)])
        added = 0.0 if part.tokens.reading == "values" else soft
        weights.append([(count + added) if present[i] else 0.0 for count in counts])
    for layer in part.layers:
        if together:
            flat = twin_layer(layer, 0, list(chain(*embedded)), list(chain(*weights)))
            n = len(embedded[0])
            embedded = [flat[i * n : (i + 1) * n] for i in range(len(xs))]
        else:
            embedded = [
                twin_layer(layer, i, embedded[i], weights[i]) if present[i] else embedded[i]
                for i in range(len(xs))
            ]
    return [
        np.concatenate([mapped(part.unembed, i, token) for token in embedded[i]])
        * np.repeat(gates[i], part.tokens.chunk)
        for i in range(len(xs))
    ]


def twin_decode(decoder, i: int, x):
    if isinstance(decoder, nn.Sequential):
        return mapped(decoder[2], i, gelu(mapped(decoder[0], i, x)))
    return mapped(decoder, i, x)


def twin(
    made: PartitionLearner, representation: Tensor, presence: Tensor, acting: Gates, *, hard: bool
) -> dict:
    """What the learner must say, one row after the other; ``acting`` holds the gates (B, M, K) in use."""
    found = {name: np.zeros(representation.shape) for name in ("uni", "paired", "rebuilt")}
    soft = 0.0 if hard else EPSILON
    for row in range(len(representation)):
        present = presence[row].tolist()
        if not any(present):
            continue
        gates_u, gates_p = list(acting.uni[row].numpy()), list(acting.paired[row].numpy())
        start = [x * there for x, there in zip(representation[row].numpy(), present, strict=True)]
        own = xs = start
        nothing = [np.zeros_like(x) for x in start]
        for _ in range(made.n_iterations):
            uni = paired = nothing
            if made.parts != "paired":
                uni = twin_learn(made.uni, own, gates_u, present, soft, together=False)
            if made.parts != "uni":
                paired = twin_learn(made.paired, xs, gates_p, present, soft, together=True)
            rebuilt, rebuilt_alone = (
                [twin_decode(made.decoder, i, np.concatenate([uni[i], other[i]])) for i in range(len(xs))]
                for other in (paired, nothing)
            )
            xs = [x + back for x, back in zip(start, rebuilt, strict=True)]
            own = [x + back for x, back in zip(start, rebuilt_alone, strict=True)]
        for name, values in (("uni", uni), ("paired", paired), ("rebuilt", rebuilt)):
            for i, there in enumerate(present):
                if there:
                    found[name][row, i] = values[i]
    return found


SETTINGS = [
    {},
    {"mask": "channels"},
    {"mask": "values"},
    {"mask": "channels", "d": 32, "chunk": 8, "n_iterations": 1},  # 64 keys: the fused attention
    {"d_token": 64, "n_iterations": 1},  # two heads
    {"n_layers": 2, "n_iterations": 1},
    {"d_decoder": 0},
    {"parts": "uni"},
    {"parts": "paired"},
    {"gate": "static"},
    {"gate": "sigmoid"},
    {"gate": "fixed"},
    {"gate": "open"},
]


@pytest.mark.parametrize("hardness", [0.0, 0.4, None], ids=["soft", "hardening", "hard"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_pass_is_that_of_loops(settings, hardness):
    settings = {"n_iterations": 2, "d": 8, **settings}
    made = learner(**settings)
    representation, presence = rows(d=settings["d"])
    hard = hardness is None
    with torch.no_grad():
        parts = made(representation, presence, hardness=hardness or 0.0, hard=hard)
        acting = parts.gates.hard() if hard else parts.gates.towards_hard(hardness)
        expected = twin(made, representation, presence, acting, hard=hard)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(parts, name).numpy(), values, rtol=1e-9, atol=1e-11, err_msg=name)
    assert np.abs(expected["rebuilt"]).max() > 1e-3


def test_gates_are_read_from_the_representation_alone():
    representation, presence = rows()
    made = learner(n_iterations=3)
    blanked = torch.where(presence.unsqueeze(2), representation, 0.0).transpose(0, 1)
    expected = made.partitioner(blanked)
    gates = made(representation, presence).gates
    assert torch.equal(gates.uni, expected.uni.transpose(0, 1))
    assert torch.equal(gates.paired, expected.paired.transpose(0, 1))


@pytest.mark.parametrize("parts", ["uni", "paired"])
def test_two_rounds_of_one_part_are_one_round_twice(parts):
    representation, presence = rows()
    twice, once = (learner(gate="static", n_iterations=n, parts=parts) for n in (2, 1))
    once.load_state_dict(twice.state_dict())
    for hard in (True, False):
        first = once(representation, presence, hard=hard)
        second = once(first.representation + first.rebuilt, presence, hard=hard)
        found = twice(representation, presence, hard=hard)
        for name in (parts, "rebuilt"):
            torch.testing.assert_close(getattr(found, name), getattr(second, name), rtol=1e-12, atol=1e-13)
            assert (getattr(found, name) - getattr(first, name)).abs().max() > 1e-3
        assert torch.equal(found.representation, first.representation)


def test_without_learners_features_are_the_gated_representation():
    representation, presence = rows()
    parts = learner(n_layers=0, n_iterations=1)(representation, presence, hard=False)
    there = presence.unsqueeze(2)
    for features, gate in ((parts.uni, parts.gates.uni), (parts.paired, parts.gates.paired)):
        torch.testing.assert_close(features, representation * gate.repeat_interleave(2, dim=2) * there)


@pytest.mark.parametrize("parts", ["uni", "paired"])
def test_a_part_left_out_is_zero(parts):
    found = learner(parts=parts)(*rows())
    left_out, learnt = (found.paired, found.uni) if parts == "uni" else (found.uni, found.paired)
    assert not left_out.any()
    assert learnt.abs().max() > 0


def test_no_row_depends_on_another():
    representation, presence = rows()
    made = learner()
    for hard in (True, False):
        together = made(representation, presence, hard=hard)
        for row in range(len(presence)):
            alone = made(representation[row : row + 1], presence[row : row + 1], hard=hard)
            torch.testing.assert_close(alone.features[0], together.features[row], rtol=1e-10, atol=1e-12)


def test_evaluation_is_hard_and_training_soft():
    representation, presence = rows()
    made = learner()
    for training in (True, False):
        found = made.train(training)(representation, presence).features
        assert torch.equal(found, made(representation, presence, hard=not training).features)
        assert not torch.equal(found, made(representation, presence, hard=training).features)


def test_at_full_hardness_training_sees_what_prediction_sees():
    representation, presence = rows()
    made = learner()
    soft = made(representation, presence, hardness=1.0, hard=False).features
    torch.testing.assert_close(soft, made(representation, presence, hard=True).features, atol=1e-4, rtol=1e-4)


# ---- masks ---------------------------------------------------------------------------------------


def test_the_additive_mask_is_that_of_a_loop():
    gate = torch.tensor([[1.0, 0.25, 0.0]], dtype=torch.float64)
    soft = [math.log(g + EPSILON) for g in gate[0].tolist()]
    assert key_bias(gate, hard=False)[0].tolist() == pytest.approx(soft)
    hidden = key_bias((gate >= 0.5).double(), hard=True)[0].tolist()
    assert hidden[0] == 0
    assert all(math.exp(bias) == 0 for bias in hidden[1:])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for hard in (True, False):
            assert key_bias(gate.to(dtype), hard=hard).dtype == dtype
            assert key_bias(gate.to(dtype), hard=hard).isfinite().all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", ["uni", "paired"])
def test_what_is_hidden_has_no_influence_and_no_gradient(mask, name):
    """Chunks 0-1 are uni, chunk 3 is paired, chunk 2 is neither; one round."""
    made = cut(learner(gate="static", mask=mask, n_iterations=1), 1, 3).eval()
    representation, presence = rows()
    representation.requires_grad_()
    seen = {"uni": slice(0, 4), "paired": slice(6, 8)}[name]
    features = getattr(made(representation, presence), name)
    (gradient,) = torch.autograd.grad((features * seeded(*features.shape, seed=7)).sum(), representation)
    hidden = torch.ones(8, dtype=torch.bool)
    hidden[seen] = False
    assert not gradient[..., hidden].any()
    assert not features[..., hidden].any()
    assert (gradient[..., seen].abs().amax(2) > 0)[presence].all()
    other = representation.detach().clone()
    other[..., hidden] = 100 * seeded(*other[..., hidden].shape, seed=8)
    assert torch.equal(getattr(made(other, presence), name), features)


@pytest.mark.parametrize("mask", MASKS)
def test_what_is_in_no_part_has_no_influence_in_any_round(mask):
    made = cut(learner(gate="static", mask=mask, n_iterations=3), 1, 3).eval()
    representation, presence = rows()
    representation.requires_grad_()
    parts = made(representation, presence)
    total = sum(
        (getattr(parts, name) * seeded(4, 2, 8, seed=9)).sum() for name in ("uni", "paired", "rebuilt")
    )
    (gradient,) = torch.autograd.grad(total, representation)
    assert not gradient[..., 4:6].any()
    assert gradient[..., :4].abs().max() > 0


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("gate", ["row", "static", "sigmoid"])
@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_soft_gates_learn_and_hard_gates_do_not(mask, gate, hardness):
    representation, presence = rows()
    made = learner(mask=mask, gate=gate)
    for hard in (True, False):
        made.zero_grad()
        parts = made(representation, presence, hardness=hardness, hard=hard)
        (parts.features * seeded(*parts.features.shape, seed=1)).sum().backward()
        gradients = [p.grad for p in made.partitioner.parameters()]
        if hard:
            assert all(gradient is None for gradient in gradients)
        else:
            assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)
        assert all(p.grad.abs().max() > 0 for p in made.uni.embed.weights)


@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_a_gate_learns_through_the_mask_itself(hardness):
    """The features of chunk 0 change with the gate of chunk 3 through its weight as a key alone."""
    made = UniLearner(Tokens("chunks", 8, 2), 1, 4, 1, 0.0).double()
    gate = torch.tensor([[[1.0, 0.9, 0.6, 0.3]]], dtype=torch.float64, requires_grad=True)
    acting = Gates(gate, gate).towards_hard(hardness).uni
    features = made(seeded(1, 1, 8), acting, torch.ones(1, 1, dtype=torch.bool), hard=False)
    (gradient,) = torch.autograd.grad(features[..., :2].square().sum(), gate)
    assert gradient.isfinite().all()
    assert gradient[0, 0, 3].abs() > 1e-8


# ---- absence -------------------------------------------------------------------------------------


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("settings", [{}, {"mask": "channels"}, {"mask": "values"}, {"n_layers": 0}], ids=str)
def test_absent_bytes_reach_nothing(settings, hard):
    representation, presence = rows(6, 3)
    presence[4] = torch.tensor([False, True, False])
    made = learner(3, **settings)
    expected = made(representation, presence, hard=hard)
    for poison in (0.0, 1e30, float("nan"), float("inf")):
        other = torch.where(presence.unsqueeze(2), representation, poison).requires_grad_()
        found = made(other, presence, hard=hard)
        for name in FIELDS:
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        total = found.features.square().sum() + found.reconstruction_loss()
        made.zero_grad()
        total.backward()
        assert not other.grad[~presence].any()
        assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    for name in FIELDS:
        assert not getattr(expected, name)[~presence].any()


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("settings", [{}, {"mask": "channels"}, {"mask": "values"}], ids=str)
def test_an_absent_modality_might_as_well_never_have_been(settings, hard):
    """A learner that only ever knew the other modalities says the same of them."""
    large, small = learner(3, **settings), learner(2, **settings)
    for ours, theirs in zip(small.modules(), large.modules(), strict=True):
        if isinstance(ours, nn.ParameterList):
            kept = list(theirs) if len(theirs) == 1 else [theirs[0], theirs[2]]
            for mine, other in zip(ours, kept, strict=True):
                mine.data = other.data.clone()
    representation, _ = rows(5, 3)
    presence = torch.tensor([[True, False, True]] * 3 + [[True, False, False], [False, False, True]])
    expected = large(representation, presence, hard=hard)
    found = small(representation[:, [0, 2]], presence[:, [0, 2]], hard=hard)
    for name in FIELDS:
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name)[:, [0, 2]], rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("n_iterations", [1, 3])
@pytest.mark.parametrize("hard", [True, False])
def test_paired_parts_see_each_other_and_uni_parts_do_not(hard, n_iterations):
    made = learner(n_iterations=n_iterations)
    representation, presence = rows()
    other = representation.clone()
    other[:, 1] = seeded(4, 8, seed=3)
    before, after = made(representation, presence, hard=hard), made(other, presence, hard=hard)
    assert torch.equal(before.uni[:, 0], after.uni[:, 0])
    moved = (before.paired[:, 0] - after.paired[:, 0]).abs().amax(1) > 1e-6
    assert moved.tolist() == presence.all(1).tolist(), "only where both are there"


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("settings", [{}, {"mask": "channels"}, {"n_layers": 0}], ids=str)
def test_alone_is_as_if_no_other_modality_were_there(settings, hard):
    made = learner(3, **settings)
    representation, presence = rows(5, 3)
    together = made(representation, presence, hard=hard)
    alone = made(representation, presence, hard=hard, alone=True)
    for i in range(3):
        only = presence & (torch.arange(3) == i)
        expected = made(representation, only, hard=hard)
        for name in FIELDS:
            torch.testing.assert_close(
                getattr(alone, name)[:, i], getattr(expected, name)[:, i], rtol=1e-12, atol=1e-14
            )
    assert torch.equal(alone.presence, presence)
    assert torch.equal(alone.paired, together.paired) == (settings == {"n_layers": 0})


def test_modalities_have_weights_of_their_own():
    """Rows of one modality alone train what belongs to it, and what all share."""
    made, (representation, _) = learner(), rows()
    presence = torch.tensor([[True, False]] * 4)
    made.train()(representation, presence).features.square().sum().backward()
    for module in (made.partitioner, made.uni, made.paired.embed, made.paired.unembed):
        assert all(p.grad.abs().max() > 0 for p in own_parameters(module, 0))
        assert all(p.grad is None or not p.grad.any() for p in own_parameters(module, 1))
    assert all(p.grad.isfinite().all() for p in made.paired.layers.parameters())


# ---- what comes out ------------------------------------------------------------------------------


def test_features_lie_side_by_side():
    parts = learner()(*rows())
    for row in range(4):
        expected = [*parts.uni[row, 0], *parts.paired[row, 0], *parts.uni[row, 1], *parts.paired[row, 1]]
        assert torch.equal(parts.features[row], torch.stack(expected))


def test_the_reconstruction_loss_is_that_of_a_loop():
    parts = learner()(*rows())
    errors = [
        float((parts.rebuilt[row, i, k] - parts.representation[row, i, k]).detach() ** 2)
        for row in range(4)
        for i in range(2)
        if parts.presence[row, i]
        for k in range(8)
    ]
    assert len(errors) == 5 * 8
    assert float(parts.reconstruction_loss().detach()) == pytest.approx(np.mean(errors), rel=1e-6)


def test_the_target_of_the_reconstruction_gets_no_gradient():
    rebuilt, target = seeded(2, 1, 4).requires_grad_(), seeded(2, 1, 4, seed=1).requires_grad_()
    gates = Gates(torch.ones(2, 1, 2), torch.ones(2, 1, 2))
    parts = Parts(rebuilt, rebuilt, rebuilt, target, gates, torch.tensor([[True], [False]]))
    parts.reconstruction_loss().backward()
    assert target.grad is None
    assert rebuilt.grad[0].abs().max() > 0
    assert not rebuilt.grad[1].any()


def test_nothing_present_costs_nothing():
    representation, presence = rows()
    made = learner().train()
    loss = made(representation, torch.zeros_like(presence)).reconstruction_loss()
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_any_precision_and_no_rows_at_all(dtype, training):
    made = learner().to(dtype).train(training)
    representation, presence = rows()
    features = made(representation.to(dtype), presence).features
    assert features.dtype == dtype
    assert features.isfinite().all()
    assert made(representation[:0].to(dtype), presence[:0]).features.shape == (0, 32)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"chunk": 3}, "the width is a multiple of chunk; got 8 and chunk=3; take a chunk that divides it"),
        ({"chunk": 0}, "got 8 and chunk=0"),
        ({"chunk": 8}, "needs 2 chunks or more; got 1"),
        (
            {"mask": "tokens"},
            "mask must be a known name; got 'tokens'; choose one of chunks, channels, values",
        ),
        ({"parts": "all"}, "parts must be a known name; got 'all'; choose one of both, uni, paired"),
        ({"gate": "hard"}, "gate must be a known name; got 'hard'; choose one of row, static, sigmoid"),
        ({"n_iterations": 0}, "n_iterations is 1 or more; got 0; n_layers=0 leaves the learners out"),
    ],
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        PartitionLearner(2, 8, **{"chunk": 2, **settings})
    with pytest.raises(ConfigError, match=match):
        PartitionedFusion({"a": 3}, 8, **{"chunk": 2, **settings})


# ---- the block for anyone's encoders -------------------------------------------------------------


def fusion(**settings) -> PartitionedFusion:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PartitionedFusion({"text": 5, "image": 3}, 8, **{"chunk": 2, "d_token": 4, **settings})


def encoded(n: int = 6) -> dict[str, Tensor]:
    return {"text": seeded(n, 4, 5).float(), "image": seeded(n, 3, seed=1).float()}


def test_the_block_is_at_the_package_s_face():
    assert polymodal.PartitionedFusion is PartitionedFusion


def test_the_block_maps_averages_and_scales():
    """Against loops: a linear map, the mean over valid steps, one scale."""
    block, given = fusion().eval(), encoded()
    lengths = {"text": torch.tensor([4, 1, 2, 3, 4, 0])}
    found = block(given, lengths=lengths).representation
    text, image = block.adapters
    for row in range(6):
        steps = [text(given["text"][row, t]) for t in range(int(lengths["text"][row]))]
        mean = sum(steps) / len(steps) if steps else torch.zeros(8)
        for i, hidden in enumerate((mean, image(given["image"][row]))):
            expected = normed(hidden.detach().double().numpy())
            np.testing.assert_allclose(found[row, i].detach().numpy(), expected, atol=1e-4)


def test_shapes_of_the_block():
    parts = fusion()(encoded())
    assert parts.features.shape == (6, 2 * 2 * 8)
    assert parts.presence.all()
    assert parts.gates.uni.shape == (6, 2, 4)
    assert parts.reconstruction_loss().shape == ()
    assert fusion()({"text": torch.randn(6, 5)}).features.shape == (6, 32)


def test_by_default_the_block_trains_on_the_values_of_prediction():
    block, given = fusion().train(), encoded()
    found, soft = block(given).features, block(given, hardness=0.0).features
    expected = block.eval()(given).features
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (soft - expected).abs().max() > 1e-2


@pytest.mark.parametrize("training", [True, False])
def test_padding_and_absent_bytes_are_never_read(training):
    block, given = fusion().train(training), encoded()
    lengths = {"text": torch.tensor([4, 1, 2, 3, 4, 1])}
    presence = torch.ones(6, 2, dtype=torch.bool)
    presence[0, 0] = presence[1, 1] = False
    expected = block(given, presence, lengths)
    spoilt = {name: values.clone() for name, values in given.items()}
    spoilt["text"][torch.arange(4) >= lengths["text"].unsqueeze(1)] = torch.nan
    for i, name in enumerate(("text", "image")):
        spoilt[name][~presence[:, i]] = torch.nan
    found = block(spoilt, presence, lengths)
    assert torch.equal(found.features, expected.features)
    (found.features.square().sum() + found.reconstruction_loss()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())
    assert block.adapters[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_modality_left_out_is_an_absent_one(training):
    block, given = fusion().train(training), encoded()
    presence = torch.tensor([[True, False]]).expand(6, -1)
    expected = block(given, presence)
    for found in (block({"text": given["text"]}), block({"text": given["text"]}, presence)):
        assert torch.equal(found.features, expected.features)
        assert torch.equal(found.presence, presence)
    assert not expected.features[:, 16:].any()


def test_the_order_in_which_modalities_come_does_not_matter():
    block, given = fusion(), encoded()
    turned = dict(reversed(given.items()))
    assert torch.equal(block(given).features, block(turned).features)


@pytest.mark.parametrize("how", ["requires_grad", "no_grad"])
def test_frozen_encoders_get_no_gradient_and_trained_ones_do(how):
    text, image = nn.Linear(7, 5), nn.Linear(7, 3)
    before = copy.deepcopy(text.state_dict())
    block, x, head = fusion().train(), torch.randn(6, 7), nn.Linear(32, 1)
    if how == "requires_grad":
        text.requires_grad_(False)
    optimizer = torch.optim.AdamW([*text.parameters(), *image.parameters(), *block.parameters()], lr=0.1)
    for _ in range(2):
        with torch.set_grad_enabled(how == "requires_grad"):
            encoded_text = text(x)
        parts = block({"text": encoded_text, "image": image(x)})
        (head(parts.features).square().mean() + parts.reconstruction_loss()).backward()
        optimizer.step()
    assert all(p.grad is None for p in text.parameters())
    assert all(torch.equal(value, before[name]) for name, value in text.state_dict().items())
    assert all(p.grad.abs().max() > 0 for p in [*image.parameters(), *block.adapters.parameters()])


def test_a_plain_loop_learns_what_no_modality_tells_alone():
    """The label is the product of two signs, one in each modality; features and a linear head find it."""
    torch.manual_seed(0)
    signs = torch.randint(0, 2, (256, 2)).float() * 2 - 1
    x = {
        "text": signs[:, :1] * torch.ones(5) + 0.3 * torch.randn(256, 5),
        "image": signs[:, 1:] * torch.ones(3) + 0.3 * torch.randn(256, 3),
    }
    y = (signs.prod(1) > 0).long()
    block, head = fusion(d_token=16, n_iterations=1).train(), nn.Linear(32, 2)
    optimizer = torch.optim.AdamW([*block.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    for _ in range(80):
        parts = block(x)
        task, back = F.cross_entropy(head(parts.features), y), parts.reconstruction_loss()
        losses.append((float(task.detach()), float(back.detach())))
        optimizer.zero_grad()
        (task + back).backward()
        optimizer.step()
    assert losses[-1][0] < 0.3 * losses[0][0]
    assert losses[-1][1] < 0.7 * losses[0][1]
    assert (head(block(x).features).argmax(1) == y).float().mean() > 0.95, "soft"


def test_a_copy_and_a_saved_state_say_the_same():
    block, given = fusion().eval(), encoded()
    expected = block(given)
    loaded = PartitionedFusion({"text": 5, "image": 3}, 8, chunk=2, d_token=4).eval()
    assert not torch.equal(loaded(given).features, expected.features)
    loaded.load_state_dict(block.state_dict())
    for twin_block in (copy.deepcopy(block), loaded):
        assert torch.equal(twin_block(given).features, expected.features)
    copied = copy.deepcopy(block)
    copied.adapters[0].weight.data.add_(1)
    assert torch.equal(block(given).features, expected.features)


def test_mixed_precision_is_near_and_finite():
    block, given = fusion(), encoded()
    for training in (True, False):
        block.train(training)
        expected = block(given).features
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts = block(given)
        (parts.features.float().square().sum() + parts.reconstruction_loss()).backward()
        torch.testing.assert_close(parts.features.float(), expected, atol=0.1, rtol=0.1)
    assert all(p.grad.isfinite().all() for p in block.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("given", "presence", "lengths", "match"),
    [
        ({}, None, None, "a batch holds at least one modality; none came; give one"),
        (
            {"txt": torch.ones(2, 5)},
            None,
            None,
            "this fusion knows text, image; 'txt' came; name it when you",
        ),
        ({"text": torch.ones(2, 5)}, None, {"txt": torch.ones(2)}, "knows text, image; 'txt' came"),
        (
            {"text": torch.ones(2, 5)},
            torch.ones(2, 3, dtype=torch.bool),
            None,
            r"presence is \(2, 2\), rows by modalities; \(2, 3\) came; give a column for each",
        ),
        (
            {"text": torch.ones(2, 5)},
            torch.ones(2, 2, dtype=torch.bool),
            None,
            "presence is True for 'image', which did not come; give its values or set it to False",
        ),
    ],
)
def test_what_the_block_refuses(given, presence, lengths, match):
    with pytest.raises(DataError, match=match):
        fusion()(given, presence, lengths)


# ---- golden values -------------------------------------------------------------------------------

GOLDEN = {
    "soft": [-14.268315283450331, -22.13773795134838, 3.8051337317234277, 1.2705204341196967],
    "hard": [-27.73406233526488, -7.655055119384405, -4.774221092079028, 3.080740608198608],
}
"""Sums of uni, paired and rebuilt, and the reconstruction loss."""


def golden() -> dict[str, list[float]]:
    """Sums of what a learner with weights sin(1), sin(2), ... makes of a few rows, soft and hard."""
    made = learner(gate="row", n_iterations=2)
    for parameter in made.parameters():
        numbers = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
        parameter.data = numbers.sin().view_as(parameter)
    representation = torch.arange(64, dtype=torch.float64).cos().view(4, 2, 8)
    _, presence = rows()
    found = {}
    for name, hard in (("soft", False), ("hard", True)):
        with torch.no_grad():
            parts = made(representation, presence, hard=hard)
        loss = float(parts.reconstruction_loss())
        found[name] = [float(parts.uni.sum()), float(parts.paired.sum()), float(parts.rebuilt.sum()), loss]
    return found


@pytest.mark.parametrize("name", ["soft", "hard"])
def test_golden_values(name):
    assert golden()[name] == pytest.approx(GOLDEN[name], rel=1e-6), (
        "the partition's arithmetic has changed; if that is meant, print new values with "
        "`python tests/test_partitioned.py`"
    )


if __name__ == "__main__":
    print(golden())
