"""The losses against dull twins: Python loops over pairs in float64, and torch's own derivatives of them."""

import math
from itertools import pairwise, product

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from polymodal import losses
from polymodal.errors import ConfigError
from polymodal.losses import Reference, pair_weights, reference_distances, soft_pu_contrast, walk
from polymodal.losses.affinity import Jaccard

WEIGHTINGS = ("rbf", "rbf_one_sided", "l1", "l2", "hard", "none", "density")
FIXED = Reference.from_distances(torch.tensor([0.5, 0.7, 0.8, 1.0, 1.2], dtype=torch.float64))


# ---- The twin --------------------------------------------------------------------------------------------


def twin_weight(d, weighting, reference):
    mean, variance = float(reference.mean), float(reference.variance)
    if weighting == "rbf":
        return math.exp(-((d - mean) ** 2) / (2 * variance))
    if weighting == "rbf_one_sided":
        return math.exp(-(max(0.0, d - float(reference.quantile_25)) ** 2) / (2 * variance))
    if weighting == "density":
        table = reference.density_table.tolist()
        step = 2.0 / (len(table) - 1)
        left = min(int(d / step), len(table) - 2)
        return table[left] + (d / step - left) * (table[left + 1] - table[left])
    return {"l1": 1 - d / 2, "l2": 1 - d * d / 4, "hard": 1.0, "none": 0.0}[weighting]


def twin_affinity(a, b):
    if not isinstance(a, list):
        return float(a == b)
    both = sum(x and y for x, y in zip(a, b, strict=True))
    either = sum(x or y for x, y in zip(a, b, strict=True))
    return both / either if either else 0.0


def twin_unit(x):
    return torch.stack([row / row.norm().clamp(min=1e-6) for row in x]) if len(x) else x


def twin_contrast(s, z, labels, labelled, temperature, weighting, reference):
    """L_lb and L_ulb, pair by pair; ``labels`` is a list of classes or of lists of 0/1."""
    s, z = twin_unit(s), twin_unit(z)
    cosine = s @ z.T
    log_p = (cosine / temperature).log_softmax(dim=1)
    cosine = cosine.detach()
    sums, counts = {True: 0.0 * log_p.sum(), False: 0.0 * log_p.sum()}, {True: 0.0, False: 0.0}
    for a in range(len(s)):
        weights = {True: {}, False: {}}
        for b in range(len(s)):
            both = labelled[a] and labelled[b]
            w = 1.0 if a == b else twin_affinity(labels[a], labels[b])
            if a != b and not both:
                d = math.sqrt(max(0.0, 2 - 2 * float(cosine[a, b])))
                w *= twin_weight(d, weighting, reference)
            weights[both][b] = w
        for part, ws in weights.items():
            total = sum(ws.values())
            if total > 0:
                share = min(1.0, total)
                sums[part] = sums[part] - share * sum(w * log_p[a, b] for b, w in ws.items() if w) / total
                counts[part] += share
    return tuple(sums[part] / counts[part] if counts[part] else sums[part] for part in (True, False))


def generated_case(seed):
    """One float64 batch; sizes, classes, labels, zero and equal vectors, temperatures, references vary."""
    g = torch.Generator().manual_seed(seed)
    pick = lambda options: options[int(torch.randint(len(options), (), generator=g))]  # noqa: E731
    n_rows, width, n_classes = pick([0, 1, 2, 3, 5, 8, 12]), pick([1, 2, 5, 16]), pick([1, 2, 3, 50])
    s = torch.randn(n_rows, width, generator=g, dtype=torch.float64) * pick([1e-2, 1.0, 30.0])
    z = pick([0.0, 0.5, 3.0]) * s + torch.randn(n_rows, width, generator=g, dtype=torch.float64)
    if n_rows and seed % 5 == 0:
        s[0], z[-1] = 0.0, 0.0
    if seed % 7 == 0:
        s[:] = s[:1]
    labelled = torch.rand(n_rows, generator=g) < pick([0.0, 0.25, 0.5, 1.0])
    classes = torch.randint(n_classes, (n_rows,), generator=g)
    sets = (torch.rand(n_rows, 4, generator=g) < 0.4).long() if seed % 3 == 0 else None
    reference = Reference.from_distances(
        torch.rand(pick([0, 1, 5, 40]), generator=g, dtype=torch.float64) * 1.5
    )
    weighting = WEIGHTINGS[seed % len(WEIGHTINGS)]
    return s, z, classes, sets, labelled, pick([0.01, 0.03, 0.1, 0.3, 1.0, 10.0]), weighting, reference


