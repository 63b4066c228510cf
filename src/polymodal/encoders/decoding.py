"""A raw cell -> the text, image, sound or frames in it; what cannot be decoded is :class:`Corrupt`.

Images become upright RGB: EXIF orientation is applied, alpha is laid over white, 16 bits become 8, and more
than two million pixels are averaged down by a whole factor. Sounds become mono float32 in [-1, 1] at their
own rate. WAV files and everything that Pillow opens need no extra package.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy import ndarray
from PIL.Image import Image

from polymodal.errors import MissingExtraError

VERSION = 1
"""Raised when a decoded value changes, so that no cache serves the old one."""

MAX_DECODED_PIXELS = 2_000_000
"""An image with more is averaged down: encoders look at a few hundred pixels a side."""

Sound = tuple[ndarray, int]


class Corrupt(Exception):  # noqa: N818 - a fact about a cell, which its reader turns into an error or an absence
    """A cell that cannot be decoded; its text says why."""


# ---- text --------------------------------------------------------------------------------------------


def text(cell: str) -> str:
    """The text, with ``?`` for halves of characters that no encoding takes."""
    return str(cell).encode("utf-8", "replace").decode("utf-8")


# ---- image -------------------------------------------------------------------------------------------


def image(cell: Any) -> Image:
    """An image as upright RGB.

    Args:
        cell: a path, the bytes of a file, a PIL image, or an (H, W), (H, W, 3) or (H, W, 4) uint8 array.

    Raises:
        Corrupt: it cannot be read, is cut off, or has more pixels than Pillow's limit.
    """
    with _judged():
        opened = _opened(cell)
        _refuse_too_many_pixels(opened)
        if isinstance(cell, Path | bytes) and opened.width * opened.height > MAX_DECODED_PIXELS:
            opened.draft(None, _reduced_size(opened))  # a JPEG is decoded at a half, a quarter or an eighth
        return _small(_rgb(PIL.ImageOps.exif_transpose(opened)))


@contextmanager
def _judged() -> Iterator[None]:
    """What Pillow raises on damaged files, as a reason."""
    try:
        yield
    except PIL.UnidentifiedImageError:
        raise Corrupt("no known image format") from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        limit = f"more than {PIL.Image.MAX_IMAGE_PIXELS} pixels"
        raise Corrupt(f"{limit}, the value of PIL.Image.MAX_IMAGE_PIXELS") from None
    except OSError as error:
        raise Corrupt(reason(error)) from error
    except (ValueError, SyntaxError, TypeError, LookupError, EOFError, OverflowError, struct.error) as error:
        raise Corrupt(f"damaged image ({error})") from error


def _opened(cell: Any) -> Image:
    if isinstance(cell, PIL.Image.Image):
        return cell
    if isinstance(cell, ndarray):
        return PIL.Image.fromarray(np.ascontiguousarray(cell))
    return PIL.Image.open(io.BytesIO(_content(cell)))


def _refuse_too_many_pixels(opened: Image) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and opened.width * opened.height > limit:
        raise PIL.Image.DecompressionBombError
    if not opened.width or not opened.height:
        raise Corrupt("an image without pixels")


def _factor(opened: Image) -> int:
    return math.ceil(math.sqrt(opened.width * opened.height / MAX_DECODED_PIXELS))


def _reduced_size(opened: Image) -> tuple[int, int]:
    """The least size that a decoder may stop at: never below what :func:`_small` averages down to."""
    factor = _factor(opened)
    return max(1, opened.width // factor), max(1, opened.height // factor)


def _small(rgb: Image) -> Image:
    factor = _factor(rgb)
    return rgb.reduce((min(factor, rgb.width), min(factor, rgb.height))) if factor > 1 else rgb


def _rgb(opened: Image) -> Image:
    """Any mode of Pillow as RGB."""
    if opened.mode.startswith("I"):
        return _from_16_bits(opened)
    if opened.mode == "F":
        raise Corrupt("floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    if opened.mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in opened.info:
        return _over_white(opened.convert("RGBA"))
    return opened.convert("RGB")  # also loads the pixels


def _from_16_bits(opened: Image) -> Image:
    values = np.asarray(opened).astype(np.int64)
    return PIL.Image.fromarray(np.clip(values >> 8, 0, 255).astype(np.uint8)).convert("RGB")


def _over_white(opened: Image) -> Image:
    white = PIL.Image.new("RGBA", opened.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, opened).convert("RGB")


# ---- sound -------------------------------------------------------------------------------------------


def audio(cell: Any) -> Sound:
    """A sound as mono float32 and its rate in Hz.

    Args:
        cell: a path, the bytes of a file, or (array, rate) with an array of shape (T,) or (T, channels).

    Raises:
        Corrupt: it cannot be read, is cut off, has no sample, or a sample that is not finite.
        MissingExtraError: something other than WAV without soundfile.
    """
    if isinstance(cell, tuple):
        samples, rate = np.asarray(cell[0]), int(cell[1])
    else:
        content = _content(cell)
        samples, rate = _wav(content) if content[:4] == b"RIFF" else _sound_file(content)
    if samples.dtype.kind in "iu":
        samples = samples / float(-np.iinfo(samples.dtype).min or 1)
    wave = samples.mean(axis=1) if samples.ndim == 2 else samples
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    if not len(wave) or rate <= 0:
        raise Corrupt("a sound without samples")
    if not np.isfinite(wave).all():
        raise Corrupt("a sound with samples that are not finite")
    return wave, rate


def _sound_file(content: bytes) -> Sound:
    if not content:
        raise Corrupt("an empty file")
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("a sound file other than WAV", "soundfile", "audio") from error
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        why = getattr(error, "error_string", error)  # without the name of the stream
        raise Corrupt(f"no sound that soundfile reads ({str(why).rstrip('.')})") from error
    return samples, int(rate)


_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF


def _wav(content: bytes) -> Sound:
    """Samples (T, channels) of a WAV file: PCM of 8 to 32 bits, or floats."""
    chunks = dict(_chunks(content))
    if b"fmt " not in chunks or b"data" not in chunks:
        raise Corrupt("a WAV file without samples")
    if len(chunks[b"fmt "]) < 16:
        raise Corrupt("a WAV file with a damaged header")
    form, n_channels, rate, _, _, n_bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
    if form == _EXTENSIBLE and len(chunks[b"fmt "]) >= 26:
        form = struct.unpack("<H", chunks[b"fmt "][24:26])[0]
    read = _SAMPLES.get((form, n_bits))
    if read is None or not n_channels:
        raise Corrupt(f"a WAV file of form {form} with {n_bits} bits and {n_channels} channels")
    data = chunks[b"data"]
    frame = n_channels * n_bits // 8
    return read(data[: len(data) // frame * frame]).reshape(-1, n_channels), rate


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 12
    while start + 8 <= len(content):
        name, size = struct.unpack("<4sI", content[start : start + 8])
        start += 8
        if size == _UNKNOWN_SIZE:  # written into a pipe: the samples go on to the end
            size = len(content) - start
        if start + size > len(content):
            raise Corrupt(f"a WAV file cut off: {len(content) - start} of {size} bytes are there")
        yield name, content[start : start + size]
        start += size + size % 2


def _pcm24(data: bytes) -> ndarray:
    low = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    wide = np.zeros((len(low), 4), dtype=np.uint8)
    wide[:, 1:] = low  # the sign is in the highest byte
    return wide.view("<i4")[:, 0]


_SAMPLES: dict[tuple[int, int], Callable[[bytes], ndarray]] = {
    (_PCM, 8): lambda data: (np.frombuffer(data, dtype=np.uint8) - 128.0) / 128.0,
    (_PCM, 16): lambda data: np.frombuffer(data, dtype="<i2"),
    (_PCM, 24): _pcm24,
    (_PCM, 32): lambda data: np.frombuffer(data, dtype="<i4"),
    (_FLOAT, 32): lambda data: np.frombuffer(data, dtype="<f4"),
    (_FLOAT, 64): lambda data: np.frombuffer(data, dtype="<f8"),
}


def resample(sound: Sound, rate: int) -> ndarray:
    """A sound at another rate, by polyphase filtering (scipy's ``resample_poly``).

    Args:
        sound: (T,) float32 and its rate in Hz.
        rate: the rate wanted.

    Returns:
        (ceil(T * rate / own rate),) float32.
    """
    wave, own = sound
    if own == rate:
        return wave
    from scipy.signal import resample_poly

    shared = math.gcd(own, rate)
    return resample_poly(wave, rate // shared, own // shared).astype(np.float32, copy=False)


# ---- video -------------------------------------------------------------------------------------------


def video(cell: Any, n_frames: int) -> list[Image]:
    """Frames of a video as RGB images, evenly spaced: the middles of ``n_frames`` equal parts.

    A video with fewer frames gives all of them. Animated GIF, WebP and PNG need no extra package.

    Args:
        cell: a path, or the bytes of a file.
        n_frames: how many frames.

    Raises:
        Corrupt: it cannot be read, is cut off, or has no frame.
        MissingExtraError: another format without PyAV.
    """
    head = _content(cell, 12)
    if not head:
        raise Corrupt("an empty file")
    return (_animation if _is_animation(head) else _film)(_source(cell), n_frames)


def middles(n: int, n_wanted: int) -> list[int]:
    """Positions among n, in the middle of ``n_wanted`` equal parts; all n where there are fewer."""
    if n <= n_wanted:
        return list(range(n))
    return [(2 * k + 1) * n // (2 * n_wanted) for k in range(n_wanted)]


def _source(cell: Any) -> Any:
    """A path as text, or a stream of bytes: a film is not read into memory."""
    return str(cell) if isinstance(cell, Path) else cell


def _stream(source: Any) -> Any:
    return source if isinstance(source, str) else io.BytesIO(source)


def _is_animation(head: bytes) -> bool:
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head[:4] in (b"GIF8", b"\x89PNG")


def _animation(source: Any, n_frames: int) -> list[Image]:
    with _judged(), PIL.Image.open(_stream(source)) as opened:
        frames = []
        for k in middles(getattr(opened, "n_frames", 1), n_frames):
            opened.seek(k)
            frames.append(image(opened.copy()))
        return frames


def _film(source: Any, n_frames: int) -> list[Image]:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("a video other than GIF, WebP and PNG", "av", "video") from error
    try:
        with av.open(_stream(source)) as film:
            if not film.streams.video:
                raise Corrupt("a file without a picture track")
            n = sum(1 for packet in film.demux(video=0) if packet.size)  # a packet holds a frame
        wanted = set(middles(n, n_frames))
        with av.open(_stream(source)) as film:
            decoded = enumerate(film.decode(video=0))
            frames = [image(frame.to_image()) for k, frame in decoded if k in wanted]
    except (av.FFmpegError, LookupError, ValueError) as error:
        raise Corrupt(f"no video that PyAV reads ({error})") from error
    if not frames:
        raise Corrupt("a video without frames")
    return frames


# ---- content -----------------------------------------------------------------------------------------


def _content(cell: Any, size: int = -1) -> bytes:
    """The bytes of a file, or the first ones."""
    if isinstance(cell, bytes):
        return cell if size < 0 else cell[:size]
    try:
        with open(cell, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise Corrupt(reason(error)) from error


def reason(error: OSError) -> str:
    """Why a file could not be read, in few words."""
    return error.strerror.lower() if error.strerror else " ".join(str(error).split())
