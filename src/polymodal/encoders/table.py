"""A table with raw cells -> a table of vectors and sequences; what absent rows hold is never opened."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from polymodal.data.cells import Place
from polymodal.data.door import Cells, Table, refuse_never_present
from polymodal.data.unreadable import Unreadable, settle
from polymodal.encoders import Medium, resolve
from polymodal.encoders.base import Kind, Tuning, learns
from polymodal.encoders.decoding import Corrupt
from polymodal.encoders.work import Rows, Step, attempt, decoder, encode, medium_of, nothing
from polymodal.errors import CheckpointError, ConfigError, DataError
from polymodal.schema import RAW, Raw, Series, Vector, Video, encoder_from_json, encoder_to_json

if TYPE_CHECKING:
    from polymodal.batch import Input

TUNED_LAYERS = 2
"""Layers that ``finetune=True`` trains."""


class Encoders:
    """The encoders of a table's raw modalities; the other modalities pass as they are.

    Args:
        n_workers: threads that read and decode; None for as many as there are processors, 8 at most.
    """

    def __init__(self, *, n_workers: int | None = None) -> None:
        self._n_workers = n_workers or min(8, os.cpu_count() or 1)
        self._entries: dict[str, _Entry] = {}

    def fit(self, table: Table) -> Encoders:
        """Find the encoder of each raw modality; those that learn do so from the present rows.

        Raises:
            ConfigError: a modality names an encoder that is none.
            MissingExtraError: an encoder needs a package that is not installed.
            DataError: a cell cannot be decoded.
        """
        self._entries = {
            name: _fitted(name, cells, table.first_row)
            for name, cells in table.cells.items()
            if isinstance(cells.modality, RAW)
        }
        return self

    def transform(self, table: Table, step: Step = nothing) -> Table:
        """The same rows with numbers in place of raw cells.

        Args:
            table: of the schema that :meth:`fit` saw.
            step: told how many present cells of raw modalities are done.

        Returns:
            Raw modalities as a Vector or Series; a cell that cannot be decoded is absent where the modality
            says so.

        Raises:
            DataError: a cell cannot be decoded.
        """
        cells = {
            name: own if own.raw is None else self._transformed(name, own, table.first_row, step)
            for name, own in table.cells.items()
        }
        return replace(table, cells=cells)

    def fit_transform(self, table: Table, step: Step = nothing) -> Table:
        """:meth:`fit` and :meth:`transform` of the training rows.

        Raises:
            DataError: a cell cannot be decoded, or no cell of a modality can.
        """
        encoded = self.fit(table).transform(table, step)
        refuse_never_present(encoded.cells)
        return encoded

    def _transformed(self, name: str, cells: Cells, first_row: int, step: Step) -> Cells:
        entry = self._entries[name]
        modality = cells.modality
        assert isinstance(modality, RAW)
        assert cells.raw is not None
        rows = np.flatnonzero(cells.present)
        found = encode([cells.raw[i] for i in rows], modality, entry.encoder, self._n_workers, step)
        _report(name, cells, rows, found.corrupt, first_row)
        if found.shape and entry.shape and found.shape != entry.shape:
            raise DataError(
                f"an encoder returns rows of one kind and width; that of {name!r} returned {entry.shape} "
                f"before and {found.shape} now; correct the encoder, or give the one of training"
            )
        entry.shape = found.shape or entry.shape or (entry.encoder.kind, entry.encoder.d_out)
        present = cells.present.copy()
        present[rows[list(found.corrupt)]] = False
        encoded = _cells(modality, present, rows, found, *entry.shape)
        return encoded if entry.tuning is None else _states(encoded)

    # ---- fine-tuning -----------------------------------------------------------------------------------

    def inputs(self, inputs: Sequence[Input], table: Table | None = None) -> tuple[Input, ...]:
        """The modalities as a method sees them: with the last layers of those models that are fine-tuned.

        Args:
            inputs: as the preprocessor found them.
            table: the encoded training rows; None where the method's weights are to be loaded.

        Raises:
            ConfigError: the rows came encoded, and what encoded them is not here.
        """
        return tuple(self._with_top(own, None if table is None else table.cells[own.name]) for own in inputs)

    def _with_top(self, own: Input, cells: Cells | None) -> Input:
        entry = self._entries.get(own.name)
        if entry is not None and entry.tuning is not None:
            return replace(own, top=entry.encoder.top(None if cells is None else _present_states(cells)))
        if cells is not None and cells.are_states:
            raise ConfigError(
                f"fine-tuning begins with raw cells; {own.name!r} came encoded; pass X itself: its cells are "
                "encoded once, and read from the cache after that"
            )
        return own

    # ---- saved models ----------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """The encoders by name and what was learnt, as plain JSON and as arrays named ``modality.array``."""
        entries: list[dict[str, Any]] = []
        arrays: dict[str, ndarray] = {}
        for name, entry in self._entries.items():
            settings, learnt = entry.state()
            entries.append({"name": name, **settings})
            arrays |= {f"{name}.{key}": array for key, array in learnt.items()}
        return {"encoders": entries}, arrays

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        arrays: Mapping[str, ndarray],
        given: Mapping[str, Any] | None = None,
    ) -> Encoders:
        """The inverse of :meth:`state`.

        Args:
            state: plain JSON.
            arrays: what was learnt.
            given: by modality, encoders that have no name, or that are to be taken from elsewhere.

        Raises:
            CheckpointError: the state is not what :meth:`state` returns, an encoder must be given, or it is
                another one now.
        """
        encoders = cls()
        try:
            encoders._entries = {
                own["name"]: _entry_from(own, arrays, given or {}) for own in state["encoders"]
            }
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CheckpointError | ConfigError):
                raise
            raise CheckpointError(
                f"saved encoders hold a name and what was learnt; they could not be read ({error!r}); "
                "save the model again"
            ) from error
        return encoders


def _cells(modality: Raw, present: ndarray, rows: ndarray, found: Rows, kind: Kind, width: int) -> Cells:
    """The cells of a modality, of which ``rows`` are those that were encoded."""
    assert modality.layout is not None
    layout = replace(modality.layout, width=width)
    if kind == "series":
        sequences = [np.zeros((0, width), dtype=np.float32)] * len(present)
        for i, sequence in zip(rows.tolist(), found.sequences, strict=True):
            sequences[i] = sequences[i] if sequence is None else sequence
        return Cells(Series(modality.columns, layout=layout), present, series=sequences)
    if found.vectors is not None and len(rows) == len(present):
        return Cells(Vector(modality.columns, layout=layout), present, numeric=found.vectors)
    numeric = np.full((len(present), width), np.nan, dtype=np.float32)
    if found.vectors is not None:
        numeric[rows] = found.vectors
    return Cells(Vector(modality.columns, layout=layout), present, numeric=numeric)


def _states(cells: Cells) -> Cells:
    """The same cells, marked as hidden states."""
    modality = cells.modality
    assert modality.layout is not None
    return replace(cells, modality=replace(modality, layout=replace(modality.layout, are_states=True)))


def _present_states(cells: Cells) -> list[ndarray]:
    assert cells.series is not None
    return [cells.series[i] for i in np.flatnonzero(cells.present)]


@dataclass
class _Entry:
    """The encoder of one modality.

    Attributes:
        spec: what the declaration said.
        medium: what the cells are.
        encoder: ready to encode.
        tuning: what of it is trained; None for nothing.
        shape: kind and width of what it returned; None before its first cell.
    """

    spec: Any
    medium: Medium
    encoder: Any
    tuning: Tuning | None = None
    shape: tuple[Kind, int] | None = None

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        settings, learnt = self.encoder.state() if learns(self.encoder) else ({}, {})
        kind, width = self.shape or (self.encoder.kind, self.encoder.d_out)
        known = {"encoder": encoder_to_json(self.spec), "medium": self.medium, "kind": kind, "width": width}
        if self.tuning is not None:
            known["tuning"] = asdict(self.tuning)
        return known | {"fingerprint": self.encoder.fingerprint(), "settings": settings}, learnt


def _fitted(name: str, cells: Cells, first_row: int) -> _Entry:
    modality = cells.modality
    assert isinstance(modality, RAW)
    assert cells.raw is not None
    medium = medium_of(modality)
    tuning = _tuning_of(modality)
    encoder = _ready(modality.encoder, medium, tuning, f"{medium} {name!r}")
    if learns(encoder):
        encoder = copy.deepcopy(encoder)  # a user's object may be in the declaration of another model too
        rows = np.flatnonzero(cells.present)
        decoded = [attempt(decoder(modality), cells.raw[i]) for i in rows]
        corrupt = {k: str(own) for k, own in enumerate(decoded) if isinstance(own, Corrupt)}
        _report(name, cells, rows, corrupt, first_row)
        encoder = encoder.fit([own for own in decoded if not isinstance(own, Corrupt)])
    return _Entry(modality.encoder, medium, encoder, tuning)


def _tuning_of(modality: Raw) -> Tuning | None:
    """What a declaration asks to train; None for nothing."""
    if isinstance(modality, Video) or modality.finetune is False:
        return None
    return Tuning(TUNED_LAYERS if modality.finetune is True else int(modality.finetune), modality.lora_rank)


def _ready(spec: Any, medium: Medium, tuning: Tuning | None, who: str) -> Any:
    if tuning is None:
        return resolve(spec, medium)
    from polymodal.encoders.finetuning import trunk

    return trunk(spec, medium, tuning, who)


def _entry_from(own: Mapping[str, Any], arrays: Mapping[str, ndarray], given: Mapping[str, Any]) -> _Entry:
    spec = encoder_from_json(own["encoder"], own["name"], given)
    tuning = Tuning(**own["tuning"]) if "tuning" in own else None
    encoder = _ready(spec, own["medium"], tuning, f"{own['medium']} {own['name']!r}")
    if learns(encoder):
        prefix = f"{own['name']}."
        learnt = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
        encoder = type(encoder).from_state(own["settings"], learnt)
    if encoder.fingerprint() != own["fingerprint"]:
        raise CheckpointError(
            f"a model predicts with the encoder of its training; {_called(spec)} of {own['name']!r} has "
            "other weights, another version or other settings here; take the one of training, or train again"
        )
    return _Entry(spec, own["medium"], encoder, tuning, (own["kind"], int(own["width"])))


def _called(spec: Any) -> str:
    return repr(spec) if isinstance(spec, str) else f"the {encoder_to_json(spec)['own']}"


def _report(name: str, cells: Cells, rows: ndarray, corrupt: Mapping[int, str], first_row: int) -> None:
    modality = cells.modality
    assert cells.raw is not None
    columns = modality.layout.columns if modality.layout is not None else ()
    place = Place(name, type(modality).__name__, columns, first_row)
    unreadable = [Unreadable(int(rows[k]), cells.raw[rows[k]], why) for k, why in sorted(corrupt.items())]
    settle(unreadable, len(cells.present), place, getattr(modality, "on_corrupt", "error"))
