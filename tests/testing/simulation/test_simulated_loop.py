"""The simulated loop varies what asyncio leaves open, keeps what it promises, and is the same run for the same seed."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from moot.testing import Livelock, SimulatedLoop, Stalled
from moot.testing.simulation import loop as module


def run(main: Any, seed: int = 0) -> Any:
    loop = SimulatedLoop(random.Random(seed))
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


async def order_of_tasks() -> str:
    order: list[str] = []

    async def step(name: str) -> None:
        await asyncio.sleep(0)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(step(name))
    return "".join(order)


def test_the_seed_picks_among_ready_tasks() -> None:
    orders = {run(order_of_tasks(), seed) for seed in range(20)}

    assert len(orders) > 10
    assert all(sorted(order) == list("abcdef") for order in orders)


def test_the_same_seed_picks_the_same() -> None:
    assert [run(order_of_tasks(), seed) for seed in range(10)] == [run(order_of_tasks(), seed) for seed in range(10)]


@pytest.mark.parametrize("seed", range(10))
def test_plain_callbacks_run_in_the_order_in_which_they_were_scheduled(seed: int) -> None:
    async def main() -> list[int]:
        order: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_soon(order.append, number)
        await asyncio.sleep(1)
        return order

    assert run(main(), seed) == list(range(20))


def test_time_passes_only_when_nothing_can_go_on_and_timers_fire_in_order() -> None:
    async def main() -> tuple[list[str], float]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        loop.call_later(3600, order.append, "late")
        loop.call_later(60, order.append, "early")
        loop.call_later(10, order.append, "never").cancel()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == 0
        await asyncio.sleep(7200)
        return order, loop.time()

    assert run(main()) == (["early", "late"], 7200.0)


def test_everybody_waiting_with_no_timer_is_said_at_once() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled, match="every task waits"):
        run(main())


def test_going_round_in_a_circle_without_time_passing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_STEPS_AT_ONCE", 1000)
    monkeypatch.setattr(module, "_STEPS_PER_COLLECTION", 100)

    async def main() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="without a moment passing"):
        run(main())


def test_tasks_and_futures_are_hashed_by_the_order_of_their_creation() -> None:
    async def main() -> tuple[list[int], bool]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(8)]
        tasks = [loop.create_task(asyncio.sleep(0)) for _ in range(8)]
        hashes = [hash(one) for one in (*futures, *tasks)]
        kept = {*futures, *tasks}
        await asyncio.gather(*tasks)
        return hashes, all(one in kept for one in (*futures, *tasks)) and futures[0] != futures[1]

    hashes, found = run(main())

    assert hashes == list(range(hashes[0], hashes[0] + 16))
    assert found


def test_a_thread_that_calls_in_is_refused() -> None:
    async def main() -> BaseException | None:
        loop = asyncio.get_running_loop()
        raised: list[BaseException] = []

        def call() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return raised[0]

    assert "use ctx.run_sync" in str(run(main()))


def test_blocking_functions_run_in_place() -> None:
    async def main() -> tuple[bool, str]:
        here = threading.get_ident()
        same = await asyncio.to_thread(lambda: threading.get_ident() == here)
        try:
            await asyncio.to_thread(int, "x")
        except ValueError as error:
            return same, str(error)
        return same, ""

    same, error = run(main())

    assert same
    assert "invalid literal" in error


def test_timeouts_and_cancellation_work_as_ever() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        except TimeoutError:
            seen.append("timeout")
        task = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task})
        seen.append("cancelled" if done.pop().cancelled() else "?")
        return seen

    assert [run(main(), seed) for seed in range(5)] == [["timeout", "cancelled"]] * 5
