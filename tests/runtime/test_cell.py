"""Cells: agents of a class share what they have in common, and nothing that one of them says of itself."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from moot import Agent, MailboxPolicy, Payload, RateLimit, RetryPolicy, TimeoutPolicy, handles
from moot.policies import Policies
from moot.runtime.cell import Cell


class Note(Payload):
    pass


class Plain(Agent):
    @handles
    async def on_note(self, message: Note) -> None: ...


class Patient(Plain):
    retry = RetryPolicy(max_attempts=7)


class Own(Plain):
    """Says of itself how often it is tried."""

    def __init__(self, agent_id: str, attempts: int, *, capacity: int = 1024) -> None:
        super().__init__(agent_id)
        self.retry = RetryPolicy(max_attempts=attempts)  # type: ignore[misc]
        self.mailbox = MailboxPolicy(capacity)  # type: ignore[misc]


class Counting(Agent[list[int]]):
    @handles
    async def on_note(self, message: Note) -> None: ...


class CountingOn(Counting):
    pass


class Elsewise(Counting, Agent[dict[str, int]]):
    pass


def attempts(agent: Agent[Any], policies: Policies | None = None) -> int:
    return Cell(agent, policies).policies.retry.max_attempts


def test_agents_of_a_class_share_their_policies() -> None:
    first, second = Cell(Plain("first")), Cell(Plain("second"))

    assert first.policies is second.policies


def test_nothing_is_kept_of_an_agent_that_is_gone() -> None:
    class Coalescing(Plain):
        def __init__(self, agent_id: str) -> None:
            super().__init__(agent_id)
            self.mailbox = MailboxPolicy(overflow="coalesce", key=self.key_of)  # type: ignore[misc]

        def key_of(self, content: Any) -> str:
            return self.id

    cell = Cell(Coalescing("a"))
    gone = weakref.ref(cell.agent)

    del cell
    gc.collect()

    assert gone() is None


def test_a_subclass_has_policies_of_its_own_whichever_class_came_first() -> None:
    assert [attempts(kind("a")) for kind in (Plain, Patient, Plain, Patient)] == [3, 7, 3, 7]


def test_what_an_agent_says_of_itself_holds_for_no_other_of_its_class() -> None:
    agents = [Own("a", 1), Own("b", 2), Own("c", 1, capacity=5), Own("d", 1)]

    cells = [Cell(agent) for agent in agents]

    assert [cell.policies.retry.max_attempts for cell in cells] == [1, 2, 1, 1]
    assert [cell.mailbox.capacity for cell in cells] == [1024, 1024, 5, 1024]


def test_what_a_registration_says_goes_before_and_holds_for_no_other() -> None:
    chosen: Policies = {"retry": RetryPolicy(max_attempts=9)}

    assert [attempts(Patient("a")), attempts(Patient("b"), chosen), attempts(Patient("c"))] == [7, 9, 7]
    assert [attempts(Own("a", 1), chosen), attempts(Own("b", 1))] == [9, 1]


def test_a_policy_of_the_class_that_is_changed_holds_for_the_agents_made_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early = Cell(Patient("early"))

    monkeypatch.setattr(Patient, "timeouts", TimeoutPolicy(run_timeout=1, send_timeout=2))
    late = Cell(Patient("late"))

    assert (early.is_timed, early.policies.patience) == (False, 30)
    assert (late.is_timed, late.policies.patience) == (True, 2)


def test_only_an_agent_with_a_rate_limit_or_a_limited_handler_has_limits() -> None:
    class Limited(Agent):
        @handles(rate=RateLimit(1))
        async def on_note(self, message: Note) -> None: ...

    assert Cell(Plain("a")).limits is None
    assert Cell(Plain("b"), {"rate_limit": RateLimit(1)}).limits is not None
    assert Cell(Limited("c")).limits is not None


def test_a_state_is_of_the_type_that_the_class_or_the_nearest_base_declares() -> None:
    kinds = (Counting, CountingOn, Elsewise, Plain, Counting)

    states = [Cell(kind("a")).state for kind in kinds]

    assert states == [[], [], {}, None, []]
    assert states[0] is not states[-1]


def test_an_agent_is_constructed_again_from_all_its_arguments() -> None:
    cell = Cell(Own("a", 2, capacity=5))

    cell.renew()

    assert (cell.agent.id, cell.agent.retry, cell.agent.mailbox) == ("a", RetryPolicy(2), MailboxPolicy(5))
