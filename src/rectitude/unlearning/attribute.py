"""PoT-AU: the stored vectors of people edited so that a private attribute can no longer be read off them.

Source: Chen et al., arXiv:2310.05847 (ACM MM 2023) and arXiv:2403.06737 (TOIS 2024).

L = ℓ_dist + λ ℓ_reg over the tables of user vectors alone; items and networks are frozen, and no training rows are
needed. ℓ_dist is U2U or D2D (:mod:`rectitude.unlearning.distinguishability`), summed over attributes and over *every*
table that is stored (both of NeuMF, LightGCN's propagated vectors and the learnt ones they were made from). ℓ_reg keeps
either the vectors (``l2``) or the order of the original model's list (``order``), or its scores (``scores``).

Departures. Vectors are measured in normal scores of each original coordinate and scores in standard deviations of the
listed ones, and every loss is a mean, so that one setting suits models of any scale; where people stand close together,
kernels do not see a move that trees do. Coordinates that are all but constant, which attackers would blow up, are made
constant. D2D leaves what chance would leave instead of going to zero, and looks at single coordinates besides
(:mod:`rectitude.unlearning.dealt`). It begins where each class has the mean and covariance it is to have, in closed
form (:mod:`rectitude.unlearning.moments`; ``start = "trained"`` begins with the vectors as they are). The list is
guarded from below too: some lower-ranked items must stay below its last place (the released hinge lets them overtake).
The released code runs 500 steps; here the step size falls to nothing over each leg, and at its end validation
attackers in closed form (:mod:`rectitude.unlearning.quick`) end it when all of them are near chance on every
representation, or as near as the number of people lets them be told from it. Otherwise the best vectors seen at a look
are kept.

Cost: a step is linear in people, some 0.04 CPU seconds on ML-1M (6,040 people, 64 coordinates). Limits: says nothing of
lists and scores, which follow people's tastes and may still tell; attackers stronger than those that were tried may see
more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from rectitude.core.config import Settings
from rectitude.core.errors import DataError
from rectitude.data.histories import Histories
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.training.checkpoint import Checkpoint, load_optimizer, optimizer_tensors
from rectitude.unlearning.dealt import Dealt
from rectitude.unlearning.distinguishability import Anchor, d2d, u2u
from rectitude.unlearning.moments import aligned
from rectitude.unlearning.normal_scores import NormalScores
from rectitude.unlearning.quick import quick_attack

Loss = Literal["d2d", "u2u", "noise", "shuffle"]

_DEAL_AGAIN = 4
"""Looks after which another deal is drawn, where attackers are still not at chance."""
_MANY = 2000
"""People of an attack whose accuracy is certain enough after one draw; four are made of fewer."""


class UnlearningConfig(Settings):
    """How an attribute is unlearnt."""

    loss: Loss = "d2d"
    """d2d, u2u, or a bound to compare with: noise (as large as the vectors' spread) or shuffle (rows permuted)."""
    regulariser: Literal["order", "scores", "l2"] = "order"
    """What is kept: the order of the original list, scores of some items, or the vectors themselves."""
    weight: float = Field(0.2, ge=0)
    """λ, of the regulariser; usual range 0.01 to 10."""
    l2: float = Field(0.002, ge=0)
    """Weight of the mean squared move, beside the regulariser, of every table; usual range 0 to 1."""
    balance: float = Field(1.0, ge=0, le=1)
    """Of u2u: 0 is the released form (everybody to one point), 1 matches the means of the classes."""
    anchor: Anchor = "largest"
    """Of d2d to zero: each class against the largest, against everybody (pooled), or every pair of classes (all)."""
    start: Literal["aligned", "trained"] = "aligned"
    """Of d2d to chance: begin with each class's mean and covariance put right in closed form, or as trained."""
    to_chance: bool = True
    """Of d2d: draw each class to a random deal of everybody; false draws the classes to each other, as released."""
    marginals: float = Field(0.1, ge=0)
    """Of d2d to chance: weight of the difference coordinate by coordinate, which trees see; usual range 0 to 1."""
    most: int = Field(256, ge=8)
    """People of each class drawn for a step of d2d to zero, half of those whose lists a step guards."""
    steps: int = Field(240, ge=1)
    """Most steps; the validation attackers may end it sooner."""
    learning_rate: float = Field(0.03, gt=0)
    """Step size of Adam in normal scores of the original coordinates; usual range 0.005 to 0.05."""
    n_listed: int = Field(20, ge=2)
    """Length of the list whose order is kept; usual range 10 to 50."""
    n_below: int = Field(10, ge=0)
    """Lower-ranked items drawn per person that must stay below the list."""
    margin: float = Field(0.05, ge=0)
    """By how much one place must beat the next, in standard deviations of the listed scores."""
    check_every: int = Field(60, ge=1)
    """Steps between two looks of the validation attackers, over which the step size falls to nothing."""
    tolerance: float | None = Field(None, gt=0, lt=0.5)
    """How near chance every validation attacker must be to stop; null: 0.025, or two standard errors if more."""
    noise: float = Field(1.0, gt=0)
    """Of noise: its standard deviation in those of the vectors."""


@dataclass(frozen=True)
class Target:
    """An attribute to unlearn.

    Attributes:
        name: Of the attribute.
        labels: int64 [U], class of each person, -1 where unknown: such people keep their vectors as they can.
    """

    name: str
    labels: npt.NDArray[np.int64]


@dataclass
class Unlearning:
    """What was done.

    Attributes:
        trace: One row per look of the validation attackers: ``step``, ``loss``, ``worst`` (the largest distance from
            chance), and for every attribute and representation the accuracy of each of them.
        steps: Steps taken.
        kept: Step whose vectors were kept.
        stopped: ``"attacker"``, ``"steps"`` or ``"at once"``.
        seconds: Wall time.
        cpu_seconds: Processor time.
    """

    trace: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    kept: int = 0
    stopped: str = "at once"
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def check_possible(model: Recommender) -> None:
    """See whether the model stores anything of people that could be edited.

    Raises:
        DataError: It does not; the message says what is possible instead.
    """
    if not model.user_tables():
        made = "makes its vectors from a person's history" if model.has_user_vectors() else "has no user vectors"
        raise DataError(
            f"{model.title} stores nothing of people that could be edited: it {made}",
            fix=(
                "Train with protection instead (fit --method d2d-training or adversarial)"
                if model.has_user_vectors() and model.trained_by == "gradient"
                else "Only its lists can leak, and 'rectitude audit' says whether they do"
            ),
        )


def unlearn(
    model: Recommender,
    targets: Sequence[Target],
    seen: Histories,
    config: UnlearningConfig | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    resume: bool = False,
    identity: Mapping[str, Any] | None = None,
    on_check: Callable[[dict[str, float]], None] | None = None,
) -> Unlearning:
    """Edit the model's stored user vectors in place.

    Args:
        model: Trained, in evaluation mode.
        targets: Attributes, unlearnt together.
        seen: U rows, left out of the lists whose order is kept.
        config: How.
        seed: Of draws and attackers.
        checkpoint: File to keep the state in at each look of the attacker.
        resume: Go on from it where it exists.
        identity: What makes this unlearning itself; a checkpoint of another is refused.
        on_check: Told each row of the trace.

    Raises:
        DataError: The model stores no user vectors, or a class is too small to be attacked.
        CheckpointError: ``resume`` met a checkpoint that does not fit.
    """
    config = config or UnlearningConfig()
    check_possible(model)
    wall, cpu = time.perf_counter(), time.process_time()
    tables = model.user_tables()
    if config.loss in ("noise", "shuffle"):
        _replace(tables, config, seed)
        return Unlearning(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        editor = _Editor(model, tables, targets, seen, config, seed)
        done = editor.run(checkpoint, resume, dict(identity or {}), on_check)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    done.seconds += time.perf_counter() - wall
    done.cpu_seconds += time.process_time() - cpu
    return done


@torch.no_grad()
def _replace(tables: Mapping[str, Tensor], config: UnlearningConfig, seed: int) -> None:
    """The two bounds: vectors drowned in noise, or dealt to other people."""
    generator = torch.Generator().manual_seed(seed)
    n_people = len(next(iter(tables.values())))
    order = torch.randperm(n_people, generator=generator)
    for table in tables.values():
        if config.loss == "shuffle":
            table.copy_(table[order.to(table.device)].clone())
        else:
            drawn = torch.randn(table.shape, generator=generator).to(table.device)
            table.add_(config.noise * table.std(0, keepdim=True) * drawn)


class _Editor:
    """One unlearning by gradient.

    What is optimised is each person's move in normal scores of the original coordinates, δ [U, d] per table.
    """

    def __init__(
        self,
        model: Recommender,
        tables: Mapping[str, Tensor],
        targets: Sequence[Target],
        seen: Histories,
        config: UnlearningConfig,
        seed: int,
    ) -> None:
        self.model, self.config, self.seed = model, config, seed
        self.tables = dict(tables)
        self.original = {name: table.detach().clone() for name, table in tables.items()}
        self.maps = {name: NormalScores(table) for name, table in self.original.items()}
        self.start = {name: chart.forward(self.original[name]) for name, chart in self.maps.items()}
        self.moves = {name: torch.zeros_like(table).requires_grad_() for name, table in self.original.items()}
        self.targets = [(target.name, torch.from_numpy(target.labels).to(model.device)) for target in targets]
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.Adam(self.moves.values(), lr=config.learning_rate)
        self.n_people = len(next(iter(self.original.values())))
        self.best = {name: move.detach().clone() for name, move in self.moves.items()}
        self.dealt = self._dealt() if config.loss == "d2d" and config.to_chance else []
        self.kept = self._kept(seen) if config.regulariser != "l2" and config.weight > 0 else None
        if self.dealt and config.start == "aligned":
            self._align()
        self.near = config.tolerance or max(0.025, *(self._errors(labels) for _, labels in self.targets))

    # ---- losses --------------------------------------------------------------------------------------------------

    def _standard(self) -> dict[str, Tensor]:
        """Each table in normal scores, and all side by side if there are several."""
        found = {name: self.start[name] + move * self.maps[name].live for name, move in self.moves.items()}
        return found if len(found) == 1 else found | {"all": torch.cat(list(found.values()), 1)}

    def _dealt(self) -> list[Dealt]:
        """What chance would leave of each attribute."""
        made = []
        with torch.no_grad():
            for at, ((_, labels), views) in enumerate(zip(self.targets, self._known(), strict=True)):
                generator = torch.Generator().manual_seed(self.seed + 1 + at)
                made.append(Dealt(views, labels[labels >= 0], generator, marginals=self.config.marginals))
        return made

    @torch.no_grad()
    def _align(self) -> None:
        """Begin where each class has the mean and covariance of its deal, one attribute after the other."""
        live = [self.maps[name].live for name in self.moves]
        for (_, labels), dealt in zip(self.targets, self.dealt, strict=True):
            known = torch.nonzero(labels >= 0).squeeze(1)
            parts = [self.start[name] + move for name, move in self.moves.items()]
            vectors = torch.cat([part[known][:, kept] for part, kept in zip(parts, live, strict=True)], 1)
            into = next(iter(dealt.views.values())).into
            change = aligned(vectors, dealt.people, into) - vectors
            pieces = change.split([int(kept.sum()) for kept in live], 1)
            for move, kept, piece in zip(self.moves.values(), live, pieces, strict=True):
                move[known[:, None], torch.nonzero(kept).squeeze(1)] += piece
        for views, dealt in zip(self._known(), self.dealt, strict=True):
            dealt.weigh(views)

    def _known(self) -> list[dict[str, Tensor]]:
        """Per attribute the vectors of people whose class is known."""
        views = self._standard()
        return [{name: vectors[labels >= 0] for name, vectors in views.items()} for _, labels in self.targets]

    def _distinguishability(self) -> Tensor:
        known = self._known()
        if self.dealt:
            pairs = zip(self.dealt, known, strict=True)
            return torch.stack([dealt.loss(views, self.generator) for dealt, views in pairs]).sum()
        terms = []
        for (_, every), views in zip(self.targets, known, strict=True):
            labels = every[every >= 0]
            for vectors in views.values():
                if self.config.loss == "u2u":
                    terms.append(u2u(vectors, labels, balance=self.config.balance) / vectors.shape[1])
                else:
                    how: dict[str, Any] = {"anchor": self.config.anchor, "most": self.config.most}
                    terms.append(d2d(vectors, labels, to_chance=False, generator=self.generator, **how))
        return torch.stack(terms).sum()

    def _moved(self, rows: Tensor) -> dict[str, Tensor]:
        """The tables' rows as they are now."""
        return {name: self.maps[name].back(self.start[name][rows] + move[rows]) for name, move in self.moves.items()}

    def _regulariser(self) -> Tensor:
        move = torch.stack([delta.square().mean() for delta in self.moves.values()]).mean()
        total: Tensor = self.config.l2 * move
        if self.kept is None:
            return total + self.config.weight * move
        rows = torch.randperm(self.n_people, generator=self.generator)[: 2 * self.config.most].to(self.model.device)
        scores = self.model.score_pairs(self._moved(rows), self.kept.items[rows]) / self.kept.unit
        if self.config.regulariser == "scores":
            return total + self.config.weight * (scores - self.kept.scores[rows]).square().mean()
        listed, below = scores.split([self.config.n_listed, scores.shape[1] - self.config.n_listed], 1)
        hinge = (listed[:, 1:] - listed[:, :-1] + self.config.margin).relu().mean()
        if below.shape[1]:
            hinge = hinge + (below - listed[:, -1:] + self.config.margin).relu().mean()
        kept: Tensor = total + self.config.weight * hinge
        return kept

    @torch.no_grad()
    def _kept(self, seen: Histories) -> _Kept:
        """The original lists with some items from below them, and their scores."""
        listed, drawn = [], []
        step = 512
        for start in range(0, self.n_people, step):
            rows = np.arange(start, min(start + step, self.n_people))
            history = seen.take(rows)
            scores = self.model.score(Query.of_users(rows, history, self.model.device))
            best, _ = masked_topk(scores, history, self.config.n_listed)
            filled = torch.where(best >= 0, best, best[:, :1].clamp(min=0))
            listed.append(filled)
            drawn.append(torch.randint(self.model.n_items, (len(rows), self.config.n_below), generator=self.generator))
        items = torch.cat([torch.cat(listed).cpu(), torch.cat(drawn)], 1).to(self.model.device)
        everybody = torch.arange(self.n_people, device=self.model.device)
        parts = [self.model.score_pairs(self._moved(rows), items[rows]) for rows in everybody.split(step)]
        scores = torch.cat(parts)
        unit = scores[:, : self.config.n_listed].std(1).mean().clamp(min=1e-8)
        # An item drawn from below that stands in the list after all guards nothing: the lowest one takes its place.
        last = scores[:, self.config.n_listed - 1 : self.config.n_listed]
        guards = scores[:, self.config.n_listed :] < last - self.config.margin * unit
        lowest = scores.argmin(1, keepdim=True)
        for held in (items, scores):
            below = held[:, self.config.n_listed :]
            below.copy_(torch.where(guards, below, held.gather(1, lowest)))
        return _Kept(items, scores / unit, unit)

    # ---- steps ---------------------------------------------------------------------------------------------------

    def run(
        self,
        checkpoint: Path | None,
        resume: bool,
        identity: dict[str, Any],
        on_check: Callable[[dict[str, float]], None] | None,
    ) -> Unlearning:
        """Step until the attacker is at chance; the model's tables then hold the result."""
        done = Unlearning(stopped="steps")
        if resume and checkpoint is not None and checkpoint.exists():
            done = self._take_up(Checkpoint.read(checkpoint, identity))
        while done.steps < self.config.steps and done.stopped != "attacker":
            self._pace(done.steps)
            self.optimizer.zero_grad()
            loss = self._distinguishability() + self._regulariser()
            loss.backward()
            self.optimizer.step()
            done.steps += 1
            if done.steps % self.config.check_every and done.steps < self.config.steps:
                continue
            self._look(done, float(loss.detach()))
            if checkpoint is not None:
                self._lay_down(checkpoint, identity, done)
            if on_check is not None:
                on_check(done.trace[-1])
        with torch.no_grad():
            for name, best in self.best.items():
                self.tables[name].copy_(self.maps[name].back(self.start[name] + best))
        return done

    def _pace(self, step: int) -> None:
        """The step size falls to nothing between two looks: Adam's steps are as large where only noise is left."""
        left = 1 - (step % self.config.check_every) / self.config.check_every
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * left

    def _look(self, done: Unlearning, loss: float) -> None:
        """Let the validation attackers loose, and keep the vectors if none before were nearer to chance."""
        best = min((row["worst"] for row in done.trace), default=1.0)
        found = self._attacked()
        worst = max(abs(accuracy - chance) for accuracy, chance in found.values())
        if worst < best:
            self.best = {name: move.detach().clone() for name, move in self.moves.items()}
            done.kept = done.steps
        row = {"step": float(done.steps), "loss": loss, "worst": worst}
        done.trace.append(row | {name: accuracy for name, (accuracy, _) in found.items()})
        done.stopped = "attacker" if worst <= self.near else "steps"
        if done.stopped == "steps" and len(done.trace) % _DEAL_AGAIN == 0:
            for dealt in self.dealt:
                dealt.deal()

    def _errors(self, labels: Tensor) -> float:
        """Two standard errors of an accuracy at chance on a balanced sample."""
        sizes = labels[labels >= 0].bincount()
        sizes = sizes[sizes > 0]
        chance = 1 / len(sizes)
        return 2 * float((chance * (1 - chance) / (len(sizes) * int(sizes.min()))) ** 0.5)

    def _attacked(self) -> dict[str, tuple[float, float]]:
        """The validation attackers' accuracy and chance: other attackers, draws and folds than any report uses."""
        with torch.no_grad():
            views = self._moved(torch.arange(self.n_people, device=self.model.device))
        if len(views) > 1:
            views["all"] = torch.cat(list(views.values()), 1)
        found: dict[str, tuple[float, float]] = {}
        for name, labels in self.targets:
            known = labels.cpu().numpy()
            sizes = np.bincount(known[known >= 0])
            sizes = sizes[sizes > 0]
            draws = 1 if len(sizes) * sizes.min() > _MANY else 4
            for view, vectors in views.items():
                told = quick_attack(vectors.double().cpu().numpy(), known, draws=draws, seed=1000 + self.seed)
                found |= {f"{name} from {view}, {which}": (right, 1 / len(sizes)) for which, right in told.items()}
        return found

    def _lay_down(self, path: Path, identity: dict[str, Any], done: Unlearning) -> None:
        tensors = {f"move.{name}": move for name, move in self.moves.items()}
        tensors |= {f"best.{name}": best for name, best in self.best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        tensors["random"] = self.generator.get_state()
        facts = {"identity": identity, "epoch": done.steps, "trace": done.trace, "kept": done.kept}
        Checkpoint(tensors, facts).write(path)

    def _take_up(self, held: Checkpoint) -> Unlearning:
        with torch.no_grad():
            for name, move in held.part("move").items():
                self.moves[name].copy_(move)
            self.best = {name: best.to(self.model.device) for name, best in held.part("best").items()}
        load_optimizer(self.optimizer, held.part("optimizer"))
        self.generator.set_state(held.tensors["random"])
        trace = held.facts["trace"]
        for dealt in self.dealt:  # as often as before, so that they go on from the same one
            for _ in range(len(trace) // _DEAL_AGAIN):
                dealt.deal()
        stopped = "attacker" if trace[-1]["worst"] <= self.near else "steps"
        return Unlearning(trace, held.facts["epoch"], held.facts["kept"], stopped)


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the regulariser holds on to.

    Attributes:
        items: int64 [U, n_listed + n_below].
        scores: float [U, n_listed + n_below], original, in ``unit``.
        unit: Mean standard deviation of a list's scores.
    """

    items: Tensor
    scores: Tensor
    unit: Tensor
