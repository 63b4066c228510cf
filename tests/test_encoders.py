"""Encoders: each against a written-out twin, damaged and odd cells, and the way through a table."""

import io
import struct
import subprocess
import sys
import warnings
import wave
from contextlib import suppress
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline

from polymodal import encoders
from polymodal.encoders import audio, decoding, image, text
from polymodal.encoders.audio import LogMel, LogMelSeries
from polymodal.encoders.base import from_rows
from polymodal.encoders.decoding import Corrupt
from polymodal.encoders.image import Descriptors
from polymodal.encoders.text import Tfidf
from polymodal.encoders.video import Frames
from polymodal.errors import ConfigError, MissingExtraError

rng = np.random.default_rng(0)

TEXTS = [
    "A quiet film about a lighthouse keeper.",
    "a loud film about cars, and more cars",
    "Lighthouses of the north: a film",
    "",
    "naïve café 東京 🎈 12 34",
    "cars",
]


def noise_image(width=40, height=30, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def as_bytes(img, form="PNG", **options):
    stream = io.BytesIO()
    img.save(stream, form, **options)
    return stream.getvalue()


def wav_bytes(samples, rate=16_000, width=2):
    """Integers (T,) or (T, channels) as a PCM file, written by the standard library."""
    samples = np.asarray(samples)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes(samples.astype(np.uint8).tobytes())
        elif width == 3:
            file.writeframes(samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes())
        else:
            file.writeframes(samples.astype(f"<i{width}").tobytes())
    return stream.getvalue()


def sine(frequency, seconds, rate):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


# ---- texts -------------------------------------------------------------------------------------------


def test_tfidf_is_scikit_learns_pipeline():
    common = {"n_features": text.N_SLOTS, "norm": None, "alternate_sign": False}
    words = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), **common)
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **common)
    counts = words.transform(TEXTS) + letters.transform(TEXTS)
    seen = np.unique(counts.indices)
    twin = make_pipeline(
        TfidfTransformer(sublinear_tf=True), TruncatedSVD(len(TEXTS), algorithm="arpack", random_state=0)
    )
    twin.set_params(truncatedsvd__n_components=3)
    expected = twin.fit_transform(counts[:, seen].astype(np.float64))
    own = Tfidf().fit(TEXTS)
    np.testing.assert_array_equal(own.terms, seen)
    values = own.encode(TEXTS).values[:, :3]
    signs = np.sign((values * expected).sum(axis=0))
    np.testing.assert_allclose(values * signs, expected, atol=1e-5)


def test_tfidf_keeps_what_makes_texts_alike():
    own = Tfidf().fit(TEXTS)
    values = own.encode(TEXTS).values
    alike = values @ values.T
    assert alike[0, 2] > alike[0, 1]  # lighthouse, lighthouses
    assert alike[1, 5] > alike[0, 5]
    assert not values[3].any()
    assert not own.encode(["zzzqqq"]).values.any()


def test_tfidf_comes_back_from_its_state():
    own = Tfidf().fit(TEXTS)
    again = Tfidf.from_state(*own.state())
    np.testing.assert_array_equal(again.encode(TEXTS).values, own.encode(TEXTS).values)
    assert again.d_out == own.d_out == own.encode(TEXTS).values.shape[1]


@pytest.mark.parametrize("texts", [["", ""], ["one"], ["same", "same", "same"]])
def test_tfidf_of_next_to_nothing(texts):
    values = Tfidf().fit(texts).encode([*texts, "other"]).values
    assert np.isfinite(values).all()
    assert values.shape[1] >= 1


def test_tfidf_of_long_and_broken_texts():
    long = "word " * 20_000
    own = Tfidf().fit([*TEXTS, long])
    encoded = own.encode([long, decoding.text("half \ud83c of a character")])
    assert np.isfinite(encoded.values).all()
    assert np.linalg.norm(encoded.values[0]) <= 1 + 1e-5


# ---- images ------------------------------------------------------------------------------------------


