"""Robult's equations in float64, row by row: prediction, L_rec, L_sup, the remembered distances, scores."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from batches import TASKS, VECTORS, random_batch
from polymodal.batch import Input
from polymodal.blocks import LinearPerModality, ResidualMLP
from polymodal.methods.base import Step
from polymodal.methods.robult import N_REFERENCE_STEP, Robult, RobultConfig
from polymodal.methods.robult_diagnostics import ridge_r2, summary

SERIES = (Input("text", "series", 4), Input("audio", "series", 3), Input("vision", "series", 2))
LATE = Step("train", 9, 0.9)
BUILDS = {
    "default": (VECTORS, {}),
    "as wide": (VECTORS, {"d_latent": 6, "d_unique": 6}),
    "no unique part": (VECTORS, {"d_unique": 0}),
    "mosi": (SERIES, {"preset": "mosi"}),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def example(kind, build="default", n_rows=20):
    """A model in double precision; row 0 is labelled and has nothing, label sets have unknown entries."""
    inputs, settings = BUILDS[build]
    batch = random_batch(inputs, TASKS[kind], n_rows)
    batch.presence[0], batch.labelled[0] = False, True
    method = Robult(inputs, TASKS[kind], RobultConfig(**settings)).double().eval()
    for parameter in method.classifier.parameters():
        parameter.data *= 5  # else every row is predicted alike
    values = {name: value.double() for name, value in batch.values.items()}
    y = 3 * batch.y + 7 if kind == "regression" else batch.y
    if kind == "multilabel":
        y = torch.where(torch.rand(y.shape) < 0.2, torch.nan, y)
    batch = replace(batch, values=values, y=y)
    method.observe(batch.y[batch.labelled])
    return method, batch


# ---- the twin: NumPy, one row of one modality at a time ------------------------------------------


def applied(module, x, i=0):
    """A module's output for the vector x of modality i."""
    if isinstance(module, nn.Sequential):
        for part in module:
            x = applied(part, x, i)
        return x
    if isinstance(module, nn.Linear):
        return module.weight.detach().numpy() @ x + module.bias.detach().numpy()
    if isinstance(module, LinearPerModality):
        return x @ module.weight[i].detach().numpy() + module.bias[i, 0].detach().numpy()
    if isinstance(module, nn.GELU):
        return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])
    if isinstance(module, ResidualMLP):
        return x + applied(module.second, np.maximum(applied(module.first, x), 0))
    assert isinstance(module, nn.Identity | nn.Dropout)
    return x


def scaled(x):
    return (x - x.mean()) / math.sqrt(x.var() + 1e-5)


