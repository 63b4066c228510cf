"""Kill a real training process at random moments, resume it, and compare with the uninterrupted one.

``python kill_training.py FOLDER N_KILLS`` prints JSON. The parent imports once and forks the processes that
train; each is killed with SIGKILL after a random time and resumed by the next one.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from polymodal.training import TrainingConfig, fit
from tiny_method import rows, tiny

KILLS_A_FIT = 5


def train(folder: Path, resume: bool) -> None:
    """Fit, and leave the hash of the weights beside the checkpoints."""
    method = tiny(stages=("first", "second"))
    config = TrainingConfig(max_epochs=16, batch_size=16, patience=9, checkpoint_dir=folder / "checkpoints")
    fit(method, rows(80, 20), rows(30, 30, seed=1), config, seed=1, resume=resume, verbose=False)
    digest = hashlib.sha256()
    for name, tensor in method.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    (folder / "weights.sha256").write_text(digest.hexdigest())


def started(folder: Path, resume: bool) -> int:
    """A process that trains; returns its number."""
    child = os.fork()
    if child == 0:
        try:
            warnings.simplefilter("error")  # a resume that passes over a damaged checkpoint would warn
            train(folder, resume)
        except BaseException as error:
            (folder / "error").write_text(repr(error))
            os._exit(1)
        os._exit(0)
    return child


def killed(child: int, seconds: float) -> bool:
    """Kill a process after some time; False if it had ended by itself."""
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(folder: Path, n_kills: int) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "expected").mkdir()
    train(folder / "expected", resume=False)  # here, so that what torch loads late is loaded before the forks
    start = time.monotonic()
    (folder / "timed").mkdir()
    os.waitpid(started(folder / "timed", resume=False), 0)
    seconds = time.monotonic() - start
    expected = (folder / "expected" / "weights.sha256").read_text()

    moments = random.Random(0)
    kills, fits, wrong, epochs_at_kill = 0, 0, [], []
    while kills < n_kills:
        fits += 1
        here = folder / f"fit-{fits}"
        here.mkdir()
        for _ in range(KILLS_A_FIT):
            if killed(started(here, resume=True), moments.uniform(0, seconds / 2)):
                kills += 1
                names = sorted(path.name for path in (here / "checkpoints").glob("epoch-*"))
                epochs_at_kill.append(names[-1] if names else "none")
        os.waitpid(started(here, resume=True), 0)
        result = here / "weights.sha256"
        if not result.exists() or result.read_text() != expected:
            error = here / "error"
            wrong.append(error.read_text() if error.exists() else "other weights")
    print(json.dumps({"kills": kills, "fits": fits, "wrong": wrong, "moments": sorted(set(epochs_at_kill))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
