"""What ``federate`` is asked for, and what that comes to: a method's settings, the clients' rows, a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.config import build
from rectitude.core.errors import ConfigError
from rectitude.federated.clients import Federation, federation_of
from rectitude.federated.contracts import Criterion, FairConfig, Method, MethodConfig
from rectitude.federated.encoder import Scaling
from rectitude.federated.frontier import rivals
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import BASES, METHODS, find
from rectitude.federated.run import Engine, new_run_id
from rectitude.federated.tables import People, read_people

JOINING = 600.0
"""Seconds to wait for clients that are processes of their own."""


@dataclass(frozen=True)
class Request:
    """What ``federate`` is asked for.

    Args:
        method: Name of the method.
        criterion: What is compared between groups.
        global_tolerance: Largest gap over all clients; None is the method's default, ``inf`` switches it off.
        local_tolerance: Largest gap at each client, or one per client's name; likewise.
        layers: Settings of the method by origin, weakest first.
        base: Method that trains the base model of a post-processing method.
        base_layers: Its settings by origin.
        n_clients: N.
        partition: How rows come to clients.
        label: Column of the label.
        attribute: The sensitive attribute.
        drop: Columns that must not be features.
        scores: Columns with class probabilities to be post-processed; no base model is trained then.
        scaling: Of numbers: ``standard`` or ``minmax``.
        seed: Of everything random.
        engine: Where it runs.
        min_clients: Fewest replies with which a round is valid; all where None.
        timeout: Seconds a client may take to reply.
        secure: Mask count and dual messages.
        noise: Noise multiplier of the count and dual messages.
        delta: δ of differential privacy.
        against: Other methods of the frontier: ``none``, ``post``, ``all`` or names with commas.
        seeds: Seeds of the frontier, from ``seed`` on.
    """

    method: str
    criterion: Criterion = "dp"
    global_tolerance: float | None = None
    local_tolerance: float | Mapping[str, float] | None = None
    layers: Mapping[str, Mapping[str, Any]] | None = None
    base: str = "fedavg"
    base_layers: Mapping[str, Mapping[str, Any]] | None = None
    n_clients: int | None = None
    partition: str = "dirichlet:0.5"
    label: str | None = None
    attribute: str | None = None
    drop: Sequence[str] = ()
    scores: Sequence[str] = ()
    scaling: Scaling = "standard"
    seed: int = 0
    engine: Engine = "in-process"
    min_clients: int | None = None
    timeout: float = 600.0
    secure: bool = True
    noise: float | None = None
    delta: float = 1e-5
    against: str = "post"
    seeds: int = 1

    def settings(self) -> MethodConfig:
        """The method's settings.

        Raises:
            ConfigError: A name or setting is unknown or does not fit.
        """
        if self.method in BASES:
            raise ConfigError(f"'{self.method}' is no method", where="--method", fix="Name columns with --scores")
        kind = find(self.method)
        values = _merged(self.layers)
        if issubclass(kind.Config, FairConfig):
            values = {**values, **self.bounds(values)}
        elif self.global_tolerance is not None or self.local_tolerance is not None:
            raise ConfigError(
                f"{kind.title} takes no tolerance",
                where="--global, --local",
                fix="Use a method that does, such as fedfact-post, or leave the tolerances out",
            )
        for name, layer in (self.layers or {}).items():
            build(kind.Config, layer, where=name)
        config = build(kind.Config, values, where=self.method)
        if self.scores:
            self._require_scored()
        elif kind.stage == "post" and (self.base in BASES or find(self.base).stage != "training"):
            raise ConfigError(f"'{self.base}' trains no model", where="--base", fix="For example fedavg or fedprox")
        for name, layer in (self.base_layers or {}).items():
            build(find(self.base).Config, layer, where=name)
        if not 1 <= self.seeds <= 100:
            raise ConfigError("The frontier takes 1 to 100 seeds", where="--seeds")
        if self.noise is not None and self.noise <= 0:
            raise ConfigError("The noise multiplier must be above 0", where="--noise")
        rivals(self.against, self.method)
        return config

    def read(self, data: str | Path | pl.DataFrame, say: Callable[[str], None]) -> People:
        """Rows, labels and groups of a table.

        Raises:
            DataError: The table cannot be used.
        """
        return read_people(
            data,
            label=self.label,
            attribute=self.attribute,
            drop=self.drop,
            scores=self.scores,
            announce=say,
        )

    def federation(self, people: People, seed: int, say: Callable[[str], None] | None) -> Federation:
        """The table dealt to the clients."""
        return federation_of(
            people,
            n_clients=self.n_clients,
            partition=self.partition,
            scaling=self.scaling,
            seed=seed,
            announce=say,
        )

    def plan(self, federation: Federation, settings: MethodConfig) -> Plan:
        """The stages for a federation's clients.

        Raises:
            ConfigError: Something does not fit these clients.
        """
        problem = federation.problem
        named = self.local_tolerance if isinstance(self.local_tolerance, Mapping) else {}
        for name in named:
            if name not in problem.clients:
                known = ", ".join(problem.clients)
                raise ConfigError(f"There is no client '{name}'", where="--local", fix=f"Known: {known}")
        needed = self.min_clients or problem.n_clients
        if not 1 <= needed <= problem.n_clients:
            raise ConfigError(
                f"{needed} of {problem.n_clients} clients cannot be needed",
                where="--min-clients",
                fix=f"Give 1 to {problem.n_clients}",
            )
        main = Stage(self.method, settings.model_dump(mode="json"))
        stages: tuple[Stage, ...] = (main,)
        if find(self.method).stage == "post":
            name = next(iter(BASES)) if self.scores else self.base
            base = build(find(name).Config, _merged(self.base_layers), where="--base-set")
            stages = (Stage(name, base.model_dump(mode="json")), replace(main, base=0))
        plan = Plan(
            new_run_id(),
            problem,
            stages,
            self.criterion,
            self.secure,
            self.noise,
            self.delta,
            needed,
            self.timeout,
            patience=0.0 if self.engine == "in-process" else JOINING,
        )
        for method in plan.methods:
            if self.noise is not None:
                _require_exact(method)
        return plan

    def bounds(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Criterion and tolerances as settings of a method; a tolerance that is not given is what ``values`` say."""
        bounds: dict[str, Any] = {"criterion": self.criterion}
        for key, given in (("global_tolerance", self.global_tolerance), ("local_tolerance", self.local_tolerance)):
            if isinstance(given, Mapping):
                bounds[key] = dict(given)
            elif given is not None:
                bounds[key] = given if np.isfinite(given) else None
            elif key in values:
                bounds[key] = values[key]
        return bounds

    def _require_scored(self) -> None:
        """Given probabilities are post-processed, and take the place of a base model."""
        kind = find(self.method)
        if kind.stage != "post":
            possible = ", ".join(name for name in METHODS if find(name).stage == "post")
            raise ConfigError(
                f"{kind.title} trains a model of its own, and would not use the given probabilities",
                where="--scores",
                fix=f"Post-process them with one of {possible}",
            )
        if self.base != "fedavg" or self.base_layers:
            raise ConfigError(
                "Given probabilities are the base model; there is none to train", where="--base", fix="Leave it out"
            )


def _merged(layers: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    return {key: value for layer in (layers or {}).values() for key, value in layer.items()}


def _require_exact(method: Method) -> None:
    """Refuse noise whose ε would be a guess."""
    if beyond := method.unaccounted():
        *others, last = beyond
        what = f"{', '.join(others)} and {last}" if others else last
        raise ConfigError(
            f"{method.title} with {what}: one row can change a reply by more than the noise is made for, so that no "
            "ε could be stated",
            where="--noise",
            fix=f"Add {' '.join(beyond.values())}",
        )
