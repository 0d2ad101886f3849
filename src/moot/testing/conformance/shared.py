"""Cases about shared state: versions, transactions, and the turns that lose a race."""

from __future__ import annotations

import asyncio
from typing import Any

from moot.agent.context import AgentContext
from moot.errors import StateConflict
from moot.state import Change, Versioned
from moot.testing.conformance.cast import ONCE, Listener, Note, Question, Tally, acting, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def a_key_has_a_value_and_a_version(lives: Lives) -> None:
    """Each write raises a key's version by one; version 0 is that of a key that is not there."""
    shared = (await lives.begin()).shared_state

    assert await shared.get("a", "nothing") == "nothing"
    assert await shared.read("a") == Versioned(None, 0)
    await shared.set("a", 1)
    await shared.set("a", {"x": [1, 2.5, None, b"\x00", "é"]})
    assert await shared.read("a") == Versioned({"x": [1, 2.5, None, b"\x00", "é"]}, 2)
    await shared.set("b", None)
    await shared.set("ab", 3)
    assert await shared.read("b") == Versioned(None, 1)
    assert await shared.keys() == ["a", "ab", "b"]
    assert await shared.keys("a") == ["a", "ab"]


async def a_deleted_key_has_no_version_and_never_an_old_one_again(lives: Lives) -> None:
    """A key that is gone is as if it had never been, except that its versions go on when it comes back."""
    shared = (await lives.begin()).shared_state
    await shared.set("a", 1)
    await shared.delete("a")
    await shared.delete("a")
    await shared.delete("never")

    assert await shared.read("a") == Versioned(None, 0)
    assert await shared.keys() == []
    await shared.compare_and_set("a", 2, 0)
    assert await shared.read("a") == Versioned(2, 3)


async def a_value_comes_back_as_its_type(lives: Lives) -> None:
    """``type=`` converts what is read; nobody can change a value behind another's back."""
    shared = (await lives.begin()).shared_state
    value = [1]
    await shared.set("list", value)
    value.append(2)
    await shared.set("tally", Tally(3, ("a",)))

    assert await shared.get("list") == [1]
    assert await shared.get("tally", type=Tally) == Tally(3, ("a",))
    assert (await shared.read("tally", type=Tally)).value == Tally(3, ("a",))
    await refusal(shared.get("list", type=Tally), TypeError)
    await refusal(shared.set("object", object()), TypeError)
    assert await shared.read("object") == Versioned(None, 0)


async def compare_and_set_refuses_an_old_version(lives: Lives) -> None:
    """A value is written only over the version that its writer has seen."""
    shared = (await lives.begin()).shared_state

    await shared.compare_and_set("a", "first", 0)
    error = await refusal(shared.compare_and_set("a", "second", 0), StateConflict)
    assert (error.key, error.expected, error.actual) == ("a", 0, 1)
    await shared.compare_and_set("a", "second", 1)
    assert await shared.read("a") == Versioned("second", 2)


async def a_watcher_sees_changes_in_order(lives: Lives) -> None:
    """A watcher sees every write under its prefix, of turns too, in order; it can go on after one that it has seen."""
    heard: list[str] = []
    manager = await lives.begin(Listener("listener", heard))
    shared = manager.shared_state
    changes = shared.watch("a")
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)

    async def write(message: Note, ctx: AgentContext) -> None:
        await ctx.shared_state.set("ab", message.text)

    await manager.register(acting(write, "writer"))
    await shared.set("b", 0)
    await shared.set("a", 1)
    assert await first == Change("a", 1, 1, 2)
    await shared.set("a", 2)
    await manager.tell("writer", Note("x"))
    await manager.settle()
    await shared.set("a", 3)
    await shared.delete("ab")

    later = [Change("a", 2, 2, 3), Change("ab", "x", 1, 4), Change("a", 3, 3, 5), Change("ab", None, 2, 6)]
    assert [await anext(changes) for _ in later] == later
    again = shared.watch("a", after=4)
    assert [await anext(again) for _ in later[2:]] == later[2:]
    await changes.aclose()  # type: ignore[attr-defined]


