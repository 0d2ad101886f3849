"""Cells: the runtime's side of one registered agent.

A cell is a station with an agent in it: mailbox and outbox, the handlers' table, the
agent's state, and where the scheduler has it. It is small on purpose, because an
agent that does nothing should cost nothing: no task, no queue, no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple, cast
from weakref import WeakValueDictionary

import msgspec

from moot.agent.agent import Agent
from moot.ids import CAPABILITY, OUTSIDE, TOPIC
from moot.messaging.content import admitted_as
from moot.messaging.dedup import SeenIds
from moot.messaging.flow_control import Station
from moot.messaging.mailbox import WatchedMailbox
from moot.messaging.message import AgentMessage
from moot.messaging.station_policies import StationPolicies
from moot.policies import (
    BreakerPolicy,
    MailboxPolicy,
    Policies,
    RateLimit,
    RestartKind,
    RetryPolicy,
    Supervision,
    TimeoutPolicy,
    check_policies,
)
from moot.policies.fields import check_value
from moot.runtime.limits import limits_of
from moot.runtime.phase import ACTIVE, RESTARTING
from moot.storable.values import Unstorable

__all__ = ["Cell", "CellPolicies", "Restarts"]

_log = logging.getLogger("moot.runtime.cell")

_NO_IDS = ("", OUTSIDE)
_NO_PREFIXES = (CAPABILITY, TOPIC)


class Restarts:
    """Counts the restarts of one parent's children within a time."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self, now: float, within: float) -> int:
        """How many restarts there were in the last ``within`` seconds."""
        while self._times and self._times[0] <= now - within:
            self._times.popleft()
        return len(self._times)

    def add(self, now: float) -> None:
        """Count a restart at ``now``."""
        self._times.append(now)


class _Said(NamedTuple):
    """Every policy of an agent, by the names of `Policies`."""

    mailbox: MailboxPolicy
    retry: RetryPolicy
    timeouts: TimeoutPolicy
    rate_limit: RateLimit | None
    breaker: BreakerPolicy | None
    supervision: Supervision
    restart: RestartKind


_said_by = attrgetter(*_Said._fields)


class CellPolicies(StationPolicies):
    """How an agent is treated: what its registration says, and otherwise what the agent itself says.

    Most agents say what their class says. So the agents of a class share one object, as long as they say the same.
    """

    __slots__ = ("__weakref__", "breaker", "rate_limit", "restart", "retry", "said", "supervision", "timeouts")

    def __init__(self, said: _Said) -> None:
        super().__init__(said.mailbox, said.timeouts.send_timeout)
        self.said = said
        self.retry = said.retry
        self.timeouts = said.timeouts
        self.rate_limit = said.rate_limit
        self.breaker = said.breaker
        self.supervision = said.supervision
        self.restart = said.restart

    @classmethod
    def of(cls, agent: Agent[Any], chosen: Policies) -> CellPolicies:
        """The policies of ``agent``, registered with ``chosen``."""
        said = _said_by(agent)
        if chosen:
            said = _Said(*said)._replace(**chosen)
        latest = _latest.get(type(agent))
        if latest is None or latest.said != said:
            said = _Said(*said)
            check_policies(agent.id, cast(Policies, said._asdict()))
            latest = _latest[type(agent)] = cls(said)
        return latest


_latest: WeakValueDictionary[type[Agent[Any]], CellPolicies] = WeakValueDictionary()
"""What the latest agent of each class said, as long as there is an agent that it holds for."""


