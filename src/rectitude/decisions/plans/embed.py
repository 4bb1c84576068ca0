"""A trained score seen from one person: what its trees still depend on once everything fixed is filled in.

Source: Optimization of tree ensembles, arXiv 1705.10883. Beyond the paper: trees that still look at the same few
features are added up into one table over their levels, which tightens the linear relaxation and needs far fewer
literals than their leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectitude.decisions.plans.problem import Choice, Problem
from rectitude.decisions.plans.score import Score

Region = dict[int, int]
"""Choice to a bit mask of the levels at which a leaf is reached."""
Leaves = list[tuple[float, Region]]
"""The leaves of a tree; exactly one is reached by every plan."""

MOST_CELLS = 50_000
"""Cells of a table of levels at most; more trees fit into fewer tables, whose bounds are tighter."""


@dataclass(frozen=True)
class Table:
    """The sum of trees over a few choices.

    Attributes:
        choices: Which, in order.
        blocks: For each of them the block that each level is in, int [v].
        values: Sum of the trees for each combination of blocks; one array a score, [S, *blocks].
    """

    choices: tuple[int, ...]
    blocks: tuple[np.ndarray, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Reduced:
    """Scores as functions of a person's choices.

    Attributes:
        constants: What no choice changes, [S].
        gains: For each choice what its levels add by themselves, [S, v].
        trees: Of which score a tree is, its leaves, and the choices it looks at, two at least.
    """

    constants: np.ndarray
    gains: tuple[np.ndarray, ...]
    trees: tuple[tuple[int, Leaves, frozenset[int]], ...]

    def value(self, levels: Sequence[int]) -> np.ndarray:
        """The scores of a plan, [S]: what the embedding says, to be held against the models themselves."""
        total = self.constants.copy()
        for choice, gain in enumerate(self.gains):
            total += gain[:, levels[choice]]
        for which, leaves, _ in self.trees:
            total[which] += next(
                value for value, region in leaves if all(mask >> levels[choice] & 1 for choice, mask in region.items())
            )
        return total


def reduce(scores: Sequence[Score], problem: Problem, *, allowed: Sequence[int] | None = None) -> Reduced:
    """Fill in what is fixed, and sort what remains by how many choices it depends on.

    Args:
        scores: S models over the same columns.
        problem: The person.
        allowed: For each choice a bit mask of the levels that are still possible; all where omitted.
    """
    choices = problem.choices
    possible = [(1 << len(choice.values)) - 1 for choice in choices] if allowed is None else list(allowed)
    constants = np.array([score.base + float(problem.row @ score.weights) for score in scores])
    gains = tuple(_linear_gains(scores, problem, choice) for choice in choices)
    owner = {column: index for index, choice in enumerate(choices)
             for column in range(choice.columns.start, choice.columns.stop)}  # fmt: skip
    cuts: dict[tuple[int, float], int] = {}
    trees = []
    for which, score in enumerate(scores):
        for root in score.trees.roots.tolist():
            leaves = _leaves(score, root, problem, owner, possible, cuts)
            support = frozenset().union(*(region for _, region in leaves)) if len(leaves) > 1 else frozenset()
            if not support:
                constants[which] += leaves[0][0]
            elif len(support) == 1:
                (choice,) = support
                for value, region in leaves:
                    gains[choice][which] += value * _bits(region[choice], len(choices[choice].values))
            else:
                trees.append((which, leaves, support))
    return Reduced(constants, gains, tuple(trees))


def _linear_gains(scores: Sequence[Score], problem: Problem, choice: Choice) -> np.ndarray:
    off = choice.vectors - problem.row[choice.columns]
    return np.stack([off @ score.weights[choice.columns] for score in scores])


def _bits(mask: int, n_levels: int) -> np.ndarray:
    return np.array([mask >> level & 1 for level in range(n_levels)], dtype=float)


def _leaves(
    score: Score,
    root: int,
    problem: Problem,
    owner: dict[int, int],
    possible: Sequence[int],
    cuts: dict[tuple[int, float], int],
) -> Leaves:
    """Leaves a person can still reach, each with the levels that lead there."""
    trees, found = score.trees, []

    def walk(node: int, region: Region) -> None:
        column = int(trees.column[node])
        if column < 0:
            found.append((float(trees.value[node]), region))
            return
        threshold = float(trees.threshold[node])
        choice = owner.get(column)
        if choice is None:
            walk(int(trees.left[node] if problem.row[column] <= threshold else trees.right[node]), region)
            return
        left = cuts.get((column, threshold))
        if left is None:
            what = problem.choices[choice]
            below = what.vectors[:, column - what.columns.start] <= threshold
            left = sum(1 << level for level in np.flatnonzero(below).tolist())
            cuts[column, threshold] = left
        here = region.get(choice, possible[choice])
        for child, mask in ((trees.left[node], here & left), (trees.right[node], here & ~left)):
            if mask == here:
                walk(int(child), region)
            elif mask:
                walk(int(child), {**region, choice: mask})

    walk(root, {})
    return found


@dataclass(frozen=True)
class Bush:
    """Trees over too many choices for a table, as leaves.

    Attributes:
        start: First leaf of each tree, int [T].
        which: Score each leaf belongs to, int [N].
        value: float64 [N].
        open_at: For each choice which of its levels each leaf allows, bool [v, N].
    """

    start: np.ndarray
    which: np.ndarray
    value: np.ndarray
    open_at: tuple[np.ndarray, ...]

    def reached(self, plans: np.ndarray, filled: Sequence[int]) -> np.ndarray:
        """Leaves that plans may reach, of which only some choices are filled in, bool [n, N]."""
        reach = np.ones((len(plans), len(self.value)), dtype=bool)
        for choice in filled:
            reach &= self.open_at[choice][plans[:, choice]]
        return reach


class Tables:
    """Scores as sums of tables over levels: the same function as :class:`Reduced`, quick to evaluate and to bound.

    Trees that look at the same choices, or at few enough together, share a table.

    Args:
        reduced: The scores.
        n_levels: Levels of each choice.
        most_cells: Size of a table at most; trees that would need more stay leaves.
    """

    def __init__(self, reduced: Reduced, n_levels: Sequence[int], *, most_cells: int = MOST_CELLS) -> None:
        self.constants, self.gains = reduced.constants, reduced.gains
        homes: list[tuple[frozenset[int], list[int]]] = []
        rest: list[int] = []
        for number in sorted(range(len(reduced.trees)), key=lambda number: -len(reduced.trees[number][2])):
            support = reduced.trees[number][2]
            sizes = [int(np.prod([n_levels[choice] for choice in home | support])) for home, _ in homes]
            place = min(range(len(homes)), key=sizes.__getitem__, default=-1)
            if place >= 0 and sizes[place] <= most_cells:
                homes[place] = (homes[place][0] | support, [*homes[place][1], number])
            elif int(np.prod([n_levels[choice] for choice in support])) <= most_cells:
                homes.append((support, [number]))
            else:
                rest.append(number)
        self.tables = [_table(order, numbers, reduced, n_levels) for order, numbers in homes]
        self.bush = _bush([reduced.trees[number] for number in rest], n_levels) if rest else None

    def values(self, plans: np.ndarray) -> np.ndarray:
        """Scores of plans given as levels, int [n, choices] to float64 [n, S]."""
        total = np.tile(self.constants, (len(plans), 1))
        for choice, gain in enumerate(self.gains):
            total += gain.T[plans[:, choice]]
        for table in self.tables:
            places = tuple(blocks[plans[:, choice]] for choice, blocks in zip(table.choices, table.blocks, strict=True))
            total += table.values[(slice(None), *places)].T
        if self.bush is not None:
            reach = self.bush.reached(plans, range(plans.shape[1]))
            for which in range(len(self.constants)):
                total[:, which] += reach @ np.where(self.bush.which == which, self.bush.value, 0.0)
        return total


def _table(home: frozenset[int], numbers: Sequence[int], reduced: Reduced, n_levels: Sequence[int]) -> Table:
    order = tuple(sorted(home))
    leaves = [reduced.trees[number][1] for number in numbers]
    blocks = tuple(_blocks(choice, leaves, n_levels[choice]) for choice in order)
    first = {choice: np.unique(part, return_index=True)[1] for choice, part in zip(order, blocks, strict=True)}
    values = np.zeros((len(reduced.constants), *(len(part) for part in first.values())))
    cells: dict[tuple[int, int], np.ndarray] = {}
    for number in numbers:
        which, tree, _ = reduced.trees[number]
        for value, region in tree:
            inside = []
            for choice in order:
                mask = region.get(choice, -1)
                if (choice, mask) not in cells:
                    cells[choice, mask] = np.flatnonzero([mask >> int(level) & 1 for level in first[choice]])
                inside.append(cells[choice, mask])
            values[which][np.ix_(*inside)] += value
    return Table(order, blocks, values)


def _blocks(choice: int, trees: Sequence[Leaves], n_levels: int) -> np.ndarray:
    """Number of the block each level is in; levels that no leaf tells apart share one."""
    masks = sorted({region[choice] for leaves in trees for _, region in leaves if choice in region})
    groups: dict[tuple[int, ...], int] = {}
    return np.array(
        [groups.setdefault(tuple(mask >> level & 1 for mask in masks), len(groups)) for level in range(n_levels)]
    )


def _bush(trees: Sequence[tuple[int, Leaves, frozenset[int]]], n_levels: Sequence[int]) -> Bush:
    start = np.cumsum([0, *(len(leaves) for _, leaves, _ in trees)])[:-1]
    every = [(which, value, region) for which, leaves, _ in trees for value, region in leaves]
    open_at = []
    for choice, n in enumerate(n_levels):
        masks = np.array([region.get(choice, -1) for _, _, region in every], dtype=object)
        open_at.append(np.array([[bool(mask >> level & 1) for mask in masks] for level in range(n)]))
    return Bush(
        start, np.array([which for which, _, _ in every]), np.array([value for _, value, _ in every]), tuple(open_at)
    )
