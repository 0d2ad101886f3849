"""A program that ends in any other way than by a stop keeps what a kill keeps; in memory it says what was not done.

What was accepted and not handled is there in the next life and runs then; nothing begins while the program comes down;
a turn that was broken off has done nothing, and no message has become a dead letter for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, BatchPolicy, Payload, Request, RetryPolicy, handles
from moot.backends.sqlite import SqliteBackend
from moot.backends.sqlite.journal import SqliteJournal
from moot.errors import Retry
from moot.messaging.dead_letters import Reason
from moot.policies import Backoff
from moot.runtime.dispatch.timers import Timers
from moot.runtime.durability.turn_journal import TurnJournal
from moot.runtime.routing.delivery import Delivery
from moot.testing.virtual_loop import run

END_OF_LIFE = 100.0


class Note(Payload):
    number: int


class Question(Request[int]):
    number: int


class Heard(msgspec.Struct, frozen=True):
    numbers: tuple[int, ...] = ()


class Log:
    """What a life saw: ``began`` and ``ended`` turns, and where it is now."""

    def __init__(self, life: int) -> None:
        self.life = life
        self.began: list[int] = []
        self.started = asyncio.Event()
        self.end: Callable[[], None] = lambda: None


class Hearing(Agent[Heard]):
    """In its first life it gets no further than the middle of its first turn."""

    def __init__(self, agent_id: str, log: Log) -> None:
        super().__init__(agent_id)
        self.log = log

    async def heard(self, messages: list[Note], ctx: AgentContext[Heard]) -> None:
        for message in messages:
            self.log.began.append(message.number)
            if message.number < 100:
                ctx.send("hearer", Note(message.number + 100))
        ctx.state = Heard((*ctx.state.numbers, *(message.number for message in messages)))
        if self.log.life == 1:
            self.log.started.set()
            await self.middle(ctx)

    async def middle(self, ctx: AgentContext[Heard]) -> None:
        await asyncio.sleep(END_OF_LIFE)


class Hearer(Hearing):
    """Takes one message after the other."""

    @handles
    async def hear(self, message: Note, ctx: AgentContext[Heard]) -> None:
        await self.heard([message], ctx)


class Cleaning(Hearer):
    """Fails while it clears up."""

    async def middle(self, ctx: AgentContext[Heard]) -> None:
        try:
            await asyncio.sleep(END_OF_LIFE)
        finally:
            raise ConnectionError("nothing to clear up")


class Asking(Hearer):
    """Waits for another."""

    async def middle(self, ctx: AgentContext[Heard]) -> None:
        await ctx.ask("slow", Question(1), timeout=2 * END_OF_LIFE)


class Retrying(Hearer):
    """Waits for its second try."""

    retry = RetryPolicy(backoff=Backoff(first=END_OF_LIFE, limit=END_OF_LIFE))

    async def middle(self, ctx: AgentContext[Heard]) -> None:
        raise Retry("not now", after=END_OF_LIFE)


class Batching(Hearing):
    """Takes several messages at once."""

    @handles(batch=BatchPolicy(max_size=10))
    async def hear(self, messages: list[Note], ctx: AgentContext[Heard]) -> None:
        await self.heard(messages, ctx)


class Slow(Agent):
    @handles
    async def answer(self, message: Question, ctx: AgentContext) -> int:
        await asyncio.sleep(END_OF_LIFE)
        return message.number


KINDS: list[type[Hearing]] = [Hearer, Cleaning, Asking, Retrying, Batching]


async def begin(manager: AgentManager, kind: type[Hearing], log: Log) -> None:
    """Start, and give the agent three messages; return in the middle of its first turn."""
    await manager.register(Slow("slow"))
    await manager.register(kind("hearer", log))
    await manager.start()
    for number in (1, 2, 3):
        manager.tell_nowait("hearer", Note(number))
    await manager._gateway.synced()  # type: ignore[union-attr]
    await log.started.wait()


# The ends of a program. Each is given a manager that has not started, and how to begin.

Begin = Callable[[], Awaitable[None]]


async def leave_the_block_too_late(manager: AgentManager, begin: Begin) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await begin()
            async with manager:
                pass


async def be_cancelled_in_the_block(manager: AgentManager, begin: Begin) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await begin()
            async with manager:
                await asyncio.sleep(END_OF_LIFE)


async def be_cancelled_in_a_stop(manager: AgentManager, begin: Begin) -> None:
    await begin()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await manager.stop()


async def return_without_a_stop(manager: AgentManager, begin: Begin) -> None:
    await begin()


async def raise_without_a_stop(manager: AgentManager, begin: Begin) -> NoReturn:
    await begin()
    raise LookupError("of the program")


async def fail_beside_the_block(manager: AgentManager, begin: Begin) -> None:
    async def serve() -> None:
        async with manager:
            pass

    async def fail() -> NoReturn:
        await asyncio.sleep(5)
        raise LookupError("of a sibling")

    await begin()
    with contextlib.suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            group.create_task(fail())


async def cancel_all_tasks(manager: AgentManager, begin: Begin) -> None:
    await begin()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(1)


async def exit_beside(manager: AgentManager, begin: Begin) -> None:
    await begin()
    async with manager:
        sys.exit(3)


async def exit_in_a_callback(manager: AgentManager, begin: Begin) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    await begin()
    async with manager:
        asyncio.get_running_loop().call_later(1, interrupt)
        await asyncio.sleep(END_OF_LIFE)


ENDS = [
    leave_the_block_too_late,
    be_cancelled_in_the_block,
    be_cancelled_in_a_stop,
    return_without_a_stop,
    raise_without_a_stop,
    fail_beside_the_block,
    cancel_all_tasks,
    exit_beside,
    exit_in_a_callback,
]


def first_life(make: Callable[[], AgentManager], kind: type[Hearing], end: Any) -> tuple[AgentManager, Log]:
    found: list[tuple[AgentManager, Log]] = []

    async def life() -> None:
        manager, log = make(), Log(1)
        found.append((manager, log))
        await end(manager, lambda: begin(manager, kind, log))

    with contextlib.suppress(LookupError, SystemExit, KeyboardInterrupt):
        run(life())
    return found[0]


def second_life(manager: AgentManager, kind: type[Hearing]) -> tuple[tuple[int, ...], list[str]]:
    async def life() -> tuple[tuple[int, ...], list[str]]:
        log = Log(2)
        await manager.register(Slow("slow"))
        await manager.register(kind("hearer", log))
        await manager.start()
        await manager.settle()
        state = manager._system.directory.cells["hearer"].state  # type: ignore[union-attr]
        await manager.stop()
        return state.numbers, [letter.error for letter in manager.dead_letters]

    return run(life())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
def test_on_disk_everything_is_kept_and_handled_once_in_the_next_life(tmp_path: Path, end: Any, kind: Any) -> None:
    def make() -> AgentManager:
        return AgentManager(SqliteBackend(tmp_path / "team.db", inline=True))

    manager, log = first_life(make, kind, end)
    numbers, errors = second_life(make(), kind)

    assert log.began == ([1, 2, 3] if kind is Batching else [1]), "nothing begins while the program comes down"
    assert not list(manager.dead_letters)
    assert (sorted(numbers), errors) == ([1, 2, 3, 101, 102, 103], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
def test_in_memory_what_was_not_handled_is_a_dead_letter_that_says_so(end: Any, kind: Any) -> None:
    manager, log = first_life(AgentManager, kind, end)
    letters = [letter for letter in manager.dead_letters if letter.message.message_type == "note"]

    assert log.began == ([1, 2, 3] if kind is Batching else [1])
    assert sorted(letter.message.content.number for letter in letters) == [1, 2, 3]
    assert {letter.reason for letter in letters} == {Reason.STOPPED}


class Working(Agent[Heard]):
    """Does several things in one turn; or fails; or is sent something later."""

    @handles
    async def hear(self, message: Note, ctx: AgentContext[Heard]) -> None:
        if message.number == 2:
            raise ValueError("no twos")
        ctx.state = Heard((*ctx.state.numbers, message.number))
        await ctx.shared_state.set(f"{message.number}", 1 + await ctx.shared_state.get(f"{message.number}", 0))
        if message.number < 100:
            ctx.send("working", Note(message.number + 100))
            ctx.send("working", Note(message.number + 200))
            ctx.schedule(1, Note(message.number + 300))


STEPS = [
    (Delivery, "send"),
    (Delivery, "send_now"),
    (Timers, "put"),
    (TurnJournal, "committed"),
    (SqliteJournal, "put_state"),
    (SqliteJournal, "put_timer"),
    (SqliteJournal, "put_letter"),
    (SqliteJournal, "end_timer"),
]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=lambda part: getattr(part, "__name__", part))
def test_ctrl_c_in_the_middle_of_a_commit_leaves_nothing_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, call: int
) -> None:
    original = getattr(owner, step)
    calls = 0

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return original(*args, **options)

    async def life() -> tuple[Any, list[int], list[str]]:
        manager = AgentManager(SqliteBackend(tmp_path / "team.db", inline=True))
        async with manager:
            await manager.register(Working("working"))
            for number in (1, 2):
                await manager.tell("working", Note(number), message_id=f"{number}")
            await asyncio.sleep(10)
            state = manager._system.directory.cells["working"].state  # type: ignore[union-attr]
            counts = [await manager.shared_state.get(key) for key in await manager.shared_state.keys()]
            letters = [letter.message.id for letter in manager.dead_letters]
            return sorted(state.numbers), counts, letters

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            run(life())

    assert run(life()) == ([1, 101, 201, 301], [1] * 4, ["2"])
