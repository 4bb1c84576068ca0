"""How a plan answers to what was assumed of effort: one weight moved at a time, everything else as it is.

Source: the sweeps of λ, μ, K and B in the paper's sensitivity analysis (see ``docs/systems/prescriptive.md``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rectitude.decisions.plans.building import Person
from rectitude.decisions.plans.policy import Policy

if TYPE_CHECKING:
    from rectitude.decisions.plans.prescriber import Prescriber

SWEEPS: Mapping[str, Sequence[float | int | None]] = {
    "resistance_weight": (0.0, 0.05, 0.1, 0.2, 0.4, 0.8),
    "charge": (0.0, 0.02, 0.05, 0.1),
    "max_changes": (1, 2, 3, None),
}
"""Values of λ, μ and K; those of the budget B are shares of the plan's own effort."""
BUDGETS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Swept:
    """The plan at one value of one weight.

    Attributes:
        weight: Name in the policy.
        value: Its value, None for no limit.
        used: Is it the value the plan was made with?
        same: Does the plan advise the very same?
        plan: Sentences, the empty tuple where nothing is advised.
        p1: Probability of the good outcome after it.
        judge_gain: Log-odds by the judge.
        effort: Sum of efforts.
        status: Of the solve.
    """

    weight: str
    value: float | int | None
    used: bool
    same: bool
    plan: tuple[str, ...]
    p1: float
    judge_gain: float
    effort: float
    status: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "plan": list(self.plan)}


def sensitivity(prescriber: Prescriber, person: Person, policy: Policy) -> Iterator[Swept]:
    """Plans of a person with one weight moved at a time.

    Args:
        prescriber: What plans.
        person: For whom.
        policy: What the plan was made with. In target mode efforts are minimised, so λ and μ do not matter.

    Yields:
        One entry a value, by weight.
    """
    bare = policy.model_copy(update={"frontier": "none", "alternatives": 0, "draws": 0})
    usual = prescriber.planner(person, bare).plan()
    advice = tuple(item.sentence for item in usual.items)
    sweeps: dict[str, Sequence[float | int | None]] = dict(SWEEPS)
    if usual.effort > 0:
        sweeps["budget"] = (*(round(share * usual.effort, 6) for share in BUDGETS), None)
    for weight, values in sweeps.items():
        mine = getattr(bare, weight)
        for value in sorted({*values, mine}, key=lambda one: (one is None, one or 0)):
            made = prescriber.planner(person, bare.model_copy(update={weight: value})).plan()
            sentences = tuple(item.sentence for item in made.items)
            yield Swept(
                weight, value, value == mine, sentences == advice, sentences,
                made.p1, made.judge_gain, made.effort, made.status,
            )  # fmt: skip
