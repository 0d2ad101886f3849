"""The replicator as an agent: reads its own writes, pushes at once and in one message, joins, leaves, is durable.

Where the network matters, replicators are connected by links: agents that pass on what one end sends to the other,
count it, and lose, repeat and reorder it, beyond what the runtime would let happen.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, Payload, TurnError, handles
from moot.errors import StateUnreadable
from moot.messaging.codec import MsgpackCodec
from moot.replication import (
    Add,
    Assign,
    At,
    Changed,
    Increment,
    Join,
    Leave,
    Put,
    Read,
    Remove,
    Replica,
    ReplicationPolicy,
    Replicator,
    Standing,
    Status,
    Update,
    changes,
)
from moot.replication.messages import Deltas, Digest, Have, Part
from moot.replication.replica import lacking, received
from moot.state.crdt import CausalContext, LWWMap
from moot.testing import run

from .recording import Peek, Recorder, read


class Cut(Payload):
    """From now on a link passes this share of what it gets."""

    passes: float


class Restore(Payload):
    replica: bytes


class Link(Agent):
    """Two ends; what comes from the one goes to the other. The sizes of what is passed are in ``sizes``."""

    def __init__(
        self, agent_id: str, ends: tuple[str, str], sizes: list[tuple[str, int]], *, wild: bool = False
    ) -> None:
        super().__init__(agent_id)
        self.ends = ends
        self.sizes = sizes
        self.wild = wild
        self.passes = 1.0

    @handles
    async def cut(self, message: Cut) -> None:
        self.passes = message.passes

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        to = self.ends[message.sender == self.ends[0]]
        self.sizes.append((message.message_type, len(MsgpackCodec().encode(message))))
        if ctx.random.random() >= self.passes:
            return
        if not self.wild:
            ctx.send(to, message.content)
            return
        for _ in range(ctx.random.choice((1, 1, 2, 3))):
            ctx.schedule(ctx.random.random() * 3, message.content, to=to)


async def value(manager: AgentManager, replicator: str, kind: Any, name: str = "v") -> Any:
    return await manager.ask(replicator, Read(kind, name))


async def standing(manager: AgentManager, *replicators: str) -> list[Standing]:
    return [await manager.ask(one, Status()) for one in replicators]


async def equal(manager: AgentManager, *replicators: str, within: float) -> None:
    """Return when they are equal, or fail."""
    for _ in range(int(within * 10)):
        if len({one.digest for one in await standing(manager, *replicators)}) == 1:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not equal after {within} s: {await standing(manager, *replicators)}")


USUAL = ReplicationPolicy()


async def pair(
    manager: AgentManager, policy: ReplicationPolicy = USUAL, *, wild: bool = False
) -> list[tuple[str, int]]:
    """Replicators a and b with a link between them, and the sizes of what it carries."""
    sizes: list[tuple[str, int]] = []
    await manager.register(Link("link", ("a", "b"), sizes, wild=wild))
    for name in ("a", "b"):
        await manager.register(Replicator(name, ("link",), policy))
    return sizes


async def test_a_change_is_read_where_it_was_made_and_at_once_at_the_peers() -> None:
    async with AgentManager() as manager:
        for name in ("a", "b", "c"):
            await manager.register(Replicator(name, ("a", "b", "c")))

        await manager.ask("a", Update("or_set", "tags", Add(("ship", 7, "fog"))))
        assert await value(manager, "a", "or_set", "tags") == [7, "fog", "ship"]
        await manager.settle()
        await asyncio.sleep(0)
        await manager.settle()

        assert await value(manager, "b", "or_set", "tags") == [7, "fog", "ship"]
        assert await value(manager, "c", "or_set", "tags") == [7, "fog", "ship"]


async def test_what_nobody_has_written_is_empty_and_a_name_may_be_of_two_kinds() -> None:
    async with AgentManager() as manager:
        await manager.register(Replicator("a"))
        await manager.ask("a", Update("mv_register", "v", Assign("x")))
        await manager.ask("a", Update("or_map/or_set", "v", At("k", Add(("z", "y")))))
        await manager.ask("a", Update("lww_register", "v", Assign([1, {"deep": None}])))

        assert await value(manager, "a", "pn_counter") == 0
        assert await value(manager, "a", "mv_register") == ["x"]
        assert await value(manager, "a", "or_map/or_set") == {"k": ["y", "z"]}
        assert await value(manager, "a", "lww_register") == [1, {"deep": None}]
        with pytest.raises(TurnError, match="Increment is no change of a or_set"):
            await manager.ask("a", Update("or_set", "v", Increment()))


async def test_plain_content_as_from_a_wire_is_understood() -> None:
    async with AgentManager() as manager:
        await manager.register(Replicator("a"))
        at = {
            "kind": "or_map/pn_counter",
            "name": "v",
            "change": {"type": "at", "key": "k", "change": {"type": "increment"}},
        }
        await manager.ask("a", at, message_type="update")

        assert await value(manager, "a", "or_map/pn_counter") == {"k": 1}


async def test_the_deltas_of_a_burst_are_one_small_message() -> None:
    async with AgentManager() as manager:
        sizes = await pair(manager, ReplicationPolicy(interval=100))
        for number in range(100):
            await manager.tell("a", Update("lww_map", "v", Put({f"key {number % 10}": number})))
        await asyncio.sleep(1)

        assert len([kind for kind, _ in sizes if kind == "deltas"]) <= 2
        assert len(await value(manager, "b", "lww_map")) == 10


async def test_whoever_missed_ten_of_ten_thousand_keys_gets_them_in_a_kilobyte() -> None:
    async with AgentManager() as manager:
        sizes = await pair(manager)
        for first in range(0, 10_000, 1000):
            await manager.ask("a", Update("lww_map", "v", Put({f"item {n:05}": n for n in range(first, first + 1000)})))
        await equal(manager, "a", "b", within=10)
        await manager.tell("link", Cut(0))
        for number in range(0, 10_000, 1000):
            await manager.ask("a", Update("lww_map", "v", Put({f"item {number:05}": -1})))
        await asyncio.sleep(1)
        await manager.tell("link", Cut(1))
        sizes.clear()
        await equal(manager, "a", "b", within=10)

        assert [kind for kind, _ in sizes if kind == "deltas"] == ["deltas"]
        assert max(size for _, size in sizes) <= 1000
        assert (await value(manager, "b", "lww_map"))["item 03000"] == -1


async def test_a_newcomer_gets_all_in_bounded_messages() -> None:
    policy = ReplicationPolicy(log_entries=2, message_bytes=8192)
    async with AgentManager() as manager:
        sizes = await pair(manager, policy)
        await manager.tell("link", Cut(0))
        for first in range(0, 2000, 100):
            await manager.ask("a", Update("lww_map", "v", Put({f"item {n:05}": n for n in range(first, first + 100)})))
        await asyncio.sleep(1)
        sizes.clear()
        await manager.tell("link", Cut(1))
        await equal(manager, "a", "b", within=10)

        assert len(sizes) > 10
        assert max(size for _, size in sizes) <= 8192 + 512
        assert await value(manager, "b", "lww_map") == await value(manager, "a", "lww_map")


def test_a_link_that_loses_repeats_and_reorders_does_no_harm() -> None:
    async def life(seed: int) -> None:
        async with AgentManager(seed=seed) as manager:
            await pair(manager, ReplicationPolicy(log_entries=4, message_bytes=256), wild=True)
            await manager.tell("link", Cut(0.7))
            for number in range(60):
                who, key = "ab"[number % 2], f"key {number * seed % 7}"
                await manager.ask(who, Update("pn_counter", "n", Increment(number)))
                await manager.ask(who, Update("or_set", "s", Remove((key,)) if number % 3 else Add((key, number))))
                await asyncio.sleep(0.1)
            await equal(manager, "a", "b", within=200)

            assert await value(manager, "a", "pn_counter", "n") == sum(range(60))
            assert await value(manager, "a", "or_set", "s") == await value(manager, "b", "or_set", "s")

    for seed in range(10):
        run(life(seed))


async def test_what_changes_is_published() -> None:
    heard: list[tuple[str, Changed]] = []

    class Watcher(Agent):
        topics = (changes("b", "or_set", "tags"),)

        @handles
        async def changed(self, message: Changed, ctx: AgentContext) -> None:
            heard.append((ctx.sender, message))

    async with AgentManager() as manager:
        await pair(manager)
        await manager.register(Watcher("watcher"))
        await manager.ask("a", Update("or_set", "tags", Add(("x",))))
        await manager.ask("a", Update("or_set", "others", Add(("x",))))
        await manager.ask("b", Update("or_set", "tags", Add(("y",))))
        await manager.ask("b", Update("or_set", "tags", Remove(("nobody",))))
        await asyncio.sleep(1)

    assert heard == [("b", Changed("or_set", "tags"))] * 2


async def test_one_that_joins_catches_up_and_one_that_leaves_hears_no_more() -> None:
    async with AgentManager() as manager:
        for name in ("a", "b", "c"):
            await manager.register(Replicator(name))
        await manager.ask("a", Update("pn_counter", "v", Increment(1)))
        await manager.tell("b", Join("a"))
        await manager.tell("c", Join("b"))  # a line: what b learns of a, c learns of b
        await equal(manager, "a", "b", "c", within=5)
        assert [one.peers for one in await standing(manager, "a", "b", "c")] == [("b",), ("a", "c"), ("b",)]

        await manager.tell("a", Leave("b"))
        await manager.settle()
        await manager.ask("a", Update("pn_counter", "v", Increment(1)))
        await asyncio.sleep(10)
        assert [await value(manager, one, "pn_counter") for one in "abc"] == [2, 1, 1]
        assert [one.peers for one in await standing(manager, "a", "b", "c")] == [(), ("c",), ("b",)]

        await manager.tell("a", Join("b"))
        await equal(manager, "a", "b", "c", within=10)
        assert await value(manager, "c", "pn_counter") == 2


async def test_a_leave_that_did_not_arrive_is_said_again_to_whoever_still_talks() -> None:
    async with AgentManager() as manager:
        sizes = await pair(manager)
        await manager.tell("link", Cut(0))
        await manager.tell("a", Leave("link"))
        await asyncio.sleep(3)
        assert (await standing(manager, "b"))[0].peers == ("link",)
        await manager.tell("link", Cut(1))
        await asyncio.sleep(5)

        assert [one.peers for one in await standing(manager, "a", "b")] == [(), ("link",)]
        sizes.clear()


async def test_what_is_no_value_is_refused_and_the_rest_of_the_message_is_not(caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "moot")
    good = LWWMap[int]().put("x", {"k": 1}, 1_700_000_000)
    named = CausalContext({"x": (1, 1)})
    parts = [
        Part("os.system", "v", named, b""),
        Part("or_set", "v", named, b"\xc1"),
        Part("lww_map", "v", named, msgspec.msgpack.encode(good)),
        Part("lww_map", "w", named, msgspec.msgpack.encode(good.put("x", {"k": 2}, 1_700_009_999))),
    ]
    async with AgentManager() as manager:
        await manager.register(Replicator("a"))
        await manager.ask("a", Update("or_set", "v", Add(("mine",))))
        await manager.tell("a", Deltas(tuple(parts)))
        await manager.tell("a", {"parts": [["or_set", "v", {"seen": {"x": [3, 1]}}, "!!"]]}, message_type="deltas")
        await manager.tell("a", Digest(3, b"no"))
        await manager.settle()

        assert await value(manager, "a", "lww_map") == {"k": 1}
        assert await value(manager, "a", "lww_map", "w") == {}
        assert await value(manager, "a", "or_set") == ["mine"]
        assert (await standing(manager, "a"))[0].refused == 3
        assert len(manager.dead_letters) == 2


async def test_one_that_is_told_of_changes_of_its_own_that_it_lost_goes_on_under_a_new_name() -> None:
    class Restored(Recorder):
        """As from a copy of its state that was made before its last change."""

        @handles
        async def restore(self, message: Restore, ctx: AgentContext[Replica]) -> None:
            ctx.state = read(message.replica)

    async with AgentManager() as manager:
        await manager.register(Restored("a", ("b",), {}, policy=ReplicationPolicy(interval=50)))
        await manager.register(Replicator("b", ("a",), ReplicationPolicy(interval=50)))
        await manager.ask("a", Update("pn_counter", "v", Increment(1)))
        copy = await manager.ask("a", Peek())
        await manager.ask("a", Update("pn_counter", "v", Increment(10)))
        await asyncio.sleep(1)
        known = read(await manager.ask("a", Peek())).values["pn_counter:v"].seen
        await manager.tell("a", Restore(copy))
        await manager.tell("a", Have(1, (0,), {"pn_counter:v": known}, wants_answer=False))
        await manager.ask("a", Update("pn_counter", "v", Increment(100)))
        await equal(manager, "a", "b", within=200)

        assert await value(manager, "a", "pn_counter") == await value(manager, "b", "pn_counter") == 111


async def test_a_silent_peer_is_asked_rarely_and_is_a_peer_again_when_it_speaks() -> None:
    async with AgentManager() as manager:
        sizes = await pair(manager, ReplicationPolicy(silence=10))
        await manager.tell("link", Cut(0))
        await asyncio.sleep(20)
        sizes.clear()
        for number in range(200):
            await manager.ask("a", Update("pn_counter", "v", Increment(number)))
            await asyncio.sleep(0.5)
        assert len(sizes) < 210  # a digest each second from either, and not one of the 200 deltas
        assert "deltas" not in {kind for kind, _ in sizes}

        await manager.tell("link", Cut(1))
        await equal(manager, "a", "b", within=20)


def test_on_sqlite_a_replica_is_there_again_and_catches_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'team.db'}"

    async def first() -> Standing:
        async with AgentManager(url) as manager:
            await manager.register(Replicator("a", ("b",)))
            for number in range(5):
                await manager.ask("a", Update("lww_map", "m", Put({f"k{number}": [number, None]})))
                await manager.ask("a", Update("or_map/or_set", "s", At("k", Add((number,)))))
            return (await standing(manager, "a"))[0]

    async def second() -> None:
        async with AgentManager(url) as manager:
            await manager.register(Replicator("a", ("b",)))
            again = (await standing(manager, "a"))[0]
            assert msgspec.structs.replace(again, writer=before.writer) == before
            assert again.writer != before.writer  # another process may go on from the same file
            await manager.register(Replicator("b", ("a",)))
            await manager.ask("b", Update("or_map/or_set", "s", At("k", Add(("new",)))))
            await equal(manager, "a", "b", within=10)
            assert await value(manager, "b", "lww_map", "m") == {f"k{number}": [number, None] for number in range(5)}
            assert await value(manager, "a", "or_map/or_set", "s") == {"k": [0, 1, 2, 3, 4, "new"]}

    before = run(first())
    run(second())


def test_two_that_go_on_from_one_copy_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    """A backup that is started beside the system it was made of: the same id, the same stored name, other changes."""
    here, copy = tmp_path / "team.db", tmp_path / "copy.db"

    async def first() -> None:
        async with AgentManager(f"sqlite:///{here}") as manager:
            await manager.register(Replicator("a"))
            await manager.ask("a", Update("pn_counter", "n", Increment(1)))
            await manager.ask("a", Update("or_set", "s", Add(("old",))))

    async def life(file: Path, by: int) -> Replica:
        async with AgentManager(f"sqlite:///{file}") as manager:
            await manager.register(Recorder("a", (), {}))
            await manager.ask("a", Update("pn_counter", "n", Increment(by)))
            await manager.ask("a", Update("or_set", "s", Add((f"new {by}",))))
            return read(await manager.ask("a", Peek()))

    run(first())
    shutil.copy(here, copy)
    left, right = run(life(here, 10)), run(life(copy, 100))

    for kind, key in (("pn_counter", "n"), ("or_set", "s")):
        for part in lacking(right, f"{kind}:{key}", left.values[f"{kind}:{key}"].seen, USUAL):
            left = received(left, "b", part, 1_800_000_000, USUAL)
    assert left.held("pn_counter", "n").value.value == 111
    assert left.held("or_set", "s").value.value == {"old", "new 10", "new 100"}


def test_a_kept_replica_that_cannot_be_read_is_an_error_that_says_so() -> None:
    bad = msgspec.msgpack.encode({"values": {"or_set:v": {"value": {"entries": 3}}}})

    with pytest.raises(StateUnreadable):
        Replicator("a").stored_state(bad, 1)