def gradients(terms, s, z, temperature):
    """Temperature x length x gradient, so that all are of one scale."""
    value = 0.7 * terms[0] + 1.3 * terms[1]
    return [
        temperature * g * x.detach().norm(dim=1, keepdim=True).clamp(min=1e-6)
        for g, x in zip(torch.autograd.grad(value, (s, z)), (s, z), strict=True)
    ]


def compare_with_twin(seed, dtype, tolerance):
    s, z, classes, sets, labelled, temperature, weighting, reference = generated_case(seed)
    s, z = (x.to(dtype).requires_grad_() for x in (s, z))
    s_twin, z_twin = (x.detach().double().requires_grad_() for x in (s, z))
    labels = classes.tolist() if sets is None else sets.tolist()
    expected = twin_contrast(s_twin, z_twin, labels, labelled.tolist(), temperature, weighting, reference)
    terms = soft_pu_contrast(
        s,
        z,
        classes if sets is None else None,
        labelled,
        temperature=temperature,
        weighting=weighting,
        reference=reference,
        label_sets=sets,
    )
    pairs = list(zip(terms, expected, strict=True))
    pairs += zip(
        gradients(terms, s, z, temperature), gradients(expected, s_twin, z_twin, temperature), strict=True
    )
    for ours, theirs in pairs:
        assert ours.dtype == dtype
        torch.testing.assert_close(
            ours.double(), theirs, rtol=tolerance, atol=tolerance, msg=lambda m: f"{seed}: {m}"
        )


# ---- The contrast against its twin -----------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_contrast_equals_the_loop_twin(start):
    for seed in range(start, start + 50):
        compare_with_twin(seed, torch.float64, 1e-10)
        compare_with_twin(seed, torch.float32, 1e-5)


def test_contrast_in_small_blocks_equals_the_loop_twin(monkeypatch):
    monkeypatch.setattr(walk, "_block_rows", lambda n_rows, device_type: 3)
    for seed in range(500, 560):
        compare_with_twin(seed, torch.float64, 1e-10)


def test_generated_cases_cover_what_they_promise():
    cases = [generated_case(seed) for seed in range(500)]
    assert {len(case[0]) for case in cases} >= {0, 1, 2}
    assert {case[6] for case in cases} == set(WEIGHTINGS)
    assert {case[5] for case in cases} >= {0.01, 10.0}
    assert sum(len(case[0]) > 1 and len(case[2].unique()) == 1 for case in cases) > 20  # one class
    assert (
        sum(len(case[0]) > 1 and len(case[2].unique()) == len(case[0]) for case in cases) > 20
    )  # singletons
    assert sum(len(case[0]) > 1 and not case[4].any() for case in cases) > 20  # nothing labelled
    assert sum(len(case[0]) > 1 and bool(case[4].all()) for case in cases) > 20  # all labelled
    assert sum(len(case[0]) > 1 and bool((case[0] == 0).all(1).any()) for case in cases) > 20  # zero vectors
    assert sum(case[3] is not None for case in cases) > 100  # label sets


# ---- Cases made by hand ----------------------------------------------------------------------------------


def contrast(s, z, classes, labelled, weighting="rbf", reference=FIXED, temperature=0.3, **settings):
    return soft_pu_contrast(
        s, z, classes, labelled, temperature=temperature, weighting=weighting, reference=reference, **settings
    )


def random_batch(n_rows=12, width=5, n_classes=3, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    s, z = (torch.randn(n_rows, width, generator=g, dtype=dtype).requires_grad_() for _ in range(2))
    classes = torch.randint(n_classes, (n_rows,), generator=g)
    return s, z, classes, torch.arange(n_rows) % 3 == 0


def test_labelled_part_of_four_rows_by_hand():
    s = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    z = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 5.0], [-1.0, 0.0]], dtype=torch.float64)
    cosine = [[1, 1, 0, -1], [0, 0, 1, 0], [-1, -1, 0, 1], [0, 0, -1, 0]]
    classes, labelled = [7, 7, 2, 7], [True, True, True, False]
    losses_of_anchors = []
    for a in (0, 1, 2):
        normaliser = sum(math.exp(cosine[a][b] / 0.5) for b in range(4))
        positives = [b for b in range(4) if labelled[b] and classes[b] == classes[a]]
        log_p = [math.log(math.exp(cosine[a][b] / 0.5) / normaliser) for b in positives]
        losses_of_anchors.append(-sum(log_p) / len(positives))
    terms = contrast(s, z, torch.tensor(classes), torch.tensor(labelled), temperature=0.5)
    assert terms.labelled.item() == pytest.approx(sum(losses_of_anchors) / 3, rel=1e-12)


