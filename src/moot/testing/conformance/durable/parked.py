"""Cases about mail that waits in the store: in order, bounded, and not for ever if nobody claims it."""

from __future__ import annotations

import asyncio

from moot.agent.agent import Agent, FunctionAgent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.messaging.dead_letters import Reason
from moot.policies import MailboxPolicy, ParkedMail
from moot.testing.conformance.cast import Counter, Listener, Note, Question, Stuck, acting
from moot.testing.conformance.lives import Lives

__all__: list[str] = []

_DAY = 86400.0


def _sender(times: int = 1) -> FunctionAgent:
    def send(message: Question, ctx: AgentContext) -> str:
        for _ in range(times):
            ctx.send("late", Note(message.text))
        return ""

    return acting(send, "sender")


async def _stored(lives: Lives, count: int, stuck: Agent | None = None) -> None:
    """Let so many notes wait for the agent ``a``."""
    manager = await lives.begin(stuck or Stuck("a"))
    for number in range(count):
        await manager.tell("a", Note(f"{number}"))


async def what_arrives_waits_behind_what_is_stored(lives: Lives) -> None:
    """An agent with more mail than fits into its mailbox, or into memory, is told each thing in its order."""
    heard: list[str] = []
    await _stored(lives, 40)
    small = Listener("a", heard)
    small.mailbox = MailboxPolicy(capacity=3)  # type: ignore[misc]

    manager = await lives.next(small)
    for number in range(40, 50):
        await manager.tell("a", Note(f"{number}"))
    await manager.settle()

    assert heard == [f"{number}" for number in range(50)]


async def an_ask_waits_behind_what_is_stored(lives: Lives) -> None:
    """What is asked is answered after all that was told in earlier lives."""
    await _stored(lives, 40)

    manager = await lives.next(Counter("a"))
    told = await manager.ask("a", Question())

    assert told == " ".join(f"{number}" for number in range(40))


async def several_at_once_leave_nothing_behind(lives: Lives) -> None:
    """An agent that handles several messages at once comes to all of its mail."""
    heard: list[str] = []

    class Wide(Listener):
        concurrency = 4

        @handles
        async def hear(self, message: Note, ctx: AgentContext) -> None:
            await asyncio.sleep(1)
            heard.append(message.text)

    await _stored(lives, 40)
    manager = await lives.next(Wide("a", heard))
    await manager.settle()

    assert sorted(map(int, heard)) == list(range(40))


async def who_asks_again_joins_a_request_that_is_not_read_yet(lives: Lives) -> None:
    """A request under an id, behind much other mail, is the same when it is made again in the next life."""
    answered: list[str] = []

    def answer(message: Question, ctx: AgentContext) -> str:
        answered.append(message.text)
        return "answer"

    class Answerer(Listener):
        @handles
        def answer(self, message: Question, ctx: AgentContext) -> str:
            return answer(message, ctx)

    await _stored(lives, 20)
    asking = asyncio.ensure_future(lives.manager.ask("a", Question("q"), message_id="once"))
    await asyncio.sleep(1)
    asking.cancel()
    manager = await lives.next(Answerer("a", []))
    given = await asyncio.gather(*[manager.ask("a", Question("q"), message_id="once") for _ in range(3)])
    await manager.settle()

    assert given == ["answer"] * 3
    assert answered == ["q"]


async def an_agent_that_is_taken_out_leaves_no_mail_behind(lives: Lives) -> None:
    """All mail of an agent that stops for good becomes dead letters, also what it had not come to."""
    await _stored(lives, 30)
    heard: list[str] = []
    await lives.next()
    manager = await lives.next(Counter("b"))
    await manager.register(Stuck("a"))
    await manager.unregister("a")
    await manager.settle()

    assert {letter.reason for letter in manager.dead_letters} == {Reason.STOPPED}
    assert [letter.message.content["text"] for letter in manager.dead_letters] == [f"{n}" for n in range(30)]
    manager = await lives.next(Listener("a", heard))
    await manager.settle()
    assert heard == []


async def a_mailbox_that_drops_its_oldest_goes_on_in_order(lives: Lives) -> None:
    """A full mailbox with more behind it in the store loses its oldest message, and the new one is last."""
    heard: list[str] = []
    await _stored(lives, 30)
    dropping = Stuck("a")
    dropping.mailbox = MailboxPolicy(capacity=5, overflow="drop_oldest")  # type: ignore[misc]
    manager = await lives.next(dropping)
    await asyncio.sleep(1)
    for text in ("new", "newer"):
        await manager.tell("a", Note(text))
    lost = [letter.message.content["text"] for letter in manager.dead_letters]
    assert lost == ["1", "2"]

    manager = await lives.next(Listener("a", heard))
    await manager.settle()

    assert heard == ["0", *(f"{number}" for number in range(3, 30)), "new", "newer"]


