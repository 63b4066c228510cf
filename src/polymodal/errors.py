"""Every error and warning a user can meet.

    PolymodalError
    ├── DataError          an input breaks a rule: a column, a row, a cell (also ValueError)
    │   ├── SchemaError    a modality is declared wrongly, or the input lacks what it declares
    │   ├── CellTypeError  cells are of a type that the modality does not take (also TypeError)
    │   └── LabelError     the labels break a rule
    ├── ConfigError        a setting is unknown or out of range (also ValueError)
    ├── CheckpointError    a file on disk cannot be trusted or understood (also ValueError)
    ├── TrainingError      a fit that cannot go on (also ArithmeticError)
    └── MissingExtraError  an optional package is needed (also ImportError)

    PolymodalWarning (UserWarning)
    ├── PresenceWarning    rows without any modality, cells that cannot be read and count as absent
    ├── TrainingWarning    a fit that ended, but about which one should know something
    ├── CalibrationWarning sets or intervals that hold everything: too few rows calibrate them
    └── CacheWarning       a cache of encoded cells that cannot be written to

An error is one sentence in three parts: the rule; what came; the way out.
"""


class PolymodalError(Exception):
    """Root of every error that this library raises on purpose."""


class DataError(PolymodalError, ValueError):
    """An input breaks a rule of the data door."""


class SchemaError(DataError):
    """A modality is declared wrongly, or the input lacks what the declaration names."""


class CellTypeError(DataError, TypeError):
    """Cells are of a type that the modality does not take: text, dates, sparse matrices."""


class LabelError(DataError):
    """The labels break a rule."""


class ConfigError(PolymodalError, ValueError):
    """A setting is unknown, of the wrong type, or out of range."""


class CheckpointError(PolymodalError, ValueError):
    """A checkpoint or model directory is damaged, hostile, or of an unknown format."""


class TrainingError(PolymodalError, ArithmeticError):
    """A loss is not finite: training cannot go on."""


class MissingExtraError(PolymodalError, ImportError):
    """A feature needs an optional package that is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package {package}, which is not installed; "
            f"run: pip install 'polymodal[{extra}]'"
        )


class PolymodalWarning(UserWarning):
    """Root of every warning that this library gives."""


class PresenceWarning(PolymodalWarning):
    """Rows without any modality, whose prediction is the training prior; cells that count as absent."""


class TrainingWarning(PolymodalWarning):
    """A fit that ended, but about which one should know something."""


class CalibrationWarning(PolymodalWarning):
    """Prediction sets or intervals that hold everything, because too few rows calibrate them."""


class CacheWarning(PolymodalWarning):
    """A cache of encoded cells cannot be written to: encoding goes on without it."""
