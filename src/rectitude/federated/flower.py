"""The two apps as Flower loads them: ``server`` in SuperLink or the simulation, ``client`` in every SuperNode.

The server finds its workplace in the run configuration (``workplace``), a client its folder in the node configuration
(``folder``). How the server ended is left in its workplace, because Flower tells the one who started a run no more than
that it is over.
"""

from __future__ import annotations

import json
from pathlib import Path

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from rectitude.core.errors import RectitudeError
from rectitude.core.files import write_json
from rectitude.federated.app import Coordinator, Progress, client_app, server_app
from rectitude.federated.contracts import FederationError, InfeasibleError
from rectitude.federated.party import Party
from rectitude.federated.plan import Plan
from rectitude.federated.run import Workplace, party_in

ENDED = "ended.json"
EVENTS = "events.txt"


def apps_in(workplace: Path) -> tuple[ServerApp, ClientApp]:
    """Both apps for a workplace on this machine, as the simulation takes them."""

    def party(context: Context) -> Party:
        return party_in(Workplace(workplace).client(int(context.node_config["partition-id"])))

    return server_app(lambda grid, _: drive(grid, workplace)), client_app(party)


def drive(grid: Grid, folder: Path) -> None:
    """Coordinate the run of a workplace, and leave word of how it ended."""
    workplace = Workplace(folder)
    events = (folder / EVENTS).open("a", encoding="utf-8")

    def announce(sentence: str) -> None:
        events.write(sentence + "\n")
        events.flush()

    try:
        Coordinator(
            Plan.read(folder), grid, progress=workplace.progress(), save=workplace.save, announce=announce
        ).run()
        write_json(folder / ENDED, {"error": None})
    except Exception as error:
        told = error if isinstance(error, RectitudeError) else FederationError(f"{type(error).__name__}: {error}")
        kind = "infeasible" if isinstance(error, InfeasibleError) else "federation"
        write_json(folder / ENDED, {"error": kind, "what": told.what, "where": told.where, "fix": told.fix})
        raise
    finally:
        events.close()


def outcome(workplace: Workplace) -> Progress:
    """What the server left.

    Raises:
        FederationError: The run failed, or nothing is known of its end.
        InfeasibleError: The tolerances cannot be kept.
    """
    path = workplace.folder / ENDED
    if not path.exists():
        raise FederationError(
            "The federation's server ended without a word",
            where=str(workplace.folder),
            fix="Look at the logs in that folder; completed rounds are kept: go on with --resume",
        )
    ended = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if ended["error"] is not None:
        kind = InfeasibleError if ended["error"] == "infeasible" else FederationError
        raise kind(ended["what"], where=ended["where"], fix=ended["fix"])
    progress = workplace.progress()
    if progress is None:
        raise FederationError("The federation ended and left no result", where=str(workplace.folder))
    return progress


server = server_app(lambda grid, context: drive(grid, Path(str(context.run_config["workplace"]))))
"""Server app of a deployed federation."""
client = client_app(lambda context: party_in(Path(str(context.node_config["folder"]))))
"""Client app of a deployed federation."""
