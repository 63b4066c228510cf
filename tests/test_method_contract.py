"""What every registered method keeps, whatever it is: the contract of ``polymodal.methods.base``."""

from copy import deepcopy
from functools import cache

import pytest
import torch

from batches import MIXED, SERIES, TASKS, VECTORS, random_batch, spoilt
from polymodal import methods
from polymodal.batch import Batch
from polymodal.errors import ConfigError
from polymodal.methods.base import Step

INPUTS = {"vectors": VECTORS, "series": SERIES, "mixed": MIXED, "one": VECTORS[:1]}
KINDS = {"vectors": TASKS, "mixed": TASKS, "series": ("multiclass",), "one": ("regression",)}
CASES = [(method, inputs, kind) for method in methods.METHODS for inputs in INPUTS for kind in KINDS[inputs]]
BY_LOOP = [case for case in CASES if not methods.get(case[0]).learns_alone]
ALONE = [case for case in CASES if methods.get(case[0]).learns_alone]
LATE_FUSION = [case for case in CASES if methods.get(case[0]).late_fusion]
SMALL = {"committee": {"n_trees": 8, "n_trees_judged": 4, "n_generations": 1}}
by_the_loop = pytest.mark.parametrize("case", BY_LOOP, ids="-".join, indirect=True)


def observed(method, batch):
    """A method that has seen the labels, as before its first epoch, or one that has learnt alone."""
    y = batch.y[batch.labelled]
    if method.learns_alone:
        method.learn(batch, seed=0)
        return method
    method.observe(y if len(y) else batch.y)
    return method


@cache
def new_case(name, inputs, kind):
    torch.manual_seed(0)
    batch = random_batch(INPUTS[inputs], TASKS[kind])
    cls = methods.get(name)
    config = methods.configure(cls, SMALL.get(name, {}))
    return observed(cls(INPUTS[inputs], TASKS[kind], config), batch), batch, torch.get_rng_state()


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """A fresh method and a batch for it."""
    method, batch, state = new_case(*request.param)
    torch.set_rng_state(state)
    return deepcopy((method, batch))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


def train_losses(method, batch, *, seed=1):
    """Every stage's losses, as the training loop asks for them; none of a method that learns alone."""
    if method.learns_alone:
        return
    method.train()
    for number, stage in enumerate(method.stages()):
        list(method.trainable(stage))
        step = Step(stage.name, number, 0.5)
        method.begin_epoch(step)
        torch.manual_seed(seed)
        yield method.losses(batch, method(batch), step)


# ---- predictions ---------------------------------------------------------------------------------


def test_predictions_have_their_form(case):
    method, batch = case
    output = method.eval()(batch)
    assert output.prediction.shape == (12, method.task.n_outputs)
    assert output.prediction.isfinite().all()
    assert len(output.latents["shared"]) == 12
    if method.task.kind == "multiclass":
        close(output.prediction.sum(1), torch.ones(12))
    if method.task.kind != "regression":
        assert ((output.prediction >= 0) & (output.prediction <= 1)).all()


def test_absent_bytes_reach_no_output(case):
    method, batch = case
    method.eval()
    expected, found = method(batch), method(spoilt(batch))
    close(found.prediction, expected.prediction)
    for name in expected.latents:
        close(found.latents[name], expected.latents[name])
    if expected.branches is not None:
        close(found.branches, expected.branches)


@by_the_loop
def test_absent_bytes_and_hidden_labels_reach_no_loss(case):
    method, batch = case
    other = spoilt(batch)
    for expected, found in zip(train_losses(method, batch), train_losses(method, other), strict=True):
        for name in expected:
            close(found[name], expected[name])


def test_no_row_depends_on_another(case):
    method, batch = case
    method.eval()
    together = method(batch).prediction
    close(torch.cat([method(batch.slice(i, i + 1)).prediction for i in range(12)]), together)
    order = torch.randperm(12)
    close(method(batch.rows(order)).prediction, together[order])


def test_a_row_without_any_modality_gets_the_prior(case):
    method, batch = case
    prediction = method.eval()(batch.only(())).prediction
    close(prediction, method.prior.expand_as(prediction).to(prediction.dtype))


def test_every_modality_matters(case):
    method, batch = case
    method.eval()
    batch.presence[:] = True
    batch = Batch(
        {n: torch.randn_like(v) for n, v in batch.values.items()},
        batch.presence,
        {n: torch.full_like(v, 6) for n, v in batch.lengths.items()},
    )
    expected = method(batch).prediction
    for name in batch.names:
        other = Batch({**batch.values, name: batch.values[name] + 1}, batch.presence, batch.lengths)
        assert (method(other).prediction - expected).abs().max() > 1e-6, f"{name} changes nothing"


@pytest.mark.parametrize("case", LATE_FUSION, ids="-".join, indirect=True)
def test_late_fusion_is_the_mean_of_the_branches(case):
    method, batch = case
    method.eval()
    branches = method(batch).branches
    assert torch.equal(branches.isnan().any(2), ~batch.presence)
    close(
        method(batch).prediction, branches.nanmean(1).where(batch.presence.any(1, keepdim=True), method.prior)
    )
    for n_kept in range(1, len(batch.names) + 1):
        kept = batch.names[:n_kept]
        part = method(batch.only(kept))
        mean = branches[:, :n_kept].nanmean(1)
        close(part.prediction, mean.where(batch.presence[:, :n_kept].any(1, keepdim=True), method.prior))


# ---- losses --------------------------------------------------------------------------------------


def no_label(batch):
    return Batch(batch.values, batch.presence, batch.lengths, batch.y, torch.zeros_like(batch.labelled))


