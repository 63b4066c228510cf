"""PgM for retrieval: the method, its losses, and the retriever around it."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from batches import random_batch, spoilt
from polymodal import PgMRetriever, training
from polymodal.batch import Batch, Input, Task
from polymodal.errors import ConfigError
from polymodal.losses import symmetric_info_nce
from polymodal.methods.base import Step
from polymodal.methods.pgm_retrieval import PgMRetrieval, PgMRetrievalConfig, same_class
from polymodal.partitioned import PartitionLearner
from polymodal.training import TrainingConfig

INPUTS = (Input("a", "vector", 5), Input("s", "series", 3), Input("c", "vector", 4))
CLASSES = Task("multiclass", 3)  # what the labels of random batches are drawn from
FINETUNE = Step("finetune", 0, 0.0)
STILL = {"dropout": 0.0, "input_dropout": 0.0}
SMALL = {"d_latent": 16, "d_embed": 6, "chunk": 4, "d_token": 8, "d_decoder": 8}


def method(n_classes=3, seed=0, **config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PgMRetrieval(
            INPUTS, Task("retrieval", n_classes), PgMRetrievalConfig(**SMALL, **{**STILL, **config})
        )


def batch(n=12, seed=0) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return random_batch(INPUTS, CLASSES, n)


def without_labels(rows: Batch) -> Batch:
    return Batch(rows.values, rows.presence, rows.lengths, rows.y, torch.zeros_like(rows.labelled))


# ---- the contrast ----------------------------------------------------------------------------------------


def dull_info_nce(a, b, temperature, positives):
    """Row by row: the mean over its positives of minus the log of their softmax, both ways."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    total = 0.0
    for one, other in ((a, b), (b, a)):
        for i in range(len(one)):
            logits = other @ one[i] / temperature
            log_shares = logits - np.log(np.exp(logits).sum())
            total -= np.mean([log_shares[j] for j in range(len(other)) if positives[i, j]])
    return total / (2 * len(a))


@pytest.mark.parametrize("with_classes", [False, True])
def test_the_contrast_is_that_of_a_loop(with_classes):
    random = np.random.default_rng(0)
    a, b, y = random.normal(size=(9, 4)), random.normal(size=(9, 4)), random.integers(0, 3, 9)
    positives = (y[:, None] == y) if with_classes else np.eye(9, dtype=bool)
    found = symmetric_info_nce(
        torch.from_numpy(a),
        torch.from_numpy(b),
        temperature=0.3,
        positives=torch.from_numpy(positives) if with_classes else None,
    )
    assert float(found) == pytest.approx(dull_info_nce(a, b, 0.3, positives), abs=1e-12)


def test_only_labelled_rows_of_one_class_are_positives_of_each_other():
    same = same_class(torch.tensor([1, 1, 1, 0]), torch.tensor([True, True, False, False]))
    assert same.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


# ---- embeddings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"n_layers": 0}, {"mask": "values"}, {"parts": "paired"}], ids=str)
def test_alone_is_what_a_row_of_one_modality_gives(settings):
    torch.manual_seed(0)
    learner = PartitionLearner(3, 16, chunk=4, **settings)
    x, presence = torch.randn(7, 3, 16), torch.rand(7, 3) < 0.7
    together = learner(x, presence, hard=False, alone=True)
    for i in range(3):
        only = presence & (torch.arange(3) == i)
        for name in ("uni", "paired", "rebuilt"):
            expected = getattr(learner(x, only, hard=False), name)[:, i]
            assert_close(getattr(together, name)[:, i], expected)


def test_an_embedding_knows_one_modality_alone():
    rows, trained = batch(), method().eval()
    whole = trained(rows).latents["embeddings"]
    for i, name in enumerate(rows.names):
        alone = trained(rows.only((name,))).latents["embeddings"]
        assert_close(alone[:, i], whole[:, i], equal_nan=True)
        assert alone[:, [m for m in range(3) if m != i]].isnan().all()


