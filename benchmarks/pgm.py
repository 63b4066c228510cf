"""Cost of PgM's rounds, and of its partition over the same learners without it.

Run:     python benchmarks/pgm.py --out benchmarks/results/pgm.json
Takes:   a minute on one idle core.
Expects: partition_overhead below .25 at both sizes; a step of N rounds about as long as N steps of one
         round less what is done once (branches, partition, head, optimizer).

A step is forward, losses, backward, clipping and fused AdamW in the second stage, on 256 rows whose
modalities are all there. `small` is the default: 6 vectors, 64 neurons in chunks of 8. `large`: 3 vectors of
768, 768 neurons in chunks of 32. `partition_overhead` compares gates for each row (``gate="row"``) with gates
that are always open (``gate="open"``, no partitioner) under the default number of rounds. The variants take
turns; ratios are medians over turns, in processor seconds of one thread, so that other load counts less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from torch import nn

from polymodal.batch import Batch, Input, Task
from polymodal.methods.base import Step
from polymodal.methods.pgm import PgM, PgMConfig

N_ROWS, N_CLASSES, N_TURNS = 256, 10, 15
COMMAND = "python benchmarks/pgm.py --out benchmarks/results/pgm.json"
STEP = Step("finetune", 0, 0.5)
SIZES = {
    "small": ((76, 216, 64, 240, 47, 6), {"d_latent": 64, "chunk": 8}),
    "large": ((768, 768, 768), {"d_latent": 768, "chunk": 32}),
}
VARIANTS = {
    "N=1": {"n_iterations": 1},
    "N=2": {"n_iterations": 2},
    "N=3": {"n_iterations": 3},
    "N=4": {"n_iterations": 4},
    "open": {"gate": "open"},
}
DEFAULT = f"N={PgMConfig.n_iterations}"


def prepare(widths: tuple[int, ...], settings: dict[str, object]) -> Callable[[], float]:
    """A training step, ready to run; it returns its processor seconds."""
    torch.manual_seed(0)
    inputs = [Input(f"m{i}", "vector", width) for i, width in enumerate(widths)]
    method = PgM(inputs, Task("multiclass", N_CLASSES), PgMConfig(modality_dropout=0.0, **settings))  # type: ignore[arg-type]
    batch = Batch(
        {source.name: torch.randn(N_ROWS, source.width) for source in inputs},
        torch.ones(N_ROWS, len(inputs), dtype=torch.bool),
        y=torch.randint(N_CLASSES, (N_ROWS,)),
        labelled=torch.ones(N_ROWS, dtype=torch.bool),
    )
    assert batch.y is not None
    method.observe(batch.y)
    *_, last = method.stages()
    optimizer = torch.optim.AdamW(list(method.trainable(last)), fused=True)
    method.train()

    def run() -> float:
        start = time.process_time()
        loss = sum(method.losses(batch, method(batch), STEP).values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        return time.process_time() - start

    return run


def measure(size: str, n_turns: int) -> dict[str, object]:
    """One size: milliseconds of every variant, and what the rounds and the partition cost."""
    widths, settings = SIZES[size]
    runs = {name: prepare(widths, {**settings, **variant}) for name, variant in VARIANTS.items()}
    for run in runs.values():
        run()
    turns = [{name: run() for name, run in runs.items()} for _ in range(n_turns)]
    return {
        "size": size,
        "modalities": len(widths),
        **settings,
        "milliseconds": {name: round(1e3 * median(turn[name] for turn in turns), 1) for name in VARIANTS},
        "ratio_to_one_round": {
            name: round(median(turn[name] / turn["N=1"] for turn in turns), 2)
            for name in VARIANTS
            if name.startswith("N=")
        },
        "partition_overhead": round(median(turn[DEFAULT] / turn["open"] for turn in turns) - 1, 3),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    sizes = [measure(size, N_TURNS) for size in SIZES]
    result = {
        "command": COMMAND,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "threads": 1,
        "machine": platform.machine(),
        "load_before_and_after": [round(load, 2), round(os.getloadavg()[0], 2)],
        "batch": N_ROWS,
        "turns": N_TURNS,
        "sizes": sizes,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
