"""PgM as scikit-learn estimators, its settings spelt out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal import methods
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.settings import settings_of
from polymodal.schema import Modality


class PgMClassifier(MethodClassifier):
    """PgM (arXiv 2507.11661) as a classifier: multi-class, or multi-label when y is 2-D.

    Every modality's representation is split into a uni-modal part, read alone, and a paired part, read with
    those of the other modalities; a head reads the features of both. The first 2/7 of the epochs learn the
    split by rebuilding the representations, the others the task as well.

    Args:
        modalities: as for :class:`MethodClassifier`.
        d_latent: width D of a representation, in neurons.
        chunk: neurons that share a gate; the width is a multiple of it.
        d_token: width of a token inside the learners.
        n_layers: attention layers of each learner; 0 leaves the learners out.
        n_iterations: rounds N through learners and decoder, with the same weights.
        gate: row (a cut for each row), static (one for all), sigmoid (no order), fixed (half and half) or
            open (no mask).
        mask: what the masks hide: chunks (tokens are chunks of neurons), channels (single neurons) or values.
        parts: parts that are learnt: both, or uni or paired alone.
        d_decoder: hidden width of the decoder; 0 for a linear one.
        fusion: concat, gated, attention, or partitioned (uni parts vote late, paired parts fuse early).
        schedule: two_stage (reconstruction first), joint (one stage) or ramp (one, the task grows in).
        pretrain_share: share of the epochs for the first stage, or for the growing in.
        alpha: weight of the pre-training losses beside the task.
        beta: weight of the task.
        uni_weight: weight of a task loss on each uni part alone.
        contrast_weight: weight of a contrast between the paired parts of two modalities of one row.
        overlap_weight: weight of a penalty on neurons that are in both parts.
        modality_dropout: share of the rows that lose a random part of their modalities in a training step.
        sequence: the branch of a ``Series``: ``"gru"`` or ``"transformer"``.
        dropout: in branches and learners.
        learning_rate: of AdamW.
        learning_rates: factors by part (branch, partitioner, uni, paired, decoder, head), part/modality or
            */modality.
        weight_decay: of AdamW.
        max_epochs: this and all further ones as for :class:`MethodClassifier`; 20 + 50 in the paper.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        d_latent: int = 64,
        chunk: int = 8,
        d_token: int = 16,
        n_layers: int = 1,
        n_iterations: int = 3,
        gate: str = "row",
        mask: str = "chunks",
        parts: str = "both",
        d_decoder: int = 64,
        fusion: str = "concat",
        schedule: str = "two_stage",
        pretrain_share: float = 2 / 7,
        alpha: float = 1.0,
        beta: float = 1.0,
        uni_weight: float = 0.0,
        contrast_weight: float = 0.0,
        overlap_weight: float = 0.0,
        modality_dropout: float = 0.5,
        sequence: str = "gru",
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        learning_rates: Mapping[str, float] | None = None,
        weight_decay: float = 1e-4,
        max_epochs: int = 70,
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
        self.d_latent = d_latent
        self.chunk = chunk
        self.d_token = d_token
        self.n_layers = n_layers
        self.n_iterations = n_iterations
        self.gate = gate
        self.mask = mask
        self.parts = parts
        self.d_decoder = d_decoder
        self.fusion = fusion
        self.schedule = schedule
        self.pretrain_share = pretrain_share
        self.alpha = alpha
        self.beta = beta
        self.uni_weight = uni_weight
        self.contrast_weight = contrast_weight
        self.overlap_weight = overlap_weight
        self.modality_dropout = modality_dropout
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.learning_rates = learning_rates
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
        return "pgm"

    def _method_settings(self) -> Mapping[str, Any]:
        return settings_of(self, methods.get("pgm").Config)


class PgMRegressor(MethodRegressor):
    """PgM (arXiv 2507.11661) as a regressor; an unlabelled row has NaN.

    Arguments are those of :class:`PgMClassifier`, less ``missing_label``.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        d_latent: int = 64,
        chunk: int = 8,
        d_token: int = 16,
        n_layers: int = 1,
        n_iterations: int = 3,
        gate: str = "row",
        mask: str = "chunks",
        parts: str = "both",
        d_decoder: int = 64,
        fusion: str = "concat",
        schedule: str = "two_stage",
        pretrain_share: float = 2 / 7,
        alpha: float = 1.0,
        beta: float = 1.0,
        uni_weight: float = 0.0,
        contrast_weight: float = 0.0,
        overlap_weight: float = 0.0,
        modality_dropout: float = 0.5,
        sequence: str = "gru",
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        learning_rates: Mapping[str, float] | None = None,
        weight_decay: float = 1e-4,
        max_epochs: int = 70,
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
        self.d_latent = d_latent
        self.chunk = chunk
        self.d_token = d_token
        self.n_layers = n_layers
        self.n_iterations = n_iterations
        self.gate = gate
        self.mask = mask
        self.parts = parts
        self.d_decoder = d_decoder
        self.fusion = fusion
        self.schedule = schedule
        self.pretrain_share = pretrain_share
        self.alpha = alpha
        self.beta = beta
        self.uni_weight = uni_weight
        self.contrast_weight = contrast_weight
        self.overlap_weight = overlap_weight
        self.modality_dropout = modality_dropout
        self.sequence = sequence
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.learning_rates = learning_rates
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
        return "pgm"

    def _method_settings(self) -> Mapping[str, Any]:
        return settings_of(self, methods.get("pgm").Config)
