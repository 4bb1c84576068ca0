"""The service held against its OpenAPI: what it allows and what it forbids is sent, by whoever may ask.

Used with a few examples by ``test_openapi.py`` and with many by ``benchmarks/service_contract.py``.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from rectitude.service import rights
from rectitude.service.access import LOCAL, principal_of_key
from rectitude.service.service import Service
from rectitude.service.store import Event, UserFacts
from rectitude.service.store.keys import ROLES

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
)
WHO = ("nobody's key", "without a key", *ROLES)
"""Use on this machine before there is a key, requests without one where keys are used, and each role."""
MODES = tuple(schemathesis.GenerationMode)
_numbers = itertools.count()


@dataclass
class Held:
    """What came of one operation, asked by one of ``WHO``.

    Attributes:
        who: Who asked.
        mode: ``positive`` sends what OpenAPI allows, ``negative`` what it forbids.
        operation: Method and path.
        statuses: How often each came.
        failure: The first answer that was not as OpenAPI says, in words.
    """

    who: str
    mode: str
    operation: str
    statuses: Counter[int] = field(default_factory=Counter)
    failure: str | None = None


def hold(
    service: Service, address: str, who: str, mode: Any, examples: int, only: str = "", done: Collection[str] = ()
) -> Iterator[Held]:
    """Hold every operation against OpenAPI.

    Args:
        service: Answering at ``address`` in this process, without limits of rate, its jobs not running.
        address: Where.
        who: One of ``WHO``.
        mode: One of ``MODES``.
        examples: Most examples of an operation.
        only: Part of the names of the operations; empty for all.
        done: Operations that are passed over.
    """
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    usual = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            if only not in operation.label or operation.label in done:
                continue
            told = Held(who, mode.value, operation.label)
            asker = Asker(service, who, told)
            sending = given(
                case=operation.as_strategy(generation_mode=mode),
                place=st.integers(0, 3) if mode is schemathesis.GenerationMode.POSITIVE else st.just(0),
            )(asker.sending(session))
            try:
                usual(sending)()
            except Unsatisfiable:  # nothing that this route would refuse can be made
                assert mode is schemathesis.GenerationMode.NEGATIVE
            except (
                Exception,
                BaseExceptionGroup,
            ) as error:  # told with the others
                told.failure = f"{type(error).__name__}: {error}"
            finally:
                asker.leave()
            yield told


class Asker:
    """One of ``WHO``, who knows of things that are there: a person, an item, runs, requests of each kind.

    Args:
        service: Asked.
        who: One of ``WHO``.
        told: Where the answers to one operation are counted.
    """

    def __init__(self, service: Service, who: str, told: Held) -> None:
        self.service, self.who, self.told = service, who, told
        store, self.person = service.store, f"person {next(_numbers)}"
        key, text = None, ""
        if who == "without a key":
            store.keys.make("anybody's", "read")
        elif who != WHO[0]:
            key, text = store.keys.make(who, who, self.person if who == "person" else None)  # type: ignore[arg-type]
        self.headers = {"authorization": f"Bearer {text}"} if text else {}
        store.add_events([Event(f"{self.person}-{item}", self.person, item) for item in ("i1", "i2")])
        store.put_users([UserFacts(self.person, {"gender": "F"})])
        self._known = {"user_id": self.person, "item_id": "i1", "name": "bpr", "slot": "bpr"}
        self._identifiers = [store.keys.make("spare", "read")[0].id] if "/keys/" in told.operation else ["none"]
        if "/requests/" in told.operation:
            asker = LOCAL if key is None else principal_of_key(key)
            export = rights.ask(service, LOCAL, "export", self.person)
            service.jobs.run_waiting()
            waiting = rights.ask(service, replace(asker, role="person"), "forget", self.person, "gender")
            failed = store.requests.put("export", self.person, {}, "local")
            self._empty_queue()
            self._identifiers = [export.id, waiting.id, failed.id]
        self.settle()

    def settle(self) -> None:
        """Whoever needs no key needs none again, whatever keys were made meanwhile."""
        if self.who == WHO[0]:
            self.leave()
        self.service.keys.forget()

    def leave(self) -> None:
        """Revoke what keys there are, and let no job wait."""
        for key in self.service.store.keys.list():
            if key.revoked is None:
                self.service.store.keys.revoke(key.id)
        self._empty_queue()

    def _empty_queue(self) -> None:
        requests = self.service.store.requests
        while (claimed := requests.claim("contract", 60.0)) is not None:
            requests.fail(claimed.id, "contract", "This was only tried")

    def sending(self, session: requests.Session) -> Any:
        """What Hypothesis calls with each example."""

        def send(case: Any, place: int) -> None:
            if place:
                self._about_what_is_there(case, place)
            case.headers.pop("Authorization", None)  # it makes keys up
            response = case.call(session=session, headers=self.headers, timeout=60)
            self.told.statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)
            if self.who == "without a key":
                assert response.status_code >= 400 or case.path.startswith("/health"), response.status_code
            if "/v1/keys" in case.path and response.status_code == 201:
                self.settle()

        return send

    def _about_what_is_there(self, case: Any, place: int) -> None:
        """Put names that are known where the example has made some up; ask one thing of a run, not three."""
        path, identifier = case.path_parameters, self._identifiers[place % len(self._identifiers)]
        for name in path:
            path[name] = identifier if name == "identifier" else self._known[name]
        for given_by_name in (case.query, case.body):
            if isinstance(given_by_name, dict):
                if case.path in ("/v1/recommend", "/v1/explain"):
                    _ask_one_thing(given_by_name, place, as_texts=given_by_name is case.query)
                known = {"user": self.person, "run": ("ease", "bpr", "sasrec")[place % 3], "experiment": "try"}
                given_by_name.update({name: value for name, value in known.items() if name in given_by_name})


def _ask_one_thing(question: dict[str, Any], place: int, *, as_texts: bool) -> None:
    """Of a person, of a history, or of somebody of some features; about attributes and slots that there are."""
    asked: dict[str, Any] = {
        "user": "u1",
        "history": "i1,i7,none" if as_texts else ["i1", "i7", "none"],
        "features": {"gender": "F"},
        "feature": "gender:F",
        "item": "i5",
        "slot": ("main", "bpr")[place % 2],
        "where": ["kind:Red", "year:1991..2020"] if as_texts else {"kind": ["Red", "Blue"], "year": {"min": 1991}},
        "k": place * 13,
    }
    one = ("user", "history", "feature" if as_texts else "features")[place - 1 if "item" not in question else place % 2]
    for name in ("user", "history", "features", "feature", "experiment"):
        question.pop(name, None)
    question.update({name: value for name, value in asked.items() if name in question}, **{one: asked[one]})


def walk(address: str, headers: dict[str, str], examples: int, steps: int) -> Counter[str]:
    """Follow links from one operation to the next, as far as they can be told from OpenAPI; count by operation.

    Raises:
        Exception: An answer was not as OpenAPI says.
    """
    seen: Counter[str] = Counter()
    machine = schemathesis.openapi.from_url(f"{address}/openapi.json").as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers, "timeout": 60}

        def validate_response(self, response: Any, case: Any, **named: Any) -> None:
            seen[f"{case.operation.label} {response.status_code}"] += 1
            case.validate_response(response, checks=CHECKS)

    Walk.run(
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
    )
    return seen


def as_row(held: Held) -> str:
    """As a line of JSON."""
    return json.dumps({**vars(held), "statuses": {str(status): n for status, n in sorted(held.statuses.items())}})
