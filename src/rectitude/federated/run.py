"""Running a plan: in this process, in Flower's simulation, or on SuperLink and SuperNodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from safetensors import safe_open

from rectitude.core.errors import MissingExtraError, RunError
from rectitude.core.files import write_bytes
from rectitude.federated.contracts import Arrays, ClientData
from rectitude.federated.party import FileStore, MemoryStore, Party, Scorer
from rectitude.federated.plan import PLAN, ROWS, Plan, dump, read_arrays, read_rows, scoped, under, write_rows

if TYPE_CHECKING:
    from rectitude.federated.app import Progress
    from rectitude.federated.grid import LocalGrid

Engine = Literal["in-process", "simulation", "superlink"]
CHECKPOINT = "checkpoint.safetensors"
_STATE = "state"


@dataclass(frozen=True)
class Finished:
    """A plan that was carried out.

    Args:
        progress: Results, evaluations, traffic.
        personal: The clients' own parts by name and stage; only of clients whose stores are at hand.
    """

    progress: Progress
    personal: dict[str, dict[int, Arrays]]


class Workplace:
    """The folder of a run under way: the plan, each client's rows and state, and the server's checkpoint.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def checkpoint(self) -> Path:
        """The server's state after the last completed exchange."""
        return self.folder / CHECKPOINT

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with."""
        return (self.folder / PLAN).exists()

    def client(self, index: int) -> Path:
        """Folder of one client."""
        return self.folder / "clients" / str(index)

    def prepare(self, plan: Plan, clients: Sequence[ClientData]) -> None:
        """Write the plan and every client's folder, which is all that a client needs, into an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for data in clients:
            write_rows(self.client(data.index) / ROWS, data)
            plan.write(self.client(data.index))
        plan.write(self.folder)

    def remove(self) -> None:
        """The run has ended, or is to begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- progress ------------------------------------------------------------------------------------------------

    def save(self, progress: Progress, parties: Sequence[Party] = ()) -> None:
        """Keep the progress, with the state of clients that live in this process."""
        arrays = under("server", progress.arrays)
        for party in parties:
            if isinstance(party.store, MemoryStore):
                for name, kept in party.store.content.items():
                    arrays |= under(f"client/{party.data.index}/{name}:", kept)
        write_bytes(self.checkpoint, dump(arrays, {"progress": json.dumps(progress.facts())}))

    def progress(self) -> Progress | None:
        """What was kept, None if nothing was.

        Raises:
            RunError: It is damaged.
        """
        from rectitude.federated.app import Progress

        if not self.checkpoint.exists():
            return None
        arrays = read_arrays(self.checkpoint)
        with safe_open(self.checkpoint, "numpy") as file:
            facts = json.loads((file.metadata() or {}).get("progress", "null"))
        if facts is None:
            raise RunError("The checkpoint says nothing of its progress", where=str(self.checkpoint))
        return Progress.from_facts(facts, scoped(arrays, "server"))

    def kept_by(self, index: int) -> dict[str, Arrays]:
        """State of a client that lives in the server's process."""
        if not self.checkpoint.exists():
            return {}
        kept: dict[str, Arrays] = {}
        for name, array in scoped(read_arrays(self.checkpoint), f"client/{index}").items():
            store, _, key = name.partition(":/")
            kept.setdefault(store, {})[key] = array
        return kept

    def personal(self, plan: Plan) -> dict[str, dict[int, Arrays]]:
        """The clients' own parts, where their folders are at hand."""
        return {
            name: _personal(store_in(self.client(index), plan), plan) for index, name in enumerate(plan.problem.clients)
        }


def party_in(folder: Path) -> Party:
    """A client whose plan, rows and state are in a folder of its own.

    Raises:
        RunError: The folder is not one of a prepared client.
    """
    plan = Plan.read(folder)
    return Party(plan, read_rows(folder / ROWS, plan.problem), store_in(folder, plan))


def store_in(folder: Path, plan: Plan) -> FileStore:
    """Where a client with a folder of its own keeps its state."""
    return FileStore(folder / _STATE / plan.run)


def new_run_id() -> str:
    """Identity of a run."""
    return uuid4().hex[:12]


def in_process(
    plan: Plan,
    clients: Sequence[ClientData],
    *,
    workplace: Workplace | None = None,
    scorers: Sequence[Scorer | None] | None = None,
    announce: Callable[[str], None] | None = None,
    watch: Callable[[int, int], None] | None = None,
    record: Callable[[Any], None] | None = None,
    grid: Callable[..., LocalGrid] | None = None,
    **options: Any,
) -> Finished:
    """Carry out a plan with all clients in this process.

    Args:
        plan: What to do.
        clients: Their rows.
        workplace: Where progress is kept and gone on from; None keeps none.
        scorers: A model of class probabilities for each client, for post-processing without a base stage.
        announce: Told of clients that join or fail.
        watch: Called after every round with stage and round.
        record: Shown every message.
        grid: Makes the grid; :class:`~rectitude.federated.grid.LocalGrid` by default.
        options: For the grid.

    Raises:
        FederationError: Too few clients took part in a round.
        InfeasibleError: The tolerances cannot be kept.
        MissingExtraError: Flower is not installed.
    """
    require("in-process")
    from rectitude.federated.app import Coordinator, client_app
    from rectitude.federated.grid import LocalGrid

    parties = []
    for data in clients:
        kept = workplace.kept_by(data.index) if workplace is not None else {}
        parties.append(Party(plan, data, MemoryStore(kept), scorers[data.index] if scorers else None))
    app = client_app(lambda context: parties[int(context.node_config["partition-id"])])
    nodes = [{"partition-id": data.index} for data in clients]
    made = (grid or LocalGrid)(app, nodes, record=record, **options)
    save = (lambda progress: workplace.save(progress, parties)) if workplace is not None else None
    begun = workplace.progress() if workplace is not None else None
    progress = Coordinator(plan, made, progress=begun, save=save, announce=announce, watch=watch).run()
    return Finished(progress, {party.data.name: _personal(party.store, plan) for party in parties})


def _personal(store: Any, plan: Plan) -> dict[int, Arrays]:
    return {stage: store.get(f"personal/{stage}") for stage in range(len(plan.stages))}


def require(engine: Engine) -> None:
    """Look for what an engine needs before anything is written.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("flwr") is None:
        raise MissingExtraError("flwr", "fed", "A federation")
    if engine == "simulation" and find_spec("ray") is None:
        raise MissingExtraError("ray", "fed-sim", "Flower's simulation")


def carry_out(
    engine: Engine,
    plan: Plan,
    clients: Sequence[ClientData],
    workplace: Workplace,
    *,
    announce: Callable[[str], None] | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Finished:
    """Carry out a plan on one of the engines; all of them give the same numbers.

    Raises:
        FederationError: Too few clients took part in a round.
        MissingExtraError: What the engine needs is not installed.
    """
    require(engine)
    if engine == "in-process":
        done = in_process(plan, clients, workplace=workplace, announce=announce, watch=watch)
        filed = workplace.personal(plan)  # of clients that ran elsewhere before, where there are such
        return Finished(done.progress, {k: own if any(own.values()) else done.personal[k] for k, own in filed.items()})
    if engine == "simulation":
        from rectitude.federated.simulate import simulate

        progress = simulate(plan, workplace, announce=announce)
    else:
        from rectitude.federated.deploy import deploy

        progress = deploy(plan, workplace, announce=announce, watch=watch)
    return Finished(progress, workplace.personal(plan))