def test_embeddings_are_unit_rows_where_present_and_nan_elsewhere():
    rows = batch()
    found = method().eval()(rows).latents["embeddings"]
    assert (found.isnan().all(-1) == ~rows.presence).all()
    assert_close(found[rows.presence].norm(dim=-1), torch.ones(int(rows.presence.sum())))


def test_the_common_space_is_the_contrasts_and_that_of_semantic_matching():
    rows, trained = batch(), method(semantic=0.5).eval()
    trained.observe(torch.tensor([0, 0, 1, 2]))
    output = trained(rows)
    row, m = (int(i) for i in rows.presence.nonzero()[0])
    found = output.latents["embeddings"][row, m].detach().numpy()
    classes = output.branches[row, m].detach().numpy() - np.array([0.5, 0.25, 0.25])
    contrast = output.latents["contrast"][row, m].detach().numpy()
    expected = np.concatenate([contrast, 0.5 * classes / np.linalg.norm(classes)])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)


def test_lost_inputs_are_zeros_and_a_sequence_loses_columns():
    torch.manual_seed(0)
    trained = method(input_dropout=0.5).train()
    vector, series = trained.lose(torch.ones(50, 4)), trained.lose(torch.ones(50, 6, 3))
    assert set(vector.unique().tolist()) == {0.0, 2.0}
    assert (series == series[:, :1]).all()
    rows = batch()
    with_noise = trained(rows).latents["contrast"]
    trained.eval()
    assert not torch.equal(with_noise, trained(rows).latents["contrast"])
    assert torch.equal(trained(rows).latents["contrast"], trained(rows).latents["contrast"])


def test_no_row_depends_on_another_or_on_what_is_absent():
    rows, trained = batch(), method().eval()
    whole = trained(rows)
    for other in (spoilt(rows), spoilt(rows, 1e6)):
        found = trained(other)
        assert_close(found.latents["embeddings"], whole.latents["embeddings"], rtol=0, atol=0, equal_nan=True)
        assert_close(found.prediction, whole.prediction, rtol=0, atol=0)
    few = trained(rows.slice(2, 5))
    assert_close(few.latents["embeddings"], whole.latents["embeddings"][2:5], equal_nan=True)


# ---- losses ----------------------------------------------------------------------------------------------


def gradients(trained, rows):
    trained.zero_grad()
    losses = trained.losses(rows, trained(rows), FINETUNE)
    sum(losses.values()).backward()
    return losses, {n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None}


def test_hidden_labels_and_absent_bytes_change_no_loss_and_no_gradient():
    rows, trained = batch(), method().train()
    one, two = gradients(trained, rows), gradients(trained, spoilt(rows))
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.isfinite(a[name]).all()
            assert_close(a[name], b[name], rtol=0, atol=0)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 12])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_any_batch_has_finite_losses_with_a_gradient(n_rows, n_classes):
    rows = batch(n_rows) if n_classes else without_labels(batch(n_rows))
    for stage in ("pretrain", "finetune"):
        trained = method(n_classes).train()
        losses = trained.losses(rows, trained(rows), Step(stage, 0, 0.0))
        total = sum(losses.values())
        total.backward()
        assert torch.isfinite(total)
        assert all(torch.isfinite(p.grad).all() for p in trained.parameters() if p.grad is not None)


