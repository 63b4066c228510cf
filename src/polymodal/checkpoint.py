"""Files that survive: model directories and training checkpoints, safetensors and JSON, never a pickle.

A directory is written under another name beside its own, synced to disk, and renamed, so under its own
name it is whole or absent. Its ``manifest.json`` holds the format version and the size and SHA-256 of each
file, and of itself; each is checked before anything is parsed. File names come from this module alone,
never from a manifest.

Where a model directory is replaced, the old one is first renamed to ``.NAME.previous``, then the new one to
``NAME``, then the old one is removed. A process that dies between the two renames leaves ``.NAME.previous``
alone, so the rule for readers is: where ``NAME`` is missing, ``.NAME.previous`` is the model.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as dump_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from polymodal.errors import CheckpointError, TrainingWarning

VERSION = 1
MANIFEST = "manifest.json"
FILES: dict[str, tuple[str, ...]] = {
    "model": ("model.safetensors", "config.json", "preprocessing.json", "preprocessing.safetensors"),
    "checkpoint": ("state.safetensors", "state.json"),
}
MAX_MANIFEST_BYTES = 2**16
MAX_JSON_BYTES = 2**28
N_KEPT = 2  # checkpoints: one damaged never loses all

Kind = Literal["model", "checkpoint"]


# ---- models --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """What a model directory holds.

    Attributes:
        tensors: the method's state by name.
        config: what the estimator needs to be built again, as JSON values.
        preprocessing: what was learnt of the inputs, as JSON values.
        preprocessing_arrays: and as arrays by name.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    preprocessing_arrays: dict[str, np.ndarray]


