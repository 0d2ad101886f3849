"""Effects: all that the handler of a turn did through its context. They take effect together, or are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from moot.agent.records import NOTHING
from moot.messaging.message import AgentMessage

if TYPE_CHECKING:
    import random

    from moot.agent.ask import Ask
    from moot.messaging.message import ReplyTo
    from moot.state import Transaction

__all__ = ["Effects", "Timer"]


class Timer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that is sent ``delay`` seconds after its turn, and then ``every`` so many seconds if that is not 0.

    ``missed`` says what happens if the message came due while the process was down. It is sent ``once``, however late;
    not at all (``skip``); or, if it repeats, as often as it came due (``all``).
    """

    delay: float
    message: AgentMessage
    every: float = 0.0
    missed: Literal["once", "skip", "all"] = "once"
    name: str | None = None


class Effects(msgspec.Struct, eq=False):
    """What the handler of a turn did through its context, and the values that stay the same for the turn."""

    outputs: list[AgentMessage] = []
    asks: dict[Ask[Any], None] = {}
    answers: tuple[tuple[ReplyTo, Any], ...] = ()
    timers: tuple[Timer | str, ...] = ()
    """The timers that are set, and the names of the timers that are cancelled, in order."""
    topics: tuple[tuple[str, bool], ...] = ()
    children: tuple[str, ...] = ()
    watches: tuple[tuple[str, bool], ...] = ()
    stops: bool = False
    answer: Any = NOTHING
    state: Any = NOTHING
    has_read_state: bool = False
    """Whether the turn was given a state that can be changed in place."""
    transaction: Transaction | None = None
    is_deferred: bool = False
    now: float | None = None
    random: random.Random | None = None

    @property
    def scheduled(self) -> list[Timer]:
        """The timers that are set."""
        return [timer for timer in self.timers if not isinstance(timer, str)]
