"""The last layers of pretrained models, trained: on tiny random models saved to a folder."""

import os

import numpy as np
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from polymodal.encoders import huggingface  # noqa: E402
from polymodal.encoders.finetuning import Tuning, trunk  # noqa: E402
from polymodal.encoders.huggingface import HuggingFace  # noqa: E402
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


def pooled(top, encoded):
    with torch.no_grad():
        return top.pooled(torch.from_numpy(encoded.values), torch.from_numpy(encoded.lengths)).numpy()


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("name", TUNABLE)
def test_the_top_of_the_trunk_is_the_whole_model(name, n_layers, folders, monkeypatch):
    _, medium, width = TUNABLE[name]
    monkeypatch.setattr(huggingface, "WINDOW_SECONDS", 0.3)  # the longest sound is several windows
    own, top = halves(folders[name], medium, n_layers)
    whole = HuggingFace(folders[name], medium).encode(CELLS[medium])
    states = own.encode(CELLS[medium])
    assert (states.kind, top.d_out) == (own.kind, width) == ("series", whole.values.shape[1])
    np.testing.assert_allclose(pooled(top, states), whole.values, atol=1e-5)
    assert np.abs(whole.values[0] - whole.values[1]).max() > 1e-3
