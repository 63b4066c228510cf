"""Tables in, models and predictions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.cli.asked import KINDS, guess
from polymodal.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from polymodal.schema import Modality


def trained(asked: Mapping[str, Any]) -> tuple[Any, int, int]:
    """The trained estimator, the number of labelled rows and of all rows."""
    from polymodal import methods
    from polymodal.estimators import MethodClassifier, MethodRegressor

    method = asked.get("method", methods.DEFAULT)
    if "epochs" in asked and methods.get(method).learns_alone:
        raise ConfigError(
            f"epochs are of methods that are trained in steps; {asked['epochs']} came for {method}; leave "
            "them out, or name another --method, such as robult"
        )
    modalities = modalities_of(asked)
    rows = read_rows(asked["table"], modalities or {})
    target = target_column(rows, asked["target"])
    regression = _is_regression(target, asked.get("task"))
    y = labels_of(target, regression=regression)
    cls = MethodRegressor if regression else MethodClassifier
    own = {"random_state": asked.get("seed", 0), "verbose": True}
    own |= {} if regression else {"missing_label": None}  # an empty cell is unlabelled, and nothing else
    own |= {"max_epochs": asked["epochs"]} if "epochs" in asked else {}
    names = set(cls().get_params()) - {"method", "modalities", "settings"}
    own |= {name: value for name, value in asked["set"].items() if name in names}
    settings = {name: value for name, value in asked["set"].items() if name not in names}
    model = cls(method, modalities, settings=settings, **own)
    model.fit(rows.drop(columns=asked["target"]), y)
    return model, int(target.notna().sum()), len(rows)


def read_rows(table: str | Path, modalities: Mapping[str, Modality]) -> pd.DataFrame:
    """A table; the cells of raw modalities stay as they are written, those of sequences are lists."""
    from polymodal.data import tables
    from polymodal.schema import RAW, Series

    texts, series = _columns_of(modalities, RAW), _columns_of(modalities, Series)
    return tables.read(table, texts=texts, series=series)


def _columns_of(modalities: Mapping[str, Modality], kinds: Any) -> list[str]:
    from polymodal.schema import column_tuple

    own = {name: modality for name, modality in modalities.items() if isinstance(modality, kinds)}
    return [str(column) for name, modality in own.items() for column in column_tuple(name, modality) or ()]


def modalities_of(asked: Mapping[str, Any]) -> dict[str, Modality] | None:
    """The declared modalities, raw ones with their encoders; None where none was declared."""
    from polymodal import schema

    found: dict[str, Modality] = {}
    for kind in KINDS:
        for name, columns in asked[kind].items():
            if name in found:
                raise ConfigError(f"modalities have names of their own; {name!r} came twice; rename one")
            found[name] = schema.KINDS[kind.capitalize()]([columns] if isinstance(columns, str) else columns)
    for name, encoder in asked.get("encoder", {}).items():
        if not isinstance(own := found.get(name), schema.RAW):
            raw = [key for key, modality in found.items() if isinstance(modality, schema.RAW)]
            raise ConfigError(
                f"--encoder names a raw modality, here {', '.join(map(repr, raw)) or 'none'}; {name!r} came"
                f"{guess(name, raw)}"
            )
        found[name] = replace(own, encoder=encoder)
    if "on_corrupt" in asked:
        files = {name: own for name, own in found.items() if hasattr(own, "on_corrupt")}
        found |= {name: replace(own, on_corrupt=asked["on_corrupt"]) for name, own in files.items()}
    return found or None


def target_column(rows: pd.DataFrame, name: str) -> pd.Series:
    """The column to predict."""
    from polymodal.data.door.columns import few

    if name not in rows:
        known = [str(column) for column in rows.columns]
        raise DataError(
            f"the target is a column of the table, which has {few(known)}; {name!r} came{guess(name, known)}"
        )
    return rows[name]


def _is_regression(target: pd.Series, task: str | None) -> bool:
    from pandas.api.types import is_float_dtype

    if task not in (None, "classification", "regression"):
        raise ConfigError(
            f"task is classification or regression; {task!r} came; leave it out to let polymodal see"
        )
    if task is None:
        return is_float_dtype(target) and bool((target.dropna() % 1 != 0).any())
    return task == "regression"


def labels_of(column: pd.Series, *, regression: bool) -> np.ndarray:
    """(n,) labels of a column, None or NaN where its cell is empty; whole numbers stay whole despite gaps."""
    import numpy as np
    from pandas.api.types import is_float_dtype, is_numeric_dtype

    if regression and is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    whole = is_float_dtype(column) and not (column.dropna() % 1 != 0).any()
    cells = [
        None if empty else int(cell) if whole else cell
        for cell, empty in zip(column, column.isna(), strict=True)
    ]
    return np.array(cells, dtype=object)


def predicted(model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """``prediction`` and one ``probability:CLASS`` a class; multi-label: one ``prediction:LABEL`` a label."""
    import pandas as pd

    prediction = model.predict(rows)
    if prediction.ndim == 2:
        found = {f"prediction:{c}": prediction[:, i] for i, c in enumerate(model.classes_)}
    else:
        found = {"prediction": prediction}
    if hasattr(model, "predict_proba"):
        chances = model.predict_proba(rows)
        found |= {f"probability:{c}": chances[:, i] for i, c in enumerate(model.classes_)}
    return pd.DataFrame(found)
