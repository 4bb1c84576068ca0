"""Feedback in, models out, with the reasons: the router."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rectitude.core.errors import ConfigError, DataError
from rectitude.decisions.routing import explain
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.clauses import Clause, UnknownPolicy
from rectitude.decisions.routing.conversation import conflicts, revise
from rectitude.decisions.routing.grounding import ground
from rectitude.decisions.routing.importing import read_catalogue
from rectitude.decisions.routing.parsing.rules import Parsed, parse_rules
from rectitude.decisions.routing.problem import Policy, Problem, build_problem, settings_of

Solver = Literal["brute", "rc2", "z3"]
Status = Literal["feasible", "infeasible", "contradictory"]
_SHOWN = 10
"""Models whose verdicts are listed at least."""
_LISTED = 50
"""And at most, though more may be near-feasible."""


@dataclass(frozen=True)
class Ranked:
    """A model with its place.

    Attributes:
        model: Endpoint.
        value: Weight of the wishes it meets, 1 being a wish of strength 1.
        regret: What it lacks to the best feasible model, as a share of all weight.
        verdicts: Clause to yes, no or unknown.
        violates: Hard clauses it breaks.
        near_feasible: No hard clause broken and regret within δ.
    """

    model: str
    value: float
    regret: float
    verdicts: Mapping[str, str]
    violates: tuple[str, ...]
    near_feasible: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "model": self.model, "value": self.value, "regret": self.regret, "near_feasible": self.near_feasible,
            "hard_violations": len(self.violates), "violates": list(self.violates), "verdicts": dict(self.verdicts),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Decision:
    """What was decided, and why.

    Attributes:
        status: ``feasible``; ``infeasible`` where no model meets every hard wish; ``contradictory`` where none could.
        chosen: The best feasible model, None where there is none.
        ranking: Models from best to worst; where none is feasible, those with fewest broken hard wishes first.
        near_feasible: Feasible models with regret within δ; empty where none is feasible (``explanation`` then has
            ``one_violation``, the models that break one hard wish).
        problem: The problem that was solved.
        parsed: How the feedback was read, span by span; None where clauses were given.
        explanation: See :mod:`rectitude.decisions.routing.explain`.
        solver: ``brute``, ``rc2``, ``z3 (…)``, or ``brute (rc2 timed out)``, which a note says too.
        seconds: It took.
    """

    status: Status
    chosen: str | None
    ranking: tuple[Ranked, ...]
    near_feasible: tuple[str, ...]
    problem: Problem
    parsed: Parsed | None
    feedback: str
    explanation: Mapping[str, Any]
    solver: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with the stamp needed to decide the same again."""
        text, parsed = self.feedback, self.parsed
        spans = [] if parsed is None else [text[start:end] for start, end in parsed.unparsed]
        return {
            "status": self.status,
            "chosen": self.chosen,
            "clauses": [
                {**clause.to_dict(), "weight": self.problem.points(weight)}
                for clause, weight in zip(self.problem.clauses, self.problem.weights, strict=True)
            ],
            "unparsed": spans,
            "suspicious": [] if parsed is None else [text[start:end] for start, end in parsed.suspicious],
            "ranking": [ranked.to_dict() for ranked in self.ranking],
            "near_feasible": list(self.near_feasible),
            "explanation": dict(self.explanation),
            "solver": self.solver,
            "milliseconds": round(1000 * self.seconds, 3),
            "stamp": dict(settings_of(self.problem)),
        }


@dataclass
class _Told:
    """Clauses of feedback with what was said about reading them."""

    clauses: list[Clause]
    parsed: Parsed | None
    feedback: str
    questions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken_back: list[str] = field(default_factory=list)


