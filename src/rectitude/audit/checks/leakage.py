"""What an attacker can read off the model and its lists: private attributes, and what people did.

Letters: Q people judged, U people.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from rectitude.audit.checks.context import AuditContext, Floats, NotPossibleError
from rectitude.audit.checks.finding import Finding
from rectitude.core.errors import DataError
from rectitude.evaluation.intervals import bootstrap_interval
from rectitude.fairness.metrics import GroupMean
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.reporting.numbers import number
from rectitude.unlearning.attackers import ATTACKERS, TITLES, attack, list_features, permutation_floor, strongest

_PEOPLE_AT_ONCE = 2048
LISTS = "recommended lists"
"""What the lists' representation is called."""


@torch.no_grad()
def representations(model: Recommender, query: Query) -> dict[str, Floats]:
    """Every vector the model holds of these people or makes for them, by name.

    Args:
        model: In evaluation mode.
        query: Trained people with their histories.

    Returns:
        Name to float64 [Q, d]; empty where the model has none (EASE, popularity).
    """
    found = {
        f"stored vectors ({name})": table[query.user_tensor()].double().cpu().numpy()
        for name, table in model.user_tables().items()
    }
    if model.has_user_vectors():
        parts = [
            model.user_vectors(query.slice(at, min(at + _PEOPLE_AT_ONCE, len(query)))).double().cpu().numpy()
            for at in range(0, len(query), _PEOPLE_AT_ONCE)
        ]
        served = np.concatenate(parts)
        if not any(table.shape == served.shape and np.allclose(table, served) for table in found.values()):
            found["vectors served"] = served
    return found


def attribute_leakage(audit: AuditContext) -> Iterator[Finding]:
    """How well attackers guess each attribute from each representation of people and from their lists."""
    if not audit.attributes:
        raise NotPossibleError(
            "No attribute was named, so there is nothing to leak", fix="Name one with --attribute, e.g. gender"
        )
    query = Query.of_users(audit.users, audit.fold.history, audit.model.device)
    sources = representations(audit.model, query)
    sources[LISTS] = list_features(audit.evaluation.lists, audit.split.n_items).astype(np.float64)
    for groups in audit.attributes:
        labels = audit.labels(groups)
        for name, features in sources.items():
            try:
                yield _leak(groups.attribute, name, features, labels, audit.seed, groups.notes)
            except DataError as error:
                raise NotPossibleError(f"{groups.attribute}: {error.what}", fix=error.fix) from error


def _leak(
    attribute: str, source: str, features: Floats, labels: np.ndarray, seed: int, notes: tuple[str, ...]
) -> Finding:
    attacks = attack(features, labels, draws=2, seed=4 + seed)
    floor = permutation_floor(features, labels, seed=4 + seed)
    best = strongest(attacks)
    low, high = best.ends
    leaks = best.leakage > floor
    chance = f"chance is {number(best.chance, 3)}, and labels dealt out at random reach {number(floor, 3)}"
    if leaks:
        verdict = f"{source[0].upper()}{source[1:]} tell {attribute}: {chance}. Unlearning that brings the strongest "
        verdict += "attacker below the floor would change this; so would an attribute nobody needs to hide."
    else:
        verdict = (
            f"None of {len(attacks)} attackers tells {attribute} from {source}: {chance}. A stronger attacker, or "
        )
        verdict += "one that sees more labels, could still."
    return Finding(
        check="attribute-leakage",
        attribute=attribute,
        metric=f"balanced accuracy from {source}",
        groups=tuple(GroupMean(TITLES[name], one.n, one.leakage, *one.ends) for name, one in attacks.items()),
        value=best.leakage,
        low=low,
        high=high,
        floor=floor,
        floor_name="labels at random",
        title=f"{source[0].upper()}{source[1:]} {'tell' if leaks else 'do not tell'} {attribute}: "
        f"{number(best.leakage, 3)} by {TITLES[best.attacker]}",
        verdict=verdict,
        notes=notes,
    )


@torch.no_grad()
def membership_leakage(audit: AuditContext) -> Iterator[Finding]:
    """Can scores tell what a person did? The share of right guesses between a training item and a held-out one.

    Each person judged gives one pair: an item of their training history and one they chose later. An attacker who is
    told the two scores says that the higher one was in training. Popularity alone is the floor: it knows what is
    popular, not what this person did.
    """
    generator = np.random.default_rng(audit.seed)
    train = audit.split.train.take(audit.users)
    usable = np.flatnonzero((train.lengths > 0) & (audit.fold.targets.lengths > 0))
    if len(usable) < 2:
        raise NotPossibleError("Fewer than two people judged have both training events and held-out ones")
    member = np.array([generator.choice(train[row]) for row in usable.tolist()])
    other = np.array([generator.choice(audit.fold.targets[row]) for row in usable.tolist()])
    guessed = np.empty(len(usable))
    for start in range(0, len(usable), _PEOPLE_AT_ONCE):
        rows = usable[start : start + _PEOPLE_AT_ONCE]
        query = Query.of_users(audit.users[rows], train.take(rows), audit.model.device)
        scores, _ = audit.model.answer(query)
        block = slice(start, start + len(rows))
        guessed[block] = _higher(scores.cpu().numpy(), member[block], other[block])
    floor = float(
        np.mean(
            (audit.popularity[member] > audit.popularity[other])
            + 0.5 * (audit.popularity[member] == audit.popularity[other])
        )
    )
    mean = bootstrap_interval(guessed, audit.seed)
    leaks = mean.low is not None and mean.low > max(floor, 0.5)
    groups = [GroupMean("everybody", len(usable), mean.value, mean.low, mean.high)]
    for groups_of in audit.groups.values():
        labels = audit.labels(groups_of)[usable]
        for index, label in enumerate(groups_of.names):
            inside = guessed[labels == index]
            if len(inside) > 1:
                part = bootstrap_interval(inside, audit.seed)
                groups.append(GroupMean(label, len(inside), part.value, part.low, part.high))
    yield Finding(
        check="membership-leakage",
        attribute=None,
        metric="right guesses of what was in training",
        groups=groups,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        floor=max(floor, 0.5),
        floor_name="by popularity or chance",
        title=f"Scores {'tell' if leaks else 'hide'} what people did: {number(mean.value, 3)} of guesses are right",
        verdict=(
            f"Popularity alone guesses {number(floor, 3)} right and chance 0.5. "
            + (
                "Whoever sees raw scores learns what was in a person's history; showing lists without what is seen, "
                "and no scores, keeps it. Fewer epochs or a stronger penalty would lower it."
                if leaks
                else "An attacker who compares with models trained without the person could do better."
            )
        ),
    )


def _higher(scores: Floats, member: np.ndarray, other: np.ndarray) -> Floats:
    """1 where the member's score is the higher one, a half where they are equal."""
    rows = np.arange(len(scores))
    first, second = scores[rows, member], scores[rows, other]
    return np.asarray((first > second) + 0.5 * (first == second))


__all__ = ["ATTACKERS", "LISTS", "attribute_leakage", "membership_leakage", "representations"]
