"""Robult against its paper: gradient routing, the contrast as loops, what is read and what is saved."""

import math
import re
import warnings
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from batches import MIXED, TASKS, VECTORS, random_batch
from polymodal.batch import Batch, Input, Task
from polymodal.errors import ConfigError, DataError, TrainingWarning
from polymodal.losses import Reference
from polymodal.methods import robult, robult_diagnostics
from polymodal.methods.base import Step
from polymodal.methods.robult import N_REFERENCE, Robult, RobultConfig
from polymodal.training import TrainingConfig, fit

SENTIMENT = (Input("text", "series", 300), Input("audio", "series", 5), Input("vision", "series", 20))
SMALL_SENTIMENT = (Input("text", "series", 4), Input("audio", "series", 3), Input("vision", "series", 2))
LATE = Step("train", 9, 0.9)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def example(kind="multiclass", inputs=VECTORS, n_rows=24, **settings):
    """A model that has seen the labels of its batch."""
    batch = random_batch(inputs, TASKS[kind], n_rows)
    method = Robult(inputs, TASKS[kind], RobultConfig(**settings))
    method.observe(batch.y[batch.labelled])
    return method, batch


def all_losses(method, batch, step=LATE):
    return method.losses(batch, method(batch), step)


# ---- size ----------------------------------------------------------------------------------------


def test_preset_mosi_has_the_papers_parameter_count():
    method = Robult(SENTIMENT, Task("regression", 1), RobultConfig(preset="mosi"))
    assert sum(p.numel() for p in method.parameters()) == 1_455_721


def test_without_a_unique_part_there_is_no_reconstruction():
    method, batch = example(d_unique=0)
    assert set(all_losses(method, batch)) == {"labelled", "unlabelled", "supervised"}
    assert not any("unique" in name or "reconstruction" in name for name in method.state_dict())


# ---- gradient routing ----------------------------------------------------------------------------

F, F0, G0 = "branches", "fusion", "extract_shared"
G, LIFT, R, C = "extract_unique", "lift_unique", "reconstruction", "classifier"
ROUTES = {
    "labelled": {F, F0, G0},
    "unlabelled": {F, F0, G0},
    "reconstruction": {G, R},
    "supervised": {F, F0, G0, G, LIFT, C},
}


@pytest.mark.parametrize("term", ROUTES)
@pytest.mark.parametrize("preset", ["default", "mosi"])
@pytest.mark.parametrize("kind", TASKS)
def test_each_loss_trains_its_parts_and_no_others(term, preset, kind):
    inputs = MIXED if preset == "default" else SMALL_SENTIMENT
    method, batch = example(kind, inputs, preset=preset)
    all_losses(method, batch)[term].backward()
    for part in (F, F0, G0, G, LIFT, R, C):
        parameters = list(getattr(method, part).parameters())
        moved = any(p.grad is not None and p.grad.abs().max() > 0 for p in parameters)
        assert moved == (part in ROUTES[term] and bool(parameters)), f"{term} and {part}"


def test_each_branch_gets_its_gradient_from_every_loss_meant_for_it():
    method, batch = example(inputs=VECTORS)
    for term in ("labelled", "unlabelled", "supervised"):
        method.zero_grad()
        all_losses(method, batch)[term].backward()
        for module in method.branches.branches:
            assert all(p.grad.abs().max() > 0 for p in module.parameters()), term


# ---- the contrast, as loops ----------------------------------------------------------------------


@torch.no_grad()
def contrast_by_loops(method, batch, weights):
    """(L_lb, L_ulb), mean over the modalities, in float64; ``weights[i]`` maps a distance to its weight."""
    output = method(batch)
    s_all = method.synergy(batch, output.latents["hidden"]).double()
    labels = [
        label_by_hand(method, known, y, guess)
        for known, y, guess in zip(batch.labelled.tolist(), batch.y, output.prediction, strict=True)
    ]
    parts = []
    for i in range(len(method.inputs)):
        rows = [a for a in range(len(batch)) if batch.presence[a, i]]
        s = {a: s_all[a] / s_all[a].norm() for a in rows}
        z = {a: output.latents["redundant"][a, i].double() for a in rows}
        z = {a: v / v.norm() for a, v in z.items()}
        temperature = method.config.temperature
        parts.append(parts_by_loops(rows, s, z, labels, batch.labelled, weights[i], temperature))
    return [sum(part[k] for part in parts) / len(parts) for k in (0, 1)]