class Router:
    """Chooses language models for requests.

    Args:
        catalogue: A :class:`Catalogue`, or the path of one (see :func:`read_catalogue`).
        policy: What always holds and how wishes are weighed.

    Raises:
        DataError: The catalogue cannot be used.
        ConfigError: The policy's own words are contradictory or cannot be read.

    Example:
        >>> router = Router("models.csv")  # doctest: +SKIP
        >>> router.route("cheap, must see images, not OpenAI").chosen  # doctest: +SKIP
    """

    def __init__(self, catalogue: Catalogue | str | Path, policy: Policy | None = None) -> None:
        self.catalogue = catalogue if isinstance(catalogue, Catalogue) else read_catalogue(catalogue)
        if not len(self.catalogue):
            raise DataError("The catalogue has no model")
        self.policy = self._standing(policy or Policy())

    def _standing(self, policy: Policy) -> Policy:
        """The policy with its words read into clauses."""
        parsed = parse_rules(policy.feedback, self.catalogue.names) if policy.feedback else Parsed()
        grounded, questions, _ = ground(parsed.clauses, self.catalogue, Request())
        if questions or parsed.suspicious or parsed.unparsed:
            spans = [policy.feedback[start:end] for start, end in (*parsed.unparsed, *parsed.suspicious)]
            said = "; ".join([*questions, *(f"'{span}' is not understood" for span in spans)])
            raise ConfigError(f"The policy cannot be read: {said}", where="policy", fix="Say it in other words")
        standing = [clause.model_copy(update={"origin": "policy"}) for clause in (*policy.clauses, *grounded)]
        clash = conflicts(standing)
        if clash:
            raise ConfigError(f"The policy contradicts itself: '{clash[0][0]}' and '{clash[0][1]}'", where="policy")
        return policy.model_copy(update={"clauses": tuple(standing)})

    def route(
        self,
        feedback: str | Sequence[str] = "",
        *,
        clauses: Sequence[Clause] | None = None,
        request: Request | None = None,
        solver: Solver = "brute",
        why_not: str | None = None,
        reader: Any = None,
    ) -> Decision:
        """Decide.

        Args:
            feedback: What a person wrote, or the turns of a conversation, oldest first.
            clauses: Clauses instead of words.
            request: What is known of the request.
            solver: ``brute``; ``rc2`` for the same answer by MaxSAT; ``z3`` to take unknown cells as free variables, at
                their best where the policy's ``unknown_soft`` is ``allow``, else at their worst.
            why_not: Explain also why this model was not chosen.
            reader: Reads feedback instead of the rules: called with text, the catalogue's names and ``has_last``
                (see :class:`~rectitude.decisions.routing.parsing.llm.LanguageModelReader`).

        Raises:
            ConfigError: The feedback is longer than any, or ``why_not`` names no model.
        """
        conversation = Conversation(self, request=request, solver=solver, reader=reader)
        if clauses is not None:
            grounded, questions, notes = ground(clauses, self.catalogue, conversation.request)
            return conversation.decide(_Told(grounded, None, "", questions, notes), why_not=why_not)
        turns = [feedback] if isinstance(feedback, str) else list(feedback) or [""]
        decision = None
        for number, turn in enumerate(turns, start=1):
            decision = conversation.say(turn, why_not=why_not if number == len(turns) else None)
        assert decision is not None  # noqa: S101 -- there is at least one turn
        return decision

    def conversation(self, request: Request | None = None) -> Conversation:
        """Begin a conversation, in which later turns change what earlier ones wished for."""
        return Conversation(self, request=request)


