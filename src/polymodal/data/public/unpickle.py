"""Pickles of NumPy arrays, numbers, texts and plain containers, and of nothing else.

A pickle is a program: it may call whatever it can name. This reader knows a few names, none of which runs
anything, and judges what is handed to them: NumPy's own state setters trust what they are given, so a length,
a shape or a dtype that does not fit is refused before it gets there. Files of Python 2 are read with their
texts as Latin-1.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from polymodal.errors import DataError

_DTYPE = re.compile(r"[<>=|]?(?P<code>[biufcSU]\d+|\?|O)\d*")
"""Booleans, numbers, texts, bytes and objects; objects are again only what this reader admits."""

_NDARRAY = object()
"""Stands for ``numpy.ndarray``: it is named by a pickle, and never called."""


class _RefusedError(Exception):
    """What a pickle asks for and does not get, in words."""


def read(path: Path) -> Any:
    """What a pickle holds.

    Raises:
        DataError: it asks for something else than arrays, numbers, texts and plain containers, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).load()
    except _RefusedError as refused:
        raise DataError(
            f"a data set's pickle holds arrays, numbers, texts and plain containers alone; {path} holds "
            f"{refused}; do not open it otherwise, and fetch it again from where it is published."
        ) from None
    except Exception as error:  # a damaged pickle provokes whatever it likes
        raise DataError(
            f"a pickle is read to its end; {path} breaks off or is none ({type(error).__name__}: {error}); "
            f"fetch it again."
        ) from error


class _Reader(pickle._Unpickler):  # the one in Python: what BUILD does can be replaced in it
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get((module.replace("numpy._core.", "numpy.core."), name))
        if known is None:
            raise _RefusedError(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"a reference to something outside it, {pid!r}")

    def get_extension(self, code: int) -> None:
        raise _RefusedError(f"the registered class {code}")

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        built = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(built, np.ndarray):
            _set_array(built, state)
        elif isinstance(built, np.dtype):
            _set_dtype(built, state)
        else:
            raise _RefusedError(f"a state for a {type(built).__name__}")

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


# ---- what a pickle may name --------------------------------------------------------------------------


def _dtype(code: Any, *_: Any) -> np.dtype:
    """A dtype of its own, so that its byte order can be set."""
    match = _DTYPE.fullmatch(code) if isinstance(code, str) else None
    if match is None:
        raise _RefusedError(f"values of the type {code!r}")
    return np.dtype(match["code"], copy=True)


def _set_dtype(dtype: np.dtype, state: Any) -> None:
    """The byte order alone; a type made of other types is refused."""
    order, *parts = state[1:5]
    if order not in ("<", ">", "=", "|") or any(part is not None for part in parts):
        raise _RefusedError("values of a type made of others")
    sizes = (dtype.itemsize, dtype.alignment) if dtype.kind in "SU" else (-1, -1)
    dtype.__setstate__(  # type: ignore[attr-defined]
        (3, order, None, None, None, *sizes, dtype.flags)
    )


def _reconstruct(kind: Any, *_: Any) -> np.ndarray:
    """The empty array that ``_set_array`` fills."""
    if kind is not _NDARRAY:
        raise _RefusedError("an array of a class of its own")
    return np.empty(0, dtype=np.int8)


def _set_array(array: np.ndarray, state: Any) -> None:
    """Shape, dtype and values, where they fit each other."""
    shape, dtype, is_fortran, values = state[-4:]
    _judge(shape, dtype)
    if dtype.hasobject and not (isinstance(values, list) and len(values) == math.prod(shape)):
        raise _RefusedError("an array whose values are fewer or more than its shape says")
    array.__setstate__((1, shape, dtype, bool(is_fortran), values))  # type: ignore[arg-type]


def _scalar(dtype: Any, value: Any = b"") -> Any:
    """A NumPy number or text."""
    _judge((), dtype)
    raw = value.encode("latin1") if isinstance(value, str) else value
    if dtype.hasobject or len(raw) != dtype.itemsize:
        raise _RefusedError(f"a number of the type {dtype} that is none")
    return np.frombuffer(raw, dtype)[0] if raw else np.zeros((), dtype)[()]


def _from_buffer(values: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array as protocol 5 holds it."""
    _judge(shape, dtype)
    return np.frombuffer(values, dtype).reshape(shape, order=order)


def _judge(shape: Any, dtype: Any) -> None:
    is_shape = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
    if not is_shape or not isinstance(dtype, np.dtype):
        raise _RefusedError(f"an array of shape {shape!r} and type {dtype!r}")


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    """Bytes, as protocol 2 of Python 3 holds them."""
    if codec != "latin1" or not isinstance(text, str):
        raise _RefusedError(f"a text coded as {codec!r}")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Callable[..., Any] | object] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytes, bytearray, complex, list, dict, tuple)
    },
}