@pytest.mark.parametrize("same", [True, False])
def test_each_term_is_that_of_loops_times_its_weight(same):
    weights = {"alpha": 0.5, "pair_weight": 2.0, "class_weight": 3.0}
    trained = method(temperature=0.4, class_temperature=0.2, same_class=same, **weights).eval()
    rows = batch(20)
    output = trained(rows)
    found, latents = (
        trained.losses(rows, output, FINETUNE),
        {k: v.detach() for k, v in output.latents.items()},
    )
    features = np.concatenate([latents["uni"].numpy(), latents["paired"].numpy()], axis=2).astype(float)
    weight, bias = (p.detach().double().numpy() for p in (trained.project.weight, trained.project.bias))
    scores, crossed, errors, pairs = trained.classifier, [], [], []
    space = np.stack([features[:, i] @ weight[i] + bias[i] for i in range(3)], axis=1)
    for row, i in rows.presence.nonzero().tolist():
        errors.append(np.mean((latents["rebuilt"][row, i] - latents["representation"][row, i]).numpy() ** 2))
        if rows.labelled[row]:
            place = torch.from_numpy(space[row, i] / np.linalg.norm(space[row, i])).float()
            logits = (scores(place) / 0.2).detach().double()
            crossed.append(-float(logits.log_softmax(0)[rows.y[row]]))
    for i, j in ((1, 0), (2, 0), (2, 1)):
        both = [r for r in range(20) if rows.presence[r, i] and rows.presence[r, j]]
        positives = np.array(
            [
                [
                    a == b or (same and bool(rows.labelled[a] & rows.labelled[b] & (rows.y[a] == rows.y[b])))
                    for b in both
                ]
                for a in both
            ]
        )
        pairs.append(dull_info_nce(space[both, i], space[both, j], 0.4, positives))
    assert float(found["reconstruction"].detach()) == pytest.approx(0.5 * np.mean(errors), rel=1e-5)
    assert float(found["pairs"].detach()) == pytest.approx(2 * np.mean(pairs), rel=1e-5)
    assert float(found["classes"].detach()) == pytest.approx(3 * np.mean(crossed), rel=1e-5)
    first = trained.losses(rows, output, Step("pretrain", 0, 0.0))["reconstruction"]
    assert float(first.detach()) == pytest.approx(np.mean(errors), rel=1e-5), (
        "alpha is a weight beside others"
    )


def test_representations_have_one_scale():
    rows = batch()
    present = method().eval()(rows).latents["representation"][rows.presence]
    assert_close(present.mean(1), torch.zeros(len(present)), atol=1e-5, rtol=0)
    assert_close(present.var(1, unbiased=False), torch.ones(len(present)), atol=1e-2, rtol=0)


def test_gates_harden_over_the_second_stage_and_in_training_alone():
    rows, trained = batch(), method()
    for stage, progress, expected in (("pretrain", 0.9, 0.0), ("finetune", 0.0, 0.0), ("finetune", 0.9, 0.9)):
        trained.begin_epoch(Step(stage, 0, progress))
        assert trained.hardness == expected
    for learning in (True, False):
        found = []
        for progress in (0.0, 0.9):
            trained.begin_epoch(Step("finetune", 0, progress))
            found.append(trained.train(learning)(rows).latents["contrast"])
        assert torch.equal(*found) != learning


def test_a_row_of_one_modality_stands_in_no_pair():
    """It changes the reconstruction and the classes, and nothing of the contrast."""
    rows, trained = batch(), method(alpha=0.5).eval()
    single = rows.presence.sum(1) == 1
    assert 0 < single.sum() < len(rows)
    pairs_only = rows.rows((~single).nonzero().squeeze(1))
    all_terms = trained.losses(rows, trained(rows), FINETUNE)
    pair_terms = trained.losses(pairs_only, trained(pairs_only), FINETUNE)
    assert_close(all_terms["pairs"], pair_terms["pairs"])
    assert not torch.isclose(all_terms["reconstruction"], pair_terms["reconstruction"])
    assert not torch.isclose(all_terms["classes"], pair_terms["classes"])


def test_unlabelled_rows_give_pairs_and_no_class():
    rows, trained = without_labels(batch()), method().eval()
    losses = trained.losses(rows, trained(rows), FINETUNE)
    assert losses["classes"] == 0
    assert losses["pairs"] > 0


