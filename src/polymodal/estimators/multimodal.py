"""The library's defaults: committees of simple models that classify, regress and retrieve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal import methods
from polymodal.estimators.method import MethodClassifier, MethodRegressor
from polymodal.estimators.retriever import Retriever
from polymodal.schema import Modality


class MultimodalClassifier(MethodClassifier):
    """The classifier to begin with: multi-class, or multi-label when y is 2-D.

    A committee of simple models of each modality, pooled for whatever a row has; it learns from unlabelled
    rows as long as labels that it never saw are told better for it. There is nothing to tune
    (``docs/committee.md``).

    Args:
        modalities: name -> ``Vector``, ``Tabular``, ``Series``, ``Text``, ``Image``, ``Audio`` or ``Video``
            of :mod:`polymodal.schema`; None infers the first three, or takes a 2-D array as one modality.
        floors: also learn the simple floors that ``subset_report`` shows beside it.
        missing_label: the integer label of an unlabelled row; None: there is no such label.
        device: where it predicts: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; it learns on the CPU.
        random_state: seed; the same seed gives the same model.
        verbose: show progress.

    Attributes:
        classes_: (C,) class labels (multi-label: names of y's columns, or their numbers).
        modalities_: the modalities with their columns.
        history_: one dict a generation; ``stopping_rule_`` says which was kept and why.
        labelled_fraction_: share of the training rows that had a label.
        method_: the fitted module.
    """

    validation_fraction = 0.0

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        floors: bool = True,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.floors = floors
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return methods.DEFAULT

    def _method_settings(self) -> Mapping[str, Any]:
        return {}


class MultimodalRegressor(MethodRegressor):
    """The regressor to begin with; an unlabelled row has NaN.

    Arguments and attributes are those of :class:`MultimodalClassifier`, less ``missing_label``.
    """

    validation_fraction = 0.0

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        floors: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.floors = floors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return methods.DEFAULT

    def _method_settings(self) -> Mapping[str, Any]:
        return {}


class MultimodalRetriever(Retriever):
    """The retriever to begin with: one common space in which each modality is embedded alone.

    Unlike common spaces side by side: canonical components, those of a kernel, networks that learn by
    contrast, and class probabilities where there are classes. How much each counts is learnt on held-out
    pairs. There is nothing to tune (``docs/retrieval.md``).

    Args:
        modalities: name -> a kind of :mod:`polymodal.schema`; None infers them from a mapping. Two at least.
        missing_label: the integer label of an unlabelled row; None: there is no such label.
        device: where it embeds: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; it learns on the CPU.
        random_state: seed; the same seed gives the same space.
        verbose: show progress.

    Attributes:
        classes_: (C,) class labels; none where it learnt without y.
        modalities_: the modalities with their columns.
        history_: one dict: the weights of the spaces and what held-out pairs say of them;
            ``stopping_rule_`` says how many these were.
        labelled_fraction_: share of the training rows that had a label.
        method_: the fitted module.
        collection_: modality -> (n, d) embeddings of what :meth:`index` was given.
    """

    shown_as = "matching"
    validation_fraction = 0.0

    def __init__(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return "matching"

    def _method_settings(self) -> Mapping[str, Any]:
        return {}
