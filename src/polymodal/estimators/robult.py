"""Robult as scikit-learn estimators, its settings spelt out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal import methods
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.settings import settings_of
from polymodal.schema import Modality


class RobultClassifier(MethodClassifier):
    """Robult (arXiv 2509.03477) as a classifier: multi-class, or multi-label when y is 2-D.

    One branch a modality and one shared classifier; learns from unlabelled rows and rows that lack
    modalities; a prediction is the mean of the present branches' probabilities.

    Args:
        modalities: as for :class:`MethodClassifier`.
        preset: ``"default"``, or ``"mosi"`` for aligned text, audio and video of 50 steps.
        d_latent: width of the latent space; None takes the preset's.
        d_unique: width of the unique part of a modality; 0 for none; None takes the preset's.
        temperature: of the contrast.
        weighting: how pseudo-labelled pairs are weighted in the contrast.
        loss_weights: weight of each loss term by name; a missing name weighs 1.
        ramp: share of the epochs over which the unlabelled contrast is faded in.
        sequence: the branch of a ``Series``: ``"gru"`` or ``"transformer"``.
        dropout: in the branches.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        max_epochs: this and all further ones as for :class:`MethodClassifier`.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        preset: str = "default",
        d_latent: int | None = None,
        d_unique: int | None = None,
        temperature: float = 0.3,
        weighting: str = "l1",
        loss_weights: Mapping[str, float] | None = None,
        ramp: float = 0.2,
        sequence: str = "gru",
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        tensorboard: bool = False,
        floors: bool = True,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.preset = preset
        self.d_latent = d_latent
        self.d_unique = d_unique
        self.temperature = temperature
        self.weighting = weighting
        self.loss_weights = loss_weights
        self.ramp = ramp
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.tensorboard = tensorboard
        self.floors = floors
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "robult"

    def _method_settings(self) -> Mapping[str, Any]:
        return settings_of(self, methods.get("robult").Config)


class RobultRegressor(MethodRegressor):
    """Robult (arXiv 2509.03477) as a regressor; an unlabelled row has NaN.

    The contrast's classes are bins of y. Arguments are those of :class:`RobultClassifier`, less
    ``missing_label``.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        preset: str = "default",
        d_latent: int | None = None,
        d_unique: int | None = None,
        temperature: float = 0.3,
        weighting: str = "l1",
        loss_weights: Mapping[str, float] | None = None,
        ramp: float = 0.2,
        sequence: str = "gru",
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        tensorboard: bool = False,
        floors: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.preset = preset
        self.d_latent = d_latent
        self.d_unique = d_unique
        self.temperature = temperature
        self.weighting = weighting
        self.loss_weights = loss_weights
        self.ramp = ramp
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.tensorboard = tensorboard
        self.floors = floors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "robult"

    def _method_settings(self) -> Mapping[str, Any]:
        return settings_of(self, methods.get("robult").Config)