class Conversation:
    """Turns of one person; each is answered with all wishes in force."""

    def __init__(
        self, router: Router, *, request: Request | None = None, solver: Solver = "brute", reader: Any = None
    ) -> None:
        self.router, self.request, self.solver, self.reader = router, request or Request(), solver, reader
        self.clauses: list[Clause] = []
        self.last: str | None = None
        self.assumed: dict[str, Any] | None = None

    def say(self, text: str, *, why_not: str | None = None) -> Decision:
        """Another turn."""
        catalogue = self.router.catalogue
        read = self.reader or parse_rules
        parsed: Parsed = read(text, catalogue.names, has_last=self.last is not None)
        grounded, questions, notes = ground(parsed.clauses, catalogue, self.request, self.last)
        self.clauses, gone = revise(self.clauses, grounded, parsed.retracted)
        told = _Told(self.clauses, parsed, text, [*parsed.questions, *questions], [*parsed.notes, *notes], gone)
        return self.decide(told, why_not=why_not)

    def decide(self, told: _Told, *, why_not: str | None = None) -> Decision:
        """Solve for the clauses in force."""
        began = time.perf_counter()
        router = self.router
        policy = router.policy
        if self.solver == "z3":
            free: UnknownPolicy = "allow" if policy.unknown_soft == "allow" else "deny"
            policy = policy.model_copy(update={"unknown_hard": free, "unknown_soft": free})
        problem = build_problem(router.catalogue, told.clauses, self.request, policy)
        clash = conflicts(problem.clauses, router.catalogue)
        solver, order = self._order(problem)
        status: Status = "feasible" if problem.feasible.any() else "contradictory" if clash else "infeasible"
        chosen = router.catalogue.ids[order[0]] if status == "feasible" else None
        near = _near(problem)
        count = max(_SHOWN, problem.policy.k, min(len(near), _LISTED))
        ranking = tuple(_ranked(problem, int(row), set(near)) for row in order[:count])
        explanation = self._explanation(problem, told, clash, order, why_not, solver)
        self.last = chosen or self.last
        names = tuple(router.catalogue.ids[row] for row in near)
        seconds = time.perf_counter() - began
        return Decision(
            status, chosen, ranking, names, problem, told.parsed, told.feedback, explanation, solver, seconds
        )

    def _order(self, problem: Problem) -> tuple[str, np.ndarray[Any, Any]]:
        count = max(_LISTED, problem.policy.k)
        if self.solver == "brute" or not problem.feasible.any():
            return "brute", problem.best(count)
        if self.solver == "z3":
            return self._completed(problem)
        from rectitude.decisions.routing.maxsat import best_models

        found = best_models(problem, k=problem.policy.k, seconds=problem.policy.timeout)
        if found.status != "optimal":
            return "brute (rc2 timed out)", problem.best(count)
        # RC2 breaks ties as it likes: among models of equal value the order is ours.
        first = np.array(found.rows)
        cutoff = problem.values[first].min()
        head = np.flatnonzero(problem.feasible & (problem.values >= cutoff))
        head = problem.ranked(head)
        rest = problem.best(count)
        return "rc2", np.concatenate([head, rest[~np.isin(rest, head)]])

    def _completed(self, problem: Problem) -> tuple[str, np.ndarray[Any, Any]]:
        """The best model under the best, or the worst, completion, then the others as by brute force."""
        from rectitude.decisions.routing.smt import optimistic, robust

        solve = optimistic if problem.policy.unknown_soft == "allow" else robust
        found = solve(problem, problem.policy.timeout)
        if found.row is None:
            why = "timed out" if found.status == "timeout" else "found none"
            return f"brute (z3 {why})", problem.best(_LISTED)
        names = {"optimal": f"z3 ({solve.__name__})", "timeout": f"z3 ({solve.__name__}, timed out: best known)"}
        self.assumed = found.assumed
        return names[found.status], np.concatenate([[found.row], (rest := problem.best(_LISTED))[rest != found.row]])

    def _explanation(
        self,
        problem: Problem,
        told: _Told,
        clash: Sequence[tuple[Clause, Clause]],
        order: Any,
        why_not: str | None,
        solver: str,
    ) -> dict[str, Any]:
        ids = problem.catalogue.ids
        feasible = bool(problem.feasible.any())
        winner = int(order[0]) if feasible else None
        notes = [*told.notes, *self._remarks(problem, told)]
        if "timed out" in solver:
            shown = "the best it had found" if solver.startswith("z3") else "the best by brute force"
            notes.append(f"{self.solver} was not done after {problem.policy.timeout:g} s; this is {shown}")
        found: dict[str, Any] = {
            "feasible_models": int(problem.feasible.sum()),
            "binding": explain.binding(problem),
            "price_of_hard": explain.prices(problem),
            "silent": explain.silent(problem),
            "taken_back": told.taken_back,
            "questions": list(told.questions),
            "notes": notes,
        }
        if clash:
            found["contradictions"] = [[one.id, other.id] for one, other in clash]
            found["questions"] += [
                f"'{one}' and '{other}' exclude each other. Which one holds?" for one, other in clash
            ]
        if winner is not None:
            ties = problem.tied(winner)
            if ties:
                reason = "fewer unknowns, then lower price, newer release, name"
                notes.append(f"{len(ties)} other models are as good; the tie was broken by {reason}")
                found["tied"] = [ids[row] for row in ties[:_SHOWN]]
        else:
            found |= _way_out(problem)
            one = np.flatnonzero(problem.violations == 1)
            found["one_violation"] = [ids[row] for row in problem.ranked(one)[:_LISTED]]
        if self.assumed is not None:
            found["assumed"] = self.assumed
        if why_not is not None:
            found["why_not"] = explain.why_not(problem, problem.catalogue.row(why_not), winner)
        return found

    def _remarks(self, problem: Problem, told: _Told) -> list[str]:
        notes = []
        blank = explain.silent(problem)
        if blank:
            said = [str(clause) for clause in problem.clauses if clause.id in blank]
            notes.append(f"The catalogue does not know this of any model, so it decides nothing: {'; '.join(said)}")
        if told.parsed is not None and told.parsed.suspicious:
            notes.append("Text that addresses the rules of routing was not read as a wish")
        if not any(clause.origin == "feedback" for clause in problem.clauses):
            unread = told.questions or (told.parsed is not None and (told.parsed.unparsed or told.parsed.suspicious))
            begin = "No wish could be read" if unread else "Nothing was wished for"
            notes.append(f"{begin}: the defaults and the policy decide")
        return notes


def _way_out(problem: Problem) -> dict[str, Any]:
    """Which wishes clash, and what to give up."""
    from rectitude.decisions.routing.maxsat import correction_sets, unsat_core

    clauses, ids = problem.clauses, problem.catalogue.ids
    core = unsat_core(problem)
    corrections = [
        {
            "drop": [clauses[c].id for c in correction.clauses],
            "models": [ids[row] for row in correction.rows[:_SHOWN]],
            "says": f"without {_quoted(correction.clauses, problem)}: {ids[correction.rows[0]]}",
        }
        for correction in correction_sets(problem, seconds=problem.policy.timeout)
    ]
    return {"unsat_core": [clauses[c].id for c in core], "correction_sets": corrections}


def _quoted(columns: Sequence[int], problem: Problem) -> str:
    return " and ".join(f"'{problem.clauses[column]}'" for column in columns)


def _near(problem: Problem) -> list[int]:
    """Near-feasible models in order: no hard wish broken and regret within δ."""
    close = problem.feasible & (problem.regret <= problem.policy.delta + 1e-12)
    return [int(row) for row in problem.ranked(np.flatnonzero(close))]


def _ranked(problem: Problem, row: int, near: set[int]) -> Ranked:
    broken = tuple(problem.clauses[c].id for c in problem.hard if not problem.holds[row, c])
    value, regret = problem.points(int(problem.values[row])), round(float(problem.regret[row]), 6)
    return Ranked(
        problem.catalogue.ids[row], value, regret, explain.verdicts(problem, row), broken, row in near and not broken
    )
