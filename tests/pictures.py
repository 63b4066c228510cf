"""Tiny real pictures, for tests of sets that are published as files."""

from pathlib import Path

import numpy as np
import PIL.Image


def write_picture(path: Path, *, bright: bool = False, size: tuple[int, int] = (24, 16)) -> None:
    """A JPEG or PNG by the name's ending, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    seed = int.from_bytes(path.stem.encode()[-4:])
    noise = np.random.default_rng(seed).integers(0, 120, (height, width, 3)) + 120 * bright
    PIL.Image.fromarray(noise.astype(np.uint8)).save(path)
