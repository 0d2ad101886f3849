"""The simulation finds bugs: what is broken on purpose in the runtime is found within 1,000 seeds, by its law.

Each mutation breaks one promise of the core. The seed that finds it is printed; run again it fails the same way, event
for event, and without the mutation it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, MailboxPolicy, Payload, handles
from moot.agent.ask import Ask
from moot.agent.records import NOTHING
from moot.messaging.flow_control import FlowControl, Station
from moot.messaging.mailbox import Mailbox
from moot.messaging.message import AgentMessage, form_of_payload
from moot.resilience.deadlines import DeadlineWheel
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit
from moot.testing import Faults, SimulatedManager, search, simulate
from tests.testing.simulation.workflow import build

Patch = pytest.MonkeyPatch

FAULTS = Faults(drop=0.02, duplicate=0.05, delay=0.05, reorder=0.1, crash=0.01)
MOST_SEEDS = 1000


def outputs_reversed(patch: Patch) -> None:
    commit = Commit.run

    def mutant(self: Commit, cell: Cell, ctx: AgentContext, answer: Any = NOTHING) -> Any:
        if ctx.effects is not None:
            ctx.effects.outputs = [*ctx.effects.outputs][::-1]
        return commit(self, cell, ctx, answer)

    patch.setattr(Commit, "run", mutant)


def last_output_lost(patch: Patch) -> None:
    commit = Commit.run

    def mutant(self: Commit, cell: Cell, ctx: AgentContext, answer: Any = NOTHING) -> Any:
        if ctx.effects is not None:
            ctx.effects.outputs = ctx.effects.outputs[:3]
        return commit(self, cell, ctx, answer)

    patch.setattr(Commit, "run", mutant)


def no_deduplication(patch: Patch) -> None:
    patch.setattr(Cell, "is_repeat", lambda self, message: False)


def put_at_the_wrong_end(patch: Patch) -> None:
    def mutant(self: Mailbox, message: AgentMessage) -> bool:
        if self.room > 0:
            self.waiting.appendleft(message)
            return True
        return False

    patch.setattr(Mailbox, "offer", mutant)


def mailbox_without_bound(patch: Patch) -> None:
    offer = Mailbox.offer

    def mutant(self: Mailbox, message: AgentMessage) -> bool:
        if not offer(self, message) and self.items is not None:
            self.items.append(message)
        return True

    patch.setattr(Mailbox, "offer", mutant)


def lane_jumped(patch: Patch) -> None:
    put = FlowControl.put

    def mutant(self: FlowControl, source: Station, target: Station, message: AgentMessage) -> None:
        lane = source.lanes.get(target) if source.lanes is not None else None
        if lane is not None:
            lane.messages.appendleft(message)
        else:
            put(self, source, target, message)

    patch.setattr(FlowControl, "put", mutant)


def lane_forgotten(patch: Patch) -> None:
    put = FlowControl.put

    def mutant(self: FlowControl, source: Station, target: Station, message: AgentMessage) -> None:
        if source.lanes is None or target not in source.lanes:
            put(self, source, target, message)

    patch.setattr(FlowControl, "put", mutant)


def deadlines_never_fire(patch: Patch) -> None:
    patch.setattr(DeadlineWheel, "_fire", lambda self: None)


def answers_wake_nobody(patch: Patch) -> None:
    resolve = Ask.resolve

    def mutant(self: Ask[Any], answer: Any, error: BaseException | None = None) -> None:
        self._waiter = None
        resolve(self, answer, error)

    patch.setattr(Ask, "resolve", mutant)


PLANTED: list[tuple[Callable[[Patch], None], set[str]]] = [
    (outputs_reversed, {"order"}),
    (last_output_lost, {"nothing lost"}),
    (no_deduplication, {"once"}),
    (put_at_the_wrong_end, {"order"}),
    (mailbox_without_bound, {"bounded"}),
    (lane_jumped, {"order"}),
    (lane_forgotten, {"nothing lost"}),
    (deadlines_never_fire, {"asks end", "goes on"}),
    (answers_wake_nobody, {"goes on"}),
]


@pytest.mark.parametrize(("plant", "laws"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_bug_is_found_and_replays_from_its_seed(plant: Callable[[Patch], None], laws: set[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        found = search(build, seeds=range(MOST_SEEDS), faults=FAULTS)
        assert found.first is not None, "nothing was found"
        again = simulate(build, seed=found.first.seed, faults=FAULTS)

    whole = simulate(build, seed=found.first.seed, faults=FAULTS)

    assert found.first.failure in laws
    assert (again.digest, again.violations) == (found.first.digest, found.first.violations)
    assert whole.failure is None
    assert found.shrunk is not None
    assert found.shrunk.failure == found.first.failure
    assert len(found.shrunk.struck) <= len(found.first.struck)


class Basket(Payload):
    items: list[str]


class Shopper(Agent):
    @handles
    async def basket(self, message: Basket, ctx: AgentContext) -> None:
        content = Basket(items=["apple"])
        ctx.send("till", content)
        content.items.append("pear")


class Till(Agent):
    mailbox = MailboxPolicy(2)

    @handles
    async def basket(self, message: Basket) -> None:
        pass


def test_content_that_is_changed_after_it_was_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    form_of_payload(Basket)
    monkeypatch.setattr(Basket, "__moot_admit__", lambda content: content)

    async def shop(manager: SimulatedManager) -> None:
        await manager.register(Shopper("shopper"))
        await manager.register(Till("till"))
        await manager.tell("shopper", Basket(items=[]))

    result = simulate(shop, seed=1)

    assert result.failure == "payloads unchanged"
    assert msgspec.structs.asdict(result.violations[0])["text"].startswith("the content of basket #2 from 'shopper'")