def test_without_weights_the_unlabelled_part_is_cross_view_infonce():
    s, z, classes, labelled = random_batch()
    cosine = F.normalize(s) @ F.normalize(z).T
    expected = F.cross_entropy(cosine[~labelled] / 0.3, torch.arange(len(s))[~labelled])
    assert contrast(s, z, classes, labelled, "none").unlabelled.item() == pytest.approx(
        expected.item(), rel=1e-12
    )
    far = Reference(torch.tensor(1e3), torch.tensor(1.0), torch.tensor(1e3), torch.tensor([1e3]))
    vanishing = contrast(s, z, classes, labelled, "rbf", far).unlabelled
    assert vanishing.item() == pytest.approx(expected.item(), rel=1e-12)


def test_hard_weights_on_unlabelled_rows_are_the_supervised_contrast():
    s, z, classes, labelled = random_batch()
    all_rows = torch.ones_like(labelled)
    expected = contrast(s, z, classes, all_rows).labelled.item()
    assert contrast(s, z, classes, ~all_rows, "hard").unlabelled.item() == pytest.approx(expected, rel=1e-12)


def test_disjoint_label_sets_of_one_label_are_classes():
    s, z, classes, labelled = random_batch()
    expected = contrast(s, z, classes, labelled)
    terms = contrast(s, z, None, labelled, label_sets=F.one_hot(classes))
    torch.testing.assert_close(terms, expected, rtol=1e-12, atol=0)


def test_affinity_of_label_sets_is_the_jaccard_index():
    sets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    everything = slice(0, 5)
    table = Jaccard(sets.double()).fill(torch.empty(5, 5, dtype=torch.float64), everything, everything)
    assert table.tolist() == [
        [1.0, 0.5, 0.0, 0.0, 0.0],
        [0.5, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0],
        [0.0] * 5,  # an empty set is like no other, not even an empty one
        [0.0] * 5,
    ]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("n_rows", [0, 1, 2, 40])
