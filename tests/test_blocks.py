"""Blocks against dull twins, and the property all of them keep: what is absent is never read."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from batches import SERIES, TASKS, VECTORS, random_batch, spoilt
from polymodal import blocks
from polymodal.batch import Input

NAN = float("nan")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


# ---- absence -------------------------------------------------------------------------------------


def test_blank_overwrites_nan_and_stops_its_gradient():
    x = torch.tensor([[1.0, 2.0], [NAN, NAN]], requires_grad=True)
    y = blocks.blank(x, torch.tensor([True, False]))
    assert y.tolist() == [[1, 2], [0, 0]]
    y.square().sum().backward()
    assert x.grad.tolist() == [[2, 4], [0, 0]]


def test_masked_mean_equals_a_loop():
    tokens, mask = torch.randn(6, 4, 3), torch.rand(6, 4) < 0.5
    mask[0] = False
    expected = torch.stack(
        [t[m].mean(0) if m.any() else torch.zeros(3) for t, m in zip(tokens, mask, strict=True)]
    )
    tokens[~mask] = NAN
    torch.testing.assert_close(blocks.masked_mean(tokens, mask), expected)


def test_last_step_equals_a_loop():
    states, lengths = torch.randn(5, 7, 2), torch.tensor([7, 1, 0, 3, 6])
    expected = torch.stack(
        [s[n - 1] if n else torch.zeros(2) for s, n in zip(states, lengths.tolist(), strict=True)]
    )
    torch.testing.assert_close(blocks.last_step(states, lengths), expected)


def test_random_subsets_are_parts_never_empty_and_all_alike():
    presence = torch.ones(7000, 3, dtype=torch.bool)
    kept = blocks.random_subset(presence)
    counts = torch.bincount((kept * torch.tensor([1, 2, 4])).sum(1), minlength=8)
    assert counts[0] == 0
    assert counts[1:].min() > 850  # 1000 expected, standard deviation 29
    some = torch.rand(500, 4) < 0.4
    kept = blocks.random_subset(some)
    assert not (kept & ~some).any()
    assert torch.equal(kept.any(1), some.any(1))


# ---- maps ----------------------------------------------------------------------------------------


def test_linear_per_modality_equals_a_loop():
    layer, x = blocks.LinearPerModality(3, 4, 2), torch.randn(5, 3, 4)
    expected = torch.stack([x[:, i] @ layer.weight[i] + layer.bias[i] for i in range(3)], dim=1)
    torch.testing.assert_close(layer(x), expected)


def test_residual_mlp_counts_as_said():
    assert n_parameters(blocks.ResidualMLP(60)) == 2 * (60**2 + 60)


# ---- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "n_layers"), [(30, 5), (8, 1)])
def test_transformer_counts_as_said(d, n_layers):
    assert n_parameters(blocks.Transformer(d, 2, n_layers)) == n_layers * (12 * d**2 + 13 * d) + 2 * d


@pytest.mark.parametrize("crossed", [False, True])
def test_attention_equals_torch_with_copied_weights(crossed):
    layer = blocks.TransformerLayer(8, 2)
    twin = nn.MultiheadAttention(8, 2, batch_first=True)
    twin.in_proj_weight.data.copy_(layer.project_in.weight)
    twin.in_proj_bias.data.copy_(layer.project_in.bias)
    twin.out_proj.load_state_dict(layer.project_out.state_dict())
    x, context = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    keys = context if crossed else x
    mask = torch.rand(3, keys.shape[1]) < 0.6
    mask[:, 0] = True
    query, read = layer.norm_attention(x), layer.norm_attention(keys)
    expected, _ = twin(query, read, read, key_padding_mask=~mask)
    torch.testing.assert_close(layer.attend(query, context if crossed else None, mask), expected)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_row_without_keys_attends_to_nothing_and_stays_finite(mode):
    layer = getattr(blocks.TransformerLayer(8, 2), mode)()
    x = torch.randn(2, 4, 8, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    attended = layer.attend(layer.norm_attention(x), None, mask)
    assert attended[1].abs().max() == 0
    assert attended[0].abs().max() > 0
    layer(x, None, mask).sum().backward()
    assert x.grad.isfinite().all()


def test_masked_keys_do_not_matter():
    layer, x, context = blocks.TransformerLayer(8, 2), torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[True, True, False, False]] * 2)
    other = torch.where(mask.unsqueeze(2), context, torch.full_like(context, 100.0))
    torch.testing.assert_close(layer(x, context, mask), layer(x, other, mask))


@pytest.mark.parametrize("d", [1, 5, 8])
def test_positions_differ_and_have_any_width(d):
    found = blocks.positions(9, d, torch.device("cpu"), torch.float32)
    assert found.shape == (9, d)
    assert len(found.unique(dim=0)) == 9


# ---- attention with a bias per key ---------------------------------------------------------------

SIZES = [(3, 5), (8, 24), (64, 64), (33, 130)]  # queries and keys
FORMS = {"written_out": 2**40, "fused": 0}


def attention_inputs(n_queries, n_keys, dtype=torch.float64, d=4, n_rows=3):
    query, key, value = (torch.randn(n_rows, 2, n, d, dtype=dtype) for n in (n_queries, n_keys, n_keys))
    inputs = query, key, value, 3 * torch.randn(n_rows, n_keys, dtype=dtype)
    return tuple(x.requires_grad_() for x in inputs)


def attention_by_loops(query, key, value, key_bias):
    rows = []
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            for q in query[b, h]:
                logits = torch.stack([q @ k / q.shape[0] ** 0.5 for k in key[b, h]]) + key_bias[b]
                weights = logits.exp() / logits.exp().sum()
                rows.append(sum(w * v for w, v in zip(weights, value[b, h], strict=True)))
    return torch.stack(rows).view(query.shape)


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    monkeypatch.setattr(blocks, "FUSED_FROM", FORMS[request.param])


def test_biased_attention_equals_loops_gradients_too(form):
    inputs = attention_inputs(3, 5)
    output, expected = blocks.biased_attention(*inputs), attention_by_loops(*inputs)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    seed = torch.randn_like(output)
    gradients = torch.autograd.grad(output, inputs, seed)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, inputs, seed), rtol=1e-10, atol=1e-12)


def test_biased_attention_passes_gradcheck(form):
    assert torch.autograd.gradcheck(blocks.biased_attention, attention_inputs(2, 3, n_rows=2))


@pytest.mark.parametrize("d", [4, 8, 16, 21])
@pytest.mark.parametrize(("n_queries", "n_keys"), SIZES)
def test_biased_attention_equals_an_additive_mask(form, n_queries, n_keys, d):
    inputs = attention_inputs(n_queries, n_keys, torch.float32, d)
    query, key, value, bias = (x.detach().double().requires_grad_() for x in inputs)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, bias[:, None, None, :])
    output = blocks.biased_attention(*inputs)
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-5)
    seed = torch.randn_like(output)
    gradients = torch.autograd.grad(output, inputs, seed)
    dense = torch.autograd.grad(expected, (query, key, value, bias), seed.double())
    for found, wanted in zip(gradients, dense, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_keys_have_exactly_no_weight_and_no_gradient(form, dtype):
    query, key, value, bias = attention_inputs(6, 9, dtype)
    absent = torch.rand(bias.shape) < 0.5
    absent[:, 0], absent[:, 1] = False, True
    bias = bias.detach().masked_fill(absent, blocks.ABSENT).requires_grad_()
    output = blocks.biased_attention(query, key, value, bias)
    hidden = absent[:, None, :, None].expand(key.shape)
    elsewhere = blocks.biased_attention(
        query, key.masked_fill(hidden, 7.0), value.masked_fill(hidden, -1e6), bias
    )
    assert torch.equal(output, elsewhere)
    _, for_key, for_value, for_bias = torch.autograd.grad(output.square().sum(), (query, key, value, bias))
    for gradient in for_key[hidden], for_value[hidden], for_bias[absent]:
        assert gradient.numel()
        assert gradient.abs().max() == 0
    assert for_key[~hidden].abs().min() > 0
    assert for_bias[~absent].abs().min() > 0


def test_a_row_with_only_absent_keys_is_finite_and_alone(form):
    query, key, value, bias = attention_inputs(4, 6, torch.float32)
    spoilt_bias = bias.detach().clone()
    spoilt_bias[1] = blocks.ABSENT
    inputs = query, key, value, spoilt_bias.requires_grad_()
    output = blocks.biased_attention(*inputs)
    rest = [0, 2]
    torch.testing.assert_close(output[rest], blocks.biased_attention(query, key, value, bias)[rest])
    assert all(g.isfinite().all() for g in torch.autograd.grad(output.square().sum(), inputs))


@pytest.mark.parametrize(("n_queries", "n_keys"), SIZES)
def test_biased_attention_knows_nothing_of_the_other_rows(form, n_queries, n_keys):
    inputs = attention_inputs(n_queries, n_keys, torch.float32, n_rows=5)
    alone = torch.cat([blocks.biased_attention(*(x[i : i + 1] for x in inputs)) for i in range(5)])
    torch.testing.assert_close(blocks.biased_attention(*inputs), alone, rtol=1e-5, atol=1e-6)


def test_both_forms_of_biased_attention_agree_where_one_takes_over(monkeypatch):
    inputs = attention_inputs(4, 6, torch.float32)
    at_least = 3 * 2 * 4 * 6
    monkeypatch.setattr(blocks, "FUSED_FROM", at_least)
    written_out = blocks.biased_attention(*inputs)
    monkeypatch.setattr(blocks, "FUSED_FROM", at_least - 1)
    fused = blocks.biased_attention(*inputs)
    assert not torch.equal(fused, written_out)
    torch.testing.assert_close(fused, written_out)


@pytest.mark.parametrize("crossed", [False, True])
def test_a_layer_with_a_bias_of_zeros_is_the_layer_without(crossed):
    layer = blocks.TransformerLayer(8, 2)
    x, context = torch.randn(4, 5, 8), torch.randn(4, 6, 8) if crossed else None
    mask = torch.rand(4, 6 if crossed else 5) < 0.6
    mask[0] = False
    biased = layer(x, context, mask, torch.zeros(mask.shape))
    torch.testing.assert_close(biased, layer(x, context, mask))


def test_a_layer_reads_no_masked_key_whatever_its_bias():
    transformer = blocks.Transformer(8, 2, n_layers=1)
    x, context = torch.randn(3, 4, 8), torch.randn(3, 6, 8, requires_grad=True)
    bias = torch.randn(3, 6, requires_grad=True)
    mask = torch.rand(3, 6) < 0.5
    mask[0], mask[1, 0] = False, True
    output = transformer(x, mask, context, bias)
    shifted = transformer(x, mask, context + 5 * ~mask.unsqueeze(-1), bias + 50 * ~mask)
    assert torch.equal(output, shifted)
    for_context, for_bias = torch.autograd.grad(output.square().sum(), (context, bias))
    assert for_context[~mask].abs().max() == 0
    assert for_bias[~mask].abs().max() == 0
    assert for_bias[mask.sum(1) > 1].abs().max() > 0
    # A row without keys gets what a layer without any attention output gives it.
    layer = transformer.layers[0]
    torch.testing.assert_close(
        output[0], transformer.norm(x[0] + layer.feed_forward(layer.norm_forward(x[0])))
    )


# ---- branches ------------------------------------------------------------------------------------

SERIES_BRANCHES = {
    "gru": lambda: blocks.GRUBranch(3, 8),
    "transformer": lambda: blocks.TransformerBranch(3, 8),
    "flat gru": lambda: blocks.FlatGRUBranch(3, 4, 9, 8),
}


@pytest.fixture(params=SERIES_BRANCHES)
def series_branch(request):
    return SERIES_BRANCHES[request.param]().eval()


def series(n_rows=5, n_steps=6):
    lengths = torch.randint(1, n_steps + 1, (n_rows,))
    return torch.randn(n_rows, n_steps, 3), torch.ones(n_rows, dtype=torch.bool), lengths


def test_padding_does_not_matter(series_branch):
    values, present, lengths = series()
    expected = series_branch(values, present, lengths)
    padded = torch.cat([values, torch.zeros(5, 3, 3)], dim=1)
    padded[torch.arange(9) >= lengths.unsqueeze(1)] = NAN
    torch.testing.assert_close(series_branch(padded, present, lengths), expected)
    series_branch(padded, present, lengths).sum().backward()
    assert all(p.grad.isfinite().all() for p in series_branch.parameters())


def test_steps_within_the_length_do_matter(series_branch):
    values, present, lengths = series()
    other = values.clone()
    other[torch.arange(5), lengths - 1] += 1
    difference = (
        (series_branch(values, present, lengths) - series_branch(other, present, lengths)).abs().amax(1)
    )
    assert (difference > 1e-4).all()


def test_each_row_stands_alone(series_branch):
    values, present, lengths = series()
    alone = [series_branch(values[[i]], present[[i]], lengths[[i]]) for i in range(5)]
    torch.testing.assert_close(
        series_branch(values, present, lengths), torch.cat(alone), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("n_steps", [0, 4])
def test_a_series_absent_from_every_row_is_finite(series_branch, n_steps):
    nobody = torch.zeros(2, dtype=torch.bool)
    found = series_branch(torch.full((2, n_steps, 3), NAN), nobody, torch.zeros(2, dtype=torch.int64))
    assert found.isfinite().all()


@pytest.mark.parametrize("sequence", ["gru", "transformer"])
@pytest.mark.parametrize("inputs", [VECTORS, SERIES, VECTORS + SERIES])
def test_branches_read_only_what_is_present(inputs, sequence):
    batch = random_batch(inputs, TASKS["multiclass"])
    module = blocks.Branches(inputs, 8, sequence=sequence).eval()
    hidden = module(batch)
    assert hidden.shape == (12, len(inputs), 8)
    assert hidden[~batch.presence].abs().max() == 0
    torch.testing.assert_close(module(spoilt(batch)), hidden)
    module(spoilt(batch)).sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


# ---- fusion --------------------------------------------------------------------------------------


def twin_transformer(transformer, x, context=None):
    """Pre-norm layers over one row's valid tokens alone (N, d), head by head: no mask is needed."""
    for layer in transformer.layers:
        d = x.shape[1] // layer.n_heads
        weight, bias = layer.project_in.weight, layer.project_in.bias
        query = layer.norm_attention(x) @ weight[: x.shape[1]].T + bias[: x.shape[1]]
        read = layer.norm_attention(x if context is None else context)
        key, value = (read @ weight[x.shape[1] :].T + bias[x.shape[1] :]).chunk(2, dim=1)
        heads = []
        for h in range(layer.n_heads):
            own = slice(h * d, (h + 1) * d)
            shares = (query[:, own] @ key[:, own].T / math.sqrt(d)).exp()
            heads.append(shares / shares.sum(1, keepdim=True) @ value[:, own])
        x = x + layer.project_out(torch.cat(heads, dim=1))
        wide, _, narrow = layer.feed_forward
        x = x + narrow(wide(layer.norm_forward(x)).clamp(min=0))
    return transformer.norm(x)


