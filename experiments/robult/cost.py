"""What a prediction costs: parameters, multiply-adds and one-row latency of Robult, ActionMAE and MMIN.

Writes cost.json beside this file, in about a minute:

    python experiments/robult/cost.py

Shapes are those of mfeat (6 vectors, 649 numbers, 10 classes) and of CMU-MOSI (3 aligned series of 50
steps). ``actionmae (published)`` has the published width. Latency is the median over 200 calls of the bare
module in one thread, with all modalities present and with one; compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from platform import python_version

import torch
from torch.utils.flop_counter import FlopCounterMode

from polymodal import methods
from polymodal.batch import Batch, Input, Task
from polymodal.methods.base import Method

MFEAT = [("pix", 240), ("fou", 76), ("fac", 216), ("zer", 47), ("kar", 64), ("mor", 6)]
MOSI = [("text", 300), ("audio", 5), ("vision", 20)]
SHAPES = {
    "mfeat": ([Input(name, "vector", width) for name, width in MFEAT], Task("multiclass", 10)),
    "mosi": ([Input(name, "series", width) for name, width in MOSI], Task("regression", 1)),
}
VARIANTS = {
    "robult": ("robult", {}),
    "robult (mosi preset)": ("robult", {"preset": "mosi"}),
    "actionmae": ("actionmae", {}),
    "actionmae (published)": ("actionmae", {"d_model": 512, "n_heads": 8}),
    "mmin": ("mmin", {}),
}


def one_row(inputs: list[Input], present: int) -> Batch:
    """A row whose first ``present`` modalities are there."""
    names = tuple(source.name for source in inputs[:present])
    shapes = {s.name: (1, s.width) if s.kind == "vector" else (1, 50, s.width) for s in inputs}
    full = Batch(
        values={name: torch.randn(shape) for name, shape in shapes.items()},
        presence=torch.ones(1, len(inputs), dtype=torch.bool),
        lengths={s.name: torch.tensor([50]) for s in inputs if s.kind == "series"},
    )
    return full.only(names)


def latency(method: Method, batch: Batch, repeats: int = 200) -> float:
    """Median milliseconds of a call."""
    times = []
    with torch.inference_mode():
        for _ in range(20):
            method(batch)
        for _ in range(repeats):
            start = time.perf_counter()
            method(batch)
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def multiply_adds(method: Method, batch: Batch) -> int:
    """Half the floating-point operations that torch counts in one call."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        method(batch)
    return counter.get_total_flops() // 2


def measure(name: str, settings: dict, inputs: list[Input], task: Task) -> dict:
    """All figures of one method at one shape."""
    torch.manual_seed(0)
    cls = methods.get(name)
    method = cls(inputs, task, methods.configure(cls, settings))
    trained = sum(p.numel() for p in method.parameters())
    method.drop_training_parts()
    method.eval()
    everything, single = one_row(inputs, len(inputs)), one_row(inputs, 1)
    return {
        "parameters_in_training": trained,
        "parameters_saved": sum(p.numel() for p in method.parameters()),
        "multiply_adds_a_row": multiply_adds(method, everything),
        "latency_ms_all": round(latency(method, everything), 3),
        "latency_ms_one_modality": round(latency(method, single), 3),
    }


def main() -> None:
    """Measure everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cost.json"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rows = [
        {"shape": shape, "method": label, **measure(name, settings, inputs, task)}
        for shape, (inputs, task) in SHAPES.items()
        for label, (name, settings) in VARIANTS.items()
        if settings.get("preset") in (None, shape)
    ]
    meta = {
        "command": "python experiments/robult/cost.py",
        "torch": torch.__version__,
        "python": python_version(),
    }
    out.write_text(json.dumps({**meta, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
