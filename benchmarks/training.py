"""Samples a second of ``fit`` against a bare loop, and against DataLoader, skorch and Lightning loops.

All train the same module from the same weights with fused AdamW on one thread; the bare loop indexes
resident tensors, makes the loss, and steps. ``fit`` holds the gradient's norm by default and a bare loop
does not, so both stand here with and without; ``same_work`` compares like with like. Each round times every
loop once, in turn; ratios are medians over rounds. Times are the process's own processor seconds, so that
other load on the machine counts less.

    python benchmarks/training.py [--rows 16384] [--batch-sizes 32 256] [--rounds 7] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.methods.base import Method, Step
from polymodal.training import TrainingConfig, fit

WIDTHS = (128, 64, 32)
N_CLASSES = 10
D_HIDDEN = 256
STEP = Step("train", 0, 0.0)
CLIP = TrainingConfig().gradient_clip
Loop = Callable[[Method, Batch, int], object]


@dataclass(frozen=True)
class MLPConfig:
    """Settings of :class:`MLPs`."""

    learning_rate: float = 1e-3


class MLPs(Method):
    """One small network a modality, late fusion, cross-entropy: little work, so that the loop shows."""

    Config = MLPConfig
    late_fusion = True

    def __init__(self, inputs: tuple[Input, ...], task: Task, config: MLPConfig | None = None) -> None:
        super().__init__(inputs, task, config)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(i.width, D_HIDDEN), nn.ReLU(), nn.Linear(D_HIDDEN, D_HIDDEN), nn.ReLU())
            for i in inputs
        )
        self.head = nn.Linear(D_HIDDEN, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Mean of the branches' predictions."""
        hidden = [branch(x) for branch, x in zip(self.branches, batch.values.values(), strict=True)]
        logits = self.head(torch.stack(hidden, dim=1))
        branches = self.to_prediction(logits)
        return Output(self.late_fuse(branches, batch.presence), branches, {"logits": logits})

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:  # noqa: ARG002
        """Cross-entropy of every branch."""
        assert batch.y is not None
        y = batch.y.unsqueeze(1).expand(-1, len(self.inputs))
        return {"task": nn.functional.cross_entropy(output.latents["logits"].transpose(1, 2), y)}


def the_rows(n: int) -> Batch:
    """Random rows of three modalities, all present and labelled."""
    return Batch(
        {f"m{width}": torch.randn(n, width) for width in WIDTHS},
        torch.ones(n, len(WIDTHS), dtype=torch.bool),
        y=torch.randint(0, N_CLASSES, (n,)),
        labelled=torch.ones(n, dtype=torch.bool),
    )


def the_method() -> Method:
    """The module that every loop trains."""
    torch.manual_seed(0)
    inputs = tuple(Input(f"m{width}", "vector", width) for width in WIDTHS)
    return MLPs(inputs, Task("multiclass", N_CLASSES))


# ---- the loops -----------------------------------------------------------------------------------------


def adamw(method: Method) -> torch.optim.AdamW:
    """What every loop steps with."""
    return torch.optim.AdamW(method.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)


def polymodal_fit(method: Method, rows: Batch, batch_size: int, clip: float = CLIP) -> None:
    """The library's own loop, with its history and diagnostics."""
    config = TrainingConfig(max_epochs=1, batch_size=batch_size, gradient_clip=clip)
    fit(method, rows, None, config, seed=0, verbose=False)


def polymodal_fit_unclipped(method: Method, rows: Batch, batch_size: int) -> None:
    """The same with gradients as they come."""
    polymodal_fit(method, rows, batch_size, clip=float("inf"))


def bare(method: Method, rows: Batch, batch_size: int, clip: float | None = None) -> None:
    """The plainest loop over resident tensors."""
    optimizer = adamw(method)
    method.train()
    for index in torch.randperm(len(rows)).split(batch_size):
        batch = rows.rows(index)
        loss = method.losses(batch, method(batch), STEP)["task"]
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(method.parameters(), clip)
        optimizer.step()


def bare_clipped(method: Method, rows: Batch, batch_size: int) -> None:
    """The same with the gradient's norm held."""
    bare(method, rows, batch_size, clip=CLIP)


