"""Faults: what goes wrong in a simulation, how often, and which of it actually did.

A fault is decided by its place and its count alone: the third message from ``a`` to
``b``, the fifth turn of ``c``. Each place draws from a stream of random numbers of its
own, so that leaving one fault out moves no other one. That is what makes a failing
run shrinkable: a shrunk run is the same seed with ``only`` a few of its faults.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterable
from typing import Literal, get_args
from urllib.parse import quote, unquote

import msgspec

__all__ = ["STRUCK", "Crashed", "Fault", "FaultKind", "Faults", "Place", "Plan"]

FaultKind = Literal["drop", "duplicate", "delay", "reorder", "crash", "pause", "slow"]
Span = tuple[float, float]

_CHANNEL_KINDS: tuple[FaultKind, ...] = ("drop", "duplicate", "delay", "reorder")
_TURN_KINDS: tuple[FaultKind, ...] = ("crash", "pause", "slow")
STRUCK: dict[FaultKind, str] = {
    "drop": "dropped",
    "duplicate": "will arrive twice",
    "delay": "delayed",
    "reorder": "held for a moment",
    "crash": "will crash",
    "pause": "begins after a pause",
    "slow": "is slow",
}
"""What a trace says of a message or a turn that was struck."""

_SPANS: dict[str, Span] = {"reorder": (0.0, 1e-3), "duplicate": (0.0, 1.0), "crash": (0.0, 1.0)}
_PLAIN = "/:>.-_~+"


class Crashed(Exception):
    """The simulator made a turn fail, as if its agent had crashed in the middle of it.

    It is raised where the handler waits, or after its end and before its commit. Supervision decides what follows:
    ``Supervision(directives=((Crashed, "restart"),))`` constructs the agent anew.
    """

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        super().__init__(agent_id)

    def __str__(self) -> str:
        return f"the simulation crashed agent {self.agent_id!r} in this turn; it takes effect in nothing"


class Fault(msgspec.Struct, frozen=True, order=True):
    """One fault: its kind, the place (an agent, or ``sender>receiver``), and the how-manieth turn or message there."""

    kind: FaultKind
    place: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}@{quote(self.place, safe=_PLAIN)}#{self.number}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault that its text stands for. Raises `ValueError`."""
        kind, at, rest = text.partition("@")
        place, sharp, number = rest.rpartition("#")
        if not (at and sharp and number.isdecimal()) or kind not in get_args(FaultKind):
            raise ValueError(f"{text!r} is no fault; one looks like drop@sender>receiver#3 or crash@agent#2")
        return cls(kind, unquote(place), int(number))  # type: ignore[arg-type]