@pytest.mark.parametrize("labels", ["none", "all", "one"])
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_any_batch_has_a_finite_loss_with_a_gradient_path(weighting, n_rows, labels, temperature):
    s, z, classes, _ = random_batch(n_rows, dtype=torch.float32)
    with torch.no_grad():
        s[: n_rows // 2] = 0
        z[n_rows // 3 :] = 0
    labelled = torch.arange(n_rows) < {"none": 0, "all": n_rows, "one": 1}[labels]
    empty = Reference.from_distances(torch.empty(0))
    for term in contrast(s, z, classes, labelled, weighting, empty, temperature):
        assert term.isfinite()
        for gradient in torch.autograd.grad(term, (s, z), retain_graph=True):
            assert gradient.shape == s.shape
            assert gradient.isfinite().all()


# ---- Gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["hard", "none"])  # weights that do not move with the embeddings
def test_gradcheck(weighting):
    s, z, classes, labelled = random_batch(7, 3)
    assert torch.autograd.gradcheck(lambda s, z: contrast(s, z, classes, labelled, weighting), (s, z))
    sets = F.one_hot(classes, 3) | F.one_hot(classes.flip(0), 3)
    assert torch.autograd.gradcheck(
        lambda s, z: contrast(s, z, None, labelled, weighting, label_sets=sets), (s, z)
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_and_reference_get_no_gradient(weighting):
    s, z, classes, labelled = random_batch()
    distance = torch.linspace(0, 2, 9, dtype=torch.float64, requires_grad=True)
    assert not pair_weights(distance, weighting, FIXED).requires_grad
    distances = reference_distances(s, z, classes, labelled, limit=100)
    assert not distances.requires_grad
    learnt = Reference.from_distances(distance)
    assert not any(
        x.requires_grad for x in (learnt.mean, learnt.variance, learnt.quantile_25, learnt.samples)
    )
    loose = Reference(
        *(x.clone().requires_grad_() for x in (learnt.mean, learnt.variance, learnt.quantile_25)), distance
    )
    contrast(s, z, classes, labelled, weighting, loose).unlabelled.backward()
    assert s.grad is not None
    assert loose.mean.grad is None
    assert loose.variance.grad is None
    assert loose.quantile_25.grad is None
    assert distance.grad is None


def test_second_derivative_raises():
    s, z, classes, labelled = random_batch()
    with pytest.raises(ConfigError, match="no second derivative; create_graph=True came"):
        torch.autograd.grad(contrast(s, z, classes, labelled).labelled, s, create_graph=True)


def test_backward_twice_gives_the_same_gradient():
    s, z, classes, labelled = random_batch()
    total = sum(contrast(s, z, classes, labelled))
    first = torch.autograd.grad(total, (s, z), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, (s, z)), first, rtol=0, atol=0)


def test_without_grad_mode_the_loss_is_the_same():
    s, z, classes, labelled = random_batch()
    expected = [term.item() for term in contrast(s, z, classes, labelled)]
    with torch.no_grad():
        terms = contrast(s, z, classes, labelled)
    assert [term.item() for term in terms] == expected
    assert not any(term.requires_grad for term in terms)


def test_inputs_are_not_changed():
    s, z, classes, labelled = random_batch()
    before = [x.detach().clone() for x in (s, z, classes, labelled)]
    sum(contrast(s, z, classes, labelled)).backward()
    torch.testing.assert_close([x.detach() for x in (s, z, classes, labelled)], before, rtol=0, atol=0)


# ---- Symmetries and precision ----------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_order_of_rows_and_names_of_classes_do_not_matter(weighting):
    s, z, classes, labelled = random_batch(30)
    expected = contrast(s, z, classes, labelled, weighting)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    terms = contrast(s[shuffled], z[shuffled], classes[shuffled], labelled[shuffled], weighting)
    torch.testing.assert_close(terms, expected, rtol=1e-12, atol=0)
    renamed = 2**40 - 10**9 * classes
    torch.testing.assert_close(contrast(s, z, renamed, labelled, weighting), expected, rtol=1e-12, atol=0)


def test_lengths_of_vectors_do_not_matter():
    s, z, classes, labelled = random_batch()
    expected = contrast(s, z, classes, labelled)
    torch.testing.assert_close(contrast(100 * s, 0.01 * z, classes, labelled), expected, rtol=1e-12, atol=0)


def test_mixed_precision_is_computed_in_float32():
    s, z, classes, labelled = (x.detach() for x in random_batch(dtype=torch.bfloat16))
    expected = contrast(s.float(), z.float(), classes, labelled)
    s.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = contrast(s, z, classes, labelled)
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)
    terms.labelled.backward()
    assert s.grad.dtype == torch.bfloat16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_cuda_equals_cpu(weighting):
    s, z, classes, labelled = (x.detach() for x in random_batch(300))
    expected = contrast(s, z, classes, labelled, weighting)
    reference = Reference.from_distances(FIXED.samples.cuda())
    terms = contrast(s.cuda(), z.cuda(), classes.cuda(), labelled.cuda(), weighting, reference)
    torch.testing.assert_close([term.cpu() for term in terms], list(expected), rtol=1e-10, atol=0)


# ---- Settings out of range -------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_temperature_out_of_range(temperature):
    with pytest.raises(ConfigError, match=r"temperature must be positive and finite; got .*; take 0\.3"):
        contrast(*random_batch(), temperature=temperature)


def test_unknown_weighting():
    with pytest.raises(ConfigError, match=r"weighting must be a known name; got 'rfb'; take one of rbf, "):
        contrast(*random_batch(), weighting="rfb")
    with pytest.raises(ConfigError, match="got 'rfb'"):
        pair_weights(torch.ones(1), "rfb", FIXED)


def test_classes_or_label_sets():
    s, z, classes, labelled = random_batch()
    with pytest.raises(ConfigError, match="pairs need classes or label_sets; got neither; give exactly one"):
        contrast(s, z, None, labelled)
    with pytest.raises(ConfigError, match="got both"):
        reference_distances(s, z, classes, labelled, limit=3, label_sets=F.one_hot(classes))


# ---- Weights and their reference -------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("samples", [[], [0.4], [0.7, 0.7, 0.7], [2.0, 2.0], [0.1, 0.9, 1.1, 1.9]])
def test_weights_are_finite_and_between_0_and_1(weighting, samples):
    distance = torch.linspace(0, 2, 101)
    weights = pair_weights(distance, weighting, Reference.from_distances(torch.tensor(samples)))
    assert weights.shape == distance.shape
    assert ((weights >= 0) & (weights <= 1)).all()  # false for NaN
    assert distance[-1] == 2  # the input is left alone


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_equal_their_formulas(weighting):
    distance = torch.linspace(0, 2, 101, dtype=torch.float64)
    expected = [twin_weight(d, weighting, FIXED) for d in distance.tolist()]
    torch.testing.assert_close(
        pair_weights(distance, weighting, FIXED).tolist(), expected, rtol=0, atol=1e-13
    )


def test_one_sided_weights_never_punish_nearness():
    weights = pair_weights(torch.linspace(0, 2, 101), "rbf_one_sided", FIXED).tolist()
    assert weights[0] == 1
    assert all(near >= far for near, far in pairwise(weights))


def test_density_has_its_peak_where_the_samples_are():
    reference = Reference.from_distances(torch.cat([torch.full((30,), 0.3), torch.full((10,), 1.5)]).double())
    at_peak, between, at_second, far = pair_weights(
        torch.tensor([0.3, 0.9, 1.5, 2.0], dtype=torch.float64), "density", reference
    ).tolist()
    assert at_peak == pytest.approx(1, abs=0.01)
    assert between < at_second < at_peak
    assert far < at_second


def test_density_table_is_a_kernel_density():
    width = 1.06 * float(FIXED.variance) ** 0.5 * 5**-0.2
    grid = [2 * i / 256 for i in range(257)]
    density = [sum(math.exp(-0.5 * ((d - x) / width) ** 2) for x in FIXED.samples.tolist()) for d in grid]
    expected = [value / max(density) for value in density]
    assert FIXED.density_table.tolist() == pytest.approx(expected, rel=1e-9)


def test_reference_summarises_its_distances():
    reference = Reference.from_distances(torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]))
    assert reference.mean.item() == pytest.approx(0.6)
    assert reference.variance.item() == pytest.approx(0.08)
    assert reference.quantile_25.item() == pytest.approx(0.4)
    assert len(reference.samples) == 5


