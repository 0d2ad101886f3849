"""Cells: what an agent's class declares holds for its agents, and for no other class."""

from __future__ import annotations

from moot import Agent, MailboxPolicy, Payload, RateLimit, RetryPolicy, handles
from moot.runtime.cell import Cell


class Note(Payload):
    pass


class Plain(Agent):
    @handles
    async def on_note(self, message: Note) -> None: ...


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
