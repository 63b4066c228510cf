"""What is compared: a cell is one method on one data set with one seed and one share of labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from polymodal import methods as registry
from polymodal.batch import TaskKind
from polymodal.bench.encoding import declared
from polymodal.data import readers
from polymodal.data.readers import Dataset
from polymodal.errors import ConfigError
from polymodal.methods import floors


@dataclass(frozen=True)
class Cell:
    """One method on one data set with one seed and one share of labels.

    Attributes:
        dataset: a name in ``readers.available()``.
        method: a registered method or a floor.
        seed: of the split, the labels that are kept, the absent inputs and the method.
        labels: share of the training rows that keep their labels.
        missing_train: share of the training rows' inputs that are made absent, completely at random.
        split: a split of the data set; None takes its default, or draws one by the seed.
        settings: ``(name, value)`` pairs for the method or its estimator, such as ``("max_epochs", 5)``.
        name: how the column ``method`` calls it; the method's own name unless given.
        variant: of the data set; None for the default one.
        encoders: ``(modality, encoder)`` pairs for raw modalities, the others keep their default. ``$NAME``
            in an encoder is an environment variable: no folder of a machine is kept with the figures.
        missing: how inputs go missing in training and test rows, one of ``regimes.REGIMES``; other than
            ``"complete"``, the test rows are evaluated as they come, not by combination of modalities.
        max_train: training rows, at most: drawn by the seed, stratified; None keeps all.
        max_test: test rows, likewise.
    """

    dataset: str
    method: str
    seed: int
    labels: float = 1.0
    missing_train: float = 0.0
    split: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    name: str = ""
    variant: str | None = None
    encoders: tuple[tuple[str, str], ...] = ()
    missing: str = "complete"
    max_train: int | None = None
    max_test: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.method)

    @property
    def key(self) -> str:
        """The cell as one line of JSON, by which finished cells are recognised."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def data_name(self) -> str:
        """How the column ``dataset`` calls the data: ``set:variant/split (encoders)`` of what was named."""
        variant = "" if self.variant is None else f":{self.variant}"
        split = "" if self.split is None else f"/{self.split}"
        names = "+".join(Path(encoder).name for _, encoder in self.encoders)
        return f"{self.dataset}{variant}{split}" + (f" ({names})" if names else "")

    def __str__(self) -> str:
        regime = "" if self.missing == "complete" else f", missing {self.missing}"
        return f"{self.name} on {self.data_name}, {self.labels:.0%} of the labels, seed {self.seed}{regime}"


def cells(
    dataset: str,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    seeds: Iterable[int],
    labels: Iterable[float] = (1.0,),
    missing_train: float = 0.0,
    split: str | None = None,
    variant: str | None = None,
    encoders: Mapping[str, str] | None = None,
    missing: str = "complete",
    max_train: int | None = None,
    max_test: int | None = None,
    data: str | Path | None = None,
) -> list[Cell]:
    """Every cell of a comparison, seed by seed.

    Args:
        dataset: a name in ``readers.available()``.
        methods: names of methods and floors, ``"default"`` for the library's and every floor of the task; or,
            for variants, ``{name in the table: {"method": "robult", setting: value, ...}}``.
        seeds: each drives the split, the labels, the absent inputs and the method.
        labels: shares of the training rows that keep their labels.
        missing_train: share of the training inputs that are made absent.
        split: a split of the data set.
        variant: of the data set; None for the default one.
        encoders: of raw modalities, by name; None for the default ones.
        missing: a regime of training and test rows.
        max_train: training rows, at most.
        max_test: test rows, at most.
        data: the folder of the data sets that are not bundled.

    Raises:
        ConfigError: no method, floor, data set, variant or raw modality has this name, or the data set is for
            retrieval.
        DataError: the data set is not there.
    """
    loaded = load_once(dataset, data, variant)
    task = loaded.kind
    declared(loaded, encoders or {})
    names = [] if isinstance(methods, Mapping) else _expanded(methods, task)
    variants = methods if isinstance(methods, Mapping) else {name: {} for name in names}
    return [
        Cell(
            dataset,
            _known(settings.get("method", name), task),
            seed,
            float(share),
            missing_train,
            split,
            tuple((setting, value) for setting, value in settings.items() if setting != "method"),
            name,
            variant,
            tuple((encoders or {}).items()),
            missing,
            max_train,
            max_test,
        )
        for share in labels
        for seed in seeds
        for name, settings in variants.items()
    ]


def _expanded(names: Sequence[str], task: TaskKind) -> list[str]:
    """Method names with ``"default"`` spelt out, each once."""
    default = [registry.DEFAULT, *floors.floors_for(task)]
    return list(dict.fromkeys(n for name in names for n in (default if name == "default" else [name])))


def _known(method: str, task: TaskKind) -> str:
    known = [*registry.METHODS, *floors.floors_for(task)]
    if method not in known:
        raise ConfigError(
            f"methods and floors for {task} are {', '.join(known)}; {method!r} came; name one of them"
        )
    return method


@lru_cache(maxsize=2)
def load_once(name: str, data: str | Path | None, variant: str | None = None) -> Dataset:
    """A data set, which the cells that follow one another share."""
    return readers.load(name, data, variant=variant)
