"""Whatever the network does and whoever crashes, replicas end equal, and show what the changes say that they know.

Three to five replicas are changed at random under drop, duplicate, delay, reorder, crash and pause; one of them may
lose all that it had, another join late. The seeds are fresh in every run; a failure prints its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from moot import AgentContext, Backoff, MootError, Supervision, handles
from moot.replication import (
    Add,
    Assign,
    At,
    Change,
    Decrement,
    Increment,
    Kind,
    Put,
    Remove,
    Replica,
    ReplicationPolicy,
    Update,
)
from moot.replication.digests import summary
from moot.replication.kinds import shown
from moot.replication.messages import Tick
from moot.testing import Crashed, Faults, SimulatedManager, search, simulate

from .recording import Dots, Log, Peek, Recorder, elements, entries, known, last_writes, read, total

FAULTS = Faults(drop=0.1, duplicate=0.1, delay=0.1, reorder=0.3, crash=0.05, pause=0.02)
RESTARTING = Supervision(
    directives=((Crashed, "restart"),), max_restarts=100_000, backoff=Backoff(first=0.05, limit=0.5)
)
SMALL = ReplicationPolicy(log_entries=4, message_bytes=300)
"""A log that soon does not reach back, and messages that few values fit into."""

KINDS: tuple[Kind, ...] = ("pn_counter", "or_set", "mv_register", "lww_map", "or_map/pn_counter")


def restarting(**given: Any) -> SimulatedManager:
    return SimulatedManager(supervision=RESTARTING, **given)


def change_of(kind: Kind, dice: random.Random, number: int) -> Change:
    key = f"key {dice.randrange(4)}"
    removes = dice.random() < 0.3
    match kind:
        case "pn_counter":
            return Decrement(dice.randrange(1, 9)) if removes else Increment(dice.randrange(1, 9))
        case "or_set":
            return Remove((key,)) if removes else Add((key, f"key {dice.randrange(4)}"))
        case "mv_register":
            return Assign(number)
        case "lww_map":
            return Remove((key,)) if removes else Put({key: number})
    return Remove((key,)) if removes else At(key, Increment(dice.randrange(1, 9)))


async def change(manager: SimulatedManager, ids: list[str], first: int, log: Log) -> None:
    dice = manager.random
    for number in range(first, first + 16):
        kind = dice.choice(KINDS)
        with contextlib.suppress(MootError):
            await manager.ask(dice.choice(ids), Update(kind, f"v{number % 2}", change_of(kind, dice, number)))
        if dice.random() < 0.4:
            await asyncio.sleep(dice.random())


async def states(manager: SimulatedManager, ids: list[str]) -> list[Replica]:
    found = []
    for replicator in ids:
        while True:  # (a turn may crash, and is asked again)
            with contextlib.suppress(MootError):
                found.append(read(await manager.ask(replicator, Peek(), timeout=60)))
                break
    return found


async def build(manager: SimulatedManager, kind: type[Recorder] = Recorder) -> None:
    """The life of a group; at its end it has converged, or an assertion says how not."""
    dice, log = manager.random, Log()
    ids = [f"r{number}" for number in range(dice.randrange(3, 6))]
    for one in ids:
        await manager.register(kind(one, tuple(ids), log, policy=SMALL))
    await change(manager, ids, 0, log)
    await manager.unregister(ids[0])
    await change(manager, ids[1:], 100, log)
    await manager.register(kind(ids[0], tuple(ids), log, policy=SMALL))  # nothing is left of its state
    await manager.register(kind("late", (ids[1],), log, policy=SMALL))
    ids.append("late")
    await change(manager, ids, 200, log)
    for _ in range(300):
        await asyncio.sleep(1)
        replicas = await states(manager, ids)
        if len({summary(replica) for replica in replicas}) == 1:
            break
    else:
        raise AssertionError(f"not equal after 300 s: {replicas}")
    for replica in replicas:
        judge(replica, log)
    assert [replica.refused for replica in replicas] == [0] * len(ids)


def judge(replica: Replica, log: Log) -> None:
    """A replica shows what the changes say that it has seen."""
    for key, held in replica.values.items():
        made = known(log[key], held.seen)
        assert len(made) == len(held.seen)
        judge_value(key.partition(":")[0], shown(held.value), made)


def judge_value(kind: str, shown: Any, made: Dots) -> None:
    match kind:
        case "pn_counter":
            assert shown == total(made)
        case "or_set":
            assert shown == elements(made)
        case "mv_register":
            assert shown == last_writes(made)
        case "lww_map":
            possible = entries(made)
            assert shown.keys() == possible.keys()
            assert all(value in possible[key] for key, value in shown.items())


@pytest.mark.simulate(seeds=60, faults=FAULTS, make=restarting)
async def test_replicas_end_equal_and_show_what_the_changes_say_that_they_know(simulated: SimulatedManager) -> None:
    await build(simulated)


def test_a_change_that_was_lost_with_its_writer_is_known_by_the_later_count_that_holds_it() -> None:
    """The deltas of a count were lost, a later one came, and then the writer lost all that it had."""
    simulate(build, seed=731519261, faults=FAULTS, make=restarting).check()


class Deaf(Recorder):
    """Sends what it makes, and never compares."""

    @handles
    async def tick(self, message: Tick, ctx: AgentContext[Replica]) -> None:
        self._push(ctx)


def test_without_anti_entropy_they_do_not() -> None:
    failed = search(lambda manager: build(manager, Deaf), seeds=range(3), faults=FAULTS, make=restarting).first

    assert failed is not None
    assert "not equal" in str(failed.error)
