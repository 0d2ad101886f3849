"""Power failures on a virtual clock: what was acknowledged is there in the next life, and each turn is whole.

The same bank as in `test_kill.py`, on a disk of which everything that is not synced is lost. A seed is several lives.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import msgspec
import pytest

from moot import AgentManager, AgentMessage
from moot.manager.gateway import Gateway
from moot.runtime.durability.replies import ReplyCache
from moot.runtime.durability.turn_journal import Restored, TurnJournal
from moot.testing import SimulatedBackend, run
from tests.backends import bank

SEEDS = int(os.environ.get("MOOT_LIVES", "300"))
LIVES = 4


async def live(disk: SimulatedBackend, seed: int, life: int, acknowledged: list[int], tried: list[int]) -> None:
    """One life of the bank, of a length that the seed decides, and a failure of the power at its end."""
    choice = random.Random(f"{seed}:{life}")
    manager = AgentManager(disk, seed=seed)
    lifetime = choice.uniform(0, 0.3)

    async def deposits() -> None:
        await bank.open_bank(manager, pause=0.003)
        for number in range(1000):
            tried.append(1)
            await manager.tell(f"account_{number % 10}", bank.Deposit(1), message_id=f"{life}-{number}")
            acknowledged.append(1)

    await manager.start()
    depositing = asyncio.ensure_future(deposits())
    await asyncio.sleep(lifetime)
    disk.fail()
    depositing.cancel()
    await manager.stop(drain=False)


def audit(disk: SimulatedBackend, least: int, most: int) -> list[str]:
    """What is wrong with the bank on a disk."""
    books = {name: msgspec.msgpack.decode(body, type=bank.Book) for name, (_, body) in disk.image.states.items()}
    mail = [msgspec.msgpack.decode(one.body, type=AgentMessage) for mails in disk.image.mail.values() for one in mails]
    return bank.wrong_with(books, mail, least, most)


def lives(seed: int, disk: SimulatedBackend) -> list[str]:
    acknowledged: list[int] = []
    tried: list[int] = []
    for life in range(LIVES):
        run(live(disk, seed, life, acknowledged, tried))
        if wrong := audit(disk, len(acknowledged), len(tried)):
            return [f"seed {seed}, life {life}: {line}" for line in wrong]
    return []


def found(seeds: int) -> bool:
    """Whether the audit finds something wrong within so many seeds."""
    return any(lives(seed, SimulatedBackend(seed)) for seed in range(seeds))


@pytest.mark.parametrize("part", range(10))
def test_a_bank_whose_power_fails_again_and_again_loses_and_repeats_nothing(part: int) -> None:
    for seed in range(part, SEEDS, 10):
        assert lives(seed, SimulatedBackend(seed)) == []


def test_an_acknowledgement_before_the_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = Gateway.tell

    async def at_once(self: Gateway, message: Any, timeout: float) -> None:
        asyncio.get_running_loop().create_task(tell(self, message, timeout))
        await asyncio.sleep(0)

    monkeypatch.setattr(Gateway, "tell", at_once)
    assert found(50)


def test_a_message_that_ends_after_its_turn_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TurnJournal.committed

    def in_two(self: TurnJournal, cell: Any, ctx: Any, sealed: Any) -> None:
        asyncio.get_running_loop().call_later(0.001, whole, self, cell, ctx, sealed)

    monkeypatch.setattr(TurnJournal, "committed", in_two)
    assert found(50)


def test_mail_that_comes_back_in_the_wrong_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = TurnJournal.restore

    def backwards(self: TurnJournal, cell: Any) -> Restored:
        restored = restore(self, cell)
        return restored._replace(mail=[*restored.mail][::-1])

    monkeypatch.setattr(TurnJournal, "restore", backwards)
    assert found(100)


def test_an_id_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReplyCache, "accept", lambda *facts: None)
    assert found(50)
