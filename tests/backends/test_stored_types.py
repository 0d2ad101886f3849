"""What is accepted in one life is read in the next as what it was; or it is refused in the first, on every backend.

A table of types and values, each as a state, a field, a reply, the result of an effect and a shared value. There is no
third outcome: nothing is read as something else, and nothing keeps a system from starting.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from moot import AgentManager
from moot.backends import MemoryBackend
from moot.backends.sqlite import SqliteBackend
from tests.backends.stored_types import CASES, PLACES, Probe, alike, first_life, second_life


async def refusals(manager: AgentManager, probes: list[Probe]) -> dict[str, str]:
    """Why the first life refuses each probe that it refuses."""
    found: dict[str, str] = {}
    for probe in probes:
        why = await first_life(manager, probe)
        if why is not None:
            found[probe.id] = why
    return found


@pytest.mark.parametrize("place", PLACES)
async def test_a_value_is_read_again_as_what_it_was_or_refused_at_once(place: str, tmp_path: Path) -> None:
    probes = [Probe(name, case, place) for name, case in CASES.items()]
    third: dict[str, str] = {}

    manager = AgentManager(SqliteBackend(tmp_path / "team.db", inline=True))
    await manager.start()
    refused = await refusals(manager, probes)
    await manager.stop(drain=False)
    manager = AgentManager(SqliteBackend(tmp_path / "team.db", inline=True))
    await manager.start()
    for probe in probes:
        if probe.id not in refused:
            try:
                value = await second_life(manager, probe)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
                third[probe.id] = f"{type(error).__name__}: {error}"
            else:
                if not alike(probe.stored, value):
                    third[probe.id] = f"read as {value!r}"
    await manager.stop(drain=False)

    assert not third
    assert len(CASES) - len(refused) >= 60  # (and not all of them are refused)


@pytest.mark.parametrize("place", PLACES)
async def test_memory_refuses_what_a_file_refuses(place: str, tmp_path: Path) -> None:
    found: list[set[str]] = []

    for backend in (MemoryBackend(), SqliteBackend(tmp_path / "team.db", inline=True)):
        manager = AgentManager(backend)
        await manager.start()
        found.append(set(await refusals(manager, [Probe(name, case, place) for name, case in CASES.items()])))
        await manager.stop(drain=False)

    in_memory, in_a_file = found
    assert in_memory == in_a_file


@pytest.mark.parametrize("place", ["field", "reply"])
async def test_the_card_of_an_agent_never_fails(place: str) -> None:
    async with AgentManager() as manager:
        cards = []
        for name, case in CASES.items():
            with contextlib.suppress(TypeError):
                await manager.register(Probe(name, case, place).agent())
                cards.append(manager.card(name))

    assert len(cards) > 100
    assert all((card.handles[0].content if place == "field" else card.handles[0].reply) is not None for card in cards)
