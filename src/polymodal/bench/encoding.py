"""Raw cells, encoded once for all that reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from polymodal.data.door import Table, bind, read
from polymodal.data.readers import Dataset
from polymodal.encoders.table import Encoders
from polymodal.errors import ConfigError
from polymodal.schema import RAW, Modality


@dataclass(frozen=True)
class Tables:
    """Training and test rows as every method reads them, raw cells encoded.

    Attributes:
        train: encoded by what it taught the encoders that learn.
        test: encoded by the same.
        schema: the modalities as they were before encoding.
        encoders: those of the training rows.
    """

    train: Table
    test: Table
    schema: dict[str, Modality]
    encoders: Encoders


def declared(dataset: Dataset, encoders: Mapping[str, str]) -> dict[str, Modality]:
    """The modalities with the encoders that are named; ``$NAME`` in a name is an environment variable.

    Raises:
        ConfigError: an encoder for a modality that is not there or is not raw.
    """
    raw = [name for name, modality in dataset.modalities.items() if isinstance(modality, RAW)]
    for name in encoders:
        if name not in raw:
            raise ConfigError(
                f"encoders are named for raw modalities, of {dataset.name} {raw}; {name!r} came; leave it out"
            )
    named: dict[str, dict[str, Any]] = {
        name: {"encoder": os.path.expandvars(encoder)} for name, encoder in encoders.items()
    }
    return {name: replace(modality, **named.get(name, {})) for name, modality in dataset.modalities.items()}


def encoded(X_train: Any, X_test: Any, modalities: Mapping[str, Modality]) -> Tables:
    """Rows encoded once for all that reads them: fit, every combination of modalities, every missing rate.

    Args:
        X_train: training rows.
        X_test: test rows.
        modalities: with their encoders; those that learn do so from the training rows.
    """
    schema = bind(X_train, modalities)
    encoders = Encoders()
    train = encoders.fit_transform(read(X_train, schema, fitting=True))
    return Tables(train, encoders.transform(read(X_test, schema)), schema, encoders)