def label_by_hand(method, known, y, guess):
    """The set of classes of a row: its label where labelled, else what the fused prediction says."""
    if method.task.kind == "multilabel":
        return {c for c in range(4) if (y[c] if known and not y[c].isnan() else guess[c]) >= 0.5}
    if method.task.kind == "multiclass":
        return {int(y) if known else int(guess.argmax())}
    return {sum(float(y if known else guess[0]) > edge for edge in method.bin_edges.tolist())}


def parts_by_loops(rows, s, z, labels, labelled, weight, temperature):
    totals = {"labelled": [], "unlabelled": []}
    for a in rows:
        norm = math.log(sum(math.exp(float(s[a] @ z[b]) / temperature) for b in rows))
        log_p = {b: float(s[a] @ z[b]) / temperature - norm for b in rows}
        for part, found in totals.items():
            pairs = {}
            for b in rows:
                both = bool(labelled[a] and labelled[b])
                if both != (part == "labelled"):
                    continue
                alike = len(labels[a] & labels[b]) / max(1, len(labels[a] | labels[b]))
                distance = math.sqrt(max(0.0, 2 - 2 * float(s[a] @ z[b])))
                pairs[b] = 1.0 if a == b else alike * (1.0 if both else weight(distance))
            mass = sum(pairs.values())
            if mass > 0:
                found.append((min(1.0, mass), -sum(w * log_p[b] for b, w in pairs.items()) / mass))
    return [
        sum(m * v for m, v in found) / max(1e-12, sum(m for m, _ in found)) if found else 0.0
        for found in (totals["labelled"], totals["unlabelled"])
    ]


def double_example(kind="multiclass", n_rows=10, **settings):
    """In double precision; every modality has a reference of its own, and pseudo-labels differ."""
    method, batch = example(kind, n_rows=n_rows, **settings)
    method = method.double().eval()
    method.classifier.weight.data *= 10
    values = {name: value.double() for name, value in batch.values.items()}
    batch = replace(batch, values=values)
    # Logits about 0: else every row is predicted alike.
    method.classifier.bias.data -= method(batch).latents["logits"].detach()[batch.presence].mean(0)
    method.reference[:, :50] = torch.rand(3, 50, dtype=torch.float64) * torch.tensor([[0.5], [1.0], [1.5]])
    return method, batch


def gaussian_of(distances):
    mean, variance = float(distances.mean()), float(distances.var(unbiased=False))
    return lambda d: math.exp(-((d - mean) ** 2) / (2 * variance))


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("weighting", ["rbf", "none", "l1"])
def test_the_contrast_equals_loops(weighting, kind):
    method, batch = double_example(kind, n_rows=16, weighting=weighting, temperature=0.4)
    weights = {
        "rbf": [gaussian_of(distances[:50]) for distances in method.reference],
        "none": [lambda d: 0.0] * 3,
        "l1": [lambda d: 1 - d / 2] * 3,
    }
    fused, single = method(batch).prediction, method(batch).branches[:, 0].nan_to_num(0)
    if kind != "regression":
        fused, single = fused.round(), single.round()
    assert len(fused[~batch.labelled].unique(dim=0)) > 1
    assert not torch.equal(fused[~batch.labelled], single[~batch.labelled])
    expected = contrast_by_loops(method, batch, weights[weighting])
    losses = all_losses(method, batch)
    assert losses["labelled"].item() == pytest.approx(expected[0], rel=1e-6)
    assert losses["unlabelled"].item() == pytest.approx(expected[1], rel=1e-6)


def test_with_all_weights_zero_the_unlabelled_part_is_cross_view_infonce():
    method, batch = double_example(weighting="none")
    batch.presence[:] = True
    batch = replace(batch, labelled=torch.zeros_like(batch.labelled))
    output = method(batch)
    s = nn.functional.normalize(method.synergy(batch, output.latents["hidden"]), dim=1)
    terms = []
    for i in range(3):
        logits = s @ nn.functional.normalize(output.latents["redundant"][:, i], dim=1).T / 0.3
        terms.append(nn.functional.cross_entropy(logits, torch.arange(10)))
    torch.testing.assert_close(all_losses(method, batch)["unlabelled"], torch.stack(terms).mean())


