"""Gates of a partition: against loops, the exact facts of the methods page, and what no logits may break."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polymodal.errors import ConfigError
from polymodal.partition import SHARES, Gates, Partitioner, PerModality, cumsoftmax, own_parameters

SIZES = [2, 3, 8, 48]
KINDS = ("row", "static", "sigmoid", "fixed", "open")
ANY_LOGITS = st.lists(
    st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False)
    | st.sampled_from([0.0, 1e-30, -1e4, 100.0]),
    min_size=2,
    max_size=12,
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gates_of(logits: Tensor) -> Gates:
    """Gates of logits (..., 2, K), as the paper writes them."""
    falling, rising = cumsoftmax(logits).unbind(-2)
    return Gates(1 - falling, rising)


def twin_cumsoftmax(logits: list[float]) -> list[float]:
    """The same with loops, in double precision."""
    largest = max(logits)
    weights = [math.exp(a - largest) for a in logits]
    total, running, gate = sum(weights), 0.0, []
    for weight in weights:
        running += weight / total
        gate.append(running)
    return gate


def twin_cuts(uni: list[float], paired: list[float]) -> tuple[int, int]:
    """The last index with g_u >= 1/2, the first with g_p >= 1/2; neither part empty."""
    u, p = 0, len(paired) - 1
    for i, gate in enumerate(uni):
        if gate >= 0.5:
            u = i
    for i in reversed(range(len(paired))):
        if paired[i] >= 0.5:
            p = i
    return u, p


# ---- the cumulative softmax ----------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_cumsoftmax_is_that_of_a_loop(n):
    logits = 3 * seeded(5, n)
    for row, found in zip(logits.tolist(), cumsoftmax(logits).tolist(), strict=True):
        assert found == pytest.approx(twin_cumsoftmax(row), rel=1e-12, abs=1e-15)


@settings(max_examples=80, deadline=None)
@given(ANY_LOGITS)
def test_any_logits_give_a_rising_gate_within_bounds(logits):
    gate = cumsoftmax(torch.tensor(logits, dtype=torch.float32))
    assert ((gate >= 0) & (gate <= 1)).all()
    assert (gate.diff() >= 0).all()
    assert float(gate[-1]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_long_gate_stays_within_bounds(dtype):
    gate = cumsoftmax(seeded(20, 768).to(dtype))
    assert ((gate >= 0) & (gate <= 1)).all()


@settings(max_examples=80, deadline=None)
@given(ANY_LOGITS, ANY_LOGITS)
def test_any_logits_give_finite_gates_shares_and_cuts(falling, rising):
    n = min(len(falling), len(rising))
    logits = torch.tensor([falling[:n], rising[:n]], dtype=torch.float32, requires_grad=True)
    gates = gates_of(logits)
    torch.testing.assert_close(gates.shares().sum(), torch.tensor(1.0))
    assert ((gates.shares() >= -1e-6) & (gates.shares() <= 1 + 1e-6)).all()
    assert tuple(map(int, gates.cuts())) == twin_cuts(gates.uni.tolist(), gates.paired.tolist())
    (gates.uni.sum() + (gates.paired * gates.shared).sum()).backward()
    assert logits.grad.isfinite().all()


# ---- the four shares -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_the_four_shares_of_each_neuron_sum_to_1(n):
    gates = gates_of(2 * seeded(4, 2, n))
    four = [gates.uni_only, gates.paired_only, gates.shared, gates.unassigned]
    torch.testing.assert_close(sum(four), torch.ones(4, n, dtype=torch.float64))
    assert all((part >= 0).all() for part in four)
    for row in range(4):
        for part, found in zip(four, gates.shares()[row], strict=True):
            assert float(found) == pytest.approx(sum(part[row].tolist()) / n)
    assert SHARES == ("uni", "paired", "shared", "unassigned")


@pytest.mark.parametrize("n", SIZES)
def test_zero_logits_have_known_shares(n):
    """One sixth, one third, one third, one sixth for many neurons: the signature of what learns nothing."""
    n2 = 6 * n * n
    expected = {
        "uni": (n - 1) * (2 * n - 1) / n2,
        "paired": (n + 1) * (2 * n + 1) / n2,
        "shared": (n * n - 1) / n2,
        "unassigned": (n * n - 1) / n2,
    }
    found = gates_of(torch.zeros(2, n, dtype=torch.float64)).shares()
    assert dict(zip(SHARES, found.tolist(), strict=True)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_a_gate_opens_as_many_neurons_as_its_split_leaves(n):
    """The sum of g_p is D + 1 - E[split], splits counted from 1; that of g_u is E[split] - 1."""
    logits = 3 * seeded(6, 2, n, seed=1)
    gates = gates_of(logits)
    expected = (logits.softmax(-1) * torch.arange(1, n + 1)).sum(-1)
    torch.testing.assert_close(gates.paired.sum(-1), n + 1 - expected[:, 1])
    torch.testing.assert_close(gates.uni.sum(-1), expected[:, 0] - 1)


# ---- hard gates and cuts -------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 1000.0])
def test_cuts_are_those_of_a_loop_and_hard_gates_agree(n, scale):
    gates = gates_of((scale * seeded(50, 2, n, seed=2)).float())
    u, p = gates.cuts()
    hard = gates.hard()
    assert u.dtype == p.dtype == torch.int64
    for row in range(50):
        expected = twin_cuts(gates.uni[row].tolist(), gates.paired[row].tolist())
        assert (int(u[row]), int(p[row])) == expected
        assert hard.uni[row].tolist() == [1.0 if i <= expected[0] else 0.0 for i in range(n)]
        assert hard.paired[row].tolist() == [1.0 if i >= expected[1] else 0.0 for i in range(n)]


@pytest.mark.parametrize("leading", [torch.tensor(1e-7), torch.tensor(0.0), torch.tensor(0.49)])
def test_neither_part_is_ever_empty(leading):
    """A split at the very start shuts every uni gate, to the last bit even: one chunk stays."""
    shut = torch.zeros(4)
    shut[0] = leading
    gates = Gates(shut, shut.flip(0))
    assert gates.hard().uni.sum() == 1
    assert gates.hard().paired.sum() == 1
    assert gates.hard().uni.tolist() == [1, 0, 0, 0]
    assert int(gates.cuts()[0]) == 0


def test_a_gate_of_exactly_one_half_is_open():
    gates = Gates(torch.tensor([1.0, 0.5, 0.4999]), torch.tensor([0.4999, 0.5, 1.0]))
    assert tuple(map(int, gates.cuts())) == (1, 1)


def test_many_chunks_are_counted_exactly_in_half_precision():
    gate = torch.ones(1, 769, dtype=torch.bfloat16)
    u, p = Gates(gate, gate).cuts()
    assert (int(u), int(p)) == (768, 0)


def test_gates_without_order_keep_their_sizes():
    gate = torch.tensor([0.9, 0.1, 0.8, 0.2])
    assert Gates(gate, 1 - gate).hard().uni.tolist() == [1, 0, 1, 0]
    assert tuple(map(int, Gates(gate, 1 - gate).cuts())) == (1, 2)


@pytest.mark.parametrize("hardness", [0.0, 0.3, 1.0])
def test_towards_hard_moves_the_value_and_not_the_gradient(hardness):
    logits = seeded(3, 2, 5).requires_grad_()
    weights = seeded(3, 5, seed=3), seeded(3, 5, seed=4)
    gates = gates_of(logits)
    moved = gates.towards_hard(hardness)
    for soft, hard, found in (
        (gates.uni, gates.hard().uni, moved.uni),
        (gates.paired, gates.hard().paired, moved.paired),
    ):
        torch.testing.assert_close(found, (1 - hardness) * soft + hardness * hard)
    totals = [(weights[0] * g.uni + weights[1] * g.paired).sum() for g in (gates, moved)]
    expected, found = (torch.autograd.grad(total, logits, retain_graph=True)[0] for total in totals)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert found.abs().max() > 0


def test_hard_gates_have_no_gradient():
    gates = gates_of(seeded(3, 2, 5).requires_grad_())
    assert not gates.hard().uni.requires_grad
    assert not gates.hard().paired.requires_grad


# ---- weights for each modality -------------------------------------------------------------------


@pytest.mark.parametrize("n_tokens", [None, 1, 4])
def test_maps_side_by_side_are_maps_one_by_one(n_tokens):
    maps = PerModality(3, 5, 2, n_tokens=n_tokens or 1).double()
    x = seeded(3, 6, 5) if n_tokens is None else seeded(3, 6, 4, 5)
    found = maps(x)
    for i in range(3):
        torch.testing.assert_close(found[i], x[i] @ maps.weights[i] + maps.biases[i])


def test_a_modality_owns_its_weights_alone():
    maps = PerModality(3, 5, 2)
    owned = [{id(p) for p in own_parameters(maps, i)} for i in range(3)]
    assert owned == [{id(maps.weights[i]), id(maps.biases[i])} for i in range(3)]
    x = torch.randn(3, 4, 5)
    maps(x)[1].sum().backward()
    for i in range(3):
        reached = any(p.grad.abs().max() > 0 for p in own_parameters(maps, i))
        assert reached == (i == 1)


# ---- the partitioner -----------------------------------------------------------------------------


def trained(kind: str, n_modalities: int = 2, d: int = 6, n_chunks: int = 3) -> Partitioner:
    """A partitioner in double precision whose every weight is some number."""
    partitioner = Partitioner(n_modalities, d, n_chunks, kind).double()
    for number, parameter in enumerate(partitioner.parameters()):
        parameter.data = 0.7 * seeded(*parameter.shape, seed=number)
    return partitioner


def twin_gates(partitioner: Partitioner, h: list[float], i: int) -> tuple[list[float], list[float]]:
    """The gates of one row of modality i, from the paper's equations."""
    n = partitioner.n_chunks
    if partitioner.kind == "open":
        return [1.0] * n, [1.0] * n
    if partitioner.kind == "fixed":
        return [float(k < n // 2) for k in range(n)], [float(k >= n // 2) for k in range(n)]
    if partitioner.kind == "static":
        logits = partitioner.logits[i][0].tolist()
    else:
        weight, bias = partitioner.logits.weights[i].tolist(), partitioner.logits.biases[i][0].tolist()
        logits = [bias[j] + sum(h[m] * weight[m][j] for m in range(len(h))) for j in range(2 * n)]
    if partitioner.kind == "sigmoid":
        gates = [1 / (1 + math.exp(-a)) for a in logits]
        return gates[:n], gates[n:]
    t_u, t_p = partitioner.log_temperature[i].exp().flatten().tolist()
    falling = twin_cumsoftmax([a / t_u for a in logits[:n]])
    return [1 - g for g in falling], twin_cumsoftmax([a / t_p for a in logits[n:]])


@pytest.mark.parametrize("kind", KINDS)
def test_gates_are_those_of_a_loop(kind):
    partitioner, h = trained(kind), seeded(2, 4, 6)
    gates = partitioner(h)
    assert gates.uni.shape == gates.paired.shape == (2, 4, 3)
    for i in range(2):
        for row in range(4):
            uni, paired = twin_gates(partitioner, h[i, row].tolist(), i)
            assert gates.uni[i, row].tolist() == pytest.approx(uni, abs=1e-12)
            assert gates.paired[i, row].tolist() == pytest.approx(paired, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_gate_depends_on(kind):
    """A row's gate on its own row; a static, fixed or open one on nothing. On other modalities never."""
    partitioner, h = trained(kind), seeded(2, 4, 6)
    other = h.clone()
    other[0, 1] += 1
    before, after = partitioner(h), partitioner(other)
    moved = (after.uni - before.uni).abs().amax(-1) > 1e-9
    expected = torch.zeros(2, 4, dtype=torch.bool)
    expected[0, 1] = kind in ("row", "sigmoid")
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_of_a_gate_is_learnt(kind):
    partitioner, h = trained(kind), seeded(2, 4, 6)
    parameters = list(partitioner.parameters())
    assert bool(parameters) == (kind in ("row", "static", "sigmoid"))
    if parameters:
        gates = partitioner(h)
        (gates.uni * seeded(2, 4, 3, seed=8) + gates.paired * seeded(2, 4, 3, seed=9)).sum().backward()
        assert all(p.grad.abs().max() > 0 for p in parameters)


def test_a_static_gate_begins_with_zero_logits():
    gates = Partitioner(1, 6, 3, "static")(torch.randn(1, 2, 6))
    torch.testing.assert_close(gates.paired[0, 0], torch.tensor([1 / 3, 2 / 3, 1.0]))


def test_a_low_temperature_makes_gates_hard():
    partitioner, h = trained("row"), seeded(2, 4, 6)
    for temperature in partitioner.log_temperature:
        temperature.data.fill_(-7.0)
    gates = partitioner(h)
    torch.testing.assert_close(gates.paired, gates.hard().paired, atol=1e-6, rtol=0)


def test_what_cannot_be_partitioned_is_refused():
    with pytest.raises(ConfigError, match="gate must be a known name; got 'soft'; choose one of row, static"):
        Partitioner(2, 8, 4, "soft")
    with pytest.raises(ConfigError, match="needs 2 chunks or more; got 1; make chunk at most half"):
        Partitioner(2, 8, 1)