def as_batch(values: list[Tensor], presence: Tensor, y: Tensor) -> Batch:
    """A batch as loaders give it: tensors in a row."""
    named = {f"m{width}": value for width, value in zip(WIDTHS, values, strict=True)}
    return Batch(named, presence, y=y, labelled=torch.ones_like(y, dtype=torch.bool))


def tensor_dataset(rows: Batch) -> torch.utils.data.TensorDataset:
    """The rows as torch's loaders want them."""
    assert rows.y is not None
    return torch.utils.data.TensorDataset(*rows.values.values(), rows.presence, rows.y)


def data_loader(method: Method, rows: Batch, batch_size: int) -> None:
    """The DataLoader of torch, in the same process."""
    optimizer = adamw(method)
    method.train()
    for *values, presence, y in torch.utils.data.DataLoader(tensor_dataset(rows), batch_size, shuffle=True):
        batch = as_batch(values, presence, y)
        loss = method.losses(batch, method(batch), STEP)["task"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Logits(nn.Module):
    """A method as a module from tensors to logits, (B, C, M), for loops that know no batches."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, presence: Tensor, **values: Tensor) -> Tensor:
        """Logits of every branch."""
        return self.method(Batch(values, presence)).latents["logits"].transpose(1, 2)


def every_branch(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every branch."""
    return nn.functional.cross_entropy(logits, y.unsqueeze(1).expand(-1, logits.shape[2]))


class EveryBranch(nn.Module):
    """:func:`every_branch` as a module."""

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """The loss."""
        return every_branch(logits, y)


def skorch_loop(method: Method, rows: Batch, batch_size: int) -> None:
    """The NeuralNet of skorch, without validation and printing."""
    from skorch import NeuralNet

    net = NeuralNet(
        Logits(method),
        criterion=EveryBranch,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=1e-2,
        lr=1e-3,
        max_epochs=1,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.fit({**rows.values, "presence": rows.presence}, rows.y)


def lightning_loop(method: Method, rows: Batch, batch_size: int) -> None:
    """Lightning's Trainer, without logger, checkpoints and progress bar."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.method = method

        def training_step(self, tensors: list[Tensor], number: int) -> Tensor:  # noqa: ARG002
            *values, presence, y = tensors
            batch = as_batch(values, presence, y)
            return self.method.losses(batch, self.method(batch), STEP)["task"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adamw(self.method)

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(tensor_dataset(rows), batch_size, shuffle=True))


LOOPS: dict[str, Loop] = {
    "fit": polymodal_fit,
    "fit, no clipping": polymodal_fit_unclipped,
    "bare": bare,
    "bare, clipped": bare_clipped,
    "DataLoader": data_loader,
    "skorch": skorch_loop,
    "Lightning": lightning_loop,
}


# ---- measuring -----------------------------------------------------------------------------------------


def seconds(loop: Loop, rows: Batch, batch_size: int) -> float:
    """One epoch of a loop from fresh weights."""
    method = the_method()
    start = time.process_time()
    loop(method, rows, batch_size)
    return time.process_time() - start


def measured(n: int, batch_size: int, rounds: int) -> dict[str, object]:
    """Every loop in turn, ``rounds`` times after a first one that does not count."""
    rows = the_rows(n)
    warm = the_rows(4 * batch_size)
    for loop in LOOPS.values():
        seconds(loop, warm, batch_size)
    times = [{name: seconds(loop, rows, batch_size) for name, loop in LOOPS.items()} for _ in range(rounds)]
    return {
        "rows": n,
        "batch_size": batch_size,
        "rounds": rounds,
        "parameters": sum(p.numel() for p in the_method().parameters()),
        "samples_per_second": {name: round(median(n / t[name] for t in times)) for name in LOOPS},
        "speed_against_bare": {name: round(median(t["bare"] / t[name] for t in times), 3) for name in LOOPS},
        "same_work": {
            "fit / bare, clipped": round(median(t["bare, clipped"] / t["fit"] for t in times), 3),
            "fit, no clipping / bare": round(median(t["bare"] / t["fit, no clipping"] for t in times), 3),
        },
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("lightning", "lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    result = {
        "benchmark": "training",
        "command": " ".join(["python benchmarks/training.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": 1,
        "results": [measured(asked.rows, size, asked.rounds) for size in asked.batch_sizes],
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
