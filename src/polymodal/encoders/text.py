"""Text without any download: hashed words and character n-grams, TF-IDF, and a truncated SVD.

Latent semantic analysis: Deerwester et al. (1990), "Indexing by latent semantic analysis".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray

from polymodal.encoders.base import Encoded, Kind

WIDTH = 128
"""Most components of the SVD; fewer where the training part has fewer texts or terms."""

MAX_TERMS = 2**15
"""The most frequent terms are kept: they bound the size of a saved model to 17 MB."""

N_SLOTS = 2**20
"""Terms are hashed into so many slots."""


class Tfidf:
    """Texts -> vectors, learnt on the training part.

    Terms are words, pairs of words, and the 3 to 5 characters within words, so that inflected and
    misspelt words still meet. A term's weight is (1 + log count) * idf with
    idf = log((1 + n) / (1 + number of texts with it)) + 1; a text's weights have norm 1; the SVD of the
    training part's weights maps them to at most 128 numbers. An empty text, and one whose terms training
    never saw, is the zero vector.

    Attributes:
        terms: (k,) int64 slots that are kept, ascending.
        idf: (k,) float32.
        components: (k, d) float32.
    """

    kind: Kind = "vector"
    terms: ndarray
    idf: ndarray
    components: ndarray

    @property
    def d_out(self) -> int:
        """Components of the SVD."""
        return int(self.components.shape[1])

    def fingerprint(self) -> None:
        """Never cached: it depends on the training part."""
        return

    def fit(self, cells: Sequence[str]) -> Tfidf:
        """Learn terms, their weights and the SVD."""
        from sklearn.utils.extmath import randomized_svd

        counts = self._counts(cells)
        n_texts = np.bincount(counts.indices, minlength=N_SLOTS)
        kept = np.argsort(-n_texts, kind="stable")[:MAX_TERMS]
        self.terms = np.sort(kept[: max(1, np.count_nonzero(n_texts))])  # one even where every text is empty
        self.idf = (np.log((1 + len(cells)) / (1 + n_texts[self.terms])) + 1).astype(np.float32)
        weights = self._weights(counts)
        width = min(WIDTH, *weights.shape)
        _, _, right = randomized_svd(weights, width, n_iter=5, random_state=0)
        self.components = np.ascontiguousarray(right.T, dtype=np.float32)
        return self

    def encode(self, cells: Sequence[str]) -> Encoded:
        """(n, d) float32."""
        return Encoded(np.asarray(self._weights(self._counts(cells)) @ self.components, dtype=np.float32))

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """No settings; slots, idf and components."""
        return {}, {"terms": self.terms, "idf": self.idf, "components": self.components}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> Tfidf:
        """The inverse of :meth:`state`."""
        del settings
        own = cls()
        own.terms = np.asarray(arrays["terms"], np.int64)
        own.idf = np.asarray(arrays["idf"], np.float32)
        own.components = np.asarray(arrays["components"], np.float32)
        if not len(own.terms) == len(own.idf) == len(own.components):
            raise ValueError("terms, idf and components have different lengths")
        return own

    def _counts(self, cells: Sequence[str]) -> Any:
        """(n, N_SLOTS) sparse counts of terms."""
        words, characters = self._hashers
        return words.transform(cells) + characters.transform(cells)

    def _weights(self, counts: Any) -> Any:
        """(n, k) sparse weights, each row of norm 1 or 0."""
        from sklearn.preprocessing import normalize

        own = counts[:, self.terms].astype(np.float32)
        own.data = 1 + np.log(own.data)
        own.data *= self.idf[own.indices]
        return normalize(own, copy=False)

    @cached_property
    def _hashers(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import HashingVectorizer

        common = {"n_features": N_SLOTS, "norm": None, "alternate_sign": False}
        words = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), **common)
        return words, HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **common)