async def a_transaction_is_run_again_when_another_came_first(lives: Lives) -> None:
    """``transact`` commits what was decided on a view that still holds, or decides again."""
    shared = (await lives.begin()).shared_state

    async def add(access: Any) -> int:
        value: int = await access.get("sum", 0)
        await asyncio.sleep(0.1)
        await access.set("sum", value + 1)
        return value + 1

    answers = await asyncio.gather(*(shared.transact(add) for _ in range(5)))

    assert sorted(answers) == [1, 2, 3, 4, 5]
    assert await shared.read("sum") == Versioned(5, 5)


async def a_turn_sees_its_own_writes(lives: Lives) -> None:
    """In a turn reads see what it wrote and nobody else does, before it ends."""
    seen: list[Any] = []

    async def handle(message: Question, ctx: AgentContext) -> str:
        shared = ctx.shared_state
        await shared.set("a", "inside")
        await shared.delete("b")
        await shared.compare_and_set("c", "new", 0)
        seen.append([await shared.get("a"), await shared.get("b"), await shared.read("a"), await shared.keys()])
        seen.append(await manager.shared_state.get("a"))
        return ""

    manager = await lives.begin(acting(handle, "worker"))
    await manager.shared_state.set("a", "before")
    await manager.shared_state.set("b", "before")

    await manager.ask("worker", Question())

    assert seen == [["inside", None, Versioned("inside", 2), ["a", "c"]], "before"]
    assert await manager.shared_state.read("a") == Versioned("inside", 2)
    assert await manager.shared_state.keys() == ["a", "c"]


async def a_turn_that_lost_a_race_is_run_again(lives: Lives) -> None:
    """Turns that add to one key at the same time lose nothing; being run again for that is no attempt."""
    attempts: list[int] = []

    async def add(message: Note, ctx: AgentContext) -> None:
        attempts.append(ctx.attempt)
        value = await ctx.shared_state.get("sum", 0)
        await asyncio.sleep(0.1)
        await ctx.shared_state.set("sum", value + 1)

    manager = await lives.begin(*(acting(add, f"adder_{number}", retry=ONCE) for number in range(5)))
    for number in range(5):
        await manager.tell(f"adder_{number}", Note("go"))
    await manager.settle()

    assert await manager.shared_state.read("sum") == Versioned(5, 5)
    assert set(attempts) == {1}
    assert len(attempts) == 15
    assert not list(manager.dead_letters)


async def a_listed_prefix_is_validated(lives: Lives) -> None:
    """A turn that decided on a list of keys is run again if a key has come or gone (no phantoms)."""
    seen: list[list[str]] = []

    async def handle(message: Question, ctx: AgentContext) -> str:
        keys = await ctx.shared_state.keys("room/")
        seen.append(keys)
        await asyncio.sleep(1)
        await ctx.shared_state.set("count", len(keys))
        return str(len(keys))

    manager = await lives.begin(acting(handle, "counter"))
    counting = manager.ask("counter", Question())
    counting.start()
    await asyncio.sleep(0.5)
    await manager.shared_state.set("room/1", "taken")

    assert await counting == "1"
    assert seen == [[], ["room/1"]]
    assert await manager.shared_state.get("count") == 1


async def two_turns_that_read_what_the_other_writes_do_not_both_commit(lives: Lives) -> None:
    """One of two doctors on call may leave: turns that read both and write one are as if run one by one."""

    async def leave(message: Question, ctx: AgentContext) -> str:
        on_call = [await ctx.shared_state.get(name) for name in ("ada", "bob")]
        await asyncio.sleep(1)
        if on_call.count(True) < 2:
            return "stays"
        await ctx.shared_state.set(message.text, value=False)
        return "leaves"

    manager = await lives.begin(acting(leave, "one"), acting(leave, "other"))
    await manager.shared_state.set("ada", value=True)
    await manager.shared_state.set("bob", value=True)

    answers = await asyncio.gather(manager.ask("one", Question("ada")), manager.ask("other", Question("bob")))

    assert sorted(answers) == ["leaves", "stays"]
    assert sorted([await manager.shared_state.get("ada"), await manager.shared_state.get("bob")]) == [False, True]
