"""The losses against dull twins: Python loops over pairs in float64, and torch's own derivatives of them."""

import math
from itertools import pairwise, product

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from polymodal import losses
from polymodal.errors import ConfigError
from polymodal.losses import Reference, pair_weights, reference_distances, soft_pu_contrast

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
    both, either = sum(x and y for x, y in zip(a, b, strict=True)), sum(x or y for x, y in zip(a, b, strict=True))
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
    """One batch as float64: sizes, classes, labels, zero and repeated vectors, temperatures and references vary."""
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
    reference = Reference.from_distances(torch.rand(pick([0, 1, 5, 40]), generator=g, dtype=torch.float64) * 1.5)
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
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance, msg=lambda m: f"{seed}: {m}")


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_contrast_equals_the_loop_twin(start):
    for seed in range(start, start + 50):
        compare_with_twin(seed, torch.float64, 1e-10)
        compare_with_twin(seed, torch.float32, 1e-5)
