"""The slots of an engine: as many in as there are, the others in their order, whatever becomes of who waits."""

from __future__ import annotations

import asyncio
import threading

from moot.engine.slots import Slots


async def entered(slots: Slots, seen: list[int], number: int) -> None:
    await slots.acquire()
    seen.append(number)


async def passes(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_waits_enters_in_order_and_never_more_than_there_are_slots() -> None:
    slots, seen = Slots(2), list[int]()
    tasks = [asyncio.create_task(entered(slots, seen, number)) for number in range(5)]

    await passes()
    assert seen == [0, 1]
    slots.release()
    await passes()
    assert seen == [0, 1, 2]
    for _ in range(4):
        slots.release()
    await asyncio.gather(*tasks)
    assert seen == [0, 1, 2, 3, 4]


async def test_a_slot_that_is_given_and_cancelled_at_once_goes_to_the_next() -> None:
    slots, seen = Slots(1), list[int]()
    await slots.acquire()
    first, second = (asyncio.create_task(entered(slots, seen, number)) for number in (1, 2))
    await passes()

    slots.release()
    first.cancel()
    await asyncio.wait([first, second])

    assert first.cancelled()
    assert seen == [2]


async def test_a_slot_given_in_the_pass_in_which_its_waiter_is_cancelled_is_not_lost() -> None:
    slots, seen = Slots(1), list[int]()
    await slots.acquire()
    first = asyncio.create_task(entered(slots, seen, 1))
    await passes()

    slots.release()
    await asyncio.sleep(0)  # it has its turn, and has not run yet
    first.cancel()
    await asyncio.wait([first])

    await entered(slots, seen, 3)
    assert seen == [3]


def test_a_waiter_whose_loop_is_closed_is_passed_over() -> None:
    slots, seen = Slots(0), list[int]()
    closed, going = asyncio.new_event_loop(), asyncio.new_event_loop()
    lost = closed.create_task(entered(slots, seen, 1))
    closed.run_until_complete(passes())
    waiting = going.create_task(entered(slots, seen, 2))
    going.run_until_complete(passes())

    closed.close()
    slots.release()
    going.run_until_complete(asyncio.wait_for(waiting, 10))
    going.close()

    assert seen == [2]
    lost._log_destroy_pending = False  # type: ignore[attr-defined]
    lost.get_coro().close()


def test_loops_in_several_threads_share_the_slots() -> None:
    slots, most, inside = Slots(2), [0], [0]
    lock = threading.Lock()

    async def work() -> None:
        for _ in range(50):
            await slots.acquire()
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            await asyncio.sleep(0)
            with lock:
                inside[0] -= 1
            slots.release()

    async def some() -> None:
        await asyncio.gather(*(work() for _ in range(3)))

    threads = [threading.Thread(target=lambda: asyncio.run(some())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most[0] <= 2
    assert inside[0] == 0
