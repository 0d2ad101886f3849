"""Shared state is a dictionary with versions, and its transactions are as if each had run alone, at its commit.

The state machine holds `InMemorySharedState` against plain dictionaries. Up to three transactions are open at once and
interleave with each other and with plain writes. Each remembers what it was told; when one commits, the same calls are
made on a copy of the model in one go, and must be told the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Change,
    InMemorySharedState,
    Request,
    RetryPolicy,
    StateConflict,
    TurnError,
    Versioned,
    WatchExpired,
    handles,
)
from moot.state import Transaction
from moot.testing import VirtualClockLoop

KEYS = ("a", "ab", "b")
PREFIXES = ("", "a", "ab", "x")

keys = st.sampled_from(KEYS)
prefixes = st.sampled_from(PREFIXES)
values = st.one_of(st.none(), st.integers(0, 2), st.just([1, {"k": "v"}]))
versions = st.integers(0, 3)
slots = st.integers(0, 2)
calls = st.one_of(
    st.tuples(st.just("get"), st.tuples(keys)),
    st.tuples(st.just("read"), st.tuples(keys)),
    st.tuples(st.just("keys"), st.tuples(prefixes)),
    st.tuples(st.just("set"), st.tuples(keys, values)),
    st.tuples(st.just("delete"), st.tuples(keys)),
    st.tuples(st.just("compare_and_set"), st.tuples(keys, values, versions)),
)


class Model:
    """Values by key and, for ever, the number of the newest write of each key."""

    def __init__(self, values: dict[str, Any] | None = None, numbers: dict[str, int] | None = None) -> None:
        self.values = values or {}
        self.numbers = numbers or {}

    def version(self, key: str) -> int:
        return self.numbers[key] if key in self.values else 0

    def get(self, key: str) -> Any:
        return self.values.get(key, "absent")

    def read(self, key: str) -> Versioned[Any]:
        return Versioned(self.values.get(key), self.version(key))

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value
        self.numbers[key] = self.numbers.get(key, 0) + 1

    def delete(self, key: str) -> None:
        if key in self.values:
            del self.values[key]
            self.numbers[key] += 1

    def compare_and_set(self, key: str, value: Any, version: int) -> str | None:
        if self.version(key) != version:
            return "conflict"
        self.set(key, value)
        return None


class View(Model):
    """The model as a transaction that runs alone sees it: what it writes itself counts as one write."""

    def __init__(self, model: Model) -> None:
        super().__init__(dict(model.values))
        self.model = model

    def version(self, key: str) -> int:
        if key not in self.values:
            return 0
        return self.model.version(key) + (key in self.numbers)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)
        self.numbers[key] = 1


Call = tuple[str, tuple[Any, ...]]


class StateMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualClockLoop)
        self.state = InMemorySharedState()
        self.model = Model()
        self.open: list[tuple[Transaction, list[tuple[Call, Any]]]] = [(Transaction(self.state), []) for _ in range(3)]

    def call(self, access: Any, name: str, *args: Any) -> Any:
        async def main() -> Any:
            if name == "get":
                return await access.get(*args, "absent")
            try:
                return await getattr(access, name)(*args)
            except StateConflict:
                return "conflict"

        return self.runner.get_loop().run_until_complete(main())

    def both(self, name: str, *args: Any) -> None:
        assert self.call(self.state, name, *args) == getattr(self.model, name)(*args)

    def within(self, slot: int, name: str, *args: Any) -> None:
        transaction, told = self.open[slot]
        told.append(((name, args), self.call(transaction, name, *args)))

    @rule(key=keys, value=values)
    def set(self, key: str, value: Any) -> None:
        self.both("set", key, value)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.both("delete", key)

    @rule(key=keys, value=values, version=versions)
    def compare_and_set(self, key: str, value: Any, version: int) -> None:
        self.both("compare_and_set", key, value, version)

    @rule(slot=slots, calls=st.lists(calls, min_size=1, max_size=4))
    def call_within_a_transaction(self, slot: int, calls: list[Call]) -> None:
        for name, args in calls:
            self.within(slot, name, *args)

    @precondition(lambda self: any(told for _, told in self.open))
    @rule(slot=slots)
    def commit(self, slot: int) -> None:
        transaction, told = self.open[slot]
        self.open[slot] = (Transaction(self.state), [])
        if self.call(transaction, "commit") == "conflict":
            return
        view = View(self.model)
        for (name, args), answer in told:
            assert getattr(view, name)(*args) == answer, (name, args)
        for key in view.numbers:
            if key in view.values:
                self.model.set(key, view.values[key])
            else:
                self.model.delete(key)

    @rule(slot=slots)
    def a_transaction_that_nothing_came_between_commits(self, slot: int) -> None:
        self.open[slot] = (Transaction(self.state), [])
        for key in KEYS:
            self.within(slot, "read", key)
        self.within(slot, "keys", "")
        self.within(slot, "set", "a", 7)
        transaction, _ = self.open[slot]
        self.open[slot] = (Transaction(self.state), [])

        assert self.call(transaction, "commit") is None
        self.model.set("a", 7)

    @invariant()
    def the_store_is_the_model(self) -> None:
        for key in KEYS:
            self.both("read", key)
            self.both("get", key)
        for prefix in PREFIXES:
            self.both("keys", prefix)

    def teardown(self) -> None:
        self.runner.close()


TestState = StateMachine.TestCase
TestState.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Go(Request[Any]):
    fail: bool = False


async def test_values_cannot_be_changed_behind_the_back_of_the_store() -> None:
    state = InMemorySharedState()
    value = {"list": [1]}
    await state.set("key", value)

    value["list"].append(2)
    (await state.get("key"))["list"].append(3)

    assert await state.get("key") == {"list": [1]}
    transaction = Transaction(state)
    seen = await transaction.get("key")
    seen["list"].append(4)
    assert await transaction.get("key") == {"list": [1]}


async def test_a_value_is_converted_back_to_its_type_or_refused() -> None:
    state = InMemorySharedState()
    await state.set("point", Point(1, 2))

    assert await state.get("point") == {"x": 1, "y": 2}
    assert await state.get("point", type=Point) == Point(1, 2)
    assert await state.read("point", type=Point) == Versioned(Point(1, 2), 1)
    assert await Transaction(state).get("point", type=Point) == Point(1, 2)
    assert await state.get("nothing", Point(0), type=Point) == Point(0)
    with pytest.raises(TypeError, match="read it with the type it was set with"):
        await state.get("point", type=int)
    with pytest.raises(TypeError, match="cannot be stored"):
        await state.set("bad", object())
    assert await state.keys() == ["point"]


async def test_a_transaction_that_lost_a_race_runs_again_until_it_wins() -> None:
    state = InMemorySharedState()
    runs = 0

    async def increment(access: Any) -> int:
        nonlocal runs
        runs += 1
        value: int = await access.get("n", 0)
        await asyncio.sleep(1)
        await access.set("n", value + 1)
        return value

    got = await asyncio.gather(*[state.transact(increment) for _ in range(5)])

    assert sorted(got) == [0, 1, 2, 3, 4]
    assert await state.get("n") == 5
    assert runs == 15


async def test_a_transaction_that_raises_writes_nothing() -> None:
    state = InMemorySharedState()

    async def fail(access: Any) -> None:
        await access.set("key", 1)
        raise ValueError

    with pytest.raises(ValueError):
        await state.transact(fail)

    assert await state.keys() == []


async def test_a_key_that_appears_under_a_listed_prefix_is_a_conflict() -> None:
    state = InMemorySharedState()
    await state.set("task/1", "open")
    transaction = Transaction(state)
    assert await transaction.keys("task/") == ["task/1"]
    await transaction.set("count", 1)
    await state.set("other/1", "unrelated")
    await state.set("task/2", "open")

    with pytest.raises(StateConflict, match=r"task/\*"):
        await transaction.commit()

    assert await state.get("count") is None


async def test_what_a_turn_makes_only_if_it_is_not_there_is_made_once() -> None:
    transaction = Transaction(InMemorySharedState())
    await transaction.compare_and_set("lock", "mine", 0)

    with pytest.raises(StateConflict):
        await transaction.compare_and_set("lock", "mine again", 0)
    await transaction.delete("lock")
    await transaction.compare_and_set("lock", "mine", 0)


async def test_a_watcher_sees_every_change_in_order() -> None:
    state = InMemorySharedState()
    watching = state.watch("a")
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    await state.set("b", 0)
    await state.set("a1", 1)
    assert await first == Change("a1", 1, 1, 2)
    for number in range(300):
        await state.set("a1", number)
        await state.set("b", number)
    await state.delete("a1")

    seen = [await anext(watching) for _ in range(301)]

    assert [change.value for change in seen] == [*range(300), None]
    assert [change.version for change in seen] == [*range(2, 303)]
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(10)
    assert not waiting.done()
    await state.transact(lambda access: access.set("a3", [1]))
    assert await waiting == Change("a3", [1], 1, 604)
    await watching.aclose()


async def test_a_watcher_that_leaves_is_forgotten() -> None:
    state = InMemorySharedState()
    waiting = asyncio.ensure_future(anext(state.watch()))
    await asyncio.sleep(1)
    assert len(state._watchers) == 1

    waiting.cancel()
    await asyncio.wait({waiting})

    assert not state._watchers


async def test_a_watcher_goes_on_after_the_change_that_it_has_seen() -> None:
    state = InMemorySharedState()
    for number in range(5):
        await state.set(f"key {number}", number)

    again = state.watch(after=3)

    assert [(await anext(again)).value for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("after", [0, 19, 41, -1])
async def test_a_watcher_of_what_is_no_longer_kept_or_not_yet_there_is_told(after: int) -> None:
    state = InMemorySharedState(log=20)
    for number in range(40):
        await state.set("key", number)

    with pytest.raises(WatchExpired, match=rf"after revision {after} are not kept \(only those after 20, up to 40\)"):
        await anext(state.watch(after=after))

    assert (await anext(state.watch(after=20))).value == 20


async def test_a_watcher_that_is_too_slow_is_told_and_loses_nothing_unseen() -> None:
    state = InMemorySharedState(log=20)
    watching = state.watch()
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    await state.set("key", 0)
    assert (await first).value == 0
    for number in range(200):
        await state.set("key", number)

    with pytest.raises(WatchExpired):
        await anext(watching)


async def test_what_a_watcher_is_given_is_its_own() -> None:
    state = InMemorySharedState()
    one, two = state.watch(), state.watch()
    tasks = [asyncio.ensure_future(anext(watching)) for watching in (one, two)]
    await asyncio.sleep(0)
    await state.set("key", [1])

    changes = await asyncio.gather(*tasks)
    changes[0].value.append(2)

    assert changes[1].value == [1]
    await one.aclose()
    await two.aclose()


class Counter(Agent[int]):
    retry = RetryPolicy(max_attempts=1)

    @handles
    def on_go(self, message: Go, ctx: AgentContext[int]) -> int:
        ctx.state += 1
        if message.fail:
            raise ValueError("on purpose")
        return ctx.state


async def test_own_state_is_kept_by_a_turn_that_commits_and_reverts_when_it_fails() -> None:
    async with AgentManager() as manager:
        await manager.register(Counter("counter"))

        assert await manager.ask("counter", Go()) == 1
        with pytest.raises(TurnError):
            await manager.ask("counter", Go(fail=True))
        assert await manager.ask("counter", Go()) == 2


async def test_own_state_begins_as_its_type_makes_it_or_as_the_agent_says() -> None:
    class Default(msgspec.Struct, frozen=True):
        items: tuple[str, ...] = ()

    class Plain(Agent[Default]):
        @handles
        def on_go(self, message: Go, ctx: AgentContext[Default]) -> Any:
            return [ctx.state == Default()]

    class Inheriting(Plain):
        pass

    class Given(Agent[Point]):
        def initial_state(self) -> Point:
            return Point(5)

        @handles
        def on_go(self, message: Go, ctx: AgentContext[Point]) -> Any:
            return [ctx.state == Point(5)]

    async with AgentManager() as manager:
        for agent in (Plain("plain"), Inheriting("inheriting"), Given("given")):
            await manager.register(agent)

        assert await manager.ask("plain", Go()) == [True]
        assert await manager.ask("inheriting", Go()) == [True]
        assert await manager.ask("given", Go()) == [True]


async def test_an_agent_with_a_state_of_its_own_handles_one_message_at_a_time() -> None:
    class Wide(Counter):
        concurrency = 2

    async with AgentManager() as manager:
        with pytest.raises(ValueError, match="one message at a time"):
            await manager.register(Wide("wide"))


async def test_two_agents_share_one_state_and_both_their_turns_count() -> None:
    class Adder(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            await _add(ctx.shared_state.get, ctx.shared_state.set)

    async with AgentManager() as manager:
        for number in range(4):
            await manager.register(Adder(f"adder_{number}"))

        await manager.gather([manager.ask(f"adder_{n % 4}", Go()) for n in range(20)])

        assert await manager.shared_state.read("sum") == Versioned(20, 20)


async def _add(get: Callable[..., Awaitable[Any]], put: Callable[..., Awaitable[None]]) -> None:
    value = await get("sum", 0)
    await asyncio.sleep(0.1)
    await put("sum", value + 1)
