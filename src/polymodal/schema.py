"""What a modality is: how its columns are named, and what an absent cell looks like.

Absent means: None, NaN or NaT in the only cell of a modality, or a block of cells that are all NaN.
An empty string is a text and is present.

``Vector``, ``Tabular`` and ``Series`` are numbers already. ``Text``, ``Image``, ``Audio`` and ``Video`` are
raw: an encoder makes numbers of them, and an absent cell is never opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np

from polymodal.errors import CheckpointError, SchemaError

Column = str | int
"""One column: its name, or its position in a 2-D array."""

Columns = str | int | Sequence[Column] | None
"""Column names or positions; a name may hold ``*`` (``"emb_*"``). None: the key named like the modality."""

Source = Literal["frame", "mapping", "array"]

OnCorrupt = Literal["error", "absent"]
"""What becomes of a cell that cannot be read: the end, or an absent modality, counted and reported."""


@dataclass(frozen=True)
class Layout:
    """What the data door found behind a declaration in the training input; nobody else writes one.

    Attributes:
        source: what X was: a DataFrame, a mapping, or a 2-D array.
        width: D, numbers a row (Vector, Tabular: columns) or a step (Series); 0 for raw modalities.
        columns: the concrete columns, of X or of a mapping's table; empty where the values have no columns.
        categorical: those of ``columns`` that hold categories (Tabular alone).
        n_features: columns of the whole 2-D array; 0 for other sources.
        are_states: hidden states of a pretrained model, as they enter the layers that are trained.
    """

    source: Source
    width: int
    columns: tuple[Column, ...] = ()
    categorical: tuple[Column, ...] = ()
    n_features: int = 0
    are_states: bool = False


@dataclass(frozen=True)
class Vector:
    """Numbers that belong together: an embedding, a feature view.

    A row whose cells are all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: numeric columns of a DataFrame, positions in a 2-D array, one column whose cells are 1-D
            arrays, or a key of a mapping whose value is (n, d); 1-D numbers count as (n, 1).
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Tabular:
    """Numeric and categorical columns that may have gaps of their own.

    A row whose cells are all missing lacks the modality. A row with some missing cells is present: the
    gaps are filled by the training part's medians, with an indicator for each column that had gaps there;
    a category not seen in training is a category of its own. Numbers and booleans are numeric; texts and
    the pandas dtype ``category`` are categories.

    Attributes:
        columns: columns of a DataFrame, positions in a 2-D array, or a key of a mapping whose value is a
            DataFrame or (n, d) array.
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Series:
    """A sequence a row: T steps of d numbers, T may differ from row to row.

    None, NaN, an empty sequence or a block all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: one column whose cells are (T,) or (T, d) arrays; several columns whose cells are (T,)
            arrays of one length; several columns of numbers, one a step, in the order of the table; or a key
            of a mapping whose value is (n, T, d) or a list of (T, d).
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Text:
    """One text a row; an empty one is present.

    Attributes:
        columns: one column or key whose cells are texts, or None where absent.
        encoder: what makes numbers of a text: a name (``"tfidf"``, built in, learnt on the training texts;
            ``"minilm"``; ``"hf:NAME"`` or ``"hf:FOLDER"``), an object with ``encode``, a module, a callable.
        finetune: how many of the last layers of a ``"minilm"`` or ``"hf:"`` encoder are trained with the
            rest; True for 2, False for none.
        lora_rank: rank of adapters (LoRA) that are trained in place of these layers' weights; None for the
            weights.
        layout: set by the data door.
    """

    columns: Columns = None
    encoder: Any = field(default="tfidf", kw_only=True)
    finetune: bool | int = field(default=False, kw_only=True)
    lora_rank: int | None = field(default=None, kw_only=True)
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Image:
    """One image a row.

    Attributes:
        columns: one column or key whose cells are paths (relative ones: to the table's file, or else to the
            working directory), encoded bytes, PIL images, or (H, W), (H, W, 3) or (H, W, 4) uint8 arrays;
            None where absent.
        encoder: as for :class:`Text`; built in is ``"descriptors"``.
        finetune: as for :class:`Text`.
        lora_rank: as for :class:`Text`.
        on_corrupt: ``"error"`` or ``"absent"``: what becomes of a row whose image cannot be read.
        layout: set by the data door.
    """

    columns: Columns = None
    encoder: Any = field(default="descriptors", kw_only=True)
    finetune: bool | int = field(default=False, kw_only=True)
    lora_rank: int | None = field(default=None, kw_only=True)
    on_corrupt: OnCorrupt = field(default="error", kw_only=True)
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Audio:
    """One recording a row.

    Attributes:
        columns: one column or key whose cells are paths (as for :class:`Image`), encoded bytes, (T,) float
            arrays of ``rate``, or pairs of such an array and its own rate; None where absent.
        encoder: as for :class:`Text`; built in are ``"log_mel"`` and ``"log_mel_series"``.
        finetune: as for :class:`Text`.
        lora_rank: as for :class:`Text`.
        rate: samples a second of arrays that come without one.
        on_corrupt: as for :class:`Image`.
        layout: set by the data door.
    """

    columns: Columns = None
    encoder: Any = field(default="log_mel", kw_only=True)
    finetune: bool | int = field(default=False, kw_only=True)
    lora_rank: int | None = field(default=None, kw_only=True)
    rate: int | None = field(default=None, kw_only=True)
    on_corrupt: OnCorrupt = field(default="error", kw_only=True)
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Video:
    """One video a row.

    Attributes:
        columns: one column or key whose cells are paths (as for :class:`Image`) or encoded bytes; None where
            absent.
        encoder: of single frames, as for :class:`Image`.
        n_frames: frames taken from each video, evenly spaced.
        on_corrupt: as for :class:`Image`.
        layout: set by the data door.
    """

    columns: Columns = None
    encoder: Any = field(default="descriptors", kw_only=True)
    n_frames: int = field(default=8, kw_only=True)
    on_corrupt: OnCorrupt = field(default="error", kw_only=True)
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


