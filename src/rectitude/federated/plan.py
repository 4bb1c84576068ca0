"""What a federation is about to do, and the rows of its clients, as files.

A plan is JSON that server and clients both read; a client's rows are one safetensors file that only the client reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from rectitude.core.config import build
from rectitude.core.errors import RunError
from rectitude.core.files import write_bytes, write_json
from rectitude.federated.contracts import Arrays, ClientData, Criterion, Method, Problem, Rows
from rectitude.federated.partition import PARTS
from rectitude.federated.registry import find

PLAN = "plan.json"
ROWS = "rows.safetensors"


@dataclass(frozen=True)
class Stage:
    """One method of a plan.

    Args:
        method: Its name.
        settings: Of its ``Config``.
        base: Number of the stage whose model gives a post-processing stage its probabilities; None where the method
            trains its own, or where the clients bring a model of their own.
        label: What it is called in the report, e.g. ``"global only"``.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: int | None = None
    label: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything server and clients must agree on.

    Args:
        run: Identity of the run; clients keep their state under it.
        problem: Classes, groups, clients and seed.
        stages: Methods, one after the other; each is evaluated at its end.
        criterion: By which gaps are reported.
        secure: Mask what the wire declares ``secure``.
        noise: Noise multiplier of the Gaussian mechanism on those fields; None adds none.
        delta: δ of (ε, δ)-differential privacy.
        min_clients: Fewest replies with which a round is valid.
        timeout: Seconds a client may take to reply.
        patience: Seconds to wait at the start for ``min_clients`` to join.
    """

    run: str
    problem: Problem
    stages: tuple[Stage, ...]
    criterion: Criterion = "dp"
    secure: bool = True
    noise: float | None = None
    delta: float = 1e-5
    min_clients: int = 2
    timeout: float = 600.0
    patience: float = 0.0

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The stages' methods with their settings.

        Raises:
            ConfigError: A method or setting is unknown.
        """
        made = []
        for stage in self.stages:
            method = find(stage.method)
            made.append(method(build(method.Config, stage.settings, where=stage.method), self.problem))
        return tuple(made)

    def learns_from_calibration(self, stage: int) -> bool:
        """A model that nothing is calibrated on afterwards learns from the calibration rows too."""
        return self.methods[stage].stage == "training" and all(other.base != stage for other in self.stages)

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`json` wrote."""
        problem: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values["problem"].items()}
        stages = tuple(Stage(**stage) for stage in values["stages"])
        return cls(**{**values, "problem": Problem(**problem), "stages": stages})

    def write(self, folder: Path) -> None:
        """Put the plan into a folder."""
        write_json(folder / PLAN, self.json())

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan in a folder.

        Raises:
            RunError: There is none.
        """
        try:
            return cls.from_json(json.loads((folder / PLAN).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"The folder has no usable plan: {error}", where=str(folder), fix="Prepare it again"
            ) from error


def write_rows(path: Path, data: ClientData) -> None:
    """Write one client's rows."""
    arrays: Arrays = {}
    for part in PARTS:
        rows: Rows = getattr(data, part)
        arrays |= {f"{part}/X": np.ascontiguousarray(rows.X), f"{part}/y": rows.y, f"{part}/a": rows.a}
    write_bytes(path, dump(arrays, {"index": str(data.index), "name": data.name}))


def read_rows(path: Path, problem: Problem) -> ClientData:
    """Read one client's rows.

    Raises:
        RunError: They are not there, not whole, or of no client of the plan.
    """
    arrays = read_arrays(path)
    with safe_open(path, "numpy") as file:
        index = int((file.metadata() or {}).get("index", -1))
    try:
        parts = {part: Rows(arrays[f"{part}/X"], arrays[f"{part}/y"], arrays[f"{part}/a"]) for part in PARTS}
        return ClientData(index, problem.clients[index if index >= 0 else problem.n_clients], **parts)
    except (KeyError, IndexError) as error:
        raise RunError(f"The rows are not usable: {error}", where=str(path), fix="Prepare them again") from error


def dump(arrays: Arrays, metadata: dict[str, str] | None = None) -> bytes:
    """Arrays as safetensors."""
    held = {
        name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()
    }  # keeps shape []
    return save_arrays(held, metadata)


def read_arrays(path: Path) -> Arrays:
    """Arrays of a safetensors file.

    Raises:
        RunError: It is not there or damaged.
    """
    try:
        return {name: np.array(array) for name, array in load_arrays(path.read_bytes()).items()}
    except OSError as error:
        raise RunError(f"There is no {path.name}", where=str(path.parent)) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path.name} is damaged: {error}", where=str(path.parent), fix="Start the run again") from error


def scoped(arrays: Arrays, scope: str) -> Arrays:
    """The arrays under a scope, by the rest of their names."""
    return {name[len(scope) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{scope}/")}


def under(scope: str, arrays: Arrays) -> Arrays:
    """The arrays with the scope before their names."""
    return {f"{scope}/{name}": array for name, array in arrays.items()}


Purpose = Literal["hello", "keys", "exchange", "model", "evaluate"]


@dataclass(frozen=True)
class Order:
    """The few words that go with a message's arrays.

    Args:
        run: Of the plan.
        purpose: An exchange of a method, or one of the app's own messages.
        number: Of the exchange in the whole run, from 1; asked again it keeps its number.
        stage: Number of the stage.
        kind: Of the method's exchange.
        attempt: How often this number was asked before; masks differ from attempt to attempt.
        clients: Whose replies are summed, ascending.
    """

    run: str
    purpose: Purpose
    number: int = 0
    stage: int = 0
    kind: str = ""
    attempt: int = 0
    clients: tuple[int, ...] = ()