def save_directory(
    path: str | Path,
    *,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    preprocessing_arrays: Mapping[str, np.ndarray],
) -> None:
    """Write a model directory, whole or not at all; an older model there stays until the new one is whole.

    Args:
        path: the directory; it may hold an older model and nothing else.
        tensors: see :class:`Saved`.
        config: see :class:`Saved`.
        preprocessing: see :class:`Saved`.
        preprocessing_arrays: see :class:`Saved`.

    Raises:
        CheckpointError: ``path`` holds something that is not a model, or the disk refuses.
    """
    path = Path(path).absolute()
    aside = _aside(path)
    _refuse_foreign(path)
    contents = {
        "model.safetensors": dump_tensors(_own_memory(tensors)),
        "config.json": _json(config),
        "preprocessing.json": _json(preprocessing),
        "preprocessing.safetensors": dump_arrays(
            {name: np.ascontiguousarray(array) for name, array in preprocessing_arrays.items()}
        ),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = _write_aside(path, contents, "model")
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        whole.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def load_directory(path: str | Path) -> Saved:
    """Read a model directory, every byte of it checked.

    Raises:
        CheckpointError: there is no model, or it is damaged, hostile, or of a format this version does not
            know.
    """
    path = Path(path).absolute()
    if not path.exists() and _aside(path).exists():
        path = _aside(path)
    contents = _read(path, "model")
    return Saved(
        tensors=_tensors(path / "model.safetensors", contents["model.safetensors"]),
        config=_parsed(path / "config.json", contents["config.json"]),
        preprocessing=_parsed(path / "preprocessing.json", contents["preprocessing.json"]),
        preprocessing_arrays=_arrays(
            path / "preprocessing.safetensors", contents["preprocessing.safetensors"]
        ),
    )


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _refuse_foreign(path: Path) -> None:
    """Replace nothing but a model directory or an empty one."""
    if not path.exists() and not path.is_symlink():
        return
    plain = path.is_dir() and not path.is_symlink()
    if not plain or {file.name for file in path.iterdir()} not in (set(), _names("model")):
        raise CheckpointError(
            f"a model is saved to a new directory or over an older model; {path} holds something else; "
            "choose another path"
        )


# ---- training checkpoints ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """A moment of training.

    Attributes:
        number: how many epochs were done.
        tensors: weights, optimiser state and random states by name.
        state: all else, as JSON values.
    """

    number: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: str | Path, snapshot: Snapshot) -> None:
    """Add a checkpoint to a folder, whole or not at all, and keep the last two.

    Raises:
        CheckpointError: the disk refuses.
    """
    folder = Path(folder).absolute()
    path = folder / f"epoch-{snapshot.number:06d}"
    contents = {
        "state.safetensors": dump_tensors(_own_memory(snapshot.tensors)),
        "state.json": _json(snapshot.state),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole = _write_aside(path, contents, "checkpoint")
        shutil.rmtree(path, ignore_errors=True)  # left by a run that went further, then damaged
        whole.rename(path)
        _sync(folder)
    except OSError as error:
        raise _refused(path, error) from error
    for old in checkpoints(folder)[:-N_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; their contents are not looked at."""
    return sorted(path for path in Path(folder).glob("epoch-*") if path.name[len("epoch-") :].isdecimal())


def load_checkpoint(folder: str | Path) -> Snapshot | None:
    """The newest sound checkpoint of a folder; None where there is none at all.

    A damaged one is passed over with a :class:`TrainingWarning`.

    Raises:
        CheckpointError: all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            contents = _read(path, "checkpoint")
            return Snapshot(
                number=int(path.name.removeprefix("epoch-")),
                tensors=_tensors(path / "state.safetensors", contents["state.safetensors"]),
                state=_parsed(path / "state.json", contents["state.json"]),
            )
        except CheckpointError as error:
            if path == found[0]:
                raise
            warnings.warn(f"{error}; going on from the checkpoint before it", TrainingWarning, stacklevel=2)
    return None


# ---- writing -------------------------------------------------------------------------------------------


def _write_aside(path: Path, contents: Mapping[str, bytes], kind: Kind) -> Path:
    """Write a whole directory beside ``path``, synced; returns where."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, content in {**contents, MANIFEST: _manifest(contents, kind)}.items():
            _write_synced(partial / name, content)
        _sync(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return partial


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A rename is safe from a power cut only when its folder has been synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(contents: Mapping[str, bytes], kind: Kind) -> bytes:
    files = {name: {"sha256": _hash(content), "size": len(content)} for name, content in contents.items()}
    manifest = {"files": files, "format": f"polymodal {kind}", "version": VERSION}
    return _json({**manifest, "sha256": _hash(_json(manifest))})


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()  # keys keep their order: modalities have one


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU: safetensors refuses tensors that share memory, as tied weights do."""
    return {name: torch.clone(tensor.detach().cpu()).contiguous() for name, tensor in tensors.items()}


def _refused(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"a directory is written whole or not at all; writing {path} failed ({error.strerror}) and what was "
        "there before is untouched; make room, or choose another path"
    )


# ---- reading -------------------------------------------------------------------------------------------


def _names(kind: Kind) -> set[str]:
    return {*FILES[kind], MANIFEST}


def _read(path: Path, kind: Kind) -> dict[str, bytes]:
    """The files of a directory by name, each as its manifest says.

    Raises:
        CheckpointError: anything is missing, too much, or other than the manifest says.
    """
    try:
        found = {entry.name for entry in os.scandir(path)}
    except OSError as error:
        raise CheckpointError(
            f"a {kind} is a directory; {path} cannot be listed ({error.strerror}); check the path"
        ) from error
    if MANIFEST not in found:
        raise CheckpointError(f"a {kind} directory holds {MANIFEST}; {path} does not; check the path")
    manifest = _read_manifest(path / MANIFEST, kind)
    if found != _names(kind):
        wrong = ", ".join(sorted(found ^ _names(kind)))
        raise CheckpointError(
            f"a {kind} directory holds its own files and no others; in {path} these are missing or too much: "
            f"{wrong}; restore the directory as it was saved"
        )
    return {name: _checked(path / name, manifest["files"][name]) for name in FILES[kind]}


def _read_manifest(path: Path, kind: Kind) -> dict[str, Any]:
    content = _read_file(path, MAX_MANIFEST_BYTES)
    manifest = _parsed(path, content)
    if manifest.get("format") != f"polymodal {kind}" or manifest.get("version") != VERSION:
        raise CheckpointError(
            f"this version reads the format 'polymodal {kind}' {VERSION}; {path} says "
            f"{str(manifest.get('format'))[:50]!r} {str(manifest.get('version'))[:50]}; use the version of "
            "polymodal that wrote it, or restore the file"
        )
    unsigned = {key: value for key, value in manifest.items() if key != "sha256"}
    files = manifest.get("files")
    if content != _json({**unsigned, "sha256": _hash(_json(unsigned))}) or not isinstance(files, dict):
        raise _damaged(path, "its checksum of itself does not fit")
    if set(files) != set(FILES[kind]) or not all(isinstance(entry, dict) for entry in files.values()):
        raise CheckpointError(
            f"a manifest lists {', '.join(FILES[kind])} and no others; {path} lists "
            f"{', '.join(map(repr, files))[:200]}; do not use this directory"
        )
    return manifest


def _checked(path: Path, expected: Mapping[str, Any]) -> bytes:
    size = expected.get("size")
    if not isinstance(size, int) or size < 0 or (path.suffix == ".json" and size > MAX_JSON_BYTES):
        raise _damaged(path, f"its manifest claims a size of {str(size)[:50]} bytes")
    content = _read_file(path, size)
    if len(content) != size or _hash(content) != expected.get("sha256"):
        raise _damaged(path, "its size or checksum is not what the manifest says")
    return content


def _read_file(path: Path, limit: int) -> bytes:
    """A regular file's bytes; never through a link, from a pipe, or beyond a limit."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise _damaged(path, "it is a link, a pipe or a folder, not a plain file")
        if status.st_size > limit:
            raise _damaged(path, f"it has {status.st_size} bytes where at most {limit} are expected")
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise _damaged(path, f"it cannot be read ({error.strerror})") from error


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is not a JSON object")
    return value


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise _damaged(path, "it is not a safetensors file") from error


def _arrays(path: Path, content: bytes) -> dict[str, np.ndarray]:
    try:
        return load_arrays(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged(path, "it is not a safetensors file") from error


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"a saved file is read only as it was written; {path}: {what}; restore it from a copy"
    )