async def no_more_waits_for_an_absent_agent_than_is_allowed(lives: Lives) -> None:
    """One message too many for an agent that is not there is a dead letter that says so, in each life."""
    heard: list[str] = []
    few = ParkedMail(capacity=2)
    manager = await lives.begin(_sender(), parked=few)
    for text in "123":
        await manager.ask("sender", Question(text))
    first = [(letter.reason, letter.message.to) for letter in manager.dead_letters]
    manager = await lives.next(_sender(), parked=few)
    await manager.ask("sender", Question("4"))
    (*_, last) = manager.dead_letters
    await manager.register(Listener("late", heard))
    await manager.ask("sender", Question("5"))
    await manager.settle()

    assert first == [(Reason.OVERFLOW, "late")]
    assert last.reason is Reason.OVERFLOW
    assert "2 messages" in last.error
    assert heard == ["1", "2", "5"]


async def nothing_larger_waits_for_an_absent_agent_than_is_allowed(lives: Lives) -> None:
    """The bytes that wait for an agent that is not there are bounded, too."""
    manager = await lives.begin(_sender(), parked=ParkedMail(max_bytes=1000))
    for text in ("x" * 100, "x" * 2000):
        await manager.ask("sender", Question(text))

    assert [len(letter.message.content.text) for letter in manager.dead_letters] == [2000]


async def what_nobody_claims_becomes_a_dead_letter(lives: Lives) -> None:
    """Mail that waited for seven days for an agent that never came is a dead letter; what came later waits on."""
    heard: list[str] = []
    manager = await lives.begin(_sender())
    await manager.ask("sender", Question("old"))
    await asyncio.sleep(100)
    manager = await lives.next(_sender())
    await asyncio.sleep(3.5 * _DAY)
    await manager.ask("sender", Question("new"))
    await asyncio.sleep(_DAY)
    manager = await lives.next(_sender())
    await asyncio.sleep(3.5 * _DAY)

    assert [(letter.reason, letter.message.content["text"]) for letter in manager.dead_letters] == [
        (Reason.UNCLAIMED, "old")
    ]
    assert "7 days" in next(iter(manager.dead_letters)).error
    manager = await lives.next(Listener("late", heard))
    await manager.settle()
    assert heard == ["new"]


async def who_has_claimed_its_mail_in_between_is_not_too_late(lives: Lives) -> None:
    """Time begins anew for all mail of an agent that was there, although it did not come to it."""
    heard: list[str] = []
    manager = await lives.begin(_sender(200))
    await manager.ask("sender", Question("note"))
    await asyncio.sleep(_DAY)
    await lives.next(Stuck("late"))
    await asyncio.sleep(3 * _DAY)
    manager = await lives.next(_sender())
    await asyncio.sleep(6.5 * _DAY)
    assert not list(manager.dead_letters)

    manager = await lives.next(Listener("late", heard))
    await manager.settle()

    assert heard == ["note"] * 200


async def mail_waits_for_ever_where_that_is_wished(lives: Lives) -> None:
    """With no end to its keeping, mail is there whenever its agent comes."""
    heard: list[str] = []
    for_ever = ParkedMail(keep_for=None)
    manager = await lives.begin(_sender(), parked=for_ever)
    await manager.ask("sender", Question("note"))
    await asyncio.sleep(1000 * _DAY)
    manager = await lives.next(_sender(), parked=for_ever)
    await asyncio.sleep(1000 * _DAY)

    await manager.register(Listener("late", heard))
    await manager.settle()

    assert heard == ["note"]


async def an_agent_that_cannot_start_has_never_come(lives: Lives) -> None:
    """What waits for an agent whose ``on_start`` fails waits on, in order, for the next one of its id."""
    heard: list[str] = []

    class Broken(Listener):
        async def on_start(self, ctx: AgentContext) -> None:
            await asyncio.sleep(1)
            raise ConnectionError("no network")

    await _stored(lives, 40)
    manager = await lives.next()
    broken = asyncio.ensure_future(manager.register(Broken("a", heard)))
    await asyncio.sleep(0.5)
    await manager.tell("a", Note("40"))
    await asyncio.wait({broken})
    assert isinstance(broken.exception(), ConnectionError)
    assert not heard

    await manager.register(Listener("a", heard))
    await manager.settle()

    assert heard == [f"{number}" for number in range(41)]