def test_reference_of_few_distances():
    none, one, equal = (Reference.from_distances(torch.tensor(d)) for d in ([], [0.9], [0.9, 0.9]))
    assert [none.mean.item(), none.variance.item(), none.quantile_25.item()] == [0, 0.25, 0]
    assert [one.mean.item(), one.variance.item()] == pytest.approx([0.9, 0.25])
    assert equal.variance.item() == pytest.approx(0.05**2)


def test_reference_distances_are_those_of_labelled_pairs_of_one_class():
    s, z, classes, labelled = random_batch(20)
    s_unit, z_unit = F.normalize(s).detach(), F.normalize(z).detach()
    expected = [
        (s_unit[a] - z_unit[b]).norm().item()
        for a, b in product(range(20), repeat=2)
        if a != b and labelled[a] and labelled[b] and classes[a] == classes[b]
    ]
    found = reference_distances(s, z, classes, labelled, limit=1000)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    few = reference_distances(s, z, classes, labelled, limit=4).tolist()
    assert len(few) == 4
    assert set(few) <= set(found.tolist())
    assert reference_distances(s, z, classes, labelled, limit=4).tolist() == few
    by_sets = reference_distances(s, z, None, labelled, limit=1000, label_sets=F.one_hot(classes))
    assert by_sets.tolist() == found.tolist()


