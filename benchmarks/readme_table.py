"""The README's table of speed and memory, from the JSON in results/; writes it into README.md.

The command is: python benchmarks/readme_table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
START, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


def load(name: str) -> Any:
    """A benchmark's result."""
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def contrast() -> Iterator[tuple[str, str, str]]:
    """The contrast against its dense form."""
    rows = {(row["task"], row["rows"]): row["ratio_to_dense"] for row in load("contrast")["rows"]}
    for task, n, words in (
        ("labelled", 4096, "labelled part, 4,096 rows"),
        ("rbf", 4096, "with RBF weights, 4,096 rows"),
        ("labelled", 16384, "labelled part, 16,384 rows"),
    ):
        ratio = rows[task, n]
        figure = f"{ratio['time']:.2f} of the time, {ratio['memory']:.3f} of the memory"
        yield f"contrast, {words}", figure, "a dense form"
    times = {(row["task"], row["rows"]): row["milliseconds"] for row in load("contrast")["rows"]}
    found = times["labelled", 4096]
    figure = f"{found['blocks'] / found['supcon']:.2f} of the time"
    yield "contrast, labelled part, 4,096 rows", figure, "pytorch-metric-learning's SupConLoss"


def training() -> Iterator[tuple[str, str, str]]:
    """Samples a second of a fit against other loops."""
    for result in load("training")["results"]:
        speed = result["speed_against_bare"]
        others = ", ".join(f"{name} {speed[name]:.2f}" for name in ("DataLoader", "skorch", "Lightning"))
        words = f"a bare loop with fused AdamW ({others})"
        unclipped = f"{speed['fit, no clipping']:.2f} without clipping gradients"
        figure = f"{speed['fit']:.2f} of the speed ({unclipped})"
        yield f"`fit`, batch {result['batch_size']}", figure, words


def prediction() -> Iterator[tuple[str, str, str]]:
    """One row, every combination, a million rows."""
    found, memory = load("prediction"), load("memory")
    row, every = found["one_row"], found["subsets"]
    figure = f"{row['overhead_median_ms']:.2f} ms on top (median {row['estimator_median_ms']:.2f} ms, "
    yield "one row", figure + f"99th percentile {row['estimator_p99_ms']:.2f} ms)", "the bare module"
    yield (
        f"all {every['combinations']} combinations of 6 modalities",
        f"{every['ratio_to_branch_passes']:.2f} times the time",
        f"the 6 branch passes (a pass for each combination: {every['ratio_of_separate_passes']:.0f})",
    )
    million = memory["prediction"]
    figure = f"{million['peak_growth_mib']:.0f} MiB peak, {million['rows_per_second']:,} rows/s on one thread"
    yield "10^6 rows x 960 columns from a memory map", figure, f"a file of {million['file_mib']:,} MiB"
    yield "50 epochs", f"{memory['training']['growth_mib']:+.0f} MiB of memory", "after epoch 5"


def attention() -> Iterator[tuple[str, str, str]]:
    """Attention under a learnt mask, at the most and the fewest tokens."""
    found = load("attention")
    rows = {(row["learner"], row["chunk"]): row for row in found["rows"] if row["d_token"] == 16}
    for chunk in (8, 16, 64):
        row = rows["paired", chunk]
        ratio = row["ratio_to_plain"]
        what = f"attention with a learnt mask over {row['tokens']} tokens ({found['neurons']} neurons x "
        figure = f"{ratio['time']['ours']:.2f} of the time, {ratio['memory']['ours']:.2f} of the memory"
        yield what + f"{found['modalities']} in chunks of {chunk})", figure, "a plain softmax"


def pgm() -> Iterator[tuple[str, str, str]]:
    """Rounds and partition of PgM."""
    for size in load("pgm")["sizes"]:
        what = f"PgM's step, {size['modalities']} modalities x {size['d_latent']} neurons in {size['chunk']}s"
        times = ", ".join(f"{size['ratio_to_one_round'][f'N={n}']:.2f}" for n in (2, 3, 4))
        yield f"{what}, 2, 3 and 4 rounds", f"{times} times the time", "one round"
        figure = f"{size['partition_overhead']:+.1%} of time"
        yield f"{what}, with its partition", figure, "the same learners without it"


def encoding() -> Iterator[tuple[str, str, str]]:
    """Encoders, overlap, cache and memory."""
    found = load("encoding")
    for name, row in found["speed"].items():
        rate = f"{row['ours_per_processor_second']:,.0f} {row['unit']} a processor second"
        figure = f"{rate}, {row['processor_ratio']:.2f} of the processor time"
        yield f"encoding, `{name}`", figure, "a plain loop over the same encoder"
    waiting = found["overlap"][0]
    times = f"{waiting['decoding_ms']} ms and the encoder {waiting['encoding_ms']} ms a cell"
    yield (
        f"encoding, decoding waits {times}",
        f"{waiting['plain_ratio']:.2f} of the time with 2 workers",
        "a plain loop",
    )
    hits, rate = found["cache"], found["cache"]["gb_per_processor_second"]
    figure = f"{rate['again']:.1f} GB/s; {rate['first']:.1f} GB/s the first time, with checksums"
    yield (
        f"{hits['vectors']:,} vectors of {hits['width']} from the cache",
        figure,
        f"a copy: {rate['copy']:.1f} GB/s",
    )
    few, many = found["memory"]
    figure = f"{many['filling']['peak_growth_mib']:.0f} MiB peak"
    against = f"{few['filling']['peak_growth_mib']:.0f} MiB for {few['sounds']:,}"
    yield f"`polymodal encode`, {many['sounds']:,} sounds", figure, against


def report() -> Iterator[tuple[str, str, str]]:
    """A whole report of many rows."""
    found = load("report")
    for result in found["results"]:
        size = f"{result['rows']:,} rows x {found['modalities']} modalities"
        figure = f"{result['processor_seconds']:.0f} processor seconds, a page of {result['page_kib']:,} KiB"
        yield f"report, `{result['method']}`, {size}", figure, "goal: 60 s on 2 cores"


def table() -> str:
    """The table as Markdown."""
    lines = ["| what | figure | against |", "|---|---|---|"]
    for part in (contrast, training, prediction, attention, pgm, encoding, report):
        lines += [f"| {what} | {figure} | {against} |" for what, figure, against in part()]
    lines += ["", "Ratios within one run on 2 cores; the scripts and their JSON are in `benchmarks/`."]
    return "\n".join(lines)


def main() -> None:
    """Put the table between its two marks."""
    text = README.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
