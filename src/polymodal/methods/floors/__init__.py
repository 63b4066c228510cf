"""Floors: scikit-learn's own models behind the estimator interface, to stand beside every figure.

    majority             class shares of the labelled rows, or their mean: reads no input
    best_single          the one modality that cross-validates best; the next best where it is absent
    late_fusion          mean of the present modalities' linear models
    imputation_concat    one linear model on all modalities side by side, means for the absent ones
    dropout_concat       the same with presence indicators, trained on copies of rows that lost modalities
    self_training        late fusion, whose confident predictions are labels for three further generations
    soft_self_training   the same with all predictions, sharpened and aligned to the class shares
    gradient_boosting    boosted trees on all modalities side by side, NaN for the absent ones
    random_forest        a forest on the same

A linear model is scikit-learn's ``LogisticRegression`` (one a label for multi-label) or ``RidgeCV`` on the
data door's standardised columns; a sequence becomes its columns' mean, standard deviation, minimum, maximum
and last value, and its length. Only the numbers that a linear model learnt are kept.

    views.py         what a floor sees
    linear.py        a linear model
    shell.py         what all floors share
    concat.py, per_modality.py, trees.py    the floors
    retrieval.py     floors of cross-modal retrieval

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

from collections.abc import Iterator

from polymodal.batch import TaskKind
from polymodal.methods.floors.concat import DropoutConcat, ImputationConcat, Majority
from polymodal.methods.floors.per_modality import BestSingle, LateFusion, SelfTraining, SoftSelfTraining
from polymodal.methods.floors.shell import Floor
from polymodal.methods.floors.trees import GradientBoosting, RandomForest

FLOORS: dict[str, type[Floor]] = {
    "majority": Majority,
    "best_single": BestSingle,
    "late_fusion": LateFusion,
    "imputation_concat": ImputationConcat,
    "dropout_concat": DropoutConcat,
    "self_training": SelfTraining,
    "soft_self_training": SoftSelfTraining,
    "gradient_boosting": GradientBoosting,
    "random_forest": RandomForest,
}


def floors_for(kind: TaskKind) -> Iterator[str]:
    """Names of the floors that are defined for a task kind."""
    return (name for name, floor in FLOORS.items() if kind in floor.kinds)


__all__ = ["FLOORS", "Floor", "floors_for"]
