"""Sounds without any download: the log-mel spectrogram, its statistics or itself.

Letters: F frames, K mel bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy import ndarray

from polymodal.encoders.base import Encoded, Kind, from_rows, settings_fingerprint
from polymodal.encoders.decoding import Sound, resample

RATE = 16_000
WINDOW = 400
HOP = 160
N_FFT = 512
N_MELS = 40
FRAMES_A_STEP = 4
FLOOR = 1e-10

_BLOCK = 4096
"""Frames that are transformed at once: an hour of sound takes no more memory than a minute."""


class LogMel:
    """Sounds -> vectors of 120 numbers: of each of 40 bands the mean, the deviation, and the mean change.

    The change is the absolute difference between neighbouring frames of 10 ms.
    """

    kind: Kind = "vector"
    d_out = 3 * N_MELS

    def fingerprint(self) -> str:
        """Name and version."""
        return settings_fingerprint("log_mel", 1)

    def encode(self, cells: Sequence[Sound]) -> Encoded:
        """(n, 120) float32."""
        return Encoded(np.stack([_statistics(log_mel(cell)) for cell in cells]))


class LogMelSeries:
    """Sounds -> sequences of 40 bands, a step each 40 ms."""

    kind: Kind = "series"
    d_out = N_MELS

    def fingerprint(self) -> str:
        """Name and version."""
        return settings_fingerprint("log_mel_series", 1)

    def encode(self, cells: Sequence[Sound]) -> Encoded:
        """(n, T, 40) float32 and lengths."""
        return from_rows([_steps(log_mel(cell)) for cell in cells])


def _statistics(frames: ndarray) -> ndarray:
    frames = frames.astype(np.float64)
    change = np.abs(np.diff(frames, axis=0)).mean(axis=0) if len(frames) > 1 else np.zeros(N_MELS)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), change]).astype(np.float32)


def _steps(frames: ndarray) -> ndarray:
    """(F, K) -> (ceil(F / 4), K): means of 4 frames, the last step of those that are left."""
    starts = np.arange(0, len(frames), FRAMES_A_STEP)
    counts = np.minimum(FRAMES_A_STEP, len(frames) - starts)
    return np.add.reduceat(frames, starts, axis=0) / counts[:, None].astype(np.float32)


def log_mel(sound: Sound) -> ndarray:
    """Natural logarithm of the mel power spectrogram at 16 kHz.

    Windows of 25 ms (Hann), one each 10 ms; a sound shorter than one window is padded with silence.

    Args:
        sound: (T,) float32 and its rate in Hz.

    Returns:
        (F, 40) float32 with F = 1 + (samples at 16 kHz - 400) // 160.
    """
    wave = resample(sound, RATE)
    if len(wave) < WINDOW:
        wave = np.pad(wave, (0, WINDOW - len(wave)))
    return np.concatenate(list(_blocks(wave)))


def _blocks(wave: ndarray) -> Iterator[ndarray]:
    from scipy.fft import rfft

    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    bands = mel_bands()
    for start in range(0, len(frames), _BLOCK):
        spectrum = rfft(frames[start : start + _BLOCK] * _hann(), N_FFT)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        yield np.log(np.maximum(power @ bands, FLOOR)).astype(np.float32, copy=False)


@cache
def _hann() -> ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def mel_bands() -> ndarray:
    """Triangles, evenly spaced in mel = 2595 log10(1 + f / 700) from 0 to 8 kHz: (257, 40) float32."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, N_MELS + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, N_FFT // 2 + 1)[:, None]
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
