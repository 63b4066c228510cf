"""A cell that is a file packed into a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Stored:
    """A file inside an Arrow table, which is read when it is decoded.

    Attributes:
        column: the table's column of bytes, usually memory-mapped.
        row: its number there.
        size: in bytes.
    """

    column: Any
    row: int
    size: int

    def __repr__(self) -> str:
        return f"a file of {self.size} bytes"

    def read(self) -> bytes:
        """Its content."""
        content: bytes = self.column[self.row].as_py()
        return content
