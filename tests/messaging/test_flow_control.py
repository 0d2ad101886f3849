"""Flow never freezes: whatever is sent through small mailboxes in circles is delivered in order, or a dead letter."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from moot import DeadLetters, MailboxFull, MailboxPolicy, Reason
from moot.agent.ask import AskTable
from moot.clock import LoopClock
from moot.messaging.flow_control import FlowControl, Station
from moot.messaging.message import AgentMessage
from moot.messaging.station_policies import StationPolicies
from moot.resilience.deadlines import DeadlineWheel


class Network:
    """Stations without agents."""

    def __init__(self, *capacities: int, overflow: str = "block") -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        self.dead = DeadLetters()
        self.woken: list[str] = []
        self.flow = FlowControl(
            DeadlineWheel(loop, clock),
            clock,
            self.dead,
            AskTable("inbox", count(1).__next__, DeadlineWheel(loop, clock)),
            wake=lambda station: self.woken.append(station.id),
            blocked=lambda station: None,
        )
        self.stations = [
            Station(f"s{index}", StationPolicies(MailboxPolicy(capacity, overflow)))  # type: ignore[arg-type]
            for index, capacity in enumerate(capacities)
        ]
        self._sent = 0

    def put(self, source: int, target: int) -> int:
        self._sent += 1
        a, b = self.stations[source], self.stations[target]
        self.flow.put(a, b, AgentMessage(a.id, b.id, self._sent, "t", self._sent))
        return self._sent

    def take(self, station: int) -> int | None:
        box = self.stations[station]
        if not box.mailbox:
            return None
        content: int = box.mailbox.take().content
        self.flow.admit(box)
        return content


async def test_what_does_not_fit_waits_in_the_outbox_and_arrives_in_order() -> None:
    net = Network(2, 2)
    sent = [net.put(0, 1) for _ in range(6)]

    assert net.stations[0].lanes is not None
    received = [net.take(1) for _ in range(6)]

    assert received == sent
    assert net.stations[0].lanes is None
    assert net.woken[-1] == "s0"


async def test_senders_that_wait_for_one_receiver_take_turns() -> None:
    net = Network(1, 1, 1)
    first = [net.put(0, 2) for _ in range(3)]
    second = [net.put(1, 2) for _ in range(3)]

    received = [net.take(2) for _ in range(6)]

    assert received == [first[0], first[1], second[0], first[2], second[1], second[2]]


async def test_a_circle_of_outboxes_is_widened_at_its_smallest_mailbox() -> None:
    net = Network(2, 4)
    for _ in range(3):
        net.put(1, 0)
    for _ in range(5):
        net.put(0, 1)

    net.flow.settle_cycles(net.stations[0])

    assert net.stations[0].mailbox.grown == 1
    assert net.stations[1].lanes is None
    assert not net.dead


async def test_a_circle_that_cannot_be_widened_gives_up_messages_to_the_dead_letters_one_by_one() -> None:
    net = Network(1, 1)
    sent = [net.put(1, 0) for _ in range(9)] + [net.put(0, 1) for _ in range(9)]

    net.flow.settle_cycles(net.stations[0])

    assert net.stations[0].lanes is None or net.stations[1].lanes is None
    assert net.dead.counts[Reason.OVERFLOW] == len(net.dead) > 0
    left: set[int] = {letter.message.content for letter in net.dead}
    while (content := net.take(0) or net.take(1)) is not None:
        left.add(content)
    assert left == set(sent)


async def test_a_station_that_sends_to_itself_past_its_capacity_is_a_circle_too() -> None:
    net = Network(4)
    sent = [net.put(0, 0) for _ in range(12)]

    net.flow.settle_cycles(net.stations[0])

    assert net.stations[0].lanes is None
    received = [content for _ in range(8) if (content := net.take(0)) is not None]
    assert received + [letter.message.content for letter in net.dead] != []
    assert sorted(received + [letter.message.content for letter in net.dead]) == sent
    assert received == sorted(received)


async def test_output_that_stays_undelivered_for_thirty_seconds_is_a_dead_letter() -> None:
    net = Network(1, 1)
    net.put(0, 1)
    late = net.put(0, 1)

    await asyncio.sleep(29)
    assert not net.dead
    await asyncio.sleep(2)

    assert [letter.message.content for letter in net.dead.list(Reason.OVERFLOW)] == [late]
    assert net.stations[0].lanes is None
    assert net.woken[-1] == "s0"


async def test_a_mailbox_set_to_fail_lets_nobody_wait() -> None:
    net = Network(1, 1, overflow="fail")
    net.put(0, 1)
    net.put(0, 1)

    assert net.dead.counts[Reason.OVERFLOW] == 1
    assert net.stations[0].lanes is None
    with pytest.raises(MailboxFull, match="try again") as caught:
        net.flow.offer(net.stations[1], AgentMessage("x", "s1", 1, "t"))
    assert caught.value.retry_after > 0