class Cell(Station):
    """One agent, and what the runtime knows of it.

    ``phase``: whether it takes messages and runs turns. ``queued``: the cell stands in the ready queue. ``running``:
    how many of its turns are under way. ``starting``: its ``on_start`` has not run; ``started`` is resolved when it
    has. ``renewed``: resolved at the end of a restart; ``held`` turns were rolled back and run again then. ``seen``:
    the messages that the agent was given, where a message may come twice. ``is_timed``: its turns have a run timeout.
    ``state_body``: the encoded ``state``, if that can be changed in place, so that such a change is found.
    ``limits``: the rate limits and batches of its mail; None if it has none. ``restarts``: the restarts of its
    children.
    """

    policies: CellPolicies

    __slots__ = (
        "agent",
        "children",
        "concurrency",
        "held",
        "is_timed",
        "limits",
        "parent",
        "phase",
        "queued",
        "renewed",
        "restarts",
        "running",
        "seen",
        "started",
        "starting",
        "state",
        "state_body",
        "table",
    )

    def __init__(self, agent: Agent[Any], policies: Policies | None = None) -> None:
        super().__init__(_checked_id(agent), CellPolicies.of(agent, policies or {}))
        concurrency = agent.concurrency
        if concurrency.__class__ is not int or concurrency < 1:
            _check_count(agent.id, "concurrency", concurrency)
        if agent.cancel_with_asker.__class__ is not bool:
            check_value(f"agent {agent.id!r}", "cancel_with_asker", agent.cancel_with_asker, bool)
        if agent.state_version.__class__ is not int or agent.state_version < 1:
            _check_count(agent.id, "state_version", agent.state_version)
        self.agent = agent
        self.table = agent.handler_table()
        self.limits = limits_of(self.id, self.table, self.policies.rate_limit)
        if self.limits is not None and self.limits.waits_for_batches:
            self.mailbox = WatchedMailbox(self.mailbox.capacity)
        self.starting = type(agent).on_start is not Agent.on_start
        self.concurrency = 1 if self.starting else concurrency  # nothing is handled beside ``on_start``
        self.is_timed = self.policies.timeouts.run_timeout is not None
        self.keep_state(_first_state(agent))
        if self.state is not None and concurrency != 1:
            raise ValueError(f"agent {agent.id!r} has a state of its own, so it must handle one message at a time")
        self.parent: Cell | None = None
        self.children: dict[Cell, None] | None = None
        self.queued = False
        self.phase = ACTIVE
        self.running = 0
        self.seen: SeenIds | None = None
        self.held = 0
        self.restarts: Restarts | None = None
        self.renewed: asyncio.Future[None] | None = None
        self.started: asyncio.Future[None] | None = None

    def admitted_state(self, state: Any, message_type: str) -> Any:
        """``state`` as it is read again. Raises `InvalidPayload` if that is not the same."""
        return admitted_as(self.agent.state_form(), state, message_type, f"the state of {self.id!r}")

    def keep_state(self, state: Any) -> None:
        """``state``, which was admitted or read, is the agent's from now on."""
        self.state: Any = state
        is_mutable = state is not None and self.agent.state_form().copy is not None
        self.state_body: bytes | None = msgspec.msgpack.encode(state) if is_mutable else None

    def take_state_back(self) -> bool:
        """Whether the state was changed in place. If so, it is again what it was."""
        body = self.state_body
        if body is None:
            return False
        try:
            if msgspec.msgpack.encode(self.state) == body:
                return False
        except (TypeError, ValueError, OverflowError, RecursionError):
            _log.debug("the state of %s holds now what cannot be stored", self.id)
        self.state = self.agent.stored_state(body, self.agent.state_version)
        return True

    def is_repeat(self, message: AgentMessage) -> bool:
        """Whether ``message`` was given to the agent before. From now on it counts as given."""
        if self.seen is None:
            self.seen = SeenIds()
        return not self.seen.is_new(message.name)

    def take_back(self, messages: Iterable[AgentMessage]) -> None:
        """``messages`` were not given to the agent after all, and wait again."""
        if self.seen is not None:
            for message in messages:
                self.seen.discard(message.name)

    def pause(self) -> None:
        """Begin no turn before `release`: the agent is to be restarted."""
        if self.phase is ACTIVE:
            self.phase = RESTARTING
            self.renewed = asyncio.get_running_loop().create_future()

    def renew(self) -> None:
        """Put an agent constructed anew in the place of the present one; mail and committed state stay."""
        agent = self.agent.construct_again()
        if agent.id != self.id:
            raise ValueError(f"agent {self.id!r} calls itself {agent.id!r} when it is constructed again; keep its id")
        self.agent = agent
        self.table = agent.handler_table()
        self.starting = type(agent).on_start is not Agent.on_start

    def release(self) -> None:
        """Let turns run again, first those that were held."""
        if self.phase is RESTARTING:
            self.phase = ACTIVE
        self.concurrency = self.agent.concurrency
        renewed, self.renewed = self.renewed, None
        if renewed is not None and not renewed.done():
            renewed.set_result(None)


def _check_count(agent_id: str, name: str, value: Any) -> None:
    check_value(f"agent {agent_id!r}", name, value, int)
    if value < 1:
        raise ValueError(f"agent {agent_id!r}: {name} is at least 1, not {value}")


def _first_state(agent: Agent[Any]) -> Any:
    """The state that ``agent`` begins with. Raises `TypeError` if it could not be read again."""
    state = agent.initial_state()
    try:
        return state if state is None else agent.state_form().admit(state)
    except Unstorable as error:
        raise TypeError(f"the first state of agent {agent.id!r} could not be read again: {error}") from None


def _checked_id(agent: Agent[Any]) -> str:
    """The id of ``agent``. Raises `ValueError` if it is empty, or looks like another kind of address."""
    if not isinstance(agent, Agent):
        raise TypeError(f"{agent!r} is no agent; make one, of a class that is derived from moot.Agent")
    agent_id = getattr(agent, "id", None)
    if isinstance(agent_id, str) and agent_id not in _NO_IDS and not agent_id.startswith(_NO_PREFIXES):
        return agent_id
    raise ValueError(
        f"{agent_id!r} is no agent id: it is text, neither empty nor {OUTSIDE!r}, and begins with neither "
        f"{CAPABILITY!r} nor {TOPIC!r}; pass one to super().__init__ of {type(agent).__name__!r}"
    )