def one_label(batch):
    labelled = torch.zeros_like(batch.labelled)
    labelled[0] = True
    return Batch(batch.values, batch.presence, batch.lengths, batch.y, labelled)


def all_labels(batch):
    return Batch(batch.values, batch.presence, batch.lengths, batch.y, torch.ones_like(batch.labelled))


DEGENERATE = {
    "as it is": lambda batch: batch,
    "no label": no_label,
    "one label": one_label,
    "all labels": all_labels,
    "one row": lambda batch: batch.slice(0, 1),
    "one row without a label": lambda batch: no_label(batch).slice(0, 1),
    "one modality": lambda batch: batch.only(batch.names[:1]),
    "no modality": lambda batch: batch.only(()),
    "no modality, no label": lambda batch: no_label(batch).only(()),
}


@by_the_loop
@pytest.mark.parametrize("degenerate", DEGENERATE)
def test_any_batch_gives_finite_losses_with_gradients(case, degenerate):
    method, batch = case
    for losses in train_losses(method, DEGENERATE[degenerate](batch)):
        total = sum(losses.values())
        assert total.shape == ()
        assert total.isfinite()
        assert total.requires_grad
        method.zero_grad()
        total.backward()
        gradients = [p.grad for p in method.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


@by_the_loop
def test_a_label_trains(case):
    """One step down the losses of a labelled batch lowers them: the gradient leads somewhere."""
    method, batch = case
    batch = all_labels(batch)
    *_, stage = method.stages()
    for earlier in method.stages():
        list(method.trainable(earlier))
    groups = [{**g, "lr": 1e-3} for g in method.trainable(stage)]
    for group in groups:
        group.pop("name", None)
    optimizer = torch.optim.SGD(groups)
    totals = []
    method.train()
    for _ in range(6):
        torch.manual_seed(3)
        total = sum(method.losses(batch, method(batch), Step(stage.name, 0, 0.5)).values())
        totals.append(float(total.detach()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < totals[0]


@by_the_loop
def test_evaluation_changes_no_state(case):
    method, batch = case
    for stage in method.stages():
        list(method.trainable(stage))
    method.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    *_, stage = method.stages()
    method.losses(batch, method(batch), Step(stage.name, 0, 0.5))
    for name, value in method.state_dict().items():
        assert torch.equal(value.nan_to_num(7), before[name].nan_to_num(7)), name


@by_the_loop
def test_diagnostics_are_numbers_and_the_monitor_changes_nothing(case):
    method, batch = case
    list(train_losses(method, batch))
    method.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    output = method(batch)
    plain = method.diagnostics(batch, output, None)
    watched = method.diagnostics(batch, output, batch.y)
    assert {name: watched[name] for name in plain} == plain
    assert all(isinstance(value, float) for value in watched.values())
    for name, value in method.state_dict().items():
        assert torch.equal(value.nan_to_num(7), before[name].nan_to_num(7)), name


def test_a_short_history_is_not_judged_harshly(case):
    method, _ = case
    assert method.judge([{"stage": "train", "epoch": 0, "loss": 1.0}]) == []


# ---- learning alone ------------------------------------------------------------------------------


def learnt(method, batch):
    """What a fresh method of the same settings learns from other rows."""
    twin = type(method)(method.inputs, method.task, method.config)
    twin.learn(batch, seed=0)
    return twin.state_dict()


@pytest.mark.parametrize("case", ALONE, ids="-".join, indirect=True)
def test_absent_bytes_and_hidden_labels_teach_nothing(case):
    method, batch = case
    found = learnt(method, spoilt(batch))
    for name, expected in method.state_dict().items():
        assert torch.equal(found[name], expected), name


@pytest.mark.parametrize(
    "degenerate", ["one label", "all labels", "one modality", "no modality", "one row without a label"]
)
@pytest.mark.parametrize("case", ALONE, ids="-".join, indirect=True)
def test_any_labelled_batch_teaches_something_finite(case, degenerate):
    method, batch = case
    batch = DEGENERATE[degenerate](batch)
    batch.labelled[0] = True
    twin = observed(type(method)(method.inputs, method.task, method.config), batch).eval()
    assert twin(batch).prediction.isfinite().all()


# ---- the saved parts -----------------------------------------------------------------------------


def test_saved_parts_predict_the_same(case):
    method, batch = case
    list(train_losses(method, batch))
    expected = method.eval()(batch)
    twin = type(method)(method.inputs, method.task, method.config).eval()
    twin.drop_training_parts()
    method.drop_training_parts()
    saved = method.state_dict()
    for name in method.training_only:
        assert not any(key == name or key.startswith(f"{name}.") for key in saved), name
    twin.load_state_dict(saved)
    for model in (method, twin):
        found = model(batch)
        close(found.prediction, expected.prediction)
        close(found.latents["shared"], expected.latents["shared"])


# ---- the registry --------------------------------------------------------------------------------


def test_unknown_names_are_refused_with_a_guess():
    with pytest.raises(ConfigError, match=r"a method is one of robult.*'robolt' came; did you mean 'robult'"):
        methods.get("robolt")
    with pytest.raises(ConfigError, match="'temprature' came; did you mean 'temperature'"):
        methods.configure(methods.get("robult"), {"temprature": 1.0})


@pytest.mark.parametrize("name", methods.METHODS)
def test_configs_are_built_from_settings(name):
    method = methods.get(name)
    name = "n_trees" if method.learns_alone else "learning_rate"
    assert getattr(methods.configure(method, {name: 5}), name) == 5
    assert methods.configure(method, {}) == method.Config()
