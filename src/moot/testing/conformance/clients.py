"""Cases about clients, the callers that are no agents: ids that make a repetition harmless, refusals, and the stop."""

from __future__ import annotations

import asyncio

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.errors import MailboxFull, ManagerStopped, MootError, TurnError, UnknownAgent
from moot.manager.manager import AgentManager
from moot.policies import MailboxPolicy
from moot.testing.conformance.cast import ONCE, Add, Counter, Listener, Note, Question, acting, for_ever, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def messages_of_one_id_are_handled_once(lives: Lives) -> None:
    """Of the messages that are told under one id to one address only the first is handled."""
    heard: list[str] = []
    manager = await lives.begin(Listener("listener", heard))

    await manager.tell("listener", Note("first"), message_id="a")
    await manager.tell("listener", Note("again"), message_id="a")
    await manager.settle()
    await manager.tell("listener", Note("later"), message_id="a")
    await manager.tell("listener", Note("another"), message_id="b")
    await manager.settle()

    assert heard == ["first", "another"]


async def asks_of_one_id_share_an_answer(lives: Lives) -> None:
    """Of the asks under one id to one address only the first is handled; the others have its answer, also later."""
    manager = await lives.begin(Counter("counter"))
    asks = [manager.ask("counter", Add(1), message_id="a") for _ in range(3)]

    assert await asyncio.gather(*asks) == [1, 1, 1]
    assert await manager.ask("counter", Add(1), message_id="a") == 1
    assert await manager.ask("counter", Add(1), message_id="b") == 2


async def an_id_belongs_to_an_address(lives: Lives) -> None:
    """The same id at two addresses is two messages."""
    manager = await lives.begin(Counter("a"), Counter("b"))

    await manager.tell("a", Add(1), message_id="id")
    await manager.tell("b", Add(2), message_id="id")
    assert await manager.ask("a", Add(0), message_id="ask") == 1
    assert await manager.ask("b", Add(0), message_id="ask") == 2


async def a_failed_ask_of_an_id_goes_out_anew(lives: Lives) -> None:
    """A failure is told to who asked, and not stored: who asks again under the id has the request handled again."""
    runs = 0

    def answer(message: Question, ctx: AgentContext) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("not now")
        return f"run {runs}"

    manager = await lives.begin(acting(answer, "answerer", retry=ONCE))

    await refusal(manager.ask("answerer", Question(), message_id="a"), TurnError)
    assert await manager.ask("answerer", Question(), message_id="a") == "run 2"
    assert await manager.ask("answerer", Question(), message_id="a") == "run 2"


async def a_message_that_was_refused_may_be_told_again(lives: Lives) -> None:
    """An id whose message was not accepted is not used up."""
    manager = await lives.begin()
    await refusal(manager.tell("counter", Add(3), message_id="a"), UnknownAgent)
    await refusal(manager.ask("counter", Add(4), message_id="b"), UnknownAgent)
    await manager.register(Counter("counter"))

    await manager.tell("counter", Add(3), message_id="a")

    assert await manager.ask("counter", Add(4), message_id="b") == 7


async def telling_without_waiting_needs_room(lives: Lives) -> None:
    """``tell_nowait`` sends if there is room, and says so at once if there is none."""
    heard: list[str] = []
    listener = Listener("listener", heard)
    listener.mailbox = MailboxPolicy(capacity=2)  # type: ignore[misc]
    manager = await lives.begin(listener)

    manager.tell_nowait("listener", Note("a"))
    manager.tell_nowait("listener", Note("b"))
    await refusal(_tell_nowait(manager, Note("c")), MailboxFull)
    await manager.settle()

    assert heard == ["a", "b"]


async def a_stop_that_drains_handles_what_was_accepted(lives: Lives) -> None:
    """``stop()`` handles what was accepted, and what comes of that, before it ends; hooks run last."""
    heard: list[str] = []

    class Relay(Agent):
        async def handle_message(self, message: object, ctx: AgentContext) -> None:
            await asyncio.sleep(1)
            ctx.send("listener", Note("relayed"))

        async def on_stop(self, ctx: AgentContext) -> None:
            heard.append("stopped")

    manager = await lives.begin(Listener("listener", heard), Relay("relay"))
    for _ in range(3):
        await manager.tell("relay", Note("go"))

    await manager.stop()

    assert heard == ["relayed"] * 3 + ["stopped"]
    assert not list(manager.dead_letters)


async def a_stop_ends_every_wait(lives: Lives) -> None:
    """A stop that does not wait strands no caller: whoever asks, tells or settles is told."""

    async def work(message: Question) -> str:
        await for_ever()
        return ""

    manager = await lives.begin(acting(work, "worker", mailbox=MailboxPolicy(capacity=1)))
    asks = [manager.ask("worker", Question(), timeout=999), manager.ask("worker", Question(), message_id="a")]
    for ask in asks:
        ask.start()
    await asyncio.sleep(1)
    telling = asyncio.ensure_future(manager.tell("worker", Question(), timeout=999))
    settling = asyncio.ensure_future(manager.settle())
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    done, waiting = await asyncio.wait({telling, settling}, timeout=60)
    assert not waiting
    assert len(done) == 2
    assert isinstance(telling.exception(), MootError)
    assert all(isinstance(ask.error, MootError) for ask in asks)
    assert manager.stats().open_asks == 0


async def nothing_is_accepted_after_the_stop(lives: Lives) -> None:
    """A manager that has stopped refuses whatever it is asked to send, and says so."""
    manager = await lives.begin(Counter("counter"))
    await manager.stop()

    await refusal(manager.tell("counter", Add(1)), ManagerStopped)
    await refusal(manager.publish("news", Note("a")), ManagerStopped)
    await refusal(_tell_nowait(manager, Note("a")), ManagerStopped)
    await refusal(_ask(manager), ManagerStopped)


async def _tell_nowait(manager: AgentManager, note: Note) -> None:
    manager.tell_nowait("listener", note)


async def _ask(manager: AgentManager) -> int:
    return await manager.ask("counter", Add(1))
