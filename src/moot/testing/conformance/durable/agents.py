"""Cases about what agents have and outlives a life: state and its versions, timers, shared state, and their end."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import StateConflict, StateUnreadable
from moot.messaging.dead_letters import Reason
from moot.messaging.evolution import upgrade
from moot.state import Versioned
from moot.testing.conformance.cast import (
    Add,
    Clockwork,
    Counter,
    Note,
    Question,
    Tally,
    acting,
    now,
    refusal,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def state_is_there_in_the_next_life(lives: Lives) -> None:
    """An agent begins with the state that its last turn left, and one that had none with its first."""
    manager = await lives.begin(Counter("a"), Counter("b"))
    await manager.ask("a", Add(3))
    await manager.tell("a", Note("x"))
    await manager.settle()

    manager = await lives.next(Counter("a"), Counter("b"))
    assert [await manager.ask("a", Add(1)), await manager.ask("b", Add(1))] == [4, 1]
    manager = await lives.next()
    manager = await lives.next(Counter("a"))
    assert await manager.ask("a", Add(0)) == 4
    assert await manager.ask("a", Question()) == "x"


async def what_a_hook_does_is_stored(lives: Lives) -> None:
    """What ``on_start`` did is there in the next life, where it is given the state that was stored."""

    class Opening(Counter):
        async def on_start(self, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + 1)

    manager = await lives.begin(Opening("counter"))
    await manager.settle()
    manager = await lives.next(Opening("counter"))

    assert await manager.ask("counter", Add(0)) == 2


class _Named(msgspec.Struct, frozen=True):
    """The state of a later `Counter`."""

    sum: int = 0
    name: str = ""


class _Later(Agent[_Named]):
    """A `Counter` of the next version."""

    state_version = 2

    @handles
    def add(self, message: Add, ctx: AgentContext[_Named]) -> int:
        """Add, and say the sum."""
        ctx.state = msgspec.structs.replace(ctx.state, sum=ctx.state.sum + message.amount)
        return ctx.state.sum

    @handles
    def say(self, message: Question, ctx: AgentContext[_Named]) -> str:
        """Its name."""
        return ctx.state.name

    @upgrade(from_version=1)
    def _(old: Any) -> Any:  # noqa: N805 - a static function
        return {"sum": old["total"], "name": " ".join(old["notes"])}


async def a_state_of_an_older_version_is_upgraded(lives: Lives) -> None:
    """A class of a higher ``state_version`` makes what was stored into its own, by its upgrades."""
    manager = await lives.begin(Counter("counter"))
    await manager.ask("counter", Add(3))
    await manager.tell("counter", Note("ada"))
    await manager.settle()

    manager = await lives.next(_Later("counter"))
    assert await manager.ask("counter", Add(1)) == 4
    assert await manager.ask("counter", Question()) == "ada"
    manager = await lives.next(_Later("counter"))
    assert await manager.ask("counter", Add(1)) == 5


async def a_state_of_a_newer_version_is_refused(lives: Lives) -> None:
    """An older class does not read the state of a newer one, says so, and leaves it and the mail as they are."""
    manager = await lives.begin(_Later("counter"))
    await manager.ask("counter", Add(3))
    await lives.end()

    error = await refusal(lives.begin(Counter("counter")), StateUnreadable)
    assert (error.version, error.present) == (2, 1)

    manager = await lives.begin()
    await refusal(manager.register(Counter("counter")), StateUnreadable)
    manager = await lives.next(_Later("counter"))
    assert await manager.ask("counter", Add(1)) == 4


async def a_child_is_made_by_its_parent_again(lives: Lives) -> None:
    """A child is not registered by itself in the next life; once its parent has made it again it has what it had."""

    async def make(message: Question, ctx: AgentContext) -> str:
        return await ctx.spawn(Counter("child"))

    def send(message: Add, ctx: AgentContext) -> None:
        ctx.send("child", message)

    manager = await lives.begin(acting(make, "parent"), acting(send, "sender"))
    await manager.ask("parent", Question())
    await manager.tell("sender", Add(3))
    await manager.settle()

    manager = await lives.next(acting(make, "parent"), acting(send, "sender"))
    await manager.tell("sender", Add(4))
    await manager.settle()
    assert manager.stats().agents == 2
    await manager.ask("parent", Question())
    assert await manager.ask("child", Add(0)) == 7


async def an_agent_that_is_unregistered_is_forgotten(lives: Lives) -> None:
    """Taken out for good, an agent leaves dead letters and nothing else: no mail, no state, no timer."""

    class Busy(Counter):
        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            await asyncio.sleep(10)

        @handles
        async def recite(self, message: Question, ctx: AgentContext[Tally]) -> str:
            ctx.schedule(30, Add(1000))
            return ""

    manager = await lives.begin(Busy("counter"))
    await manager.ask("counter", Add(3))
    await manager.ask("counter", Question())
    for text in "ab":
        await manager.tell("counter", Note(text))
    await asyncio.sleep(1)
    await manager.unregister("counter")
    await manager.shared_state.set("all is", "synced")

    manager = await lives.next(Counter("counter"))
    await asyncio.sleep(100)
    assert await manager.ask("counter", Add(0)) == 0
    assert await manager.ask("counter", Question()) == ""
    letters = [(letter.reason, letter.message.message_type) for letter in manager.dead_letters]
    assert sorted(letters) == [(Reason.STOPPED, "add"), (Reason.STOPPED, "note")]


async def _over_a_pause(lives: Lives, pause: float, seconds: float, **timer: Any) -> list[tuple[str, int]]:
    """The ticks of a timer if its system is down for ``pause`` seconds after two, and then up for ``seconds``."""
    ticks: list[tuple[str, int]] = []
    began = now()
    plan = {"tick": timer}
    manager = await lives.begin(Clockwork("clock", plan, ticks, began))
    await manager.ask("clock", Question("tick"))
    await asyncio.sleep(2)
    await lives.end()
    await asyncio.sleep(pause)
    await lives.begin(Clockwork("clock", plan, ticks, began))
    await asyncio.sleep(seconds)
    return ticks


async def a_timer_is_due_when_it_was(lives: Lives) -> None:
    """What is to be sent later is sent at its time in another life, and once at the start if that is past."""
    assert await _over_a_pause(lives, 5, 100, delay=20) == [("tick", 20)]
    await lives.end()
    assert await _over_a_pause(lives, 50, 100, delay=20) == [("tick", 52)]


async def a_timer_that_was_missed_is_sent_as_often_as_it_says(lives: Lives) -> None:
    """``missed``: once, not at all, or as often as it was due."""
    assert await _over_a_pause(lives, 50, 20, delay=20, missed="skip") == []
    await lives.end()
    assert await _over_a_pause(lives, 30, 10, delay=5, every=10, missed="skip", name="t") == [("tick", 35)]
    await lives.end()
    ticks = await _over_a_pause(lives, 30, 10, delay=5, every=10, missed="all", name="t")
    assert ticks == [("tick", 32)] * 3 + [("tick", 35)]


async def a_repeated_timer_keeps_its_beat_over_lives(lives: Lives) -> None:
    """What was missed is sent once, and the next when it would have been."""
    ticks = await _over_a_pause(lives, 30, 20, delay=5, every=10)
    assert ticks == [("tick", 32), ("tick", 35), ("tick", 45)]
    await lives.end()
    heard: list[tuple[str, int]] = []
    began = now()
    await lives.begin(Clockwork("clock", {}, heard, began))
    await asyncio.sleep(8.5)
    assert heard == [("tick", 3)]


async def a_new_timer_takes_the_place_of_a_stored_one(lives: Lives) -> None:
    """A name means the same timer in every life."""
    ticks: list[tuple[str, int]] = []
    plan = {"old": {"delay": 20, "name": "name"}, "new": {"delay": 30, "name": "name"}, "off": None}
    began = now()
    manager = await lives.begin(Clockwork("clock", plan, ticks, began))
    await manager.ask("clock", Question("old"))
    manager = await lives.next(Clockwork("clock", plan, ticks, began))
    await manager.ask("clock", Question("new"))
    manager = await lives.next(Clockwork("clock", plan, ticks, began))
    await asyncio.sleep(100)

    assert ticks == [("new", 30)]


async def a_timer_that_was_cancelled_or_sent_is_gone(lives: Lives) -> None:
    """What was sent is not sent again, and what was cancelled never is."""
    ticks: list[tuple[str, int]] = []
    plan = {"a": {"delay": 5}, "b": {"delay": 20, "every": 5, "name": "name"}, "off": None}
    began = now()
    manager = await lives.begin(Clockwork("clock", plan, ticks, began))
    for question in ("a", "b"):
        await manager.ask("clock", Question(question))
    await asyncio.sleep(10)
    manager = await lives.next(Clockwork("clock", plan, ticks, began))
    await manager.ask("clock", Question("off"))
    manager = await lives.next(Clockwork("clock", plan, ticks, began))
    await asyncio.sleep(100)

    assert ticks == [("a", 5)]


async def shared_state_is_there_with_its_versions(lives: Lives) -> None:
    """Keys, values and versions are those of the life before, and those of deleted keys go on as well."""
    manager = await lives.begin(Counter("counter"))
    shared = manager.shared_state
    await shared.set("a", [1, b"\x00"])
    await shared.set("a", Tally(2))
    await shared.set("gone", 1)
    await shared.delete("gone")

    async def write(message: Question, ctx: AgentContext) -> str:
        await ctx.shared_state.set("of a turn", message.text)
        await ctx.shared_state.compare_and_set("a", Tally(3), 2)
        return ""

    await manager.register(acting(write, "writer"))
    await manager.ask("writer", Question("x"))

    shared = (await lives.next(Counter("counter"))).shared_state
    assert await shared.keys() == ["a", "of a turn"]
    assert await shared.read("a", type=Tally) == Versioned(Tally(3), 3)
    assert await shared.read("of a turn") == Versioned("x", 1)
    assert await shared.read("gone") == Versioned(None, 0)
    await refusal(shared.compare_and_set("a", 0, 2), StateConflict)
    await shared.set("gone", 2)
    shared = (await lives.next(Counter("counter"))).shared_state
    assert await shared.read("gone") == Versioned(2, 3)
    changes = shared.watch(after=2)
    seen = [await anext(changes) for _ in range(5)]
    assert [(change.key, change.version) for change in seen[:2]] == [("gone", 1), ("gone", 2)]
    assert [change.revision for change in seen] == [3, 4, 5, 6, 7]
    assert {change.key for change in seen[2:]} == {"a", "of a turn", "gone"}
    await changes.aclose()  # type: ignore[attr-defined]