Raw = Text | Image | Audio | Video
"""A modality that an encoder turns into numbers."""

Modality = Vector | Tabular | Series | Raw

RAW = (Text, Image, Audio, Video)

KINDS: dict[str, type[Modality]] = {
    cls.__name__: cls for cls in (Vector, Tabular, Series, Text, Image, Audio, Video)
}

_KINDS_IN_WORDS = "Vector, Tabular, Series, Text, Image, Audio or Video"


# ---- judging a declaration ---------------------------------------------------------------------------


def judge_declaration(modalities: object) -> dict[str, Modality]:
    """The declared modalities, each judged by itself.

    Raises:
        SchemaError: not a mapping, empty, a bad name, or something other than a modality.
    """
    if not isinstance(modalities, Mapping):
        raise SchemaError(
            f"modalities must map names to {_KINDS_IN_WORDS}; "
            f"{type(modalities).__name__} came; write {{'name': Vector([...])}}"
        )
    if not modalities:
        raise SchemaError("modalities must name at least one modality; an empty mapping came; declare one")
    for name, modality in modalities.items():
        judge_name(name)
        if not isinstance(modality, Modality):
            way_out = f"write {modality.__name__}()" if modality in KINDS.values() else "use one of them"
            raise SchemaError(f"a modality is a {_KINDS_IN_WORDS}; {name!r} is {modality!r}; {way_out}")
        if isinstance(modality, RAW):
            _judge_settings(name, modality)
    return dict(modalities)


def _judge_settings(name: str, modality: Raw) -> None:
    """The encoder, the rate, the number of frames and ``on_corrupt`` of a raw modality."""
    who, encoder = f"{type(modality).__name__} {name!r}", modality.encoder
    is_object = not isinstance(encoder, str | type) and (callable(encoder) or hasattr(encoder, "encode"))
    if not (is_object or (isinstance(encoder, str) and encoder)):
        raise SchemaError(
            f"an encoder is a name, an object with encode, a module or a callable; {who} has {encoder!r}; "
            "leave it out for the built-in one"
        )
    if not isinstance(modality, Video):
        _judge_finetuning(who, modality)
    if isinstance(modality, Text):
        return
    if modality.on_corrupt not in ("error", "absent"):
        raise SchemaError(
            f'on_corrupt is "error" or "absent"; {who} has {modality.on_corrupt!r}; choose one of them'
        )
    rate = modality.rate if isinstance(modality, Audio) else None
    if rate is not None and not _is_count(rate):
        raise SchemaError(f"rate is samples a second, 1 or more; {who} has {rate!r}; write for example 16000")
    if isinstance(modality, Video) and not _is_count(modality.n_frames):
        raise SchemaError(f"n_frames is 1 or more; {who} has {modality.n_frames!r}; write for example 8")


