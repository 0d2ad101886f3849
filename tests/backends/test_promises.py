"""Single promises of a durable system, each with the moment at which it is hardest to keep."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Backoff,
    BatchPolicy,
    MailboxPolicy,
    Payload,
    Request,
    RetryPolicy,
    handles,
)
from moot.backends.sqlite import SqliteBackend
from moot.errors import MailboxFull, Retry, TurnError, UnknownAgent
from moot.testing.simulation import backend as simulated_backend
from moot.testing.simulation.backend import SimulatedBackend
from tests.lives import two_lives


class Start(Payload):
    pass


class Charge(Request[int]):
    pass


class Asker(Agent):
    @handles
    async def start(self, message: Start, ctx: AgentContext) -> None:
        await ctx.ask("capability:charging", Charge())


class Charger(Agent):
    capabilities = ("charging",)

    def __init__(self, agent_id: str, charged: list[str], disk: SimulatedBackend) -> None:
        super().__init__(agent_id)
        self.charged = charged
        self.disk = disk

    @handles
    async def charge(self, message: Charge, ctx: AgentContext) -> int:
        first = not self.charged
        await ctx.effect("charge", self.charged.append)
        if first:
            self.disk.fail()
            await asyncio.Event().wait()
        return len(self.charged)


async def test_whoever_was_asked_by_capability_is_asked_again_in_the_next_life() -> None:
    charged: list[str] = []
    disk = SimulatedBackend()

    async def begin(*others: str) -> AgentManager:
        manager = AgentManager(disk)
        await manager.register(Asker("asker"))
        for name in others:
            await manager.register(Charger(name, charged, disk))
        await manager.start()
        return manager

    first = await begin("one", "two", "three")
    telling = asyncio.ensure_future(first.tell("asker", Start()))
    await asyncio.sleep(1)
    await asyncio.gather(telling, return_exceptions=True)
    await first.stop(drain=False)
    second = await begin("three", "one", "two")  # whose turn it would be is another matter now
    await second.settle()
    await second.stop()

    assert len(charged) == 1
    assert not disk.image.records


class Worker(Agent):
    mailbox = MailboxPolicy(capacity=1)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.handled = 0
        self.may_go_on = asyncio.Event()

    @handles
    async def start(self, message: Start, ctx: AgentContext) -> None:
        await self.may_go_on.wait()
        self.handled += 1

    @handles
    async def charge(self, message: Charge, ctx: AgentContext) -> int:
        await self.may_go_on.wait()
        self.handled += 1
        return self.handled


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimulatedBackend:
    """A disk that needs about a second for a sync."""
    monkeypatch.setattr(simulated_backend, "_SLOWEST_SYNC", 2.0)
    return SimulatedBackend()


async def begin(disk: SimulatedBackend) -> tuple[AgentManager, Worker]:
    manager, worker = AgentManager(disk), Worker("worker")
    await manager.register(worker)
    await manager.start()
    return manager, worker


async def test_a_message_is_not_handled_again_because_its_caller_did_not_wait_for_the_sync(
    disk: SimulatedBackend,
) -> None:
    manager, worker = await begin(disk)
    worker.may_go_on.set()
    impatient = asyncio.ensure_future(manager.tell("worker", Start(), message_id="one"))
    await asyncio.sleep(0.001)
    impatient.cancel()
    await asyncio.wait({impatient})
    await manager.tell("worker", Start(), message_id="one")
    await manager.stop()

    assert worker.handled == 1


async def test_a_repeated_message_is_accepted_only_when_the_first_is(disk: SimulatedBackend) -> None:
    manager, worker = await begin(disk)
    await manager.tell("worker", Start())
    await manager.tell("worker", Start())
    first = asyncio.ensure_future(manager.tell("worker", Start(), message_id="one", timeout=10))
    await asyncio.sleep(5)
    second = asyncio.ensure_future(manager.tell("worker", Start(), message_id="one", timeout=100))
    third = asyncio.ensure_future(manager.tell("worker", Start(), message_id="one", timeout=1))
    await asyncio.sleep(10)
    worker.may_go_on.set()
    answers = await asyncio.gather(first, second, third, return_exceptions=True)
    await manager.stop()

    assert [type(answer) for answer in answers] == [MailboxFull, type(None), MailboxFull]
    assert worker.handled == 3


async def test_who_asks_again_has_no_answer_before_it_is_kept(disk: SimulatedBackend) -> None:
    manager, worker = await begin(disk)
    first = asyncio.ensure_future(manager.ask("worker", Charge(), message_id="one", timeout=100))
    await asyncio.sleep(10)
    worker.may_go_on.set()
    await asyncio.sleep(0.001)
    second = asyncio.ensure_future(manager.ask("worker", Charge(), message_id="one", timeout=100))
    await asyncio.sleep(0.001)

    assert worker.handled == 1
    assert not first.done()
    assert not second.done()
    assert await second == await first == 1
    await manager.stop()


async def test_a_change_is_watched_only_when_it_is_kept(disk: SimulatedBackend) -> None:
    seen: list[tuple[int, str]] = []

    async def watch(manager: AgentManager, after: int) -> None:
        async for change in manager.shared_state.watch(after=after):
            seen.append((change.revision, change.key))  # noqa: PERF401 - it is stopped in the middle

    first, _ = await begin(disk)
    tasks = [asyncio.ensure_future(watch(first, 0)), asyncio.ensure_future(first.shared_state.set("lost", 1))]
    await asyncio.sleep(0.001)
    disk.fail()
    await asyncio.gather(*tasks, return_exceptions=True)
    await first.stop(drain=False)
    second, _ = await begin(disk)
    watching = asyncio.ensure_future(watch(second, seen[-1][0] if seen else 0))
    await second.shared_state.set("kept", 1)
    await asyncio.sleep(1)
    watching.cancel()
    await second.stop()

    assert seen == [(1, "kept")]


async def test_an_address_that_cannot_be_written_does_not_stop_the_system(tmp_path: Path) -> None:
    async with AgentManager(SqliteBackend(tmp_path / "team.db", inline=True)) as manager:
        await manager.register(Worker("worker"))
        with pytest.raises(UnknownAgent):
            await manager.tell("\ud800", Start(), message_id="one")
        await manager.shared_state.set("alive", True)


async def test_an_id_is_forgotten_after_a_week_in_a_system_that_goes_on_running() -> None:
    disk = SimulatedBackend()
    manager, worker = await begin(disk)
    worker.may_go_on.set()
    for number in range(20):
        await manager.tell("worker", Start(), message_id=f"message {number}")
        await manager.ask("worker", Charge(), message_id=f"question {number}")
        await asyncio.sleep(24 * 3600)
    await manager.stop()

    kept = {int(idempotency_key.split()[1]) for _, idempotency_key in disk.image.replies}
    assert kept - {12} == set(range(13, 20))


class Asking(Agent):
    """Asks ``other``, or passes on to it what it is asked."""

    def __init__(self, agent_id: str, other: str, answers: list[int], *, forwards: bool = False) -> None:
        super().__init__(agent_id)
        self.other = other
        self.answers = answers
        self.forwards = forwards

    @handles
    async def start(self, message: Start, ctx: AgentContext) -> None:
        self.answers.append(await ctx.ask(self.other, Charge(), timeout=5))

    @handles
    async def charge(self, message: Charge, ctx: AgentContext) -> int | None:
        if self.forwards:
            ctx.forward(self.other)
            return None
        answer: int = await ctx.ask(self.other, Charge())
        return answer


async def test_the_deadline_of_an_ask_that_was_forwarded_ends_with_its_process() -> None:
    answers: list[int] = []
    disk = SimulatedBackend()

    async def begin() -> tuple[AgentManager, Worker]:
        manager, worker = AgentManager(disk), Worker("worker")
        await manager.register(worker)
        await manager.register(Asking("third", "worker", answers))
        await manager.register(Asking("second", "third", answers, forwards=True))
        await manager.register(Asking("first", "second", answers))
        await manager.start()
        return manager, worker

    manager, _ = await begin()
    await manager.tell("first", Start())
    await asyncio.sleep(1)
    disk.fail()
    await manager.stop(drain=False)
    await asyncio.sleep(100)
    manager, worker = await begin()
    await asyncio.sleep(1)
    worker.may_go_on.set()
    await manager.stop()

    assert answers == [1]
    assert not list(manager.dead_letters)


async def test_records_that_are_forgotten_stay_so_when_new_ones_are_made_at_once(tmp_path: Path) -> None:
    for life in range(2):
        backend = SqliteBackend(tmp_path / "team.db", inline=True)
        journal, kept = await backend.open(lambda failure: None)
        if life:
            assert kept.records == {"turn": {b"one": b"new"}}
        else:
            journal.put_record("turn", b"one", b"old")
            journal.put_record("turn", b"two", b"old")
            await asyncio.sleep(0.01)
            journal.end_turn("turn")
            journal.put_record("turn", b"one", b"new")
        await backend.close()


class Number(Payload):
    number: int


async def test_a_batch_that_kills_the_process_is_not_the_end_of_its_other_messages() -> None:
    disk = SimulatedBackend()
    handled: list[int] = []
    letters: list[int] = []

    class Summer(Agent):
        @handles(batch=BatchPolicy(max_size=5))
        async def add(self, messages: list[Number], ctx: AgentContext) -> None:
            if any(message.number == 3 for message in messages):
                disk.fail()
                await asyncio.Event().wait()
            handled.extend(message.number for message in messages)

    class Source(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            for number in range(6):
                ctx.send("summer", Number(number))

    async with AgentManager(disk) as manager:
        await manager.register(Source("source"))
        await manager.tell("source", Start())
    for _ in range(20):
        manager = AgentManager(disk)
        await manager.register(Summer("summer"))
        await manager.start()
        await asyncio.sleep(1)
        letters = [letter.message.content["number"] for letter in manager.dead_letters]
        await manager.stop(drain=False)

    assert letters == [3]
    assert set(handled) == {0, 1, 2, 4, 5}


async def test_an_answer_of_another_type_than_declared_fails_its_ask_and_no_other() -> None:
    disk = SimulatedBackend()
    found: list[list[str]] = []

    class Liar(Agent):
        @handles
        async def charge(self, message: Charge, ctx: AgentContext) -> int:
            return "a lot"  # type: ignore[return-value]

    class Gatherer(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            answers = await ctx.gather([ctx.ask(to, Charge()) for to in ("liar", "worker")], return_exceptions=True)
            found.append([type(answer).__name__ for answer in answers])
            if len(found) == 1:
                await ctx.effect("know that the answers are kept", lambda key: None)
                disk.fail()
                await asyncio.Event().wait()

    def agents() -> list[Agent[Any]]:
        worker = Worker("worker")
        worker.may_go_on.set()
        return [Liar("liar"), worker, Gatherer("gatherer")]

    manager = await two_lives(disk, agents, Start(), seconds=1)

    assert found == [["InvalidAnswer", "int"]] * 2
    assert {letter.reason.value for letter in manager.dead_letters} == {"invalid"}


class Question(Request[str]):
    pass


async def test_an_error_whose_text_cannot_be_kept_ends_its_turn_and_nothing_else() -> None:
    class Odd(Agent):
        @handles
        async def ask(self, message: Question) -> str:
            raise ValueError("\ud800")

    async with AgentManager(SimulatedBackend()) as manager:
        await manager.register(Odd("odd"))
        for _ in range(2):
            with pytest.raises(TurnError, match=r"\\ud800"):
                await manager.ask("odd", Question(), timeout=5)
        assert [letter.error for letter in manager.dead_letters.list()] == [r"ValueError: \ud800"] * 2


async def test_what_was_asked_before_and_in_this_life_keeps_its_place_in_a_run_again() -> None:
    counted: list[int] = []
    found: list[list[int]] = []
    disk = SimulatedBackend()

    class Counter(Agent):
        @handles
        async def count(self, message: Charge) -> int:
            counted.append(len(counted))
            return counted[-1]

    class Gatherer(Agent):
        retry = RetryPolicy(backoff=Backoff(first=0, limit=0))

        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            first = await ctx.ask("counter", Charge())
            await ctx.effect("know that the answer is kept", lambda key: None)
            if not found:
                found.append([first])
                disk.fail()
                await asyncio.Event().wait()
            found.append([first, await ctx.ask("counter", Charge())])
            if ctx.attempt < 3:
                raise TimeoutError("once more")

    await two_lives(disk, lambda: [Counter("counter"), Gatherer("gatherer")], Start(), seconds=1)

    assert found == [[0], *([[0, 1]] * 3)]
    assert counted == [0, 1]


class Parcel(msgspec.Struct, array_like=True, frozen=True):
    weight: int
    address: str


class Carry(Request[int]):
    what: Parcel | dict[Any, Any]


@pytest.mark.parametrize(
    "what",
    [
        Parcel(3, "Rue 1"),
        {"parcels": [{"weight": 3}]},
        {2: "b", 1: "a"},
        {"parcel": {"weight": 3}, "steps": {2: "b"}},
    ],
    ids=str,
)
async def test_what_was_asked_about_a_value_is_found_though_the_value_comes_back_as_a_map(what: Any) -> None:
    carried: list[Any] = []
    answers: list[int] = []
    disk = SimulatedBackend()

    class Carrier(Agent):
        @handles
        async def carry(self, message: Carry) -> int:
            carried.append(message.what)
            return len(carried)

    class Sender(Agent):
        @handles
        async def send(self, message: Carry, ctx: AgentContext) -> None:
            answers.append(await ctx.ask("carrier", Carry(message.what)))
            await ctx.effect("know that the answer is kept", lambda key: None)
            if len(answers) == 1:
                disk.fail()
                await asyncio.Event().wait()

    await two_lives(disk, lambda: [Carrier("carrier"), Sender("sender")], Carry(what), seconds=1)

    assert (answers, len(carried)) == ([1, 1], 1)


@pytest.mark.parametrize("address", ["counter_0", "capability:counting"])
async def test_what_an_effect_asked_for_is_not_taken_for_the_same_question_after_it(address: str) -> None:
    answered: list[tuple[str, int]] = []
    found: list[list[int]] = []
    disk = SimulatedBackend()

    class Counter(Agent):
        capabilities = ("counting",)

        @handles
        async def count(self, message: Charge) -> int:
            answered.append((self.id, len(answered)))
            return answered[-1][1]

    class Gatherer(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            async def inside(_key: str) -> int:
                return await ctx.ask(address, Charge()) + await ctx.effect("number", lambda _key: 100)

            first = await ctx.effect("sum", inside)
            second = await ctx.effect("number", lambda _key: 200)
            third = await ctx.ask(address, Charge())
            found.append([first, second, third])
            if len(found) == 1:
                disk.fail()
                await asyncio.Event().wait()

    await two_lives(
        disk, lambda: [Counter("counter_0"), Counter("counter_1"), Gatherer("gatherer")], Start(), seconds=1
    )

    assert found[0] == [100, 200, 1]
    assert found[1][:2] == found[0][:2]
    assert found[1][2] == 1 + (len(answered) - 2), "the answer of the second question, or a newer one"


async def test_a_run_again_in_the_same_life_asks_what_comes_after_an_effect() -> None:
    class Counter(Agent):
        count = 0

        @handles
        async def counted(self, message: Charge) -> int:
            self.count += 1
            return self.count

    class Gatherer(Agent):
        @handles
        async def gather(self, message: Question, ctx: AgentContext) -> str:
            async def inside(_key: str) -> int:
                return await ctx.ask("counter", Charge())

            first = await ctx.effect("one", inside)
            if ctx.attempt == 1:
                raise Retry("once more")
            return f"{first} {await ctx.ask('counter', Charge())}"

    async with AgentManager() as manager:
        await manager.register(Counter("counter"))
        await manager.register(Gatherer("gatherer"))
        assert await manager.ask("gatherer", Question()) == "1 2"
