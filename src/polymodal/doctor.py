"""What this machine offers: versions, devices, extras, data."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")
_NOT_FOR_USERS = {"all", "dev"}


def examine() -> dict[str, str]:
    """Lines of a report: what was looked at -> what was found."""
    return {"python": platform.python_version(), **_core(), **_extras(), "device": _device(), "data": _data()}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _needed() -> list[tuple[str, str | None]]:
    """(package, extra that brings it, or None) of polymodal's own metadata."""
    found = []
    for line in requires("polymodal") or []:
        name, extra = _NAME.match(line), _EXTRA.search(line)
        assert name is not None, line
        found.append((name[0], extra[1] if extra else None))
    return found


def _core() -> dict[str, str]:
    core = [package for package, extra in _needed() if extra is None]
    return {package: _installed(package) for package in ("polymodal", *core)}


def _extras() -> dict[str, str]:
    """Each extra, with its packages' versions, or the command that installs it."""
    packages: dict[str, list[str]] = {}
    for package, extra in _needed():
        if extra is not None and extra not in _NOT_FOR_USERS:
            packages.setdefault(extra, []).append(package)
    return {f"extra {extra}": _extra(extra, names) for extra, names in packages.items()}


def _extra(extra: str, packages: list[str]) -> str:
    found = {package: _installed(package) for package in packages}
    words = ", ".join(f"{package} {state}" for package, state in found.items())
    if "not installed" in found.values():
        return f"{words}; pip install 'polymodal[{extra}]'"
    return words


def _device() -> str:
    import torch

    cpu = f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        return f"{cpu}; no CUDA device"
    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{cpu}; " + ", ".join(f"cuda:{i} {card}" for i, card in enumerate(cards))


def _data() -> str:
    from polymodal.data.readers import DATA_VARIABLE

    folder = os.environ.get(DATA_VARIABLE)
    return (
        f"mfeat and htad are bundled; {DATA_VARIABLE}={folder}"
        if folder
        else (f"mfeat and htad are bundled; {DATA_VARIABLE} is not set")
    )