def test_the_first_stage_learns_the_partition_alone():
    trained = method()
    pretrain, finetune = trained.stages()
    learnt = {id(p) for group in trained.trainable(pretrain) for p in group["params"]}
    assert learnt == {id(p) for p in trained.learner.parameters()}
    everything = {id(p) for group in trained.trainable(finetune) for p in group["params"]}
    assert everything == {id(p) for p in trained.parameters()}
    assert next(method(pretrain_share=0.0).stages()).name == "finetune"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.0}, "temperature must be a number from 1e-12 up; got 0.0"),
        ({"d_embed": 0}, "d_embed must be a whole number from 1 up; got 0"),
        ({"pair_weight": -1}, "pair_weight must be a number from 0 up; got -1"),
        ({"sequence": "lstm"}, "sequence must be a known name; got 'lstm'"),
        ({"dropout": 1.0}, "dropout must be a number from 0 up and below 1; got 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        PgMRetrieval(INPUTS, Task("retrieval", 0), PgMRetrievalConfig(**settings))


def test_another_task_is_refused():
    with pytest.raises(ConfigError, match="learns a common space; the task multiclass came; take PgM for it"):
        PgMRetrieval(INPUTS, CLASSES)


# ---- training without a label ----------------------------------------------------------------------------


def test_a_retrieval_method_trains_and_validates_without_any_label():
    rows = without_labels(batch(40))
    history = training.fit(
        method(0),
        rows,
        without_labels(batch(20, seed=1)),
        TrainingConfig(max_epochs=4),
        seed=0,
        verbose=False,
    )
    assert [entry["stage"] for entry in history] == ["pretrain", "finetune", "finetune", "finetune"]
    assert all(np.isfinite(entry["validation_loss"]) for entry in history)


def test_the_validation_loss_is_what_the_last_stage_minimises():
    rows, held = batch(40), batch(20, seed=1)
    trained = method(learning_rate=1e-9)
    history = training.fit(trained, rows, held, TrainingConfig(max_epochs=2), seed=0, verbose=False)
    with torch.no_grad():
        expected = sum(trained.losses(held, trained(held), FINETUNE).values())
    assert history[-1]["validation_loss"] == pytest.approx(float(expected), rel=1e-4)


# ---- the retriever ---------------------------------------------------------------------------------------


def pairs(n=240, seed=0):
    """Two modalities that share two hidden numbers, one of which shows the class."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(2, 6)), random.normal(size=(2, 4))
    random = np.random.default_rng(seed + 1)
    hidden = random.normal(size=(n, 2))
    y = np.array(["low", "middle", "high"])[(hidden[:, 0] > 0).astype(int) + (hidden[:, 0] > 1)]
    a, b = (hidden @ m + 0.3 * random.normal(size=(n, m.shape[1])) for m in mixing)
    return {"image": a, "text": b}, y


def retriever(**settings):
    chosen = {
        "max_epochs": 12,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "random_state": 0,
        "dropout": 0.0,
        "input_dropout": 0.0,
    }
    return PgMRetriever(**{**SMALL, **chosen, **settings})


@pytest.mark.parametrize(
    ("fraction", "rule"),
    [
        (0.15, "early stopping on 36 held-out pairs"),
        (0.0, "fixed epochs: validation_fraction is 0"),
        (0.05, "fixed epochs: 12 validation pairs would be fewer than 30, too few to stop by"),
    ],
)
def test_the_stopping_rule_is_told(fraction, rule):
    assert retriever(validation_fraction=fraction, max_epochs=2).fit(*pairs()).stopping_rule_ == rule


def test_groups_stay_whole():
    model = retriever(validation_fraction=0.2)
    everything = np.ones(240, dtype=bool)
    groups = np.arange(240) // 8
    held, kept, rule = model._validation_rows(everything, 0, groups)
    assert not set(groups[held]) & set(groups[kept])
    assert len(held) + len(kept) == 240
    assert rule == "early stopping on 48 held-out pairs, whole groups"


def test_a_resumed_fit_ends_in_the_same_weights(tmp_path):
    X, y = pairs()
    whole = retriever(max_epochs=4).fit(X, y)
    retriever(max_epochs=4, checkpoint_dir=str(tmp_path)).fit(X, y)
    again = retriever(max_epochs=4, checkpoint_dir=str(tmp_path)).fit(X, y, resume=True)
    np.testing.assert_array_equal(again.embed(X, "text"), whole.embed(X, "text"))
