"""scikit-learn estimators over the methods: thin shells that read, train, predict and save.

An estimator stores its settings in ``__init__``, judges them in ``fit``, and marks what it learnt with a
trailing underscore. Everything it does is done by another room: the data door reads, the method thinks,
the trainer trains, the evaluation counts.

    shell.py     what all estimators share: fit, predict, transform, subset_report, save
    multimodal.py the defaults: committees of simple models
    method.py    any registered method as a classifier or regressor
    robult.py    Robult with its settings spelt out
    pgm.py       PgM likewise
    retriever.py what all retrievers share: fit, embed, index, search, report; and PgM as one
    settings.py  from these to a method's settings
    saving.py    a fitted estimator as a model directory
    loading.py   and back
    subsets.py   every combination of modalities as a table, for estimators and floors
    calibrated.py    calibration, prediction sets and intervals, abstention
    trust.py     how far a calibrated estimator can be trusted, as tables
    worth.py     what each input is worth: Shapley values, the worth of what is missing
    shown.py     the card that a notebook shows, and the report
    information.py   what two modalities say of the label: alike, alone, and only together
"""

from polymodal.estimators.information import information_table
from polymodal.estimators.loading import load
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.multimodal import MultimodalClassifier, MultimodalRegressor, MultimodalRetriever
from polymodal.estimators.pgm import PgMClassifier, PgMRegressor
from polymodal.estimators.retriever import PgMRetriever
from polymodal.estimators.robult import RobultClassifier, RobultRegressor
from polymodal.estimators.shell import ROWS_PER_CHUNK, to_batch
from polymodal.estimators.subsets import subset_table
from polymodal.estimators.trust import calibration_table, coverage_table, reliability_table, risk_table
from polymodal.estimators.worth import acquisition_table, contribution_table, shapley_rows, shapley_table

__all__ = [
    "ROWS_PER_CHUNK",
    "MethodClassifier",
    "MethodRegressor",
    "MultimodalClassifier",
    "MultimodalRegressor",
    "MultimodalRetriever",
    "PgMClassifier",
    "PgMRegressor",
    "PgMRetriever",
    "RobultClassifier",
    "RobultRegressor",
    "acquisition_table",
    "calibration_table",
    "contribution_table",
    "coverage_table",
    "information_table",
    "load",
    "reliability_table",
    "risk_table",
    "shapley_rows",
    "shapley_table",
    "subset_table",
    "to_batch",
]
