"""A running fit to a checkpoint and back, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polymodal.batch import Batch
from polymodal.checkpoint import Snapshot, checkpoints, load_checkpoint
from polymodal.errors import CheckpointError
from polymodal.training.rows import ROWS_PER_PASS, tensors_of
from polymodal.training.run import Run


def snapshot(run: Run, stage: int, epoch: int, optimizer: torch.optim.Optimizer) -> Snapshot:
    """Everything that the epochs to come depend on, after an epoch of a stage."""
    tensors = {f"method/{name}": tensor for name, tensor in run.method.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in (run.best_weights or {}).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if run.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(run.device)
    state = {
        "fingerprint": run.fingerprint,
        "stage": stage,
        "epoch": epoch,
        "history": run.history,
        "best_epoch": run.best_epoch,
        "scaler": run.precision.scaler.state_dict(),
    }
    return Snapshot(len(run.history), tensors, state)


def restore(run: Run, saved: Snapshot, optimizer: torch.optim.Optimizer) -> int:
    """Take up a checkpoint of the running stage; returns the stage's next epoch."""
    run.method.load_state_dict(_under("method/", saved.tensors))
    best = _under("best/", saved.tensors)
    run.best_weights = {name: tensor.to(run.device) for name, tensor in best.items()} or None
    run.best_epoch = saved.state["best_epoch"]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer/", saved.tensors).items():
        number, _, moment = name.partition("/")
        moments.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    run.precision.scaler.load_state_dict(saved.state["scaler"])
    torch.set_rng_state(saved.tensors["random/cpu"])
    if run.device.type == "cuda":
        torch.cuda.set_rng_state(saved.tensors["random/cuda"], run.device)
    return saved.state["epoch"] + 1


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def resumed_from(run: Run, folder: str | Path, resume: bool) -> Snapshot | None:
    """The checkpoint to go on from, or None to start.

    Raises:
        CheckpointError: it is another fit's, or there is one and the fit was not to be resumed.
    """
    if not resume:
        if checkpoints(folder):
            raise CheckpointError(
                f"a new fit needs a folder without checkpoints; {folder} holds some; pass resume=True "
                "to go on from them, or name another folder"
            )
        return None
    saved = load_checkpoint(folder)
    if saved is None:
        return None
    theirs = saved.state["fingerprint"]
    different = [name for name, value in run.fingerprint.items() if theirs.get(name) != value]
    if different:
        raise CheckpointError(
            f"a fit is resumed with what it was started with; {' and '.join(different)} differ from those in "
            f"{folder}; restore them, or name another folder"
        )
    return saved


def fingerprint(run: Run, train: Batch, validation: Batch | None) -> dict[str, Any]:
    """What the weights depend on, apart from the machine: each part short enough to keep."""
    settings = asdict(run.config)
    for name in ("checkpoint_dir", "log_dir", "tensorboard"):
        del settings[name]
    method = run.method
    return {
        "the training rows": _hash_of(train),
        "the validation rows": None if validation is None else _hash_of(validation),
        "the training settings": settings,
        "the method": f"{type(method).__name__}({method.inputs}, {method.task}, {method.config})",
        "the seed": run.seed,
        "the device type": run.device.type,
    }


def _hash_of(batch: Batch) -> str:
    """SHA-256 of every tensor of a batch, read in pieces so that a memory map stays on disk."""
    digest = hashlib.sha256()
    for name, tensor in tensors_of(batch).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        for piece in tensor.split(ROWS_PER_PASS):
            digest.update(piece.contiguous().numpy().data)
    return digest.hexdigest()
