"""The database goes away and comes back while people ask and do things: nothing fails that a client tries again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from postgres_server import Postgres

from rectitude.client import Client, Event
from rectitude.service.launch import in_background
from rectitude.service.service import Service


def test_clients_notice_nothing_of_a_database_that_restarts(
    postgres: Postgres, open_service: Callable[..., Service]
) -> None:
    service = open_service(store=postgres.new_database(), run_jobs=False)
    stop, failures, sent, lists = threading.Event(), [], [], []

    def live(address: str, number: int) -> None:
        with Client(address, retries=100) as client:  # however long the database takes on a busy machine
            while not stop.is_set():
                event = Event(f"p{number}", f"i{len(sent) % 40}")
                try:
                    client.send([event])
                    sent.append(event.id)
                    lists.append(client.recommend(f"p{number}").answered_by)
                except Exception as error:  # every one of them is a failure of this test
                    failures.append(error)

    with in_background(service) as address:
        threads = [threading.Thread(target=live, args=(address, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        while len(lists) < 10 and not failures:
            stop.wait(0.05)
        postgres.restart(away_s=0.5)
        before = len(lists)
        while len(lists) < before + 10 and not failures:
            stop.wait(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        with Client(address) as client:
            stored, cursor = [], None
            while True:
                page = client.events(limit=1000, cursor=cursor)
                stored += [event.id for event in page.items]
                cursor = page.next
                if cursor is None:
                    break
    assert sorted(stored) == sorted(sent)
    assert set(lists) == {"SASRec"}
