"""Measuring any recommender of models against the clauses it should obey.

The recommender may be a language model, a vendor's router or ours: all that is needed are the sets it named for
feedback whose clauses are known. Source of the view: *LLM Routing as Reasoning: A MaxSAT View* (arXiv 2603.13612);
the definitions below are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.clauses import Clause, read_clauses
from rectitude.decisions.routing.parsing.rules import parse_rules
from rectitude.decisions.routing.problem import Policy, build_problem
from rectitude.decisions.routing.suite import read_gold
from rectitude.evaluation.intervals import bootstrap_interval

_SETS = 2000
"""Random sets the approximate-maximiser test draws."""


@dataclass(frozen=True)
class Recommendation:
    """What was recommended for one feedback.

    Attributes:
        models: Named models, best first; names the catalogue does not have count as hard violations.
        clauses: What the feedback means.
        feedback: Its words, for the report.
        request: The request.
    """

    models: tuple[str, ...]
    clauses: tuple[Clause, ...]
    feedback: str = ""
    request: Request = field(default_factory=Request)


@dataclass(frozen=True)
class Audited:
    """One recommendation, judged. NaN where there is nothing to judge.

    Attributes:
        hard_precision: Share of the named models without a hard violation.
        coverage: Share of the feasible models that are named, of at most as many as are named.
        regret: Mean regret of the named models the catalogue has.
        near_feasible: Share of the named models that are feasible with regret within δ.
        relaxed_near: The same where one hard violation is allowed.
        above_random: Share of random sets of the same size with less total value.
        maximiser: Is that at least 95 %?
        feasible: How many models are feasible.
        named: How many were named.
        unknown_models: Named models the catalogue does not have.
    """

    hard_precision: float
    coverage: float
    regret: float
    near_feasible: float
    relaxed_near: float
    above_random: float
    maximiser: bool
    feasible: int
    named: int
    unknown_models: tuple[str, ...]


def audit_one(
    catalogue: Catalogue, recommendation: Recommendation, policy: Policy, rng: np.random.Generator
) -> Audited:
    """Judge one recommendation.

    Args:
        catalogue: The models that could have been named.
        recommendation: What was named, and what was meant.
        policy: Weighs the clauses; its ``delta`` is that of near-feasible.
        rng: For the random sets.
    """
    problem = build_problem(catalogue, recommendation.clauses, recommendation.request, policy)
    rows, unknown = [], []
    for name in dict.fromkeys(recommendation.models):
        try:
            rows.append(catalogue.row(name))
        except ConfigError:
            unknown.append(name)
    named = len(rows) + len(unknown)
    feasible, regret = problem.feasible, problem.regret
    count = int(feasible.sum())
    if not named:
        nan = float("nan")
        return Audited(nan, 0.0 if count else nan, nan, nan, nan, nan, False, count, 0, ())
    good = sum(bool(feasible[row]) for row in rows)
    near = sum(bool(feasible[row]) and regret[row] <= policy.delta + 1e-12 for row in rows)
    broken = (~problem.holds).sum(axis=1)
    relaxed = sum(bool(broken[row] <= 1) and regret[row] <= policy.delta + 1e-12 for row in rows)
    above = _above_random(problem.values, rows, rng) if rows else float("nan")
    return Audited(
        hard_precision=good / named,
        coverage=good / min(named, count) if count else float("nan"),
        regret=float(np.mean(np.maximum(0.0, regret[rows]))) if rows else float("nan"),
        near_feasible=near / named,
        relaxed_near=relaxed / named,
        above_random=above,
        maximiser=bool(above >= 0.95),
        feasible=count,
        named=named,
        unknown_models=tuple(unknown),
    )


def _above_random(values: np.ndarray[Any, Any], rows: Sequence[int], rng: np.random.Generator) -> float:
    """Share of random sets of the same size whose total value is lower, ties counting half."""
    size = min(len(rows), values.size)
    own = float(values[list(rows)].sum())
    drawn = np.argpartition(rng.random((_SETS, values.size)), size - 1, axis=1)[:, :size]
    totals = values[drawn].sum(axis=1)
    return float(np.mean(totals < own) + np.mean(totals == own) / 2)


def audit(
    catalogue: Catalogue, recommendations: Sequence[Recommendation], policy: Policy | None = None, seed: int = 0
) -> dict[str, Any]:
    """Judge many recommendations.

    Returns:
        ``summary`` (means with bootstrap intervals over feedbacks) and ``cases``.

    Raises:
        ConfigError: There is nothing to judge.
    """
    if not recommendations:
        raise ConfigError("There is no recommendation to audit")
    policy, rng = policy or Policy(defaults=False), np.random.default_rng(seed)
    cases = [audit_one(catalogue, recommendation, policy, rng) for recommendation in recommendations]
    measures = ("hard_precision", "coverage", "regret", "near_feasible", "relaxed_near", "above_random")
    summary: dict[str, Any] = {name: _interval([getattr(c, name) for c in cases], seed) for name in measures}
    summary["maximiser"] = _interval([float(c.maximiser) for c in cases if c.named], seed)
    told = [
        {"feedback": r.feedback, "models": list(r.models), **asdict(case)}
        for r, case in zip(recommendations, cases, strict=True)
    ]
    return {
        "recommendations": len(cases),
        "catalogue": catalogue.hash,
        "delta": policy.delta,
        "summary": summary,
        "cases": told,
    }


def _interval(values: Sequence[float], seed: int) -> dict[str, float | int | None]:
    known = np.array([value for value in values if not np.isnan(value)])
    if not known.size:
        return {"value": float("nan"), "low": None, "high": None, "n": 0}
    return {**bootstrap_interval(known, seed).to_dict(), "n": int(known.size)}


def read_recommendations(entries: Sequence[Any], catalogue: Catalogue) -> list[Recommendation]:
    """Recommendations from JSON objects ``{"feedback", "models", "clauses"?, "request"?}``.

    ``clauses`` are clause objects or short forms ("hard vision is true"); without them the rules read the feedback.

    Raises:
        ConfigError: One is not of that form; says which.
    """
    found = []
    for number, entry in enumerate(entries, start=1):
        where = f"recommendation {number}"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("models"), list):
            raise ConfigError("A recommendation has a list 'models' and a text 'feedback'", where=where)
        text, given = str(entry.get("feedback") or ""), entry.get("clauses")
        if given is None:
            clauses = parse_rules(text, catalogue.names).clauses
        elif isinstance(given, list):
            short = [read_gold(each) for each in given if isinstance(each, str)]
            clauses = [*short, *read_clauses([each for each in given if not isinstance(each, str)], where=where)]
        else:
            raise ConfigError("'clauses' is a list", where=where)
        request = Request.model_validate(entry.get("request") or {})
        grounded = _grounded(clauses, catalogue, request, where)
        found.append(Recommendation(tuple(map(str, entry["models"])), tuple(grounded), text, request))
    return found


def _grounded(clauses: Sequence[Clause], catalogue: Catalogue, request: Request, where: str) -> list[Clause]:
    from rectitude.decisions.routing.grounding import ground

    grounded, questions, _ = ground(clauses, catalogue, request)
    if questions:
        raise ConfigError(questions[0], where=where)
    return grounded
