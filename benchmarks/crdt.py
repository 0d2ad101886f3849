"""Replicated values: how fast they change, how large they are, and what replicators send each other.

    .venv/bin/python benchmarks/crdt.py            # 9 rounds; writes CRDT.md
    .venv/bin/python benchmarks/crdt.py --quick    # 3 rounds; prints only

Speed is CPU time, the best of the rounds, which other work on the machine can only lower, beside their median. Sizes
are bytes of msgpack and the same in every run.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from measure import Watch
from moot import Agent, AgentContext, AgentManager, AgentMessage
from moot.messaging.codec import MsgpackCodec
from moot.replication import Add, Increment, Put, Replicator, Status, Update
from moot.state.crdt import LWWMap, ORSet, PNCounter
from moot.testing import run
from run import described, machine

HERE = Path(__file__).resolve().parent
WRITER = "replica_1~0123456789"
OPS = 20_000
MUST = 200_000


def count(ops: int) -> None:
    """A delta and its join, for each operation."""
    counter = PNCounter()
    for number in range(ops):
        counter = counter.join(counter.decrement(WRITER) if number % 3 == 2 else counter.increment(WRITER))


def toggle(ops: int) -> None:
    """Elements go in and out of a set, one at a time."""
    tags: ORSet[int] = ORSet()
    for number in range(ops // 2):
        tags = tags.join(tags.add(WRITER, number % 10))
        tags = tags.join(tags.remove(number % 10))


def add_again(ops: int) -> None:
    """Elements that are in a set of ten are added again, one at a time."""
    tags: ORSet[int] = ORSet()
    for number in range(ops):
        tags = tags.join(tags.add(WRITER, number % 10))


def add_many(ops: int) -> None:
    """Elements go into a set that grows to all of them, a hundred to a change."""
    tags: ORSet[int] = ORSet()
    for first in range(0, ops, 100):
        tags = tags.join(tags.add(WRITER, *range(first, first + 100)))


def join_large(ops: int) -> None:
    """Two sets of as many elements, half of them the same, are joined."""
    both: ORSet[int] = ORSet().join(ORSet().add("a", *range(ops // 2)))
    mine, theirs = both.join(both.add("b", *range(ops // 2, ops))), both.join(both.add("c", *range(-ops // 2, 0)))
    watch = Watch()
    mine.join(theirs)
    JOINED.append(watch.stop().cpu)


JOINED: list[float] = []

SPEEDS: list[tuple[str, Callable[[int], None]]] = [
    ("PNCounter: count up or down", count),
    ("ORSet: add 100 at a time", add_many),
    ("ORSet: add one, remove one", toggle),
    ("ORSet of 10: add one that is in", add_again),
]


def rates(change: Callable[[int], None], rounds: int) -> list[float]:
    """Operations per second of CPU time."""
    found = []
    for _ in range(rounds):
        watch = Watch()
        change(OPS)
        found.append(OPS / watch.stop().cpu)
    return found


def growth() -> tuple[int, int]:
    """Bytes of a set of ten after twenty, and after 100,000 additions and removals."""
    tags: ORSet[int] = ORSet()
    sizes = []
    for number in range(50_000):
        tags = tags.join(tags.add(WRITER, number))
        if number >= 10:
            tags = tags.join(tags.remove(number - 10))
        if number in {19, 49_999}:
            sizes.append(len(msgspec.msgpack.encode(tags)))
    return sizes[0], sizes[1]


class Tap(Agent):
    """Passes on what one end sends to the other, and counts the bytes of it by message type."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.bytes: dict[str, int] = {}
        self.is_cut = False

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        kind = message.message_type
        self.bytes[kind] = self.bytes.get(kind, 0) + len(MsgpackCodec(max_bytes=1 << 30).encode(message))
        if not self.is_cut:
            ctx.send("b" if message.sender == "a" else "a", message.content)


async def converge(manager: AgentManager) -> None:
    """Return when a and b are equal."""
    for _ in range(1000):
        if (await manager.ask("a", Status())).digest == (await manager.ask("b", Status())).digest:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the replicas are not equal after 100 s")


