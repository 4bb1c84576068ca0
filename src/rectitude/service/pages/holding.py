"""What the service holds of a person, what could be guessed of them, and how far their requests have come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rectitude.audit.checks.finding import Finding
from rectitude.service.pages.environment import words_of
from rectitude.service.pages.items import ItemView, item_view
from rectitude.service.pages.readings import RunReading
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.served import ServedRun

if TYPE_CHECKING:
    from rectitude.service.service import Service
    from rectitude.service.store import Request


@dataclass(frozen=True)
class Used:
    """An item of a history.

    Attributes:
        item: The item.
        stopped: Did the person take it out of use?
        kept_back: Is it of the part that they do not share?
    """

    item: ItemView
    stopped: bool
    kept_back: bool = False


@dataclass(frozen=True)
class Guess:
    """What can be guessed of a person.

    Attributes:
        attribute: Its column.
        name: In words.
        certainty: 0 no better than drawing lots, 1 always right.
        words: How sure a guess is.
        right: Of 100 people, for how many it is right.
        lots: The same for labels dealt out at random.
    """

    attribute: str
    name: str
    certainty: float
    words: str
    right: int
    lots: int


@dataclass(frozen=True)
class Holding:
    """What is held.

    Attributes:
        known: Does the service know the person at all?
        erased: Were they deleted?
        history: Newest first.
        facts: What they told, name to value.
        n_models: Models that were trained with their history.
        n_since: Of the history, what came after the model was trained.
        objected: Items never to be shown again.
        shared: Per cent of the history that may be used.
        reads_history: Can the model in use go by a history?
        stores: Does it store a vector of each person?
    """

    known: bool
    erased: bool
    history: Sequence[Used]
    facts: Sequence[tuple[str, str]]
    n_models: int
    n_since: int
    objected: Sequence[ItemView]
    shared: int
    reads_history: bool
    stores: bool

    @property
    def n_sharable(self) -> int:
        """Items that were not taken out of use one by one."""
        return sum(not used.stopped for used in self.history)

    @property
    def n_used(self) -> int:
        """Those that the next answer goes by."""
        return sum(not (used.stopped or used.kept_back) for used in self.history)


def holding(service: Service, slot: str, person: str) -> Holding:
    """What is held of a person; waits for the store."""
    shelf, store = service.shelf, service.store
    served = shelf[slot]
    ask = Ask(user=person)
    state = shelf.state(ask)
    erased = state is not None and state.erased
    stopped = state.stopped if state is not None else frozenset()
    whole = replace(state, stopped=frozenset(), kept_back=0) if state is not None else None
    indices = dict.fromkeys(reversed(served.person(ask, whole).history.tolist()))
    ids = [served.run.item_ids[index] for index in indices]
    read = {served.run.item_ids[index] for index in served.person(ask, state).history.tolist()}
    told = store.user(person)
    trained = [name for name in shelf.names() if not erased and shelf[name].run.user_ids.find(person) is not None]
    n_since = len(state.events) if state is not None else 0
    return Holding(
        bool(ids or told or trained or n_since),
        erased,
        [Used(item_view(served.catalogue, slot, one), one in stopped, one not in read | stopped) for one in ids],
        [(name, _written(value)) for name, value in (told.facts if told is not None else {}).items()],
        len(trained),
        n_since,
        objected_to(served, slot, state.objected if state is not None else ()),
        100 - (state.kept_back if state is not None else 0),
        served.reads_history,
        bool(served.run.model.user_tables()),
    )


def objected_to(served: ServedRun, slot: str, items: Iterable[str]) -> list[ItemView]:
    """Items never to be shown to somebody, by title."""
    return sorted((item_view(served.catalogue, slot, one) for one in items), key=lambda item: item.title)


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def guesses(readings: Sequence[RunReading]) -> list[Guess]:
    """The attributes that were tried to be guessed, the surest first, each from where it is told most."""
    best: dict[str, tuple[float, Finding]] = {}
    for finding in [finding for reading in readings for finding in reading.findings]:
        if finding.check != "attribute-leakage" or finding.attribute is None:
            continue
        floor = finding.floor if finding.floor is not None else 0.0
        sure = max(0.0, (finding.value - floor) / (1 - floor)) if floor < 1 else 0.0
        if finding.attribute not in best or sure > best[finding.attribute][0]:
            best[finding.attribute] = (sure, finding)
    made = [
        Guess(
            name,
            words_of(name),
            sure,
            certainty_words(sure),
            round(100 * finding.value),
            round(100 * (finding.floor or 0)),
        )
        for name, (sure, finding) in best.items()
    ]
    return sorted(made, key=lambda guess: -guess.certainty)


def certainty_words(sure: float) -> str:
    """How sure a guess is, in words."""
    if sure <= 0:
        return "no better than drawing lots"
    if sure < 0.35:
        return "somewhat better than drawing lots"
    return "often right" if sure < 0.7 else "mostly right"


# ---- requests --------------------------------------------------------------------------------------------------------

_KINDS = {
    "export": "Download what is known of me",
    "delete": "Delete me",
    "forget": "Forget {attribute}",
    "unlearn": "Make {run} unable to tell {attribute}",
    "in-ucds": "Train {run} again, to serve the less active as well",
}
_STATUS = {
    "waiting": ("waiting for whoever runs this service", "warn"),
    "queued": ("will begin soon", "accent"),
    "running": ("being done", "accent"),
    "done": ("done", "good"),
    "failed": ("could not be done", "bad"),
}


@dataclass(frozen=True)
class Asked:
    """A request as its person reads it.

    Attributes:
        id: For addresses.
        kind: What was asked.
        title: In words.
        status: In words.
        tone: Of the words: good, bad, warn or accent.
        ended: Is nothing going to happen any more?
        done: Was it done?
        created: Seconds since 1970.
        changed: Likewise.
        doing: What is being done, empty where nothing is.
        steps: Done so far: what, and when.
        reason: Why it failed.
        summary: What was done, in a sentence.
        left: What could not be done, a sentence each.
        stays: What stays, and why, a sentence each.
        models: What was done to which.
        proof: All of it, as it is kept.
        file: Is there a file to be fetched?
        attribute: What is to be forgotten, empty for other requests.
        remedy: For a run that is to be mended; empty for people's requests.
        run: That run.
        instead: The run that was made, which may be put into service or is; empty where neither can be.
        serving: Is it in service?
    """

    id: str
    kind: str
    title: str
    status: str
    tone: str
    ended: bool
    done: bool
    created: float
    changed: float
    doing: str
    steps: Sequence[tuple[str, float]]
    reason: str
    summary: str
    left: Sequence[str]
    stays: Sequence[str]
    models: Sequence[Repaired]
    proof: str
    file: bool
    attribute: str = ""
    remedy: str = ""
    run: str = ""
    instead: str = ""
    serving: bool = False


def asked(request: Request, *, file: bool = False, in_service: Mapping[str, str] | None = None) -> Asked:
    """A request with its steps, in words.

    Args:
        request: With its steps.
        file: Can its export be fetched?
        in_service: Slot to name of the run that stands there, for whoever may exchange it.
    """
    status, tone = _STATUS[request.status]
    kind = request.kind if request.kind != "remedy" else str(request.parameters["remedy"])
    title = _KINDS.get(kind, words_of(kind).capitalize())
    attribute = words_of(str(request.parameters.get("attribute", "a fact of mine")))
    proof = request.proof or {}
    run, made, remedy = str(request.parameters.get("run", "")), "", str(request.parameters.get("remedy", ""))
    stands = (in_service or {}).get(str(request.parameters.get("slot", "")))
    if request.kind == "remedy" and proof and stands in (run, proof["runs"][0]["new_run"]):
        made = str(proof["runs"][0]["new_run"])
    return Asked(
        request.id,
        request.kind,
        title.format(attribute=attribute, run=run),
        status,
        tone,
        request.ended,
        request.status == "done",
        request.created,
        request.changed,
        request.doing or "",
        [(step_words(step.name), step.at) for step in request.steps],
        request.reason or "",
        str(proof.get("summary", "")),
        list(dict.fromkeys(proof.get("left", ()))),
        list(proof.get("stays", ())),
        repaired(proof),
        json.dumps(proof, indent=2, ensure_ascii=False) if proof else "",
        file,
        str(request.parameters.get("attribute", "")),
        remedy,
        run,
        made,
        bool(made) and stands == made,
    )


_STEPS = {
    "rows": "Rows removed from the database",
    "fact": "The fact removed",
    "file": "File written",
    "files": "Exported files removed",
    "plan": "Looked which models are concerned",
    "repair": "Model {run} repaired",
    "unlearn": "Model {run} made unable to tell",
    "train": "Model {run} trained again",
    "exchange": "Repaired model {run} put into service",
    "clear": "Old folder of {run} cleared",
    "retire": "Old folder of {run} retired",
    "others": "Others who asked were told",
    "unserved": "Removed runs that stood ready and held the person",
    "check": "Checked that nothing is left",
}


def step_words(name: str) -> str:
    """A step of a job, in words: ``repair 1 bpr`` as ``Model bpr repaired``."""
    first, *rest = name.split()
    if rest and rest[0].isdigit():
        rest = rest[1:]
    return _STEPS.get(first, name).format(run=" ".join(rest))


@dataclass(frozen=True)
class Repaired:
    """A model that was repaired, as the proof tells it.

    Attributes:
        run: Name of the run.
        remedy: What was done.
        counts: What was counted before and after.
        figures: What was measured before and after.
    """

    run: str
    remedy: str
    counts: Sequence[tuple[str, str, str]]
    figures: Sequence[tuple[str, str, str]]


def repaired(proof: Mapping[str, Any]) -> list[Repaired]:
    """The models of a proof."""
    made = []
    for run in proof.get("runs", ()):
        if not isinstance(run, Mapping) or "remedy" not in run:
            continue
        before, after = run.get("before", {}), run.get("after", {})
        counts = [(words_of(name), _plain(value), _plain(after.get(name, "–"))) for name, value in before.items()]
        guessed = run.get("membership", {})
        figures = [
            (
                f"how well it can be told that they were in it, {words_of(name)} (0.5: it cannot)",
                _plain(value),
                _plain(guessed.get("after", {}).get(name, "–")),
            )
            for name, value in guessed.get("before", {}).items()
        ]
        figures += [
            (
                str(row["figure"]).replace(" from ", " guessed right from "),
                _plain(row["before"]["value"]),
                _plain(row["after"]["value"]),
            )
            for row in run.get("figures", ())
        ]
        made.append(Repaired(str(run.get("run", "")), str(run["remedy"]), counts, figures))
    return made


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
