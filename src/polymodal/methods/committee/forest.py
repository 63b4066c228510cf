"""The committee's forests: extremely randomised trees, grown by scikit-learn and kept as tensors.

Source: Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006. A tree is a range
of nodes in flat tensors, so that a forest is saved like any weights and runs on any device; it predicts what
scikit-learn's own does, absent columns (NaN) included. Boosted trees (:mod:`.boosting`) are kept
alike, and add up.

Letters: B rows, d width, C outputs, K trees, N nodes of all trees, L leaves of all trees.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from torch import Tensor, nn

from polymodal.errors import CheckpointError
from polymodal.methods.committee.boosting import Boosted

ENTRIES_PER_PASS = 2**20
"""Rows times trees that walk together, at most."""


def grow(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    *,
    n_trees: int,
    max_features: float | str = "sqrt",
    seed: int,
) -> ExtraTreesRegressor:
    """A forest of trees with leaves of at least two rows.

    Args:
        x: (n, d) float32, n at least 1; NaN where a column is absent.
        target: (n, C) without NaN.
        weight: (n,) of the rows.
        n_trees: K.
        max_features: columns tried at a node: ``"sqrt"`` of d, or a share.
        seed: of the draws.
    """
    forest = ExtraTreesRegressor(
        n_trees, min_samples_leaf=2, max_features=max_features, random_state=seed, n_jobs=1
    )
    return forest.fit(x, target[:, 0] if target.shape[1] == 1 else target, sample_weight=weight)


@dataclass(frozen=True)
class Tree:
    """Nodes of a tree, or of several behind each other.

    Attributes:
        feature: (N,) -1 for a leaf.
        threshold: (N,).
        missing_left: (N,) bool.
        children: (N, 2), counted from the tree's first node.
        value: (N, C), of leaves.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    children: np.ndarray
    value: np.ndarray


def _averaged(grown: ExtraTreesRegressor) -> list[Tree]:
    """The trees of a forest."""
    found = []
    for tree in (estimator.tree_ for estimator in grown.estimators_):
        nodes = tree.__getstate__()["nodes"]
        children = np.stack([nodes["left_child"], nodes["right_child"]], axis=1)
        feature = np.where(nodes["left_child"] < 0, -1, nodes["feature"])
        missing_left = nodes["missing_go_to_left"].astype(bool)
        found.append(Tree(feature, nodes["threshold"], missing_left, children, tree.value[:, :, 0]))
    return found


def _boosted(grown: Boosted) -> list[Tree]:
    """Trees that add up, and before them a single leaf: what all start from."""
    first = (np.full(1, -1), np.zeros(1), np.zeros(1, dtype=bool), np.zeros((1, 2), dtype=np.int64))
    found = [Tree(*first, grown.start[None])]
    for own, nodes in grown.trees:
        children = np.stack([nodes["left"], nodes["right"]], axis=1).astype(np.int64)
        feature = np.where(nodes["is_leaf"], -1, nodes["feature_idx"].astype(np.int64))
        value = nodes["value"][:, None] * np.eye(grown.n_classes)[own]
        missing_left = nodes["missing_go_to_left"].astype(bool)
        found.append(Tree(feature, nodes["num_threshold"], missing_left, children, value))
    return found