class Twin:
    """H and H_0 as the blocks give them; everything after them by the paper's words.

    Attributes:
        hidden, redundant, unique, logits: by (row, modality), where present.
        synergy, fused: S and c(S), by row.
    """

    def __init__(self, method, batch):
        self.method, self.batch = method, batch
        with torch.no_grad():
            hidden = method.branches(batch)
            fused = method.fusion(batch, hidden).numpy()
        present = [(int(r), int(i)) for r, i in batch.presence.nonzero()]
        g0, c = method.extract_shared, method.classifier
        self.hidden = {(r, i): hidden[r, i].numpy() for r, i in present}
        self.redundant = {at: applied(g0, h) for at, h in self.hidden.items()}
        self.synergy = [applied(g0, h) for h in fused]
        self.fused = [applied(c, scaled(s)) for s in self.synergy]
        self.unique, self.logits = {}, {}
        for (r, i), h in self.hidden.items():
            read = scaled(self.redundant[r, i])
            if method.d_unique:
                self.unique[r, i] = applied(method.extract_unique, h, i)
                read = read + scaled(applied(method.lift_unique, self.unique[r, i], i))
            self.logits[r, i] = applied(c, read)

    def modalities(self, row):
        return [i for r, i in self.hidden if r == row]

    def predicted(self, logits):
        kind = self.method.task.kind
        if kind == "multiclass":
            return np.exp(logits) / np.exp(logits).sum()
        if kind == "multilabel":
            return 1 / (1 + np.exp(-logits))
        return self.method.prior.numpy() + self.method.scale.numpy() * logits

    def prediction(self, row):
        votes = [self.predicted(self.logits[row, i]) for i in self.modalities(row)]
        return sum(votes) / len(votes) if votes else self.method.prior.numpy()

    def reconstruction(self):
        errors = []
        for (r, i), h in self.hidden.items():
            parts = np.concatenate([self.unique[r, i], self.redundant[r, i]])
            errors += list((applied(self.method.reconstruction, parts, i) - h) ** 2)
        return np.mean(errors)

    def supervised(self):
        """Over labelled rows: each present modality's branch, and the fused one where there is any."""
        terms = []
        for row in range(len(self.batch)):
            here = self.modalities(row)
            if self.batch.labelled[row] and here:
                for logits in (*(self.logits[row, i] for i in here), self.fused[row]):
                    terms += self.errors(logits, self.batch.y[row])
        return np.mean(terms)

    def errors(self, logits, y):
        kind = self.method.task.kind
        if kind == "multiclass":
            return [-math.log(self.predicted(logits)[y])]
        if kind == "multilabel":
            known = [c for c in range(4) if not y[c].isnan()]
            return [math.log1p(math.exp(-logits[c] if y[c] else logits[c])) for c in known]
        return [float((logits[0] - (y - self.method.prior) / self.method.scale) ** 2)]


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("build", BUILDS)
def test_a_prediction_is_the_mean_of_c_over_z_and_u(build, kind):
    method, batch = example(kind, build)
    twin, output = Twin(method, batch), method(batch)
    for row in range(len(batch)):
        np.testing.assert_allclose(output.prediction[row].detach(), twin.prediction(row), rtol=1e-5)
        for i in twin.modalities(row):
            found = output.latents["logits"][row, i].detach().numpy()
            np.testing.assert_allclose(found, twin.logits[row, i], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("build", BUILDS)
def test_the_synergy_goes_through_the_shared_extractor(build):
    method, batch = example("multiclass", build)
    found = method.synergy(batch, method.branches(batch)).detach().numpy()
    np.testing.assert_allclose(found, np.stack(Twin(method, batch).synergy), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("build", BUILDS)
def test_reconstruction_and_supervised_loss_are_those_of_loops(build, kind):
    method, batch = example(kind, build)
    twin, found = Twin(method, batch), method.losses(batch, method(batch), LATE)
    assert found["supervised"].item() == pytest.approx(twin.supervised(), rel=1e-6)
    assert ("reconstruction" in found) == (method.d_unique > 0)
    if method.d_unique:
        assert found["reconstruction"].item() == pytest.approx(twin.reconstruction(), rel=1e-9)


@pytest.mark.parametrize(("d", "k"), [(64, 16), (10, 2), (2, 1)])
def test_the_unique_part_is_narrower_unless_told(d, k):
    method, batch = Robult(VECTORS, TASKS["multiclass"], RobultConfig(d_latent=d)), example("multiclass")[1]
    unique = method.double().extract_unique(method.branches(batch))
    assert method.d_unique == unique.shape[2] == k


# ---- the remembered distances --------------------------------------------------------------------


def true_pair_distances(twin, i):
    """|s_a - z_b| of unit vectors: a and b labelled, of one class, not the same row, with modality i."""
    batch = twin.batch
    rows = [r for r in range(len(batch)) if batch.presence[r, i] and batch.labelled[r]]
    return [
        np.linalg.norm(unit(twin.synergy[a]) - unit(twin.redundant[b, i]))
        for a in rows
        for b in rows
        if a != b and batch.y[a] == batch.y[b]
    ]


def test_what_is_remembered_are_the_distances_of_each_modality_s_true_pairs():
    method, batch = example("multiclass", n_rows=40)
    twin = Twin(method, batch)
    method.train().losses(batch, method(batch), LATE)
    for i in range(3):
        expected = true_pair_distances(twin, i)
        assert 20 < len(expected) < N_REFERENCE_STEP
        found = method.reference[i][~method.reference[i].isnan()].tolist()
        assert sorted(found) == pytest.approx(sorted(expected), abs=1e-6)


def test_a_batch_is_weighed_by_what_it_has_just_added():
    method, batch = example("multiclass", n_rows=40)
    method.config = replace(method.config, weighting="rbf")
    first = method.train().losses(batch, method(batch), LATE)["unlabelled"]
    again = method.eval().losses(batch, method(batch), LATE)["unlabelled"]
    method.reference.fill_(torch.nan)
    without = method.losses(batch, method(batch), LATE)["unlabelled"]
    assert first.item() == again.item()
    assert abs(first.item() - without.item()) > 1e-6


def test_one_batch_adds_so_many_distances_and_no_more_before_the_older_ones():
    method, batch = example("multiclass", n_rows=60)
    batch = replace(batch, y=torch.zeros_like(batch.y), labelled=torch.ones_like(batch.labelled))
    method.train().losses(batch, method(batch), LATE)
    first = method.reference.clone()
    assert (~first.isnan()).sum(1).tolist() == [N_REFERENCE_STEP] * 3
    other = batch.rows(torch.arange(30))
    method.losses(other, method(other), LATE)
    step = N_REFERENCE_STEP
    assert torch.equal(method.reference[:, step : 2 * step], first[:, :step])
    assert not torch.equal(method.reference[:, :step], first[:, :step])


# ---- figures of an epoch -------------------------------------------------------------------------


def unit(x):
    return x / np.linalg.norm(x)


def scatter(rows):
    """Root mean squared distance from the mean."""
    mean = sum(rows) / len(rows)
    return math.sqrt(np.mean([((x - mean) ** 2).sum() for x in rows]))


def test_the_figures_of_the_spaces_are_those_of_loops():
    method, batch = example("multiclass", n_rows=80)
    twin = Twin(method, batch)
    method, batch = method.float(), replace(batch, values={k: v.float() for k, v in batch.values.items()})
    found = method.diagnostics(batch, method(batch), None)
    guess = [int(twin.prediction(row).argmax()) for row in range(80)]
    known = [int(batch.y[row]) for row in range(80) if batch.labelled[row]]
    unknown = [row for row in range(80) if not batch.labelled[row] and batch.presence[row].any()]
    guessed = [guess[row] for row in unknown]
    assert found["labelled_share"] == pytest.approx(max(known.count(c) for c in range(3)) / len(known))
    assert found["pseudo_share"] == pytest.approx(max(guessed.count(c) for c in range(3)) / len(guessed))
    sure = [twin.prediction(row).max() for row in unknown]
    assert found["confidence"] == pytest.approx(np.mean(sure), rel=1e-4)
    for i, name in enumerate("abc"):
        rows = [row for row in range(80) if batch.presence[row, i]]
        z = {row: unit(twin.redundant[row, i]) for row in rows}
        apart = [((unit(twin.synergy[row]) - z[row]) ** 2).sum() for row in rows]
        assert found[f"alignment/{name}"] == pytest.approx(np.mean(apart), rel=1e-3)
        even = [math.exp(-2 * ((z[a] - z[b]) ** 2).sum()) for a in rows for b in rows if a < b]
        assert found[f"uniformity/{name}"] == pytest.approx(math.log(np.mean(even)), rel=1e-3)
        assert found[f"spread/{name}"] == pytest.approx(scatter(list(z.values())), rel=1e-3)
        u = [twin.unique[row, i] for row in rows]
        length = np.mean([np.linalg.norm(x) for x in u])
        assert found[f"unique_norm/{name}"] == pytest.approx(length, rel=1e-3)
        assert found[f"unique_spread/{name}"] == pytest.approx(scatter(u) / length, rel=1e-3)
        met = [row for row in rows if len(twin.modalities(row)) > 1]
        own = np.stack([twin.predicted(twin.logits[row, i]) for row in met])
        others = np.stack(
            [
                np.mean([twin.predicted(twin.logits[row, j]) for j in twin.modalities(row) if j != i], axis=0)
                for row in met
            ]
        )
        centred = [(x - x.mean(0)).ravel() for x in (own, others)]
        assert found[f"agreement/{name}"] == pytest.approx(np.corrcoef(centred)[0, 1], abs=1e-3)


def test_a_ridge_is_scored_on_rows_that_it_was_not_fitted_on():
    """As many columns as rows to fit on: exact there, worth nothing on the others."""
    x, y = torch.randn(40, 20), torch.randn(40, 2)
    assert ridge_r2(x, y, penalty=1e-9) < 0.1


def test_a_series_is_summarised_by_the_mean_of_its_valid_steps():
    batch = random_batch(SERIES, TASKS["multiclass"])
    found = summary(batch, "text")
    for row in range(len(batch)):
        n = int(batch.lengths["text"][row])
        expected = sum(batch.values["text"][row, t] for t in range(n)) / n if n else torch.zeros(4)
        torch.testing.assert_close(found[row], expected)


# ---- scores of the branches ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", TASKS)
def test_the_scores_of_branches_and_their_gains_are_those_of_loops(kind):
    method, batch = example(kind, n_rows=60)
    twin = Twin(method, batch)
    method, batch = method.float(), replace(batch, values={k: v.float() for k, v in batch.values.items()})
    found = method.diagnostics(batch, method(batch), None)
    prior = method.prior.numpy()
    for i, name in enumerate("abc"):
        right, by_prior = [], []
        for row in range(60):
            if not (batch.labelled[row] and batch.presence[row, i]):
                continue
            y, p = batch.y[row], twin.predicted(twin.logits[row, i])
            if kind == "multiclass":
                right.append(int(p.argmax() == int(y)))
                by_prior.append(int(prior.argmax() == int(y)))
            elif kind == "multilabel":
                known = [c for c in range(4) if not y[c].isnan()]
                right += [int((p[c] >= 0.5) == bool(y[c])) for c in known]
                by_prior += [int((prior[c] >= 0.5) == bool(y[c])) for c in known]
            else:
                right.append(1 - float(((p[0] - y) / method.scale) ** 2))
                by_prior.append(0.0)
        score = float(np.mean(right))
        assert found[f"branch_score/{name}"] == pytest.approx(score, rel=1e-4)
        assert found[f"branch_gain/{name}"] == pytest.approx(score - np.mean(by_prior), rel=1e-4, abs=1e-6)