def test_pseudo_labels_give_no_gradient():
    method, batch = example()
    classes, _ = method.classes(batch, method(batch).prediction)
    assert not classes.requires_grad


# ---- weights and the ramp ------------------------------------------------------------------------


def test_the_unlabelled_part_grows_in():
    method, batch = example(ramp=0.4)
    method.eval()
    start, half, end = (all_losses(method, batch, Step("train", 0, p)) for p in (0.0, 0.2, 0.4))
    assert start["unlabelled"] == 0
    torch.testing.assert_close(half["unlabelled"], end["unlabelled"] / 2)
    torch.testing.assert_close(start["labelled"], end["labelled"])


def test_loss_weights_multiply_their_terms():
    method, batch = example()
    method.eval()
    plain = all_losses(method, batch)
    method.config = replace(method.config, loss_weights={"labelled": 2.0, "supervised": 0.0})
    weighted = all_losses(method, batch)
    torch.testing.assert_close(weighted["labelled"], 2 * plain["labelled"])
    torch.testing.assert_close(weighted["reconstruction"], plain["reconstruction"])
    assert weighted["supervised"] == 0


# ---- classes -------------------------------------------------------------------------------------


def test_labelled_rows_keep_their_class_and_others_get_the_predicted_one():
    method, batch = example()
    prediction = torch.eye(3)[torch.randint(3, (24,))]
    classes, _ = method.classes(batch, prediction)
    assert torch.equal(classes[batch.labelled], batch.y[batch.labelled])
    assert torch.equal(classes[~batch.labelled], prediction.argmax(1)[~batch.labelled])


def test_label_sets_fill_masked_entries_from_the_prediction():
    method, batch = example("multilabel", n_rows=2)
    batch = replace(
        batch, y=torch.tensor([[1.0, 0.0, math.nan, math.nan]] * 2), labelled=torch.tensor([True, False])
    )
    _, sets = method.classes(batch, torch.tensor([[0.1, 0.9, 0.6, 0.4]] * 2))
    assert sets.tolist() == [[True, False, True, False], [False, True, True, False]]


def test_a_labelled_value_is_its_own_class_and_others_are_the_predicted_one():
    method, _ = example("regression")
    method.observe(torch.tensor([0.0, 7.0]))
    batch = Batch(
        {}, torch.ones(3, 0).bool(), {}, torch.tensor([0.5, 6.5, 6.5]), torch.tensor([1, 1, 0]).bool()
    )
    classes, _ = method.classes(batch, torch.tensor([[3.5], [3.5], [2.5]]))
    assert classes.tolist() == [0, 6, 2]


def test_regression_classes_are_equal_bins_of_the_labelled_range():
    method = Robult(VECTORS, TASKS["regression"])
    method.observe(torch.tensor([0.0, 2.0, 7.0]))
    assert method.bins(torch.tensor([-5.0, 0.5, 1.5, 6.5, 99.0])).tolist() == [0, 0, 1, 6, 6]


def test_the_mosi_classes_are_rounded_and_clipped():
    method = Robult(SMALL_SENTIMENT, TASKS["regression"], RobultConfig(preset="mosi"))
    method.observe(torch.tensor([0.0, 1.0]))
    values = torch.tensor([-9.0, -3.0, -2.4, -0.4, 0.4, 1.6, 2.6, 9.0])
    assert (method.bins(values) - 3).tolist() == values.round().clamp(-3, 3).tolist()


# ---- the reference -------------------------------------------------------------------------------


def test_the_reference_grows_in_training_alone_and_keeps_the_newest():
    method, batch = example(n_rows=80, dropout=0.1)
    method.eval()
    all_losses(method, batch)
    assert method.reference.isnan().all()
    method.train()
    all_losses(method, batch)
    n_first = int((~method.reference[0].isnan()).sum())
    assert n_first > 0
    newest = method.reference[0, :n_first].clone()
    for _ in range(9):
        all_losses(method, batch)
    assert method.reference.shape == (3, N_REFERENCE)
    assert not method.reference.isnan().any()
    assert not torch.equal(method.reference[0, :n_first], newest)


# ---- the shared space ----------------------------------------------------------------------------