def test_few_reference_distances_are_spread_evenly_over_all_of_them():
    s, z, classes, labelled = random_batch(20)
    everything = reference_distances(s, z, classes, labelled, limit=1000).tolist()
    few = reference_distances(s, z, classes, labelled, limit=4).tolist()
    assert few == [everything[k * len(everything) // 4] for k in range(4)]


def test_reference_distances_come_from_at_most_512_rows_spread_evenly():
    g = torch.Generator().manual_seed(0)
    s, z = (torch.randn(1536, 3, generator=g, dtype=torch.float64) for _ in range(2))
    classes = torch.arange(1536) // 3 % 300  # the rows that are kept, every third, have classes 0 to 299
    everything = torch.ones(1536, dtype=torch.bool)
    found = reference_distances(s, z, classes, everything, limit=10_000)
    kept = slice(0, None, 3)
    expected = reference_distances(s[kept], z[kept], classes[kept], everything[kept], limit=10_000)
    assert len(found) == 2 * 212
    assert torch.equal(found, expected)


def test_sets_that_share_half_of_their_labels_are_a_true_pair():
    s, z = torch.eye(3, dtype=torch.float64), torch.ones(3, 3, dtype=torch.float64)
    sets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1]])  # 1/2, 1/3 and 0
    found = reference_distances(s, z, None, torch.ones(3, dtype=torch.bool), limit=9, label_sets=sets)
    assert found.tolist() == pytest.approx([math.sqrt(2 - 2 / math.sqrt(3))] * 2)


def test_reference_distances_read_labelled_rows_only():
    s, z, classes, labelled = (x.detach().clone() for x in random_batch(20))
    expected = reference_distances(s, z, classes, labelled, limit=50)
    s[~labelled], z[~labelled], classes[~labelled] = math.nan, math.nan, -99
    assert torch.equal(reference_distances(s, z, classes, labelled, limit=50), expected)
    assert reference_distances(s, z, classes, torch.zeros_like(labelled), limit=50).shape == (0,)


# ---- The other losses ------------------------------------------------------------------------------------


def test_latent_reconstruction_moves_the_reconstruction_only():
    reconstructed = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, 4.0]], requires_grad=True)
    loss = losses.latent_reconstruction(reconstructed, target)
    assert loss.item() == pytest.approx((0 + 4 + 9 + 0) / 4)
    loss.backward()
    assert target.grad is None
    assert reconstructed.grad.tolist() == [[0.0, 1.0], [1.5, 0.0]]


def test_multiclass_reads_counted_rows_only():
    logits = torch.tensor([[0.0, math.log(3)], [math.nan, math.nan], [2.0, 2.0]])
    loss = losses.supervised_multiclass(logits, torch.tensor([1, -1, 0]), torch.tensor([True, False, True]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_multilabel_reads_counted_entries_only():
    logits = torch.tensor([[0.0, math.inf], [math.log(3), 5.0]])
    y = torch.tensor([[1.0, math.nan], [0.0, math.nan]], dtype=torch.float64)
    assert losses.supervised_multilabel(logits, y).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_regression_reads_counted_rows_only():
    value, y = (
        torch.tensor([[1.0], [math.nan], [4.0]]),
        torch.tensor([3.0, math.nan, 3.0], dtype=torch.float64),
    )
    assert losses.supervised_regression(value, y, torch.tensor([True, False, True])).item() == pytest.approx(
        2.5
    )


@pytest.mark.parametrize("n_rows", [0, 3])
def test_losses_that_count_nothing_are_zero_with_a_gradient_path(n_rows):
    nothing = torch.zeros(n_rows, dtype=torch.bool)
    for loss, width, y, mask in (
        (losses.supervised_multiclass, 2, torch.full((n_rows,), -1), (nothing,)),
        (losses.supervised_multilabel, 2, torch.full((n_rows, 2), math.nan), ()),
        (losses.supervised_regression, 1, torch.full((n_rows,), math.nan), (nothing,)),
    ):
        output = torch.zeros(n_rows, width, requires_grad=True)
        value = loss(output, y, *mask)
        assert value.item() == 0
        value.backward()
        assert output.grad.tolist() == [[0.0] * width] * n_rows
    empty = torch.zeros(0, 2, requires_grad=True)
    losses.latent_reconstruction(empty, empty).backward()
    assert empty.grad.shape == (0, 2)


# ---- Diagnostics -----------------------------------------------------------------------------------------


def test_alignment():
    s, z = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [0.0, -3.0]])
    assert losses.alignment(s, z).item() == pytest.approx((0 + 4) / 2)
    assert losses.alignment(s[:0], z[:0]).isnan()


def test_uniformity():
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    expected = math.log((math.exp(-4) + math.exp(-8) + math.exp(-4)) / 3)
    assert losses.uniformity(z).item() == pytest.approx(expected, rel=1e-5)
    assert losses.uniformity(z[:1].expand(4, 2)).item() == pytest.approx(0, abs=1e-6)
    assert losses.uniformity(z[:1]).isnan()
