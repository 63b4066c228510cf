"""Retrievers: what belongs together is found across modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from polymodal import methods, retrieval, training
from polymodal.data import door, splits
from polymodal.data.labels import Labels, known_classes, read_classes
from polymodal.data.preprocessing import Preprocessor
from polymodal.data.unreadable import said_once
from polymodal.errors import ConfigError, DataError
from polymodal.estimators.settings import seed_of, settings_of
from polymodal.estimators.shell import (
    MIN_VALIDATION_ROWS,
    TrainedEstimator,
    refuse_what_only_the_loop_reads,
    to_batch,
)
from polymodal.schema import Modality


class Retriever(TrainedEstimator):
    """Learning, embedding, searching and evaluating, for any registered method of retrieval."""

    missing_label: int | None
    shown_as: ClassVar[str]
    """Name of the method in a report."""

    collection_: dict[str, np.ndarray]

    # ---- learning ----

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, resume: bool = False) -> Self:
        """Learn the common space from pairs, and from classes where some are known.

        Args:
            X: n rows: a DataFrame, a mapping of arrays by modality, or a 2-D array with declared modalities.
                A row that has one modality only learns its reconstruction and its class.
            y: n classes; an unlabelled row has None, NaN or ``missing_label``. None: no classes at all.
            groups: n group names (subjects, users); a group is never on both sides of the validation split.
            resume: go on from the newest sound checkpoint in ``checkpoint_dir``, if there is one.

        Returns:
            The estimator itself.

        Raises:
            DataError: X or y breaks a rule of the data door, or there are no pairs.
            ConfigError: a setting is unknown or out of range.
        """
        settings = self._judged_settings()
        seed = seed_of(self.random_state)
        schema = door.bind(X, self.modalities)
        with said_once():
            encoders, table = self._encode(door.read(X, schema, fitting=True))
        pairs = judged_pairs(table.presence, tuple(schema))
        groups = None if groups is None else splits.group_codes(groups, table.n_rows)
        labels = self._read_labels(y, table.n_rows)
        preprocessor = Preprocessor().fit(table)
        everything = to_batch(preprocessor.transform(table), labels)
        sources = encoders.inputs(preprocessor.inputs, table)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = self._new_method(sources, labels)
        if method.learns_alone:
            refuse_what_only_the_loop_reads(self, None, resume)
            self.history_ = method.learn(
                everything,
                seed=seed,
                groups=groups,
                verbose=self.verbose,
            )
            rule = self.history_[-1]["rule"]
            method.to(training.choose_device(self.device)).eval()
        else:
            held, kept, rule = self._validation_rows(pairs, seed, groups)
            self.history_ = training.fit(
                method,
                everything.rows(torch.from_numpy(kept)) if len(held) else everything,
                everything.rows(torch.from_numpy(held)) if len(held) else None,
                settings,
                seed=seed,
                device=str(training.choose_device(self.device)),
                resume=resume,
                verbose=self.verbose,
            )
        self.stopping_rule_ = rule
        self.floors_ = {}
        self._keep(method, encoders, preprocessor, schema, labels, X)
        self.__dict__.pop("collection_", None)  # embedded by an earlier fit
        return self

    def _read_labels(self, y: Any, n: int) -> Labels:
        if y is None:
            return Labels("retrieval", np.zeros(n, np.int64), np.zeros(n, bool), np.empty(0, np.int64))
        return replace(read_classes(y, n, self.missing_label), kind="retrieval")

    def _validation_rows(
        self, pairs: np.ndarray, seed: int, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Rows held out, rows to learn from, and the rule in words."""
        everything, none = np.arange(len(pairs)), np.empty(0, dtype=np.int64)
        if self.validation_fraction == 0:
            return none, everything, "fixed epochs: validation_fraction is 0"
        random = np.random.default_rng(seed)
        names = everything if groups is None else groups
        drawn = random.permutation(names.max() + 1)
        chosen = drawn[: round(self.validation_fraction * len(drawn))]
        mine = np.isin(names, chosen)
        held = np.flatnonzero(mine & pairs)
        if len(held) < MIN_VALIDATION_ROWS or not (pairs & ~mine).any():
            few = f"{len(held)} validation pairs would be fewer than {MIN_VALIDATION_ROWS}"
            return none, everything, f"fixed epochs: {few}, too few to stop by"
        what = "pairs" if groups is None else "pairs, whole groups"
        return held, np.flatnonzero(~mine), f"early stopping on {len(held)} held-out {what}"

    # ---- embedding and searching ----

    def embed(self, X: Any, modality: str) -> np.ndarray:
        """One modality of each row in the common space.

        Args:
            X: n rows in the form of the training input; other modalities may be there and are not read.
            modality: its name.

        Returns:
            (n, d) float32 of unit length; rows of NaN where the modality is absent.

        Raises:
            ConfigError: there is no such modality.
        """
        check_is_fitted(self)
        self._judge_modality(modality)
        return self._embeddings(door.restrict(X, self.modalities_, (modality,)))[modality]

    def _embeddings(self, X: Any) -> dict[str, np.ndarray]:
        """Modality -> (n, d), NaN where absent."""
        found, _ = self.latents(X, ("embeddings",))
        return {name: found["embeddings"][:, m] for m, name in enumerate(self.modalities_)}

    def _judge_modality(self, name: Any) -> None:
        if name not in self.modalities_:
            raise ConfigError(
                f"a modality is one of {', '.join(self.modalities_)}; {name!r} came; name one of these"
            )

    def index(self, X: Any) -> Self:
        """Embed a collection, to be searched; it takes the place of the one before.

        Args:
            X: n rows in the form of the training input, with whatever modalities they have.
        """
        check_is_fitted(self)
        self.collection_ = self._embeddings(X)
        return self

    def search(
        self, query: Any, k: int = 10, *, find: str, engine: Literal["exact", "faiss"] = "exact"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k rows of the collection whose modality ``find`` comes closest to each query.

        Args:
            query: q rows in the form of the training input, of one modality.
            k: how many rows to find.
            find: the modality to be found.
            engine: ``"exact"``, or ``"faiss"`` for FAISS's exact index (``polymodal[faiss]``).

        Returns:
            Cosines (q, k), falling, and row numbers of the collection (q, k). Where it has fewer rows with
            the modality, and for a query that is absent, NaN and -1.

        Raises:
            ConfigError: no collection, no such modality, a query of several modalities or of none, or k or
                engine out of range.
            MissingExtraError: FAISS is not installed.
        """
        check_is_fitted(self)
        if not hasattr(self, "collection_"):
            raise ConfigError("a search needs a collection; none is there; call index(X) first")
        self._judge_modality(find)
        engines = {"exact": retrieval.search, "faiss": retrieval.search_faiss}
        if engine not in engines:
            raise ConfigError(f"engine is exact or faiss; got {engine!r}; take exact")
        return engines[engine](self._query(query), self.collection_[find], k)

    def _query(self, query: Any) -> np.ndarray:
        """(q, d) of the one modality that the queries have."""
        spaces = {n: e for n, e in self._embeddings(query).items() if retrieval.present(e).any()}
        if len(spaces) != 1:
            came = " and ".join(spaces) or "none"
            raise ConfigError(f"a query is of one modality; {came} came; pass one of them alone")
        return next(iter(spaces.values()))

    # ---- evaluating ----

    def report(self, X: Any, y: Any = None, *, dataset: str = "", seed: int = 0) -> pd.DataFrame:
        """Every direction of search among the rows of X, beside a random ranking.

        Args:
            X: n rows in the form of the training input.
            y: n classes, those of training or others; unlabelled rows are left out of ``map``.
            dataset: name of the data for the table.
            seed: of the run, for the table.

        Returns:
            Columns dataset, method, seed, labels, subset (the direction), metric, value; see
            :func:`polymodal.retrieval.retrieval_report`.
        """
        check_is_fitted(self)
        codes = None
        if y is not None:
            rows, known = known_classes(y, door.n_rows(X), self.missing_label)
            codes = np.full(len(rows), -1)
            codes[rows] = np.unique(known, return_inverse=True)[1]
        return retrieval.retrieval_report(
            self._embeddings(X),
            codes,
            dataset=dataset,
            method=self.shown_as,
            seed=seed,
            labels=self.labelled_fraction_,
        )


def judged_pairs(presence: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Rows (n,) that have two modalities or more.

    Raises:
        DataError: one modality only, or no such row.
    """
    if len(names) < 2:
        raise DataError(
            f"retrieval is from one modality to another; only {names[0]!r} came; declare two or more"
        )
    pairs = presence.sum(axis=1) > 1
    if not pairs.any():
        raise DataError(
            f"retrieval learns from rows that have two modalities; none of {len(pairs)} rows has; "
            "put what belongs together into one row"
        )
    return pairs


class PgMRetriever(Retriever):
    """PgM (arXiv 2507.11661) for retrieval: one common space in which each modality is embedded alone.

    Learns from pairs, from classes where there are any, and from rows that have one modality only. A query of
    one modality then finds the rows of a collection by another one.

    Args:
        modalities: name -> a kind of :mod:`polymodal.schema`; None infers them from a mapping. Two at least.
        d_latent: width D of a representation, in neurons.
        d_embed: width of the common space that the contrast learns; C class probabilities come beside it.
        chunk: neurons that share a gate; the width is a multiple of it.
        d_token: width of a token inside the learners.
        n_layers: attention layers of each learner; 0 leaves the learners out.
        n_iterations: rounds N through learners and decoder, with the same weights.
        gate: row (a cut for each row), static (one for all), sigmoid (no order), fixed (half and half) or
            open (no partition).
        mask: what the masks hide: chunks (tokens are chunks of neurons), channels (single neurons) or values.
        parts: both, or uni or paired alone.
        d_decoder: hidden width of the decoder; 0 for a linear one.
        pretrain_share: share of the epochs for the first stage.
        alpha: weight of the reconstruction in the second stage.
        pair_weight: weight of the contrast between the two sides of a pair.
        class_weight: weight of the classifier that all modalities share.
        temperature: of the contrast.
        class_temperature: of the classifier.
        same_class: rows of one class are positives of each other in the contrast.
        semantic: length of the class probabilities in the common space, beside the contrast's 1.
        input_dropout: share of the input numbers that a training step sets to 0.
        sequence: the branch of a ``Series``: ``"gru"`` or ``"transformer"``.
        dropout: in branches, learners and before the common space.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        max_epochs: epochs over both stages.
        batch_size: rows a step; each pair's negatives are the other rows of its batch.
        labelled_share: least share of labelled rows in a batch, where some are labelled.
        validation_fraction: share of the pairs held out for early stopping on what training minimises; 0 for
            fixed epochs.
        patience: epochs without a better validation loss before training stops.
        precision: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        checkpoint_dir: folder for a checkpoint each epoch; None for none.
        log_dir: folder for ``history.jsonl``; None for none.
        tensorboard: also write TensorBoard event files to ``log_dir``.
        missing_label: the integer label of an unlabelled row; None: there is no such label.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        random_state: seed; the same seed gives the same weights.
        verbose: show progress.

    Attributes:
        classes_: (C,) class labels; none where it learnt without y.
        modalities_: the modalities with their columns.
        history_: one dict an epoch; ``stopping_rule_`` says how its length was decided.
        labelled_fraction_: share of the training rows that had a label.
        method_: the trained module.
        collection_: modality -> (n, d) embeddings of what :meth:`index` was given.
    """

    shown_as = "pgm"

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        d_latent: int = 64,
        d_embed: int = 64,
        chunk: int = 8,
        d_token: int = 16,
        n_layers: int = 1,
        n_iterations: int = 3,
        gate: str = "row",
        mask: str = "chunks",
        parts: str = "both",
        d_decoder: int = 64,
        pretrain_share: float = 2 / 7,
        alpha: float = 1.0,
        pair_weight: float = 1.0,
        class_weight: float = 1.0,
        temperature: float = 0.1,
        class_temperature: float = 0.1,
        same_class: bool = True,
        semantic: float = 0.5,
        input_dropout: float = 0.3,
        sequence: str = "gru",
        dropout: float = 0.2,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        max_epochs: int = 40,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.0,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        tensorboard: bool = False,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.d_latent = d_latent
        self.d_embed = d_embed
        self.chunk = chunk
        self.d_token = d_token
        self.n_layers = n_layers
        self.n_iterations = n_iterations
        self.gate = gate
        self.mask = mask
        self.parts = parts
        self.d_decoder = d_decoder
        self.pretrain_share = pretrain_share
        self.alpha = alpha
        self.pair_weight = pair_weight
        self.class_weight = class_weight
        self.temperature = temperature
        self.class_temperature = class_temperature
        self.same_class = same_class
        self.semantic = semantic
        self.input_dropout = input_dropout
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
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "pgm_retrieval"

    def _method_settings(self) -> Mapping[str, Any]:
        return settings_of(self, methods.get("pgm_retrieval").Config)