def _judge_finetuning(who: str, modality: Text | Image | Audio) -> None:
    finetune, rank = modality.finetune, modality.lora_rank
    if not (isinstance(finetune, bool) or _is_count(finetune)):
        raise SchemaError(
            f"finetune is True, False or a number of layers, 1 or more; {who} has {finetune!r}; write True"
        )
    if rank is not None and not _is_count(rank):
        raise SchemaError(f"lora_rank is 1 or more; {who} has {rank!r}; write for example 8")
    if rank is not None and finetune is False:
        raise SchemaError(
            f"lora_rank is the rank of adapters on layers that are trained; {who} trains none; "
            "write finetune=True beside it"
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def judge_name(name: object) -> None:
    """Refuse a name that is no text, is empty, or holds the ``+`` that joins names of a subset."""
    if not isinstance(name, str) or not name or "+" in name:
        raise SchemaError(
            "a modality's name must be a text that is not empty and holds no '+', which joins the names of "
            f"a subset; {name!r} came; rename it"
        )


def column_pattern(column: str) -> re.Pattern[str]:
    """What a column name with ``*`` matches; ``*`` stands for any text, and nothing else is special."""
    return re.compile(".*".join(re.escape(part) for part in column.split("*")), re.DOTALL)


def column_tuple(name: str, modality: Modality) -> tuple[Column, ...] | None:
    """The declared columns as a tuple; None where the modality's own name is the column.

    Raises:
        SchemaError: no column, a column named twice, or something that is no column name.
    """
    columns = modality.columns
    if columns is None:
        return None
    listed = columns if isinstance(columns, Iterable) and not isinstance(columns, str) else (columns,)
    found = tuple(int(c) if isinstance(c, np.integer) else c for c in listed)
    for column in found:
        if not isinstance(column, str | int) or isinstance(column, bool):
            raise SchemaError(
                f"columns are names (text) or positions (integers); modality {name!r} names {column!r}; "
                "rename that column or give its position"
            )
    if not found:
        raise SchemaError(f"a modality needs at least one column; {name!r} names none; name one")
    repeated = next((c for i, c in enumerate(found) if c in found[:i]), None)
    if repeated is not None:
        raise SchemaError(f"a modality names each column once; {name!r} names {repeated!r} twice; remove one")
    return found


# ---- saved models ------------------------------------------------------------------------------------


def to_json(schema: Mapping[str, Modality]) -> list[dict[str, Any]]:
    """A bound schema as plain JSON, in the order of the modalities; the inverse of :func:`from_json`.

    An encoder is written down by its name; of one that has none, that it must be given to the reader.
    """
    entries = []
    for name, modality in schema.items():
        columns = modality.columns
        assert modality.layout is not None, "only a bound schema is saved"
        entries.append(
            {
                "name": name,
                "kind": type(modality).__name__,
                "columns": columns if isinstance(columns, str) else list(columns or ()),  # type: ignore[arg-type]
                "layout": asdict(modality.layout),
                **_settings(modality),
            }
        )
    return entries


def _settings(modality: Modality) -> dict[str, Any]:
    """What a raw modality says beside its columns; empty for the others."""
    if not isinstance(modality, RAW):
        return {}
    names = [f.name for f in fields(modality) if f.name not in ("columns", "layout")]
    own = {key: getattr(modality, key) for key in names} | {"encoder": encoder_to_json(modality.encoder)}
    return {"settings": {key: int(v) if isinstance(v, np.integer) else v for key, v in own.items()}}


def encoder_to_json(encoder: Any) -> Any:
    """The name of an encoder; of one that has none ``{"own": what it is called}``."""
    if isinstance(encoder, str):
        return encoder
    return {"own": getattr(encoder, "__name__", type(encoder).__name__)}


def encoder_from_json(saved: Any, name: str, given: Mapping[str, Any]) -> Any:
    """The encoder of a modality: the one that is given for it, else the one that was written down.

    Raises:
        CheckpointError: it has no name, and none is given.
    """
    if name in given:
        return given[name]
    if isinstance(saved, Mapping):
        raise CheckpointError(
            f"an encoder of your own is not saved with a model but given to load; {name!r} needs its "
            f"{saved['own']} and nothing came; call polymodal.load(path, encoders={{{name!r}: ...}})"
        )
    return saved


def from_json(entries: object, encoders: Mapping[str, Any] | None = None) -> dict[str, Modality]:
    """The bound schema that :func:`to_json` wrote.

    Args:
        entries: what it returned.
        encoders: by modality, those to take in place of what was written down.

    Raises:
        CheckpointError: the entries are not what :func:`to_json` writes, or an encoder must be given.
    """
    try:
        return {entry["name"]: _modality(entry, encoders or {}) for entry in entries}  # type: ignore[attr-defined]
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"a saved schema lists name, kind, columns and layout of each modality; it could not be read "
            f"({error!r}); save the model again"
        ) from error


def _modality(entry: Mapping[str, Any], encoders: Mapping[str, Any]) -> Modality:
    columns, layout = entry["columns"], dict(entry["layout"])
    for key in ("columns", "categorical"):
        layout[key] = _column_list(layout[key])
    if layout["source"] not in ("frame", "mapping", "array"):
        raise ValueError(f"unknown source {layout['source']!r}")
    judge_name(entry["name"])
    bound = columns if isinstance(columns, str) else _column_list(columns)
    settings = dict(entry.get("settings", {}))
    if "encoder" in settings:
        settings["encoder"] = encoder_from_json(settings["encoder"], entry["name"], encoders)
    modality = KINDS[entry["kind"]](bound, layout=Layout(**layout), **settings)
    if isinstance(modality, RAW):
        _judge_settings(entry["name"], modality)
    return modality


def _column_list(columns: Sequence[Any]) -> tuple[Column, ...]:
    if not isinstance(columns, list | tuple) or not all(isinstance(c, str | int) for c in columns):
        raise ValueError(f"columns {columns!r}")
    return tuple(columns)
