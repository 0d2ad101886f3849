"""Laws of messages: each arrives in order, as it was sent, takes effect once, and is not lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from moot.ids import TOPIC
from moot.testing.simulation.invariants import Invariant

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.agent.effects import Effects
    from moot.messaging.dead_letters import DeadLetter
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.telemetry.observer import TurnOutcome
    from moot.testing.simulation.world import World

__all__ = ["EffectsOnce", "NothingLost", "PairOrder", "PayloadsUnchanged"]


class PairOrder(Invariant):
    """What one agent commits to another is handled in that order, while both handle one message at a time."""

    name = "order"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._numbers: dict[int, int] = {}
        self._last: dict[tuple[str, str], tuple[int, AgentMessage]] = {}
        self._next = 0

    def returned(self, cell: Cell, message: AgentMessage, effects: Effects) -> None:
        if cell.agent.concurrency == 1:
            for output in effects.outputs:
                self._next += 1
                self._numbers[output.sequence] = self._next

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        self._next += 1
        self._numbers[message.sequence] = self._next

    def duplicated(self, target: Cell, message: AgentMessage) -> None:
        self._numbers.pop(message.sequence, None)  # should the first be withdrawn or lost, its copy comes out of order

    def ended(self, cell: Cell, message: AgentMessage, outcome: TurnOutcome) -> None:
        """Turns of such an agent end in the order in which they began; a batch that fails begins again, in parts."""
        number = self._numbers.get(message.sequence)
        if number is None or outcome == "retried" or cell.agent.concurrency > 1:  # (the cell's own is 0 in a restart)
            return
        if not message.to.startswith(TOPIC):
            del self._numbers[message.sequence]
        pair = (message.sender, cell.id)
        before = self._last.get(pair)
        if before is None or before[0] < number:
            self._last[pair] = (number, message)
        elif before[0] > number and not self.world.was_handled(cell, message):
            self.violated(f"{_name(message)} was handled after {_name(before[1])}, which was sent later")


class EffectsOnce(Invariant):
    """No message takes effect twice at one receiver."""

    name = "once"

    def ended(self, cell: Cell, message: AgentMessage, outcome: TurnOutcome) -> None:
        if outcome == "committed" and not self.world.note_handled(cell, message):
            self.violated(f"{_name(message)} took effect twice at {cell.id!r}")


class NothingLost(Invariant):
    """Each accepted message ends once: handled, a dead letter, or dropped by the link.

    Requests are not counted here: they may be withdrawn; see `EveryAskEnds`.
    """

    name = "nothing lost"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._open: dict[tuple[int, str], AgentMessage] = {}
        self._promised: dict[tuple[int, str], Sequence[AgentMessage]] = {}
        self._repeated: set[tuple[int, str]] = set()
        self._ended: set[tuple[int, str]] = set()

    def returned(self, cell: Cell, message: AgentMessage, effects: Effects) -> None:
        outputs = (
            [*effects.outputs, *(timer.message for timer in effects.scheduled)] if effects.timers else effects.outputs
        )
        if outputs:
            self._promised[message.sequence, cell.id] = outputs
            for output in outputs:
                if output.reply_to is None and not output.to.startswith(TOPIC):
                    self._open[output.sequence, ""] = output

    def entered(self, target: Cell, message: AgentMessage) -> None:
        if message.reply_to is None:
            self._open[_key(message, target.id)] = message

    def withdrawn(self, message: AgentMessage) -> None:
        self._open.pop((message.sequence, ""), None)

    def duplicated(self, target: Cell, message: AgentMessage) -> None:
        self._repeated.add(_key(message, target.id))

    def dropped(self, target: Cell, message: AgentMessage) -> None:
        self._close(_key(message, target.id), message, "dropped")

    def ended(self, cell: Cell, message: AgentMessage, outcome: TurnOutcome) -> None:
        outputs = self._promised.pop((message.sequence, cell.id), None)
        if outcome == "committed":
            self._close(_key(message, cell.id), message, "handled")
        elif outputs is not None:  # it did not commit after all
            for output in outputs:
                self._open.pop((output.sequence, ""), None)

    def buried(self, letter: DeadLetter) -> None:
        message = letter.message
        key = (message.sequence, message.to)  # a published message names its receiver there, others need none
        self._close(key if key in self._open else (message.sequence, ""), message, "a dead letter")

    def stopped(self) -> None:
        for message in self._open.values():
            self.violated(f"{_name(message)} was accepted and is neither handled nor a dead letter")

    def _close(self, key: tuple[int, str], message: AgentMessage, end: str) -> None:
        if self._open.pop(key, None) is not None:
            self._ended.add(key)
        elif key in self._ended and key not in self._repeated:
            self.violated(f"{_name(message)} is {end}, and had ended before")


class PayloadsUnchanged(Invariant):
    """Content is not changed between the moment it is sent and each moment it is taken."""

    name = "payloads unchanged"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._encode = msgspec.msgpack.Encoder(enc_hook=repr, order="deterministic").encode
        self._digests: dict[int, int] = {}

    def sending(self, message: AgentMessage) -> None:
        self._digests[message.sequence] = self._digest(message.content)

    def returned(self, cell: Cell, message: AgentMessage, effects: Effects) -> None:
        for timer in effects.scheduled:
            self.sending(timer.message)

    def entered(self, target: Cell, message: AgentMessage) -> None:
        if message.sequence not in self._digests:
            self.sending(message)

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        self.sending(message)

    def taken(self, cell: Cell, message: AgentMessage, attempt: int) -> None:
        digest = self._digests.get(message.sequence)
        if digest is not None and digest != self._digest(message.content):
            del self._digests[message.sequence]
            when = "since it was sent" if attempt == 1 else "by an earlier run of its own turn, or since it was sent"
            self.violated(f"the content of {_name(message)} was changed {when}; send values, and change none")

    def ended(self, cell: Cell, message: AgentMessage, outcome: TurnOutcome) -> None:
        if outcome != "retried" and not message.to.startswith(TOPIC):
            self._digests.pop(message.sequence, None)

    def _digest(self, content: Any) -> int:
        try:
            return hash(self._encode(content))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return hash(repr(content))


def _key(message: AgentMessage, receiver: str) -> tuple[int, str]:
    """What tells a message at one receiver from all others: published ones have several receivers."""
    return (message.sequence, receiver if message.to.startswith(TOPIC) else "")


def _name(message: AgentMessage) -> str:
    return f"{message.message_type} #{message.sequence} from {message.sender!r} to {message.to!r}"
