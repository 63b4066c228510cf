"""Prediction by chunks: no row depends on another, nothing of the method changes, one row costs little."""

import numpy as np
import pytest
import torch

from polymodal.batch import Task
from polymodal.prediction import predict, transform
from tiny_method import rows, tiny


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_no_row_depends_on_another(kind):
    method, batch = tiny(Task(kind, 1 if kind == "regression" else 3)), rows(1024)
    together, branches = predict(method, batch, batch_size=1024)
    for i in range(0, 1024, 101):
        one, its_branches = predict(method, batch.slice(i, i + 1))
        np.testing.assert_allclose(one[0], together[i], atol=1e-5)
        np.testing.assert_allclose(its_branches[0], branches[i], atol=1e-5)


def test_chunks_are_the_whole():
    method, batch = tiny(), rows(103)
    whole, branches = predict(method, batch)
    pieces, piece_branches = predict(method, batch, batch_size=10)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    np.testing.assert_allclose(piece_branches, branches, atol=1e-6)
    np.testing.assert_allclose(
        transform(method, batch, batch_size=10), torch.cat(list(batch.values.values()), dim=1), atol=0
    )


def test_what_comes_out():
    batch = rows(7)
    prediction, branches = predict(tiny(), batch)
    assert (prediction.dtype, prediction.shape) == (np.float32, (7, 3))
    assert (branches.dtype, branches.shape) == (np.float32, (7, 2, 3))
    np.testing.assert_array_equal(np.isnan(branches).all(axis=2), ~batch.presence.numpy())
    assert predict(tiny(with_branches=False), batch)[1] is None


def test_no_rows_at_all():
    prediction, branches = predict(tiny(), rows(0))
    assert prediction.shape == (0, 3)
    assert branches.shape == (0, 2, 3)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_is_left_as_it_was(training):
    method = tiny(dropout=0.5).train(training)
    first, second = (predict(method, rows(20))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert method.training == training


def test_no_gradient_is_kept():
    method = tiny()
    seen = []
    method.register_forward_hook(lambda module, args, output: seen.append(output.prediction.is_inference()))
    predict(method, rows(3))
    assert seen == [True]


def test_float64_values_come_out_as_float32():
    prediction, _ = predict(
        tiny().double(), rows(4).map(lambda t: t.double() if t.is_floating_point() else t)
    )
    assert prediction.dtype == np.float32