class Forest(nn.Module):
    """A forest as tensors; without trees until :meth:`take` or a saved state fills it.

    Attributes:
        feature: (N,) int32, the column that a node asks for; -1 for a leaf.
        threshold: (N,) float32: at most this goes left.
        missing_left: (N,) bool: where NaN goes left.
        below: (N, 2) int32: left and right child; a leaf is its own.
        leaf: (N,) int32: row of ``value``; 0 for a node that is none.
        value: (L, C) float32: what a leaf says.
        roots: (K,) int32.
        adds: () bool: trees add up (boosted ones) instead of being averaged.
    """

    feature: Tensor
    threshold: Tensor
    missing_left: Tensor
    below: Tensor
    leaf: Tensor
    value: Tensor
    roots: Tensor
    adds: Tensor

    def __init__(self, d: int, n_outputs: int) -> None:
        super().__init__()
        self.d, self.n_outputs = d, n_outputs
        for name, (shape, dtype) in self._layout(0, 0, 0).items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        self.register_buffer("adds", torch.zeros((), dtype=torch.bool))
        self.depth = 0

    def _layout(self, n_nodes: int, n_leaves: int, n_trees: int) -> dict[str, tuple[tuple[int, ...], Any]]:
        return {
            "feature": ((n_nodes,), torch.int32),
            "threshold": ((n_nodes,), torch.float32),
            "missing_left": ((n_nodes,), torch.bool),
            "below": ((n_nodes, 2), torch.int32),
            "leaf": ((n_nodes,), torch.int32),
            "value": ((n_leaves, self.n_outputs), torch.float32),
            "roots": ((n_trees,), torch.int32),
        }

    @property
    def n_trees(self) -> int:
        """K; 0 for a forest that is not there."""
        return len(self.roots)

    def take(self, grown: ExtraTreesRegressor | Boosted) -> None:
        """Become the trees that scikit-learn grew."""
        self._fill(_boosted(grown) if isinstance(grown, Boosted) else _averaged(grown))
        self.adds.fill_(isinstance(grown, Boosted))

    def _fill(self, trees: list[Tree]) -> None:
        sizes = [len(tree.feature) for tree in trees]
        first = np.cumsum([0, *sizes])
        offset = np.repeat(first[:-1], sizes)
        feature, threshold, missing_left, children, value = (
            np.concatenate([getattr(tree, field.name) for tree in trees]) for field in fields(Tree)
        )
        own, is_leaf = np.arange(len(feature)), feature < 0
        parts = {
            "feature": feature,
            "threshold": _not_above(np.where(is_leaf, 0.0, threshold)),
            "missing_left": missing_left & ~is_leaf,
            "below": np.where(is_leaf[:, None], own[:, None], children + offset[:, None]),
            "leaf": np.where(is_leaf, np.cumsum(is_leaf) - 1, 0),
            "value": value[is_leaf],
            "roots": first[:-1],
        }
        layout = self._layout(len(feature), int(is_leaf.sum()), len(trees))
        for name, (_, dtype) in layout.items():
            setattr(self, name, torch.from_numpy(np.ascontiguousarray(parts[name])).to(dtype))
        self.depth = self._judged_depth()

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) to (B, C): the mean over the trees, or the sum of boosted ones. NaN is an absent column."""
        n_rows = max(1, ENTRIES_PER_PASS // max(self.n_trees, 1))
        return (
            torch.cat([self._walk(part) for part in x.split(n_rows)])
            if len(x)
            else x.new_zeros(0, self.n_outputs)
        )

    def _walk(self, x: Tensor) -> Tensor:
        """All trees side by side, one step down for every row at a time."""
        flat = self.below.flatten()
        node = self.roots.long().expand(len(x), -1)
        for _ in range(self.depth):
            seen = x.gather(1, self.feature[node].clamp(min=0).long())
            left = (seen <= self.threshold[node]) | (seen.isnan() & self.missing_left[node])
            node = flat[2 * node + (~left).long()].long()
        leaves = self.leaf[node]
        total = x.new_zeros(len(x), self.n_outputs)
        for tree in leaves.unbind(1):
            total += self.value[tree]
        return torch.where(self.adds, total, total / self.n_trees)

    # ---- keeping ----

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """Take the sizes of what was saved, which depend on the rows it grew from, and judge it."""
        for name in self._layout(0, 0, 0):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.dtype == getattr(self, name).dtype:
                setattr(self, name, torch.empty(saved.shape, dtype=saved.dtype))
        # models of before have no word for it
        state_dict.setdefault(prefix + "adds", torch.zeros((), dtype=torch.bool))
        super()._load_from_state_dict(state_dict, prefix, *more)
        self.depth = self._judged_depth()

    def _judged_depth(self) -> int:
        """Longest way from a root to a leaf.

        Raises:
            CheckpointError: the nodes are no trees: a walk would leave them, or never end.
        """
        n_nodes, n_leaves = len(self.feature), len(self.value)
        own = torch.arange(n_nodes)
        is_leaf = self.feature < 0
        shapes = self._layout(n_nodes, n_leaves, self.n_trees)
        sound = all(tuple(getattr(self, name).shape) == shape for name, (shape, _) in shapes.items())
        sound = sound and bool(
            (self.feature < self.d).all()
            and (self.below < n_nodes).all()
            and (torch.where(is_leaf, own == self.below.T, own < self.below.T)).all()
            and ((self.leaf >= 0) & ((self.leaf < n_leaves) | ~is_leaf)).all()
            and ((self.roots >= 0) & (self.roots < n_nodes)).all()
        )
        if not sound:
            raise CheckpointError(
                "a saved forest is trees, each node above its children; this one is not; restore the model "
                "as it was saved"
            )
        depth, level = 0, self.roots[~is_leaf[self.roots.long()]].long()
        while len(level):
            depth += 1
            level = self.below[level].flatten().long().unique()
            level = level[~is_leaf[level]]
        return depth


def _not_above(threshold: np.ndarray) -> np.ndarray:
    """float32 numbers not above these: a float32 x is at most the one just where it is at most the other."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
