"""Time and memory of the soft PU contrast, forward and backward, beside dense forms.

Run:     OMP_WAIT_POLICY=passive python benchmarks/contrast.py --out benchmarks/results/contrast.json
Takes:   4 minutes on 2 idle cores, and 12 GiB of memory for the dense forms at 16,384 rows.
Goals:   ratio_to_dense at 4,096 rows: time below .2 (labelled) and .5 (rbf), memory below .1;
         at 16,384 rows: memory below .02. Measured: all but the first, which came to .31; against
         `supcon` the same pass takes .19.

Two tasks, width 128, 10 classes, temperature .3. `labelled`: every row has a label, so only L_lb counts.
`rbf`: one row in four has a label, the others a pseudo-label whose pairs get RBF weights; both parts count.
`rbf_two_classes`: the same with 2 classes, 5 times as many pairs of one class, up to 4,096 rows.
Forms: `blocks` is ours; `dense` is the same loss written with (B, B) matrices and autograd; `supcon` is
SupConLoss of pytorch-metric-learning, S against Z (labelled, up to 4,096 rows). The forms take turns
in one process and the fastest pass of each counts, since other processes can only add time. Memory is the
peak resident set of a fresh process less what it held before the pass, inputs included in the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from polymodal.losses import Reference, soft_pu_contrast

WIDTH, TEMPERATURE, N_THREADS = 128, 0.3, 2
SIZES = (256, 1024, 4096, 16384)
LARGEST = {"rbf_two_classes": 4096}
COMMAND = "OMP_WAIT_POLICY=passive python benchmarks/contrast.py --out benchmarks/results/contrast.json"
BUDGET_SECONDS, MIN_PASSES = 8.0, 2
REFERENCE = Reference.from_distances(torch.linspace(0.6, 1.2, 50))
FORMS = {
    "labelled": ("blocks", "dense", "supcon"),
    "rbf": ("blocks", "dense"),
    "rbf_two_classes": ("blocks", "dense"),
}

Call = Callable[[Tensor, Tensor], Tensor]


def inputs(n_rows: int, task: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Anchors and targets that agree about as much as in training, classes, and the labelled mask."""
    torch.manual_seed(0)
    n_classes = 2 if task == "rbf_two_classes" else 10
    classes = torch.randint(n_classes, (n_rows,))
    centres = torch.randn(n_classes, WIDTH)[classes]
    s, z = (centres + torch.randn(n_rows, WIDTH) for _ in range(2))
    labelled = torch.ones(n_rows, dtype=torch.bool) if task == "labelled" else torch.arange(n_rows) % 4 == 0
    return s.requires_grad_(), z.requires_grad_(), classes, labelled


def blocks(classes: Tensor, labelled: Tensor) -> Call:
    """Our form."""

    def loss(s: Tensor, z: Tensor) -> Tensor:
        terms = soft_pu_contrast(
            s, z, classes, labelled, temperature=TEMPERATURE, weighting="rbf", reference=REFERENCE
        )
        return terms.labelled + terms.unlabelled

    return loss


def dense(classes: Tensor, labelled: Tensor) -> Call:
    """The same loss with whole matrices and autograd."""

    def loss(s: Tensor, z: Tensor) -> Tensor:
        s, z = torch.nn.functional.normalize(s), torch.nn.functional.normalize(z)
        logits = s @ z.T / TEMPERATURE
        log_p = logits - logits.logsumexp(1, keepdim=True)
        same = classes[:, None] == classes
        both = labelled[:, None] & labelled
        total = _weighted_mean((same & both).float(), log_p)
        if not labelled.all():
            with torch.no_grad():
                distance = (2 - 2 * TEMPERATURE * logits).clamp(min=0).sqrt()
                weights = (-(distance - REFERENCE.mean).square() / (2 * REFERENCE.variance)).exp()
                weights = (weights * (same & ~both)).diagonal_scatter((~labelled).float())
            total = total + _weighted_mean(weights, log_p)
        return total

    return loss


def _weighted_mean(weights: Tensor, log_p: Tensor) -> Tensor:
    total = weights.sum(1)
    return -((weights * log_p).sum(1) / total.clamp(min=1)).sum() / total.clamp(max=1).sum()


def supcon(classes: Tensor, labelled: Tensor) -> Call:
    """SupConLoss of pytorch-metric-learning, which knows no unlabelled rows."""
    del labelled
    from pytorch_metric_learning.losses import SupConLoss

    rival = SupConLoss(temperature=TEMPERATURE)
    return lambda s, z: rival(s, classes, ref_emb=z, ref_labels=classes)


MAKERS = {"blocks": blocks, "dense": dense, "supcon": supcon}


def prepare(task: str, form: str, n_rows: int) -> Callable[[], float]:
    """One forward and backward pass, ready to run; it returns its seconds."""
    s, z, classes, labelled = inputs(n_rows, task)
    call = MAKERS[form](classes, labelled)

    def run() -> float:
        s.grad = z.grad = None
        start = time.perf_counter()
        call(s, z).backward()
        return time.perf_counter() - start

    return run


def seconds(task: str, forms: list[str], n_rows: int) -> dict[str, float]:
    """Seconds of the fastest pass of each form, taken in turns."""
    runs = {form: prepare(task, form, n_rows) for form in forms}
    best = dict.fromkeys(forms, float("inf"))
    start, n_passes = time.perf_counter(), 0
    while n_passes < MIN_PASSES or time.perf_counter() - start < BUDGET_SECONDS:
        best = {form: min(best[form], run()) for form, run in runs.items()}
        n_passes += 1
    return best


def peak_mib(task: str, form: str, n_rows: int) -> float:
    """Extra memory of one pass, from a fresh process."""
    command = [sys.executable, __file__, "--memory", task, form, str(n_rows)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def print_own_peak(task: str, form: str, n_rows: int) -> None:
    """In the fresh process: warm the libraries up on few rows, then watch one pass."""
    prepare(task, form, 64)()
    run = prepare(task, form, n_rows)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status_mib("VmRSS")
    run()
    print(_status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def measure(task: str, n_rows: int) -> dict[str, object]:
    """One row of the table."""
    forms = [form for form in FORMS[task] if form != "supcon" or n_rows <= 4096]
    times = seconds(task, forms, n_rows)
    memory = {form: peak_mib(task, form, n_rows) for form in forms}
    return {
        "task": task,
        "rows": n_rows,
        "milliseconds": {form: round(1e3 * t, 3) for form, t in times.items()},
        "extra_mib": {form: round(m, 1) for form, m in memory.items()},
        "ratio_to_dense": {
            "time": round(times["blocks"] / times["dense"], 4),
            "memory": round(memory["blocks"] / memory["dense"], 4),
        },
    }


def main() -> None:
    """Print the whole table as JSON, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--memory", nargs=3, metavar=("TASK", "FORM", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(N_THREADS)
    if options.memory:
        torch.set_num_threads(1)
        task, form, n_rows = options.memory
        return print_own_peak(task, form, int(n_rows))
    load = os.getloadavg()[0]
    rows = [
        measure(task, n_rows)
        for task in FORMS
        for n_rows in options.sizes
        if n_rows <= LARGEST.get(task, n_rows)
    ]
    result = {
        "command": COMMAND,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "threads": N_THREADS,
        "machine": platform.machine(),
        "load_before_and_after": [round(load, 2), round(os.getloadavg()[0], 2)],
        "width": WIDTH,
        "rows": rows,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    return None


if __name__ == "__main__":
    main()
