"""One form for every classifier: an intercept, a weight per column and trees, whose sum is a score in log-odds.

A logistic regression is a score without trees, a forest or boosted trees one without weights. Saved as JSON; what is
read back predicts the same to the last bit, and needs neither of the libraries that trained it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rectitude.core.errors import RunError

_BLOCK = 1 << 20
"""Cells (rows × trees) that are walked at once: 8 MB for each of the arrays of a step."""


@dataclass(frozen=True)
class Trees:
    """Binary trees as flat arrays over N nodes; a row goes left where its value is at most the threshold.

    Attributes:
        roots: First node of each tree, int32 [T].
        column: Column a node looks at, −1 at a leaf, int32 [N].
        threshold: float64 [N].
        left: Node on the left; a leaf is its own child, int32 [N].
        right: Node on the right, int32 [N].
        value: What a leaf adds to the score, 0 elsewhere, float64 [N].
    """

    roots: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, nodes: Sequence[tuple[int, float, int, int, float]], roots: Sequence[int]) -> Trees:
        """From (column, threshold, left, right, value) per node."""
        rows: list[tuple[Any, ...]] = list(zip(*nodes, strict=True)) if nodes else [()] * 5
        integers = [np.array(rows[index], dtype=np.int32) for index in (0, 2, 3)]
        return cls(
            np.array(roots, dtype=np.int32),
            integers[0],
            np.array(rows[1], dtype=np.float64),
            integers[1],
            integers[2],
            np.array(rows[4], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.roots)

    def sum(self, matrix: np.ndarray) -> np.ndarray:
        """Sum of the leaves that each row reaches; float64 [n, columns] to [n]."""
        found = np.zeros(len(matrix))
        if not len(self):
            return found
        step = max(1, _BLOCK // len(self))
        for start in range(0, len(matrix), step):
            block = matrix[start : start + step]
            rows = np.arange(len(block))[:, None]
            node = np.broadcast_to(self.roots, (len(block), len(self)))
            while True:
                column = self.column[node]
                if not (column >= 0).any():
                    break
                goes_left = block[rows, column] <= self.threshold[node]
                node = np.where(goes_left, self.left[node], self.right[node])
            found[start : start + step] = self.value[node].sum(axis=1)
        return found


NO_TREES = Trees.of([], [])


@dataclass(frozen=True)
class Score:
    """A classifier's score in log-odds of the good outcome.

    Attributes:
        base: Intercept.
        weights: One per column, float64 [columns].
        trees: What is added to the linear part.
    """

    base: float
    weights: np.ndarray
    trees: Trees

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds of each row of an encoded table, float64 [n, columns] to [n]."""
        return np.asarray(self.base + matrix @ self.weights + self.trees.sum(matrix))

    def stretched(self, slope: float, shift: float) -> Score:
        """``slope · score + shift`` as a score of its own: calibration folded into the model."""
        trees = self.trees
        trees = Trees(trees.roots, trees.column, trees.threshold, trees.left, trees.right, trees.value * slope)
        return Score(self.base * slope + shift, self.weights * slope, trees)

    def thresholds(self, column: int) -> np.ndarray:
        """Where the trees cut a column, ascending."""
        return np.unique(self.trees.threshold[self.trees.column == column])

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; Python writes floats so that they are read back exactly."""
        trees = self.trees
        return {
            "base": self.base,
            "weights": self.weights.tolist(),
            "trees": {name: getattr(trees, name).tolist() for name in Trees.__dataclass_fields__},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, n_columns: int, where: str) -> Score:
        """The inverse of :meth:`to_dict`.

        Raises:
            RunError: It is not what :meth:`to_dict` writes, or does not fit the table.
        """
        try:
            parts = values["trees"]
            trees = Trees(
                *(
                    np.array(parts[name], dtype=np.float64 if name in ("threshold", "value") else np.int32)
                    for name in Trees.__dataclass_fields__
                )
            )
            score = cls(float(values["base"]), np.array(values["weights"], dtype=np.float64), trees)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"The model is damaged: {error}", where=where, fix="Fit it again") from error
        _check(score, n_columns, where)
        return score


def _check(score: Score, n_columns: int, where: str) -> None:
    """A damaged model must not loop for ever or look outside the table."""
    trees, n_nodes = score.trees, len(score.trees.column)
    inner = trees.column >= 0
    own = np.arange(n_nodes)
    whole = (
        len(score.weights) == n_columns
        and len({len(part) for part in (trees.column, trees.threshold, trees.left, trees.right, trees.value)}) == 1
        and bool(np.all(trees.column < n_columns))
        and all(bool(np.all((part >= 0) & (part < n_nodes))) for part in (trees.roots, trees.left, trees.right))
        and all(bool(np.all(part[inner] > own[inner])) for part in (trees.left, trees.right))
    )
    if not whole:
        raise RunError("The model does not fit its table", where=where, fix="Fit it again")


def from_lightgbm(model: Mapping[str, Any], n_columns: int) -> Score:
    """A LightGBM booster's ``dump_model()``.

    Raises:
        ValueError: It has splits on categories or a branch for missing values, which we never ask for.
    """
    nodes: list[tuple[int, float, int, int, float]] = []
    roots = []

    def add(part: Mapping[str, Any]) -> int:
        index = len(nodes)
        if "split_feature" not in part:
            nodes.append((-1, 0.0, index, index, float(part["leaf_value"])))
            return index
        if part["decision_type"] != "<=" or part["missing_type"] != "None":
            raise ValueError(f"a split '{part['decision_type']}' with missing type {part['missing_type']}")
        nodes.append((0, 0.0, 0, 0, 0.0))
        left, right = add(part["left_child"]), add(part["right_child"])
        nodes[index] = (int(part["split_feature"]), float(part["threshold"]), left, right, 0.0)
        return index

    for tree in model["tree_info"]:
        roots.append(len(nodes))
        add(tree["tree_structure"])
    return Score(0.0, np.zeros(n_columns), Trees.of(nodes, roots))


def from_forest(estimators: Sequence[Any], n_columns: int) -> Score:
    """Scikit-learn's decision trees; the score is their mean share of the good outcome, not yet log-odds."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in Trees.__dataclass_fields__}
    offset = 0
    for estimator in estimators:
        tree = estimator.tree_
        leaf, own = tree.children_left < 0, np.arange(tree.node_count)
        parts["roots"].append(np.array([offset], dtype=np.int32))
        parts["column"].append(np.where(leaf, -1, tree.feature).astype(np.int32))
        parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        parts["left"].append((np.where(leaf, own, tree.children_left) + offset).astype(np.int32))
        parts["right"].append((np.where(leaf, own, tree.children_right) + offset).astype(np.int32))
        share = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
        parts["value"].append(np.where(leaf, share / len(estimators), 0.0))
        offset += tree.node_count
    return Score(0.0, np.zeros(n_columns), Trees(**{name: np.concatenate(part) for name, part in parts.items()}))
