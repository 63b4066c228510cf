"""The one door: a DataFrame, a mapping of arrays or a 2-D array -> validated cells with presence.

A data set of the package ``datasets`` counts as a DataFrame, of whose files nothing is read here.

What has come through it once, a ``Table``, passes again as it is: encoded once, it is read many times.

``bind`` settles once, on the training input, which columns a modality is made of; ``read`` then turns any
input of that form into cells. Everything behind the door trusts what comes through it.

A DataFrame may hold further columns, which are ignored; a mapping's unknown key is an error, because a key
that is misspelt would silently be an absent modality. At prediction a modality whose columns or key are all
missing is absent in every row; some of its columns missing is an error. No two modalities share a column:
"without this modality" would have no meaning.

    table.py       what comes through the door: cells with presence
    forms.py       which form an input has, and whether it is one
    columns.py     which columns, positions or key a modality is made of
    values.py      the raw value of one modality
    inference.py   modalities, where none are declared
    binding.py     a declaration and the training input -> a schema
    parts.py       some rows or some modalities of an input
    reading.py     an input and a schema -> a table
"""

from polymodal.data.door.binding import bind
from polymodal.data.door.parts import Rows, n_rows, restrict, take
from polymodal.data.door.reading import read, refuse_never_present
from polymodal.data.door.table import Cells, Table

__all__ = [
    "Cells",
    "Rows",
    "Table",
    "bind",
    "n_rows",
    "read",
    "refuse_never_present",
    "restrict",
    "take",
]
