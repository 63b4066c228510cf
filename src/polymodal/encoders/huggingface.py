"""Any encoder of the Hugging Face hub, by name or from a local folder, through ``transformers``.

Texts: BERT, MiniLM, RoBERTa, T5 (its encoder) and the like, CLIP. Images: ViT, DINOv2, CLIP and the like.
Sounds: Whisper (its encoder), AST, Wav2Vec2, HuBERT, WavLM. Weights are safetensors alone and no code of a
model is run. Letters: n cells, T tokens or frames, d width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import ndarray

from polymodal.encoders import Medium
from polymodal.encoders.base import Encoded, Kind, from_rows, settings_fingerprint
from polymodal.encoders.decoding import Sound, resample
from polymodal.encoders.module import weights_digest
from polymodal.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

BATCH = 16
MAX_TOKENS = 512
"""A longer text is cut where its model names no smaller limit."""

WINDOW_SECONDS = 30.0
"""A longer sound is cut into windows, which are encoded one by one and joined, where its model has none."""

_LEAST_SAMPLES = 800
_AST = "audio-spectrogram-transformer"
_MEASURED_BY = {".json", ".safetensors", ".txt", ".model"}

Output = Literal["pooled", "sequence"]


class HuggingFace:
    """A frozen encoder of ``transformers``.

    Pooled is, for texts, the mean over tokens (CLIP: its projection); for images the class token, else the
    mean over places (CLIP: its projection); for sounds the mean and the deviation over frames (AST: the mean
    of its two summary tokens). A sequence is the last hidden layer: tokens, patches or frames.

    Args:
        name: a folder, or a name on the hub.
        medium: what the cells are.
        output: ``"pooled"`` or ``"sequence"``.
        max_tokens: where a text is cut; None for the model's own limit, 512 at most.
        normalize: scale pooled vectors to norm 1.
        local_files_only: never ask the hub; HF_HUB_OFFLINE=1 does the same for a whole process.
        device: where it runs; None for CUDA where there is one.

    Attributes:
        keeps_silence: whether a sequence of Whisper has every frame of its windows, and a last column that is
            1 where a frame holds sound.
    """

    keeps_silence = False

    def __init__(
        self,
        name: str | Path,
        medium: Medium,
        *,
        output: Output = "pooled",
        max_tokens: int | None = None,
        normalize: bool = False,
        local_files_only: bool = False,
        device: str | None = None,
    ) -> None:
        self.name = str(name)
        self.medium = medium
        self.output = output
        self.max_tokens = max_tokens
        self.normalize = normalize
        self.local_files_only = local_files_only
        self.device = device

    @property
    def kind(self) -> Kind:
        """A vector where pooled."""
        return "vector" if self.output == "pooled" else "series"

    @cached_property
    def d_out(self) -> int:
        """Found by encoding an empty cell."""
        return int(self.encode([_EMPTY[self.medium]()]).values.shape[-1])

    def fingerprint(self) -> str:
        """Of the weights, the preparation of inputs, and the settings; a folder is not loaded for it."""
        return settings_fingerprint(
            "huggingface",
            1,
            content=self._content,
            medium=self.medium,
            output=self.output,
            max_tokens=self.max_tokens,
            normalize=self.normalize,
        )

    def encode(self, cells: Sequence[Any]) -> Encoded:
        """(n, d) float32, or (n, T, d) with lengths.

        Raises:
            ConfigError: there is no such model, or it is not one for these cells.
            MissingExtraError: transformers is not installed.
        """
        import torch

        with torch.inference_mode():
            return from_rows(_ROWS[self.medium](self, cells))

    # ---- loading ---------------------------------------------------------------------------------------

    @cached_property
    def _content(self) -> str:
        folder = Path(self.name)
        if not folder.is_dir():
            commit = getattr(self.config, "_commit_hash", None)
            return f"{self.name} {commit or weights_digest(self.model)}"
        digest = hashlib.sha256()
        for path in sorted(p for p in folder.iterdir() if p.suffix in _MEASURED_BY):
            with path.open("rb") as file:
                digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
        return digest.hexdigest()

    @cached_property
    def config(self) -> Any:
        """What kind of model it is."""
        with self._loading() as (transformers, options):
            return transformers.AutoConfig.from_pretrained(self.name, **options)

    @cached_property
    def model(self) -> Any:
        """The model in evaluation mode."""
        return self._loaded().eval().to(choose_device(self.device))

    def _loaded(self) -> Any:
        with self._loading() as (transformers, options):
            kind = _model_class(transformers, self.config, self.medium)
            model, found = kind.from_pretrained(
                self.name, use_safetensors=True, output_loading_info=True, **options
            )
            _refuse_random(found["missing_keys"])
        return self._encoder_of(model)

    def _without_weights(self) -> Any:
        """The model's parts without any memory behind them; no weights are looked for."""
        import torch

        with self._loading() as (transformers, _), torch.device("meta"):
            return self._encoder_of(
                _model_class(transformers, self.config, self.medium).from_config(self.config)
            )

    def _encoder_of(self, model: Any) -> Any:
        is_half = self.config.is_encoder_decoder and hasattr(model, "get_encoder")
        return model.get_encoder() if is_half else model

    @cached_property
    def processor(self) -> Any:
        """The tokenizer, image processor or feature extractor."""
        kinds = {"Text": "AutoTokenizer", "Image": "AutoImageProcessor", "Audio": "AutoFeatureExtractor"}
        with self._loading() as (transformers, options):
            return getattr(transformers, kinds[self.medium]).from_pretrained(self.name, **options)

    @contextmanager
    def _loading(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Transformers without its talk, and what goes wrong as one sentence."""
        try:
            import transformers
        except ImportError as error:
            raise MissingExtraError(f"the encoder 'hf:{self.name}'", "transformers", "hub") from error
        talk = transformers.logging.get_verbosity()
        has_bars = transformers.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            yield transformers, {"local_files_only": self.local_files_only, "trust_remote_code": False}
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"an encoder 'hf:...' is a folder or a model that is on this machine or can be fetched; "
                f"{self.name!r} could not be loaded ({reason}); give a folder, or fetch the model once online"
            ) from error
        finally:
            transformers.logging.set_verbosity(talk)
            if has_bars:
                transformers.logging.enable_progress_bar()


_UNUSED = ("decoder.", "pooler.", "masked_spec_embed", "logit_scale")


def _refuse_random(missing: Collection[str]) -> None:
    """Refuse weights that transformers would draw at random, but for parts that are not used."""
    random = sorted(name for name in missing if not any(part in name for part in _UNUSED))
    if random:
        raise ValueError(f"its file lacks {len(random)} weights of the model, such as {random[0]}")


def choose_device(device: str | None) -> str:
    """The device asked for, else CUDA where there is one, else the processor."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def _model_class(transformers: Any, config: Any, medium: Medium) -> Any:
    """The class that loads the part of a model which encodes a medium."""
    has_encoder_class = type(config) in transformers.AutoModelForTextEncoding._model_mapping
    if medium == "Text" and has_encoder_class:  # of T5 the encoder alone: its decoder may not be there
        return transformers.AutoModelForTextEncoding
    return transformers.AutoModel


def _empty_image() -> Image:
    from PIL import Image as pillow  # noqa: N813 - the module, not the class

    return pillow.new("RGB", (32, 32))


_EMPTY: dict[Medium, Callable[[], Any]] = {
    "Text": str,
    "Image": _empty_image,
    "Audio": lambda: (np.zeros(_LEAST_SAMPLES, dtype=np.float32), 16_000),
}


def _numpy(values: Tensor) -> ndarray:
    return values.float().cpu().numpy()


def _seen(own: HuggingFace, inputs: Any) -> Any:
    """What the model makes of a batch; of CLIP the half that the medium is for."""
    if not hasattr(own.model, "vision_model"):
        return own.model(**inputs)
    return (own.model.text_model if own.medium == "Text" else own.model.vision_model)(**inputs)


def _projected(own: HuggingFace, output: Any) -> Tensor | None:
    """Where CLIP's texts and images meet; None for other models."""
    name = "text_projection" if own.medium == "Text" else "visual_projection"
    return getattr(own.model, name)(output.pooler_output) if hasattr(own.model, name) else None


# ---- texts -------------------------------------------------------------------------------------------


def _texts(own: HuggingFace, cells: Sequence[str]) -> list[ndarray]:
    """Texts of like length share a batch: less padding."""
    rows: list[Any] = [None] * len(cells)
    order = sorted(range(len(cells)), key=lambda i: len(cells[i]))
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        for i, row in zip(index, _text_rows(own, [cells[i] for i in index]), strict=True):
            rows[i] = row
    return rows


def _text_rows(own: HuggingFace, texts: list[str]) -> list[ndarray]:
    import torch

    limit = min(own.max_tokens or MAX_TOKENS, own.processor.model_max_length)
    own.processor.padding_side = "right"
    inputs = own.processor(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    inputs = inputs.to(own.model.device)
    output = _seen(own, inputs)
    mask = inputs["attention_mask"]
    if own.output == "sequence":
        lengths = mask.sum(dim=1).tolist()
        return [row[:n] for row, n in zip(_numpy(output.last_hidden_state), lengths, strict=True)]
    pooled = _projected(own, output)
    if pooled is None:
        weights = mask[..., None].to(output.last_hidden_state.dtype)
        pooled = (output.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    if own.normalize:
        pooled = torch.nn.functional.normalize(pooled, dim=-1)
    return list(_numpy(pooled))


# ---- images ------------------------------------------------------------------------------------------


def _images(own: HuggingFace, cells: Sequence[Image]) -> list[ndarray]:
    rows: list[ndarray] = []
    for start in range(0, len(cells), BATCH):
        inputs = own.processor(list(cells[start : start + BATCH]), return_tensors="pt").to(own.model.device)
        output = _seen(own, inputs)
        rows += list(_numpy(_image_rows(own, output)))
    return rows


def _image_rows(own: HuggingFace, output: Any) -> Tensor:
    """(B, d) or (B, T, d) of a batch."""
    import torch

    places = output.last_hidden_state
    if places.ndim == 4:  # a convolutional network: (B, d, H, W)
        places = places.flatten(2).transpose(1, 2)
    if own.output == "sequence":
        return places
    pooled = _projected(own, output)
    if pooled is None:
        pooled = places[:, 0] if _has_class_token(own.model) else places.mean(dim=1)
    return torch.nn.functional.normalize(pooled, dim=-1) if own.normalize else pooled


def _has_class_token(model: Any) -> bool:
    return any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())


# ---- sounds ------------------------------------------------------------------------------------------


def _sounds(own: HuggingFace, cells: Sequence[Sound]) -> list[ndarray]:
    """One by one: a padded sound would change what some of these models make of it."""
    model_type = own.model.config.model_type
    if model_type not in _WINDOWS:
        raise ConfigError(
            f"an encoder of Audio is {', '.join(_WINDOWS)}; {own.name!r} is a {model_type}; choose another"
        )
    return [_sound_row(own, cell, model_type) for cell in cells]


def _sound_row(own: HuggingFace, cell: Sound, model_type: str) -> ndarray:
    import torch

    rate = own.processor.sampling_rate
    wave = resample(cell, rate)
    wave = np.pad(wave, (0, max(0, _LEAST_SAMPLES - len(wave))))
    seconds, of_window = _WINDOWS[model_type]
    step = int(seconds(own.processor) * rate)
    frames = torch.cat([of_window(own, wave[i : i + step], rate) for i in range(0, len(wave), step)])
    if own.output == "sequence":
        return _numpy(frames)
    if model_type == _AST:
        pooled = frames.reshape(-1, _ast_tokens(own), frames.shape[-1])[:, :2].mean(dim=(0, 1))
    else:
        pooled = torch.cat([frames.mean(dim=0), frames.std(dim=0, correction=0)])
    return _numpy(torch.nn.functional.normalize(pooled, dim=-1) if own.normalize else pooled)


def _whisper_frames(own: HuggingFace, wave: ndarray, rate: int) -> Tensor:
    """The frames of a window that hold sound: (T, d); Whisper itself always sees a whole window."""
    import torch

    inputs = own.processor(wave, sampling_rate=rate, return_tensors="pt").to(own.model.device)
    frames = own.model(inputs["input_features"]).last_hidden_state[0]
    n_heard = max(1, -(-len(wave) * len(frames) // own.processor.n_samples))
    if own.keeps_silence:
        is_heard = torch.arange(len(frames), device=frames.device) < n_heard
        return torch.cat([frames, is_heard[:, None].to(frames.dtype)], dim=1)
    return frames[:n_heard]


def _input_values(own: HuggingFace, wave: ndarray, rate: int) -> Tensor:
    """Frames of a window; of AST two summary tokens, then the patches."""
    wave = np.pad(wave, (0, max(0, _LEAST_SAMPLES - len(wave))))  # the last window may be short
    inputs = own.processor(wave, sampling_rate=rate, return_tensors="pt").to(own.model.device)
    return own.model(inputs["input_values"]).last_hidden_state[0]


def _ast_tokens(own: HuggingFace) -> int:
    return int(own.model.embeddings.position_embeddings.shape[1])


def _own_window(processor: Any) -> float:
    return float(processor.chunk_length)


def _ast_window(processor: Any) -> float:
    return processor.max_length / 100  # frames of 10 ms


def _common_window(_: Any) -> float:
    return WINDOW_SECONDS


_WINDOWS: dict[str, tuple[Callable[[Any], float], Callable[[HuggingFace, ndarray, int], Tensor]]] = {
    "whisper": (_own_window, _whisper_frames),
    _AST: (_ast_window, _input_values),
    "wav2vec2": (_common_window, _input_values),
    "hubert": (_common_window, _input_values),
    "wavlm": (_common_window, _input_values),
}

_ROWS: dict[Medium, Callable[[HuggingFace, Any], list[ndarray]]] = {
    "Text": _texts,
    "Image": _images,
    "Audio": _sounds,
}
