"""Faults of machines: killed processes, full disks, bits that flip."""

import errno
import json
import os
import random
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from polymodal import checkpoint
from polymodal.checkpoint import Snapshot, load_checkpoint, load_directory, save_checkpoint, save_directory
from polymodal.errors import CheckpointError

N_FAULTS = 300


# ---- kill -9 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_training_process_resumes_bit_for_bit(tmp_path, n_kills):
    script = Path(__file__).with_name("kill_training.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(n_kills)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] >= n_kills
    assert result["wrong"] == []
    assert len(result["moments"]) > 3, "the kills must fall on different epochs"


# ---- bits, ends, tails ---------------------------------------------------------------------------------


def save(path, scale=1.0, size=6):
    tensors = {"w": scale * torch.arange(1.0, size + 1), "b": torch.ones(2)}
    arrays = {"a/mean": torch.arange(1.0, 4.0).numpy()}
    save_directory(
        path, tensors=tensors, config={"a": 1}, preprocessing={"b": "é"}, preprocessing_arrays=arrays
    )


def flipped(content, chance):
    position = chance.randrange(len(content))
    return (
        content[:position] + bytes([content[position] ^ 1 << chance.randrange(8)]) + content[position + 1 :]
    )


def truncated(content, chance):
    return content[: chance.randrange(len(content))]


def zero_tailed(content, chance):
    n = chance.randrange(1, len(content))
    return content + bytes(n) if chance.random() < 0.5 else content[:-n] + bytes(n)


@pytest.mark.parametrize("damage", [flipped, truncated, zero_tailed])
def test_every_damaged_byte_is_noticed(tmp_path, damage):
    save(tmp_path / "model")
    names = [*checkpoint.FILES["model"], "manifest.json"]
    chance = random.Random(0)
    for number in range(N_FAULTS):
        path = tmp_path / "model" / names[number % len(names)]
        content = path.read_bytes()
        damaged = damage(content, chance)
        if damaged == content:
            continue
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_directory(tmp_path / "model")
        path.write_bytes(content)
    assert load_directory(tmp_path / "model").config == {"a": 1}


# ---- a full disk ---------------------------------------------------------------------------------------


@contextmanager
def room_for(n_bytes):
    """No file may grow beyond this; the system refuses further bytes as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 4000])
def test_a_disk_that_fills_up_leaves_the_old_model(tmp_path, n_bytes):
    save(tmp_path / "model")
    with (
        room_for(n_bytes),
        pytest.raises(CheckpointError, match=r"whole or not at all; writing .*model failed"),
    ):
        save(tmp_path / "model", scale=2.0, size=2000)
    assert load_directory(tmp_path / "model").tensors["w"][0] == 1.0
    assert os.listdir(tmp_path) == ["model"]
    save(tmp_path / "model", scale=2.0, size=2000)
    assert load_directory(tmp_path / "model").tensors["w"][0] == 2.0


@pytest.mark.parametrize("nth", range(8))
def test_a_sync_that_fails_leaves_a_model(tmp_path, monkeypatch, nth):
    save(tmp_path / "model")
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    if nth < 7:  # five files, their folder, the folder above
        with pytest.raises(CheckpointError, match=r"No space left on device.*; make room"):
            save(tmp_path / "model", scale=2.0)
    else:
        save(tmp_path / "model", scale=2.0)
    monkeypatch.undo()
    expected = 1.0 if nth < 6 else 2.0
    assert load_directory(tmp_path / "model").tensors["w"][0] == expected


def test_a_disk_that_fills_up_leaves_the_old_checkpoints(tmp_path):
    for number in (1, 2):
        save_checkpoint(tmp_path, Snapshot(number, {"w": torch.ones(3)}, {}))
    with room_for(100), pytest.raises(CheckpointError, match="epoch-000003 failed"):
        save_checkpoint(tmp_path, Snapshot(3, {"w": torch.ones(1000)}, {}))
    assert load_checkpoint(tmp_path).number == 2
    assert sorted(os.listdir(tmp_path)) == ["epoch-000001", "epoch-000002"]