def test_the_shared_space_is_the_mean_direction_of_what_is_present():
    method, batch = example()
    latents = method.eval()(batch).latents
    for row in range(len(batch)):
        parts = latents["redundant"][row][batch.presence[row]]
        expected = (
            nn.functional.normalize(parts, dim=1).mean(0) if len(parts) else torch.full((64,), math.nan)
        )
        torch.testing.assert_close(latents["shared"][row], expected, equal_nan=True)


# ---- hidden labels -------------------------------------------------------------------------------


def short_fit(method, batch, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        return fit(
            method, batch, None, TrainingConfig(max_epochs=3, batch_size=16), seed=0, verbose=False, **kwargs
        )


def fitted_twice(kind, change, **kwargs):
    """Weights of two equal fits; ``change`` makes the second one's batch and fit arguments."""
    states = []
    for second in (False, True):
        torch.manual_seed(0)
        method, batch = example(kind, n_rows=40)
        arguments = change(batch) if second else {"train": batch}
        short_fit(method, arguments.pop("train"), **arguments, **kwargs)
        states.append(method.state_dict())
    return states


@pytest.mark.parametrize("kind", TASKS)
def test_hidden_labels_are_never_read(kind):
    def hide(batch):
        y = batch.y.clone()
        y[~batch.labelled] = -1 if kind == "multiclass" else math.nan
        return {"train": replace(batch, y=y)}

    first, second = fitted_twice(kind, hide)
    assert all(torch.equal(first[name].nan_to_num(7), second[name].nan_to_num(7)) for name in first)


@pytest.mark.parametrize("kind", TASKS)
def test_a_monitor_changes_no_bit_of_the_fit(kind):
    first, second = fitted_twice(kind, lambda batch: {"train": batch, "monitor": batch.y})
    assert all(torch.equal(first[name].nan_to_num(7), second[name].nan_to_num(7)) for name in first)


# ---- it learns -----------------------------------------------------------------------------------


def blobs(n_rows=240, n_labelled=24):
    """Three classes; each of two modalities tells them apart."""
    y = torch.arange(n_rows) % 3
    centres = {name: 2 * torch.randn(3, width) for name, width in (("a", 5), ("b", 4))}
    values = {name: c[y] + 0.5 * torch.randn(n_rows, c.shape[1]) for name, c in centres.items()}
    labelled = torch.arange(n_rows) < n_labelled
    return Batch(values, torch.ones(n_rows, 2, dtype=torch.bool), {}, y, labelled)


def test_a_few_labels_teach_every_branch():
    batch = blobs()
    method = Robult((Input("a", "vector", 5), Input("b", "vector", 4)), Task("multiclass", 3))
    history = fit(method, batch, None, TrainingConfig(max_epochs=15), seed=0, verbose=False, monitor=batch.y)
    branches = method(batch).branches
    for i in range(2):
        assert (branches[:, i].argmax(1) == batch.y)[~batch.labelled].float().mean() > 0.9
    last = history[-1]
    assert last["pseudo_accuracy"] > 0.9
    assert 0 < last["weight_true"] <= 1
    assert last["warnings"] == []
    assert {"alignment/a", "uniformity/b", "unique_norm/a", "unique_predicts_shared/a"} < set(last)
    assert {"unique_predicts_class/b", "reference_gaussian", "confidence", "pseudo_share"} < set(last)


def test_copies_are_told():
    batch = blobs()
    batch = replace(batch, values={"a": batch.values["a"], "b": 3 * batch.values["a"].flip(1)})
    method = Robult((Input("a", "vector", 5), Input("b", "vector", 5)), Task("multiclass", 3))
    with pytest.warns(TrainingWarning, match="modalities 'a' and 'b' are nearly copies"):
        fit(method, batch, None, TrainingConfig(max_epochs=10), seed=0, verbose=False)


def test_noise_is_told():
    batch = blobs()
    batch = replace(batch, values={"a": batch.values["a"], "b": torch.randn(240, 4)})
    method = Robult((Input("a", "vector", 5), Input("b", "vector", 4)), Task("multiclass", 3))
    with pytest.warns(TrainingWarning, match="modality 'b' looks no better than chance"):
        history = fit(method, batch, None, TrainingConfig(max_epochs=10), seed=0, verbose=False)
    assert len(history[-1]["warnings"]) == 1


# ---- the preset mosi -----------------------------------------------------------------------------


def test_mosi_pads_short_series_and_refuses_long_ones():
    method, batch = example("regression", SMALL_SENTIMENT, preset="mosi")
    method.eval()
    expected = method(batch).prediction
    longer = {
        name: torch.cat([v, torch.full((24, 60, v.shape[2]), math.nan)], 1)
        for name, v in batch.values.items()
    }
    torch.testing.assert_close(method(replace(batch, values=longer)).prediction, expected)
    lengths = {**batch.lengths, "audio": torch.full((24,), 51)}
    rule = (
        r"preset 'mosi' reads up to 50 steps .*modality 'audio' has one of 51; cut it or use preset='default'"
    )
    with pytest.raises(DataError, match=rule):
        method(replace(batch, values=longer, lengths=lengths))


# ---- the page ------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "robult.md").read_text()


def test_the_page_lists_every_difference():
    marked = set(re.findall(r"NOTE\[DIFF (\d+)\]", Path(robult.__file__).read_text()))
    listed = set(re.findall(r"^(\d+)\. ", PAGE.partition("leaves it open\nMarked")[2], re.MULTILINE))
    assert marked == listed != set()


def test_the_page_lists_every_setting_and_figure():
    batch = blobs()
    method = Robult((Input("a", "vector", 5), Input("b", "vector", 4)), Task("multiclass", 3))
    history = short_fit(method, batch, monitor=batch.y)
    figures = {key.partition("/")[0] for key in history[-1]}
    figures -= {"stage", "epoch", "loss", "learning_rate", "seconds", "warnings"}
    settings = {field.name for field in fields(RobultConfig)}
    assert all(f"`{name}" in PAGE for name in figures | settings)


# ---- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"preset": "mosei"}, "preset must be a known name; got 'mosei'; choose one of default, mosi"),
        (
            {"weighting": "soft"},
            "weighting must be a known name; got 'soft'; choose one of rbf, rbf_one_sided",
        ),
        ({"sequence": "lstm"}, "sequence must be a known name; got 'lstm'; choose one of gru, transformer"),
        ({"d_latent": 1}, "d_latent must be a whole number from 2 up; got 1"),
        ({"d_unique": 2.5}, "d_unique must be a whole number from 0 up; got 2.5"),
        ({"temperature": 0}, "temperature must be a number above 0; got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number above 0; got nan"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\); got 1.0; 0 switches it off"),
        ({"ramp": -0.1}, r"ramp must lie in \[0, 1\); got -0.1; 0 switches it off"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more; got -1; 0 switches it off"),
        (
            {"loss_weights": {"lb": 1}},
            "loss_weights names losses; got 'lb'; choose among labelled, unlabelled",
        ),
        ({"loss_weights": {"labelled": -1}}, "a loss weight must be 0 or more; got -1 for 'labelled'"),
        (
            {"preset": "mosi"},
            "preset 'mosi' needs two or more series; modality 'a' is a vector; use preset='default'",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Robult(VECTORS, TASKS["multiclass"], RobultConfig(**settings))


def test_mosi_reads_by_grus_alone():
    with pytest.raises(ConfigError, match="preset 'mosi' reads series by GRUs; got sequence='transformer'"):
        Robult(SMALL_SENTIMENT, TASKS["regression"], RobultConfig(preset="mosi", sequence="transformer"))


# ---- diagnostics ---------------------------------------------------------------------------------


def test_ridge_r2_tells_a_copy_from_noise():
    x = torch.randn(200, 6)
    assert robult_diagnostics.ridge_r2(x, x @ torch.randn(6, 3)) > 0.99
    assert robult_diagnostics.ridge_r2(x, torch.randn(200, 3)) < 0.05
    assert math.isnan(robult_diagnostics.ridge_r2(x, torch.ones(200, 1)))


@pytest.mark.parametrize("width", [3, 1000])
def test_cka_is_one_for_a_rotation_and_nought_for_strangers(width):
    x = torch.randn(128, width)
    rotation = torch.linalg.qr(torch.randn(width, width)).Q
    assert robult_diagnostics.unbiased_cka(x, 3 * x @ rotation + 1) == pytest.approx(1, abs=1e-3)
    assert abs(robult_diagnostics.unbiased_cka(x, torch.randn(128, width))) < 0.1


def test_the_reference_is_gaussian_or_not():
    empty = torch.full((2, 1000), math.nan)
    assert robult_diagnostics.reference_figures(empty) == {}
    bell = robult_diagnostics.reference_figures(torch.randn(2, 1000) * torch.tensor([[0.1], [2.0]]) + 1)
    two_heaps = robult_diagnostics.reference_figures(torch.randint(2, (2, 1000)) + 0.1 * torch.rand(2, 1000))
    assert bell["reference_gaussian"] > 0.99 > two_heaps["reference_gaussian"]
    assert bell["reference_quantile/0.25"] == pytest.approx(-0.674, abs=0.1)


def test_monitored_figures_equal_loops():
    method, batch = example(n_rows=30, weighting="rbf")
    all_losses(method, batch)
    method.eval()
    with torch.no_grad():
        output, monitor = method(batch), torch.randint(3, (30,))
    found = method.diagnostics(batch, output, monitor)
    classes, _ = method.classes(batch, output.prediction)
    s = nn.functional.normalize(method.synergy(batch, output.latents["hidden"]).detach(), dim=1)
    weights = {True: [], False: []}
    for i in range(3):
        known = method.reference[i][~method.reference[i].isnan()]
        reference = Reference.from_distances(known)
        z = nn.functional.normalize(output.latents["redundant"][:, i], dim=1)
        for a in range(30):
            for b in range(30):
                both_labelled = batch.labelled[a] and batch.labelled[b]
                if a == b or both_labelled or classes[a] != classes[b] or not batch.presence[[a, b], i].all():
                    continue
                d = float((s[a] - z[b]).norm())
                weight = math.exp(-((d - float(reference.mean)) ** 2) / (2 * float(reference.variance)))
                weights[bool(monitor[a] == monitor[b])].append(weight)
    assert found["weight_true"] == pytest.approx(sum(weights[True]) / len(weights[True]), abs=1e-4)
    assert found["weight_false"] == pytest.approx(sum(weights[False]) / len(weights[False]), abs=1e-4)
    rows = ~batch.labelled & batch.presence.any(1)
    right = (output.prediction.argmax(1) == monitor)[rows].float().mean()
    assert found["pseudo_accuracy"] == pytest.approx(float(right))


# ---- judgement -----------------------------------------------------------------------------------

SOUND = {
    "loss": 2.0,
    "loss/labelled": 1.0,
    "loss/reconstruction": 0.1,
    "spread/a": 0.8,
    "unique_spread/a": 0.7,
    "pseudo_share": 0.4,
    "labelled_share": 0.34,
    "confidence": 0.7,
    "branch_gain/a": 0.4,
    "agreement/a": 0.6,
    "input_tells_class/a": 0.4,
    "likeness/a+b": 0.93,
}
SICK = {
    "the shared space of modality 'a' has collapsed": {"spread/a": 0.01},
    "the unique part of modality 'a' is the same for every row": {"unique_spread/a": 0.001},
    "the reconstruction makes up 75% of the loss while the contrast stands still": {
        "loss/reconstruction": 1.5
    },
    "99% of the pseudo-labels are of one class, against 34% of the labels": {"pseudo_share": 0.99},
    "the pseudo-labels were sure of themselves early": {"confidence": 0.99},
    "modality 'a' predicts no better than chance": {"branch_gain/a": 0.0},
    "modality 'a' looks no better than chance.*agrees with the others at 0.01": {
        "agreement/a": 0.01,
        "input_tells_class/a": 0.001,
    },
    "modalities 'a' and 'b' are nearly copies": {"likeness/a+b": 0.999},
}


def history_of(epoch):
    return [{**epoch, "epoch": i} for i in range(20)]


def judged(epoch):
    return Robult(VECTORS, TASKS["multiclass"]).judge(history_of(epoch))


def test_a_sound_history_is_left_in_peace():
    assert judged(SOUND) == []


@pytest.mark.parametrize("sentence", SICK)
def test_each_sickness_is_named(sentence):
    found = judged({**SOUND, **SICK[sentence]})
    assert len(found) == 1
    assert re.search(sentence, found[0])


def test_well_founded_confidence_is_no_sickness():
    assert judged({**SOUND, "confidence": 0.99, "pseudo_accuracy": 0.98}) == []