@torch.no_grad()
def test_set_fusion_is_that_of_loops():
    fusion, tokens = blocks.SetFusion(3, 8, n_layers=2).double().eval(), torch.randn(5, 3, 8).double()
    fusion.identity.data.normal_()
    presence = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0]]).bool()
    found = fusion(tokens, presence)
    for row in range(4):
        present = presence[row].nonzero().flatten().tolist()
        narrow = torch.stack([fusion.narrow(tokens[row, i]) + fusion.identity[i] for i in present])
        attended = twin_transformer(fusion.transformer, narrow).mean(0)
        expected = sum(tokens[row, i] for i in present) / len(present) + fusion.widen(attended)
        torch.testing.assert_close(found[row], expected)
    assert not found[4].any()


def test_set_fusion_reads_present_tokens_alone():
    fusion, tokens = blocks.SetFusion(3, 8).eval(), torch.randn(4, 3, 8)
    presence = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    fused = fusion(tokens, presence)
    other = torch.where(presence.unsqueeze(2), tokens, torch.full_like(tokens, NAN))
    torch.testing.assert_close(fusion(other, presence), fused)
    assert fused[3].abs().max() == 0
    assert (fused[0] - fused[1]).abs().max() > 1e-3


CROSSED = (Input("a", "series", 3), Input("b", "series", 2), Input("c", "series", 4))


