"""The door for a method of one's own: what breaks the contract is refused in one sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from batches import MIXED, TASKS, random_batch
from polymodal import MethodClassifier, MethodRegressor, load, methods
from polymodal.errors import ConfigError
from polymodal.methods.contract import judge
from tiny_method import Tiny

N_ROWS = 60


def without_latents(output):
    return replace(output, latents={"logits": output.latents["logits"]})


def changed(change):
    """A method whose output is another one."""

    class Broken(Tiny):
        def forward(self, batch):
            return change(super().forward(batch))

    return Broken


class ForgetsPresence(Tiny):
    """Absent values are read like any others."""

    late_fusion = False

    def forward(self, batch):
        output = super().forward(batch)
        everything = torch.cat(list(batch.values.values()), dim=1).sum(1, keepdim=True)
        shifted = self.to_prediction(output.latents["logits"].mean(1) + everything)
        has = batch.presence.any(1, keepdim=True)
        return replace(output, prediction=torch.where(has, shifted, self.prior))


class ForgetsThePrior(Tiny):
    late_fusion = False

    def forward(self, batch):
        output = super().forward(batch)
        certain = torch.zeros_like(output.prediction)
        certain[:, 0] = 1
        return replace(output, prediction=certain)


class LosesNames(Tiny):
    def losses(self, batch, output, step):
        return super().losses(batch, output, step)["task"]


class LosesRows(Tiny):
    def losses(self, batch, output, step):
        return {"task": output.prediction.square().mean(1)}


REFUSED = {
    "a tensor": (changed(lambda o: o.prediction), "forward returns an Output; Broken gave a Tensor; see"),
    "a class too few": (
        changed(lambda o: replace(o, prediction=o.prediction[:, 1:])),
        r"a prediction is \(B, C\), here \(4, 3\); Broken gave \(4, 2\); end forward with",
    ),
    "NaN": (changed(lambda o: replace(o, prediction=o.prediction * torch.nan)), "predictions are finite"),
    "logits": (changed(lambda o: replace(o, prediction=o.prediction - 1)), "probabilities where there are"),
    "no branches": (
        changed(lambda o: replace(o, branches=None)),
        r"late_fusion needs branches of \(B, M, C\), here \(4, 2, 3\); Broken gave NoneType; return them",
    ),
    "nothing shared": (
        changed(without_latents),
        r"latents\['shared'\] is \(B, d\).*gave NoneType; return it",
    ),
    "absent values are read": (ForgetsPresence, "the bytes of an absent modality change no prediction"),
    "no prior": (
        ForgetsThePrior,
        "a row without any modality gets the prior; ForgetsThePrior gave something",
    ),
    "losses without names": (LosesNames, "losses are named; LosesNames gave a Tensor; return"),
    "a loss for each row": (LosesRows, r"'task' is not; LosesRows gave \(\d+,\); take its mean"),
}


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, N_ROWS)
    X = {"a": random.normal(size=(N_ROWS, 4)) + y[:, None], "b": random.normal(size=(N_ROWS, 3))}
    X["b"][::3] = np.nan
    return X, y


@pytest.mark.parametrize(("method", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_broken_method_is_refused_in_a_sentence(method, sentence, data, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "own", method)
    with pytest.raises(ConfigError, match=sentence):
        MethodClassifier("own", max_epochs=1, random_state=0).fit(*data)


def test_a_method_of_ones_own_trains_and_is_saved(data, tmp_path, monkeypatch):
    X, y = data
    with monkeypatch.context() as known:
        known.setitem(methods.METHODS, "own", Tiny)
        model = MethodClassifier("own", max_epochs=2, random_state=0, floors=False).fit(X, y)
        MethodRegressor("own", max_epochs=1, floors=False).fit(X, y.astype(float))
        model.save(tmp_path / "model")
        assert (load(tmp_path / "model").predict_proba(X) == model.predict_proba(X)).all()
    with pytest.raises(ConfigError, match="'own' came"):
        load(tmp_path / "model")


@pytest.mark.parametrize("name", methods.METHODS)
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_judging_leaves_a_method_as_it_was(name, task):
    cls = methods.get(name)
    if cls.learns_alone:
        pytest.skip("it has nothing to say before it has learnt")
    torch.manual_seed(0)
    method = cls(MIXED, task)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    judge(method, random_batch(MIXED, task))
    assert method.training
    for key, value in method.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True)
