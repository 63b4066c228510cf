"""scikit-learn estimators over the methods: thin shells that read, train, predict and save.

An estimator stores its settings in ``__init__``, judges them in ``fit``, and marks what it learnt with a
trailing underscore. Everything it does is done by another room: the data door reads, the method thinks,
the trainer trains, the evaluation counts.

    shell.py     what all estimators share: fit, predict, transform, subset_report, save
    method.py    any registered method as a classifier or regressor
    robult.py    Robult with its settings spelt out
    pgm.py       PgM likewise
    retriever.py PgM for retrieval: fit, embed, index, search, report
    settings.py  from these to a method's settings
    saving.py    a fitted estimator as a model directory
    loading.py   and back
    report.py    every combination of modalities as a table, for estimators and floors
"""

from polymodal.estimators.loading import load
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.pgm import PgMClassifier, PgMRegressor
from polymodal.estimators.report import subset_table
from polymodal.estimators.retriever import PgMRetriever
from polymodal.estimators.robult import RobultClassifier, RobultRegressor
from polymodal.estimators.shell import ROWS_PER_CHUNK, to_batch

__all__ = [
    "ROWS_PER_CHUNK",
    "MethodClassifier",
    "MethodRegressor",
    "PgMClassifier",
    "PgMRegressor",
    "PgMRetriever",
    "RobultClassifier",
    "RobultRegressor",
    "load",
    "subset_table",
    "to_batch",
]