def test_gradients_are_the_written_out_loop():
    grey = rng.random((64, 64)).astype(np.float32)
    dy, dx = np.gradient(grey.astype(np.float64))
    cells = np.zeros((8, 8, 9))
    for i in range(64):
        for j in range(64):
            position = (np.arctan2(dy[i, j], dx[i, j]) % np.pi) / np.pi * 9
            low, size = int(np.floor(position)), np.hypot(dx[i, j], dy[i, j])
            cells[i // 8, j // 8, low % 9] += size * (1 - (position - low))
            cells[i // 8, j // 8, (low + 1) % 9] += size * (position - low)
    expected = np.zeros_like(cells)
    padded = np.pad(cells, ((1, 1), (1, 1), (0, 0)))
    for i in range(8):
        for j in range(8):
            for di in (0, 1):
                for dj in (0, 1):
                    block = padded[i + di : i + di + 2, j + dj : j + dj + 2]
                    expected[i, j] += np.minimum(cells[i, j] / (np.sqrt((block**2).sum()) + 1e-3), 0.2) / 4
    np.testing.assert_allclose(image.gradients(grey), expected, atol=2e-4)


def test_gradients_of_an_edge_point_across_it():
    grey = np.zeros((64, 64), np.float32)
    grey[:, 30:] = 1.0
    assert image.gradients(grey).sum(axis=(0, 1)).argmax() == 0
    assert image.gradients(grey.T).sum(axis=(0, 1)).argmax() in (4, 5)  # 90 degrees lie between two of nine
    assert not image.gradients(np.full((64, 64), 0.7, np.float32)).any()


def test_gradients_hardly_depend_on_brightness_and_contrast():
    grey = rng.random((64, 64)).astype(np.float32)
    np.testing.assert_allclose(image.gradients(grey), image.gradients(0.5 * grey + 0.2), atol=5e-3)


def test_colours_are_shares():
    pixels = rng.random((20, 10, 3)).astype(np.float32)
    shares = np.square(image.colours(pixels))
    assert shares.sum() == pytest.approx(1)
    expected = np.zeros(64)
    for red, green, blue in pixels.reshape(-1, 3):
        expected[int(red * 4) * 16 + int(green * 4) * 4 + int(blue * 4)] += 1 / 200
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    assert image.colours(np.ones((2, 2, 3), np.float32))[63] == 1


def test_descriptors_of_images_of_any_size():
    images = [noise_image(1, 1), noise_image(20_000, 3), noise_image(64, 64), noise_image(3, 500)]
    values = Descriptors().encode(images).values
    assert values.shape == (4, Descriptors.d_out)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(Descriptors().encode(images[1:2]).values[0], values[1])


# ---- decoding images ---------------------------------------------------------------------------------


def test_a_path_bytes_an_array_and_an_image_are_the_same(tmp_path):
    original = noise_image()
    (tmp_path / "a.png").write_bytes(as_bytes(original))
    for cell in (tmp_path / "a.png", as_bytes(original), np.asarray(original), original):
        np.testing.assert_array_equal(np.asarray(decoding.image(cell)), np.asarray(original))


def test_a_truncated_jpeg_is_corrupt():
    whole = as_bytes(noise_image(300, 300), "JPEG")
    with pytest.raises(Corrupt, match="truncated"):
        decoding.image(whole[: len(whole) // 2])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_images_are_corrupt_or_an_image(form):
    """Whatever a byte is changed to, nothing but Corrupt comes out of the decoder."""
    whole = as_bytes(noise_image(60, 50), form)
    own = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in own.integers(0, min(len(whole), 400), 3):
            damaged[place] = own.integers(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Pillow on odd metadata
            with suppress(Corrupt):
                assert decoding.image(bytes(damaged[: own.integers(1, len(whole))])).mode == "RGB"


def test_no_image_is_corrupt():
    with pytest.raises(Corrupt, match="no known image format"):
        decoding.image(b"not an image")
    with pytest.raises(Corrupt, match="no known image format"):
        decoding.image(b"")


def test_files_that_cannot_be_read_are_corrupt(tmp_path):
    with pytest.raises(Corrupt, match="no such file"):
        decoding.image(tmp_path / "none.png")
    with pytest.raises(Corrupt, match="is a directory"):
        decoding.audio(tmp_path)


def test_a_wide_image_is_averaged_down():
    wide = noise_image(20_000, 300)
    for form in ("PNG", "JPEG"):
        small = decoding.image(as_bytes(wide, form))
        assert small.width * small.height <= decoding.MAX_DECODED_PIXELS
        assert small.width / small.height == pytest.approx(20_000 / 300, rel=0.02)
    expected = np.asarray(wide, dtype=float).reshape(150, 2, 10_000, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(np.asarray(decoding.image(wide)), expected, atol=0.51)


def test_too_many_pixels_are_refused(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    for n in (40, 60):  # over the limit Pillow warns, over twice the limit it raises
        with pytest.raises(Corrupt, match="more than 1000 pixels"):
            decoding.image(as_bytes(noise_image(n, n)))


def test_exif_orientation_is_applied():
    original = noise_image(8, 4)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned = decoding.image(as_bytes(original, "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(turned), np.rot90(np.asarray(original), -1))


def test_alpha_is_laid_over_white():
    rgba = PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    rgba.putpixel((1, 0), (10, 20, 30, 255))
    expected = [[[255, 255, 255], [10, 20, 30]]]
    assert np.asarray(decoding.image(as_bytes(rgba))).tolist() == expected
    assert (
        np.asarray(decoding.image(as_bytes(rgba, "GIF"))).tolist() == expected
    )  # a transparent palette colour
    half = PIL.Image.new("LA", (1, 1), (0, 128))
    assert np.asarray(decoding.image(as_bytes(half)))[0, 0, 0] == pytest.approx(127, abs=1)


def test_palette_grey_bilevel_and_cmyk():
    colours = PIL.Image.new("RGB", (4, 4), (200, 100, 50))
    for mode in ("P", "CMYK", "YCbCr", "HSV"):
        decoded = np.asarray(decoding.image(colours.convert(mode)))
        assert np.abs(decoded.astype(int) - [200, 100, 50]).max() <= 6, mode
    assert np.asarray(decoding.image(as_bytes(colours.convert("CMYK"), "TIFF")))[0, 0] == pytest.approx(
        [200, 100, 50], abs=3
    )
    assert np.asarray(decoding.image(PIL.Image.new("L", (1, 1), 77))).tolist() == [[[77, 77, 77]]]
    assert np.asarray(decoding.image(PIL.Image.new("1", (1, 1), 1))).tolist() == [[[255, 255, 255]]]


def test_sixteen_bits_keep_their_range():
    ramp = np.array([[0, 256, 32_768, 65_535]], dtype=np.uint16)
    decoded = np.asarray(decoding.image(as_bytes(PIL.Image.fromarray(ramp))))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floating_point_pixels_are_refused():
    with pytest.raises(Corrupt, match="range is not known"):
        decoding.image(PIL.Image.fromarray(np.ones((2, 2), np.float32)))


# ---- decoding sounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scale"), [(1, 2**7), (2, 2**15), (3, 2**23), (4, 2**31)])
def test_wav_of_each_width(width, scale):
    wanted = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    integers = (wanted * scale).astype(np.int64) + (128 if width == 1 else 0)
    samples, rate = decoding.audio(wav_bytes(integers, 8000, width))
    np.testing.assert_allclose(samples, wanted)
    assert (samples.dtype, rate) == (np.float32, 8000)


def riff(form, n_bits, data, *, n_channels=1, extra=b"", before=b"", claimed=None):
    n_bytes = n_channels * n_bits // 8
    header = struct.pack("<HHIIHH", form, n_channels, 16_000, 16_000 * n_bytes, n_bytes, n_bits) + extra
    chunks = before + b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data) if claimed is None else claimed) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_wav_of_floats_extensible_and_with_other_chunks():
    floats = np.array([0.5, -0.25], "<f4")
    np.testing.assert_array_equal(decoding.audio(riff(3, 32, floats.tobytes()))[0], floats)
    np.testing.assert_array_equal(decoding.audio(riff(3, 64, floats.astype("<f8").tobytes()))[0], floats)
    extra = struct.pack("<HHI", 22, 16, 0) + struct.pack("<H", 1) + bytes(14)
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    content = riff(0xFFFE, 16, np.array([16_384], "<i2").tobytes(), extra=extra, before=odd)
    assert decoding.audio(content)[0].tolist() == [0.5]


def test_a_wav_written_into_a_pipe_goes_on_to_the_end():
    data = np.arange(10, dtype="<i2").tobytes()
    assert len(decoding.audio(riff(1, 16, data, claimed=0xFFFFFFFF))[0]) == 10


def test_channels_are_averaged():
    samples, _ = decoding.audio(wav_bytes([[16_384, 0], [-16_384, -16_384]]))
    assert samples.tolist() == [0.25, -0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (wav_bytes([]), "without samples"),
        (wav_bytes(np.arange(100))[:80], "cut off"),
        (b"RIFF\0\0\0\0WAVE", "without samples"),
        (riff(1, 12, bytes(8)), "12 bits"),
        (riff(85, 16, bytes(8)), "form 85"),
        (riff(1, 16, bytes(8), n_channels=0), "0 channels"),
        (riff(3, 32, np.array([np.nan], "<f4").tobytes()), "not finite"),
    ],
)
def test_damaged_sounds_are_corrupt(content, reason):
    with pytest.raises(Corrupt, match=reason):
        decoding.audio(content)


def test_flac_through_soundfile():
    soundfile = pytest.importorskip("soundfile")
    stream = io.BytesIO()
    samples = sine(440, 0.1, 8000) * 0.5
    soundfile.write(stream, samples, 8000, format="FLAC")
    decoded, rate = decoding.audio(stream.getvalue())
    assert rate == 8000
    np.testing.assert_allclose(decoded, samples, atol=1e-4)
    with pytest.raises(Corrupt, match="no sound that soundfile reads"):
        decoding.audio(b"fLaC but nothing else")


def test_another_sound_file_without_soundfile_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"polymodal\[audio\]"):
        decoding.audio(b"OggS")


@pytest.mark.parametrize(
    ("own", "wanted"), [(8000, 16_000), (44_100, 16_000), (16_000, 16_000), (11_025, 8000)]
)
def test_resampling_keeps_a_tone(own, wanted):
    tone = decoding.resample((sine(300, 0.5, own), own), wanted)
    assert len(tone) == -(-int(0.5 * own) * wanted // own)
    expected = sine(300, 0.5, wanted)[: len(tone)]
    inside = slice(len(tone) // 10, -len(tone) // 10)
    np.testing.assert_allclose(tone[: len(expected)][inside], expected[inside], atol=2e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    tone = decoding.resample((sine(7000, 0.5, 16_000), 16_000), 8000)
    assert np.abs(tone[400:-400]).max() < 0.01


def test_resampling_is_insertion_filter_and_removal():
    wave_, own, wanted = rng.standard_normal(50).astype(np.float32), 12_000, 8000
    ratio = Fraction(wanted, own)
    up, down = ratio.numerator, ratio.denominator
    n_side = 10 * max(up, down)
    from scipy.signal import firwin

    taps = firwin(2 * n_side + 1, 1 / max(up, down), window=("kaiser", 5.0)) * up
    spread = np.zeros(len(wave_) * up)
    spread[::up] = wave_
    filtered = [
        sum(taps[k] * spread[i + n_side - k] for k in range(len(taps)) if 0 <= i + n_side - k < len(spread))
        for i in range(len(spread))
    ]
    np.testing.assert_allclose(decoding.resample((wave_, own), wanted), filtered[::down], atol=1e-5)


# ---- log-mel -----------------------------------------------------------------------------------------


def slow_log_mel(wave_):
    """The written-out loop: frames, a discrete Fourier transform, triangles."""
    bands = np.zeros((257, 40))
    corners = [700 * (10 ** (k / 41 * 2595 * np.log10(1 + 8000 / 700) / 2595) - 1) for k in range(42)]
    for i in range(257):
        f = i * 8000 / 256
        for k in range(40):
            low, middle, high = corners[k : k + 3]
            if low < f <= middle:
                bands[i, k] = (f - low) / (middle - low)
            elif middle < f < high:
                bands[i, k] = (high - f) / (high - middle)
    frames = []
    window = [0.5 - 0.5 * np.cos(2 * np.pi * t / 400) for t in range(400)]
    for start in range(0, len(wave_) - 399, 160):
        frame = wave_[start : start + 400] * window
        spectrum = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512) @ frame
        frames.append(np.log(np.maximum(np.abs(spectrum) ** 2 @ bands, 1e-10)))
    return np.array(frames)


def test_log_mel_is_the_written_out_loop():
    wave_ = rng.standard_normal(2000).astype(np.float32)
    expected = slow_log_mel(wave_.astype(np.float64))
    np.testing.assert_allclose(audio.log_mel((wave_, 16_000)), expected, atol=1e-3)
    statistics = LogMel().encode([(wave_, 16_000)]).values[0].reshape(3, 40)
    change = np.abs(expected[1:] - expected[:-1]).mean(axis=0)
    np.testing.assert_allclose(statistics, [expected.mean(0), expected.std(0), change], atol=1e-3)


def test_log_mel_steps_are_means_of_four_frames():
    wave_ = rng.standard_normal(400 + 160 * 5).astype(np.float32)
    frames = audio.log_mel((wave_, 16_000))
    assert len(frames) == 6
    steps = LogMelSeries().encode([(wave_, 16_000)])
    assert steps.lengths.tolist() == [2]
    np.testing.assert_allclose(steps.values[0], [frames[:4].mean(0), frames[4:].mean(0)], rtol=1e-5)


def test_log_mel_in_blocks_is_log_mel_at_once(monkeypatch):
    wave_ = rng.standard_normal(16_000).astype(np.float32)
    whole = audio.log_mel((wave_, 16_000))
    monkeypatch.setattr(audio, "_BLOCK", 7)
    np.testing.assert_allclose(audio.log_mel((wave_, 16_000)), whole, atol=1e-5)


def test_log_mel_of_one_sample_and_of_silence():
    cells = [(np.ones(1, np.float32), 16_000), (np.zeros(16_000, np.float32), 8000)]
    for encoder in (LogMel(), LogMelSeries()):
        assert np.isfinite(encoder.encode(cells).values).all()


def test_a_tone_is_loudest_in_its_band():
    frames = audio.log_mel((sine(1000, 0.5, 22_050), 22_050))
    centre = audio.mel_bands()[:, int(frames.mean(axis=0).argmax())].argmax() * 8000 / 256
    assert abs(centre - 1000) < 120


# ---- videos ------------------------------------------------------------------------------------------


def gif(n=12):
    frames = [PIL.Image.new("RGB", (16, 16), (20 * k, 0, 255 - 20 * k)) for k in range(n)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return stream.getvalue()


@pytest.mark.parametrize(("n", "wanted", "expected"), [(8, 4, [1, 3, 5, 7]), (3, 8, [0, 1, 2]), (9, 1, [4])])
def test_frames_are_the_middles_of_equal_parts(n, wanted, expected):
    assert decoding.middles(n, wanted) == expected


def test_an_animation_gives_its_frames(tmp_path):
    (tmp_path / "a.gif").write_bytes(gif())
    frames = decoding.video(tmp_path / "a.gif", 4)
    assert [np.asarray(frame)[0, 0, 0] for frame in frames] == pytest.approx([20, 80, 140, 200], abs=10)
    (tmp_path / "b.gif").write_bytes(gif()[:100])
    with pytest.raises(Corrupt):
        decoding.video(tmp_path / "b.gif", 4)


def test_a_film_gives_its_frames(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * k, np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    levels = [np.asarray(frame).mean() for frame in decoding.video(path, 4)]
    assert levels == pytest.approx([20, 70, 120, 170], abs=12)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Corrupt, match="no video that PyAV reads"):
        decoding.video(path, 4)


def test_a_film_without_pyav_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"polymodal\[video\]"):
        decoding.video(b"\0\0\0 ftypisom", 4)


def test_frames_are_pooled_or_a_sequence():
    cells = [[noise_image(seed=k) for k in range(3)], [noise_image(seed=9)]]
    vectors = Descriptors().encode([frame for frames in cells for frame in frames]).values
    pooled = Frames(Descriptors()).encode(cells).values
    np.testing.assert_allclose(pooled[0], [*vectors[:3].mean(0), *vectors[:3].std(0)], atol=1e-6)
    np.testing.assert_array_equal(pooled[1], [*vectors[3], *np.zeros(832)])
    sequence = Frames(Descriptors(), "sequence").encode(cells)
    assert sequence.lengths.tolist() == [3, 1]
    np.testing.assert_array_equal(sequence.row(0), vectors[:3])


# ---- every encoder -----------------------------------------------------------------------------------

SOUNDS = [
    (rng.standard_normal(n).astype(np.float32), rate)
    for n, rate in ((900, 8000), (5000, 16_000), (50, 44_100))
]
IMAGES = [noise_image(w, h, seed=w) for w, h in ((10, 70), (64, 64), (200, 30))]
CASES = {
    "tfidf": (Tfidf().fit(TEXTS), TEXTS),
    "descriptors": (Descriptors(), IMAGES),
    "log_mel": (LogMel(), SOUNDS),
    "log_mel_series": (LogMelSeries(), SOUNDS),
    "frames": (Frames(Descriptors()), [IMAGES, IMAGES[:1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_row_alone_is_the_row_in_its_batch(name):
    encoder, cells = CASES[name]
    together = encoder.encode(cells)
    assert together.values.dtype == np.float32
    assert (together.kind, together.values.shape[-1]) == (encoder.kind, encoder.d_out)
    for i, cell in enumerate(cells):
        np.testing.assert_allclose(encoder.encode([cell]).row(0), together.row(i), atol=1e-6)
    backwards = encoder.encode(cells[::-1])
    for i in range(len(cells)):
        np.testing.assert_allclose(backwards.row(len(cells) - 1 - i), together.row(i), atol=1e-6)


def test_fingerprints_differ():
    own = [encoder.fingerprint() for name, (encoder, _) in CASES.items() if name != "tfidf"]
    assert len(set(own)) == len(own)
    assert CASES["tfidf"][0].fingerprint() is None


def test_rows_are_padded_with_zeros():
    encoded = from_rows([np.ones((2, 3)), np.ones((1, 3))])
    assert encoded.values[1].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert encoded.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("spec", "medium"), [("tfdif", "Text"), ("descriptors", "Text"), ("minilm", "Image")]
)
def test_unknown_names_are_refused(spec, medium):
    with pytest.raises(ConfigError, match=f"an encoder of {medium} is .*{spec}"):
        encoders.resolve(spec, medium)
    with pytest.raises(ConfigError, match="an encoder is a name"):
        encoders.resolve(3, medium)


def test_built_in_encoders_load_no_torch():
    code = (
        "import sys; from polymodal import encoders; from polymodal.encoders import table\n"
        "names = [('tfidf', 'Text'), ('descriptors', 'Image'), ('log_mel', 'Audio'), "
        "('descriptors', 'Video')]\n"
        "for name in names: encoders.resolve(*name)\n"
        "print(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
