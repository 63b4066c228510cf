"""Pickles as Python 2 and an old NumPy wrote them: texts and bytes are one, modules have their old names."""

import io
import pickle
import struct
from typing import ClassVar


class _Python2(pickle._Pickler):
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        raw = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def dumps(held) -> bytes:
    """``held`` in protocol 2."""
    stream = io.BytesIO()
    _Python2(stream, protocol=2).dump(held)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