class Faults(msgspec.Struct, frozen=True):
    """How often each kind of fault strikes: probabilities between 0 and 1, for each message or each turn.

    ``drop`` loses a message between two agents, ``duplicate`` brings it a second time a little later, ``delay`` holds
    it and all that follows it from the same sender to the same receiver, as a TCP connection does; ``reorder`` holds
    it for a moment so that messages of other pairs overtake it. Answers are messages, too. ``crash`` makes a turn
    fail, ``pause`` stops its agent before it, ``slow`` lets it take longer. The ranges ``…_for`` are in seconds.
    ``only``: of all the faults that the seed draws, only these strike; None for all.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    crash: float = 0.0
    pause: float = 0.0
    slow: float = 0.0
    delay_for: Span = (0.01, 2.0)
    pause_for: Span = (0.1, 10.0)
    slow_for: Span = (0.01, 2.0)
    only: frozenset[Fault] | None = None

    def __post_init__(self) -> None:
        for kind in get_args(FaultKind):
            if not 0 <= (probability := getattr(self, kind)) <= 1:
                raise ValueError(f"{kind} is a probability between 0 and 1, not {probability:g}")
        for name in ("delay_for", "pause_for", "slow_for"):
            first, last = getattr(self, name)
            if not 0 <= first <= last < math.inf:
                raise ValueError(f"{name} is a range of seconds, least first, not {first:g} to {last:g}")

    @property
    def in_channels(self) -> tuple[tuple[FaultKind, float], ...]:
        """What can befall a message, and how likely."""
        return self._likely(_CHANNEL_KINDS)

    @property
    def in_turns(self) -> tuple[tuple[FaultKind, float], ...]:
        """What can befall a turn, and how likely."""
        return self._likely(_TURN_KINDS)

    def just(self, faults: Iterable[Fault]) -> Faults:
        """The same, with none but these striking."""
        return msgspec.structs.replace(self, only=frozenset(faults))

    def span(self, kind: FaultKind) -> Span:
        """How long a fault of this kind lasts, in seconds; of a crash, how far into its turn it comes: 0 to 1."""
        span: Span = getattr(self, f"{kind}_for", _SPANS.get(kind, (0.0, 0.0)))
        return span

    def __str__(self) -> str:
        """As the command line takes it."""
        shown = [f"{kind}={probability:g}" for kind, probability in (*self.in_channels, *self.in_turns)]
        default = Faults()
        shown += [
            f"{name}={span[0]:g}:{span[1]:g}"
            for name in ("delay_for", "pause_for", "slow_for")
            if (span := getattr(self, name)) != getattr(default, name)
        ]
        return ",".join(shown)

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read ``drop=0.1,delay=0.2,delay_for=0.1:3``. Raises `ValueError`."""
        given: dict[str, float | Span] = {}
        for part in filter(None, text.replace(" ", "").split(",")):
            name, _, value = part.partition("=")
            try:
                if name.endswith("_for"):
                    first, _, last = value.partition(":")
                    given[name] = (float(first), float(last or first))
                else:
                    given[name] = float(value)
            except ValueError:
                raise ValueError(f"{part!r} is no fault's probability; write for example drop=0.1,crash=0.01") from None
        if unknown := given.keys() - set(cls.__struct_fields__):
            raise ValueError(f"there is no fault {min(unknown)!r}; there are {', '.join(get_args(FaultKind))}")
        return cls(**given)  # type: ignore[arg-type]

    def _likely(self, kinds: tuple[FaultKind, ...]) -> tuple[tuple[FaultKind, float], ...]:
        return tuple((kind, probability) for kind in kinds if (probability := float(getattr(self, kind))))


class Plan:
    """The faults of one run, drawn from its seed. ``struck`` are those that did strike, in order."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.seed = seed
        self.struck: list[Fault] = []

    def place(self, name: str, kinds: tuple[tuple[FaultKind, float], ...]) -> Place:
        """A place where faults can strike, with its own stream of random numbers."""
        return Place(self, name, kinds)


class Place:
    """A channel or an agent: where the next thing to happen may be struck."""

    __slots__ = ("_draw", "_kinds", "_number", "_plan", "name")

    def __init__(self, plan: Plan, name: str, kinds: tuple[tuple[FaultKind, float], ...]) -> None:
        self._plan = plan
        self._kinds = kinds
        self._draw = random.Random(
            (plan.seed << 32) + zlib.crc32(name.encode())
        ).random  # (a text would cost ten times as much)
        self._number = 0
        self.name = name

    def next(self) -> dict[FaultKind, float] | None:
        """What strikes the next message or turn here, and for how long (see `Faults.span`); None for nothing."""
        self._number += 1
        struck: dict[FaultKind, float] | None = None
        draw = self._draw
        for kind, probability in self._kinds:
            if draw() < probability:
                faults = self._plan.faults
                first, last = faults.span(kind)
                length = first + (last - first) * draw()  # drawn in any case: what follows must not move
                fault = Fault(kind, self.name, self._number)
                if faults.only is None or fault in faults.only:
                    self._plan.struck.append(fault)
                    struck = struck if struck is not None else {}
                    struck[kind] = length
        return struck
