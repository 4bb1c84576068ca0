from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from rectitude.service.serving import batching
from rectitude.service.serving.batching import Batcher, BusyError


def test_questions_gather_while_others_are_computed() -> None:
    gate, batches = threading.Event(), []

    def compute(questions: Sequence[int]) -> list[int | Exception]:
        batches.append(list(questions))
        gate.wait(5)
        return [ValueError("odd") if question % 2 else question * 10 for question in questions]

    async def main() -> list[int | BaseException]:
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(compute, executor)
            sizes: list[int] = []
            batcher.watch(sizes.append)
            tasks = [asyncio.create_task(batcher.ask(number)) for number in range(6)]
            await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            assert len(batcher) == 5
            gate.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert sizes == [1, 5]
            return found

    found = asyncio.run(main())
    assert batches == [[0], [1, 2, 3, 4, 5]]
    assert [found[0], found[2], found[4]] == [0, 20, 40]
    assert all(isinstance(found[place], ValueError) for place in (1, 3, 5))


def test_who_left_is_not_computed_and_too_many_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING", 3)
    gate, batches = threading.Event(), []

    def compute(questions: Sequence[int]) -> list[int | Exception]:
        batches.append(list(questions))
        gate.wait(5)
        return list(questions)

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(compute, executor)
            tasks = [asyncio.create_task(batcher.ask(number)) for number in range(4)]
            await asyncio.sleep(0.02)
            with pytest.raises(BusyError):
                await batcher.ask(9)
            tasks[2].cancel()
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert batches == [[0], [1, 3]]


def test_a_failing_batch_fails_its_questions_and_the_next_is_answered() -> None:
    def compute(questions: Sequence[int]) -> list[int | Exception]:
        if 0 in questions:
            raise RuntimeError("broken")
        return list(questions)

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(compute, executor)
            with pytest.raises(RuntimeError, match="broken"):
                await batcher.ask(0)
            assert await batcher.ask(1) == 1

    asyncio.run(main())
