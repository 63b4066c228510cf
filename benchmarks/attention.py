"""Time and memory of attention with a learnt additive mask, forward and backward, beside a plain softmax.

Run:     python benchmarks/attention.py --out benchmarks/results/attention.json
Takes:   5 minutes on one idle core, and 2 GiB of memory for the plain form at chunks of 8.
Expects: ratio_to_plain of `ours` for the paired learner at chunks of 8: time below .5, memory below .4;
         time below 1.1 at every size.

768 neurons in chunks of 8 to 64 are 96 to 12 tokens of one modality. `uni`: 3 modalities of 256 rows
attend to their own tokens; `paired`: 256 rows attend to the tokens of all 3. Heads are 32 wide, as in PgM's
learners, or as wide as a narrower token. The mask is the logarithm of a gate, one number a key, and gets a
gradient. Forms: `ours` is polymodal.blocks.biased_attention, which takes by size the faster of `fused` (the
mask as one more dimension of the inner product, through PyTorch's fused attention) and `written_out` (two
batched products); `plain` is the textbook's softmax(Q K^T / sqrt(d) + M) V; `mask` hands the mask to
PyTorch's attention, which leaves its fused path for a mask with a gradient; `no_mask` is fused attention
without any mask, another function, for the cost of the mask alone.

The forms take turns in one process and the median of each counts, in processor seconds of one thread, so
that other load counts less. Memory is the peak resident set of a fresh process less what it held before
the pass, inputs included in the latter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal import blocks

N_NEURONS, N_ROWS, N_MODALITIES = 768, 256, 3
CHUNKS, WIDTHS = (8, 16, 32, 64), (16, 64)
COMMAND = "python benchmarks/attention.py --out benchmarks/results/attention.json"
BUDGET_SECONDS, MIN_PASSES = 6.0, 9
WATCHED = ("ours", "plain", "mask")  # forms whose memory is measured

Form = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


# ---- forms: query, key, value (B, H, N, d) and key_bias (B, N) in, (B, H, N, d) out --------------


def fused(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """The mask as one more dimension, at every size."""
    bias = key_bias[:, None].expand(key.shape[:3])
    return blocks._fused(query, key, value, bias, 1 / math.sqrt(key.shape[-1]))


def written_out(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """Two batched products, at every size."""
    bias = key_bias[:, None].expand(key.shape[:3])
    return blocks._written_out(query, key, value, bias, 1 / math.sqrt(key.shape[-1]))


def plain(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """The textbook's."""
    logits = query @ key.mT / math.sqrt(key.shape[-1]) + key_bias[:, None, None]
    return logits.softmax(dim=-1) @ value


def mask(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """PyTorch's attention with the mask as an argument."""
    return F.scaled_dot_product_attention(query, key, value, key_bias[:, None, None])


def no_mask(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """PyTorch's attention over open keys."""
    return F.scaled_dot_product_attention(query, key, value) + 0 * key_bias.sum()


FORMS: dict[str, Form] = {
    "ours": blocks.biased_attention,
    "fused": fused,
    "written_out": written_out,
    "plain": plain,
    "mask": mask,
    "no_mask": no_mask,
}


# ---- measuring -----------------------------------------------------------------------------------


def inputs(learner: str, chunk: int, d_token: int) -> tuple[Tensor, ...]:
    """Heads as a projection leaves them, and the logarithm of a gate."""
    torch.manual_seed(0)
    n_tokens = N_NEURONS // chunk
    n_rows, n_tokens = (
        (N_MODALITIES * N_ROWS, n_tokens) if learner == "uni" else (N_ROWS, N_MODALITIES * n_tokens)
    )
    n_heads = max(1, d_token // 32)
    heads = torch.randn(n_rows, n_tokens, 3, n_heads, d_token // n_heads).permute(2, 0, 3, 1, 4)
    bias = (torch.rand(n_rows, n_tokens) + 1e-6).log()
    return tuple(x.requires_grad_() for x in (*heads.unbind(0), bias))


def prepare(form: str, learner: str, chunk: int, d_token: int) -> Callable[[], tuple[float, float]]:
    """A pass, ready to run; it returns processor seconds of forward alone and of forward and backward."""
    arguments = inputs(learner, chunk, d_token)
    seed = torch.ones(arguments[0].shape)

    def run() -> tuple[float, float]:
        start = time.process_time()
        output = FORMS[form](*arguments)
        half = time.process_time()
        torch.autograd.grad(output, arguments, seed)
        return half - start, time.process_time() - start

    return run


def seconds(learner: str, chunk: int, d_token: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each form, taken in turns after a first pass that does not count."""
    runs = {form: prepare(form, learner, chunk, d_token) for form in FORMS}
    for run in runs.values():
        run()
    found: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
    start = time.perf_counter()
    while len(found["ours"]) < MIN_PASSES or time.perf_counter() - start < BUDGET_SECONDS:
        for form, run in runs.items():
            found[form].append(run())
    return {form: (median(t[0] for t in times), median(t[1] for t in times)) for form, times in found.items()}


def peak_mib(form: str, learner: str, chunk: int, d_token: int) -> float:
    """Extra memory of one pass, from a fresh process."""
    command = [sys.executable, __file__, "--memory", form, learner, str(chunk), str(d_token)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def print_own_peak(form: str, learner: str, chunk: int, d_token: int) -> None:
    """In the fresh process: warm the libraries up on few tokens, then watch one pass."""
    prepare(form, learner, N_NEURONS // 2, d_token)()
    run = prepare(form, learner, chunk, d_token)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status_mib("VmRSS")
    run()
    print(_status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def measure(learner: str, chunk: int, d_token: int) -> dict[str, object]:
    """One row of the table."""
    times = seconds(learner, chunk, d_token)
    memory = {form: peak_mib(form, learner, chunk, d_token) for form in WATCHED}
    return {
        "learner": learner,
        "chunk": chunk,
        "d_token": d_token,
        "tokens": inputs(learner, chunk, d_token)[-1].shape[1],
        "milliseconds_forward": {form: round(1e3 * t[0], 2) for form, t in times.items()},
        "milliseconds": {form: round(1e3 * t[1], 2) for form, t in times.items()},
        "extra_mib": {form: round(m, 1) for form, m in memory.items()},
        "ratio_to_plain": {
            "time": {form: round(t[1] / times["plain"][1], 3) for form, t in times.items()},
            "memory": {form: round(m / memory["plain"], 3) for form, m in memory.items()},
        },
    }


def main() -> None:
    """Print the whole table as JSON, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument(
        "--memory", nargs=4, metavar=("FORM", "LEARNER", "CHUNK", "WIDTH"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        form, learner, chunk, d_token = options.memory
        return print_own_peak(form, learner, int(chunk), int(d_token))
    load = os.getloadavg()[0]
    rows = [
        measure(learner, chunk, d_token)
        for d_token in WIDTHS
        for learner in ("uni", "paired")
        for chunk in CHUNKS
    ]
    result = {
        "command": COMMAND,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "threads": 1,
        "machine": platform.machine(),
        "load_before_and_after": [round(load, 2), round(os.getloadavg()[0], 2)],
        "neurons": N_NEURONS,
        "batch": N_ROWS,
        "modalities": N_MODALITIES,
        "rows": rows,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text)
    return None


if __name__ == "__main__":
    main()