def twin_steps(fusion, i, values):
    """A 1x1 convolution of one row's valid steps (T, D), at the scale of its positions, and these."""
    d = 6
    rates = [10_000.0 ** (-k / d) for k in range(0, d, 2)]
    places = [[f(t * rate) for f in (math.sin, math.cos) for rate in rates] for t in range(len(values))]
    return math.sqrt(d) * values @ fusion.convolutions[i].weight.T + torch.tensor(places).double()


@torch.no_grad()
def test_cross_modal_fusion_is_that_of_loops():
    fusion = blocks.CrossModalFusion(CROSSED, 6, 2, 2, 8, 0.0).double().eval()
    batch = random_batch(CROSSED, TASKS["multiclass"])
    batch = replace(batch, values={name: value.double() for name, value in batch.values.items()})
    found = fusion(batch)
    for row in range(12):
        present = batch.presence[row].nonzero().flatten().tolist()
        steps = {}
        for i in present:
            name = batch.names[i]
            steps[i] = twin_steps(fusion, i, batch.values[name][row, : batch.lengths[name][row]])
        ends = []
        for i in range(3):
            if i not in present:
                ends.append(torch.zeros(12).double())
                continue
            others = zip([j for j in range(3) if j != i], fusion.crossings[i], strict=True)
            read = [
                twin_transformer(crossing, steps[i], steps[j]) if j in steps else torch.zeros_like(steps[i])
                for j, crossing in others
            ]
            ends.append(twin_transformer(fusion.memories[i], torch.cat(read, dim=1))[-1])
        last = torch.cat(ends)
        hidden = fusion.residual.first(last).clamp(min=0)
        torch.testing.assert_close(found[row], fusion.project(last + fusion.residual.second(hidden)))
    assert len(batch.presence.unique(dim=0)) > 3


def test_cross_modal_fusion_reads_present_series_alone():
    fusion = blocks.CrossModalFusion(CROSSED, 6, 2, 1, 8, 0.0).eval()
    batch = random_batch(CROSSED, TASKS["multiclass"])
    fused = fusion(batch)
    torch.testing.assert_close(fusion(spoilt(batch)), fused)
    fusion(spoilt(batch)).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())


def test_cross_modal_fusion_zeroes_absent_sources_and_targets():
    fusion = blocks.CrossModalFusion(CROSSED, 6, 2, 1, 8, 0.0).eval()
    batch = random_batch(CROSSED, TASKS["multiclass"])
    batch.presence[:] = torch.tensor([True, False, True])
    seen = {}
    for i, memory in enumerate(fusion.memories):
        memory.register_forward_hook(lambda _, given, out, i=i: seen.update({i: given[0]}))
    fusion.residual.register_forward_hook(lambda _, given, out: seen.update(blocks=given[0]))
    fusion(batch.only(("a", "c")))
    assert seen[0][..., :6].abs().max() == 0  # a reads b, which is absent
    assert seen[0][..., 6:].abs().max() > 0  # a reads c
    assert seen["blocks"][:, 12:24].abs().max() == 0  # b reads nothing