async def traffic() -> list[tuple[str, int]]:
    """Bytes on the wire, with envelopes, of what replicators say to each other."""
    rows = []
    tap = Tap("tap")
    async with AgentManager(seed=1) as manager:
        await manager.register(tap)
        for name in ("a", "b"):
            await manager.register(Replicator(name, ("tap",)))
        await manager.ask("a", Update("pn_counter", "count", Increment()))
        await asyncio.sleep(0.1)
        rows.append(("push of one count", tap.bytes.pop("deltas")))
        await manager.ask("a", Update("or_set", "tags", Add(("ship",))))
        await asyncio.sleep(0.1)
        rows.append(("push of one element", tap.bytes.pop("deltas")))
        await converge(manager)
        await asyncio.sleep(2)
        tap.bytes.clear()
        await asyncio.sleep(10)
        rows.append(("a comparison of equal replicas", sum(tap.bytes.values()) // 20))
        for first in range(0, 10_000, 1000):
            await manager.ask("a", Update("lww_map", "m", Put({f"item {n:05}": n for n in range(first, first + 1000)})))
        for number in range(0, 10_000, 3):
            await manager.ask("a", Update("lww_map", "m", Put({f"item {number:05}": 0})))
        await converge(manager)
        tap.is_cut = True
        for number in range(0, 10_000, 1000):
            await manager.ask("a", Update("lww_map", "m", Put({f"item {number:05}": -1})))
        await asyncio.sleep(1)
        tap.bytes.clear()
        tap.is_cut = False
        await converge(manager)
        rows.append(
            ("10 scattered keys of 10,000, a third of them overwritten before: deltas", tap.bytes.pop("deltas"))
        )
        rows.append(("the same: digests and what was seen", sum(tap.bytes.values())))
        tap.bytes.clear()
        await manager.unregister("b")
        await manager.register(Replicator("b", ("tap",)))
        await converge(manager)
        rows.append(("a newcomer gets the map of 10,000", tap.bytes["deltas"]))
    return rows


def since_alone() -> int:
    """What the value alone can say of 10 scattered keys of 10,000, without a log."""
    prices: LWWMap[int] = LWWMap()
    prices = prices.join(prices.put(WRITER, {f"item {n:05}": n for n in range(10_000)}, 1_700_000_000))
    for number in range(0, 10_000, 3):
        prices = prices.join(prices.put(WRITER, {f"item {number:05}": 0}, 1_700_000_000))
    seen = prices.digest
    for number in range(0, 10_000, 1000):
        prices = prices.join(prices.put(WRITER, {f"item {number:05}": -1}, 1_700_000_001))
    return len(msgspec.msgpack.encode(prices.since(seen)))


def main() -> None:
    """Measure, print, and write the table."""
    quick = "--quick" in sys.argv
    about = machine()
    lines = [
        "# Replicated values",
        "",
        described(about),
        "",
        "| an operation is the delta and its join | best | median |",
    ]
    lines += ["|---|---:|---:|"]
    for title, change in SPEEDS:
        found = rates(change, 3 if quick else 9)
        lines.append(f"| {title} | {max(found):,.0f}/s | {statistics.median(found):,.0f}/s |")
    for _ in range(3 if quick else 9):
        join_large(20_000)
    lines.append(
        f"| join two ORSets of 20,000, half the same | {min(JOINED) * 1e3:.1f} ms | "
        f"{statistics.median(JOINED) * 1e3:.1f} ms |"
    )
    young, old = growth()
    lines += ["", "| bytes | |", "|---|---:|"]
    lines += [f"| an ORSet of ten, after 20 additions | {young:,} |"]
    lines += [f"| an ORSet of ten, after 50,000 additions and as many removals | {old:,} |"]
    lines += [f"| on the wire: {title} | {size:,} |" for title, size in run(traffic())]
    lines += [f"| the same by the value's own `since`, without a log | {since_alone():,} |"]
    lines += ["", f"PNCounter and ORSet must reach {MUST:,}/s; the delta of 10 keys must stay below 1,000 bytes.", ""]
    lines += ["Rerun: `.venv/bin/python benchmarks/crdt.py`", ""]
    text = "\n".join(lines)
    print(text)
    if not quick:
        (HERE / "CRDT.md").write_text(text)


if __name__ == "__main__":
    main()
