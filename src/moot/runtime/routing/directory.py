"""The directory: which agents are there, what they can do, and what they listen to.

FIPA's yellow pages: agents are found by id, by capability or by topic. Each agent has a card
that says what it handles, with JSON schemas, so that a stranger can talk to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from moot.agent.agent import Agent
from moot.agent.handlers import Handler
from moot.agent.signature import reply_type
from moot.errors import DuplicateAgent, UnknownAgent
from moot.ids import CAPABILITY, TOPIC, checked_text
from moot.policies import names_of
from moot.runtime.cell import Cell
from moot.storable.types import name_of

__all__ = ["AgentCard", "Directory", "HandledMessage"]

_MOST_SUGGESTED = 1000


class HandledMessage(msgspec.Struct, frozen=True):
    """One message type that an agent handles: JSON schemas of its content and of its reply, where they are declared."""

    message_type: str
    content: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None


class AgentCard(msgspec.Struct, frozen=True):
    """What an agent tells about itself."""

    id: str
    kind: str
    description: str
    capabilities: tuple[str, ...]
    topics: tuple[str, ...]
    handles: tuple[HandledMessage, ...]


class Directory:
    """All registered agents, by id, capability and topic."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self._capable: _Groups[str, Cell] = _Groups()
        self._subscribed: _Groups[str, Cell] = _Groups()
        self._hosts: dict[str, Callable[[str], Agent[Any]]] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self.cells

    def add(self, cell: Cell) -> None:
        """Enter an agent.

        Raises:
            DuplicateAgent: the id of the agent is taken. TypeError, ValueError: its ``capabilities`` or ``topics`` are
            no names.
        """
        if cell.id in self.cells:
            raise DuplicateAgent(cell.id)
        agent = cell.agent
        able, topics = agent.capabilities, agent.topics
        if able != ():
            able = names_of(cell.id, "capabilities", able, CAPABILITY)
        if topics != ():
            topics = names_of(cell.id, "topics", topics, TOPIC)
        self.cells[cell.id] = cell
        for capability in able:
            self._capable.add(capability, cell)
        for topic in topics:
            self._subscribed.add(topic, cell)

    def remove(self, cell: Cell) -> None:
        """Take an agent out."""
        if self.cells.get(cell.id) is cell:
            del self.cells[cell.id]
        self._capable.remove_everywhere(cell)
        self._subscribed.remove_everywhere(cell)

    def able(self, capability: str) -> tuple[Cell, ...]:
        """The agents that can do ``capability``, in order of registration."""
        return self._capable.members(capability)

    def subscribers(self, topic: str) -> tuple[Cell, ...]:
        """The agents that listen to ``topic``, in order of subscription."""
        return self._subscribed.members(topic)

    def subscribe(self, cell: Cell, topic: str) -> None:
        """Let an agent listen to ``topic``."""
        self._subscribed.add(topic, cell)

    def unsubscribe(self, cell: Cell, topic: str) -> None:
        """Let an agent no longer listen to ``topic``."""
        self._subscribed.remove(topic, cell)

    def host(self, domain: str, make: Callable[[str], Agent[Any]]) -> None:
        """Let ``make(id)`` construct the agents ``domain/key`` when they are first addressed."""
        if not callable(make):
            raise TypeError(f"agents are hosted by what makes one of its id, such as its class, not {make!r}")
        if "/" in checked_text("domain=", domain) or not domain:
            raise ValueError(f"a domain is a name without '/', not {domain!r}")
        if domain in self._hosts:
            raise ValueError(f"the domain {domain!r} is hosted already; choose another name")
        self._hosts[domain] = make

    def hosted(self, address: str) -> Agent[Any] | None:
        """A new agent for an address in a hosted domain, or None."""
        domain, slash, key = address.partition("/")
        make = self._hosts.get(domain)
        if not (slash and key) or make is None:
            return None
        agent: object = make(address)
        if not isinstance(agent, Agent) or agent.id != address:
            raise TypeError(f"the maker of {domain!r} returned {agent!r} and not an agent with the id {address!r}")
        return agent

    def unknown(self, address: str) -> UnknownAgent:
        """The error for an address without an agent. It names similar addresses."""
        return UnknownAgent(address, tuple(self.cells) if len(self.cells) <= _MOST_SUGGESTED else ())

    def find(self, capability: str) -> list[str]:
        """The ids of the agents that can do ``capability``."""
        return [cell.id for cell in self.able(capability)]

    def card(self, agent_id: str) -> AgentCard:
        """The card of one agent. Raises `UnknownAgent`."""
        cell = self.cells.get(agent_id)
        if cell is None:
            raise UnknownAgent(agent_id)
        agent = cell.agent
        return AgentCard(
            id=agent.id,
            kind=type(agent).__name__,
            description=inspect.cleandoc(type(agent).__doc__ or ""),
            capabilities=self._capable.keys_of(cell),
            topics=self._subscribed.keys_of(cell),
            handles=tuple(_described(handler) for handler in cell.table),
        )

    def cards(self) -> list[AgentCard]:
        """The cards of all agents, in order of registration."""
        return [self.card(agent_id) for agent_id in self.cells]


def _described(handler: Handler) -> HandledMessage:
    if handler.takes_envelope:
        return HandledMessage(handler.message_type)
    reply = reply_type(handler.element_type)
    return HandledMessage(
        handler.message_type,
        _schema(handler.element_type),
        None if reply is None else _schema(reply),
    )


def _schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type. One that JSON has no schema for, such as a map with keys of its own, is described."""
    try:
        return msgspec.json.schema(kind)
    except Exception as error:
        return {"description": f"{name_of(kind)} ({error})"}


K = TypeVar("K")
V = TypeVar("V")


class _Groups(Generic[K, V]):
    """Members by key and keys by member, each in order of joining; an empty group takes no room."""

    def __init__(self) -> None:
        self._members: dict[K, dict[V, None]] = {}
        self._keys: dict[V, dict[K, None]] = {}

    def add(self, key: K, member: V) -> None:
        self._members.setdefault(key, {})[member] = None
        self._keys.setdefault(member, {})[key] = None

    def remove(self, key: K, member: V) -> None:
        _discard(self._members, key, member)
        _discard(self._keys, member, key)

    def remove_everywhere(self, member: V) -> None:
        for key in self.keys_of(member):
            self.remove(key, member)

    def members(self, key: K) -> tuple[V, ...]:
        return tuple(self._members.get(key, ()))

    def keys_of(self, member: V) -> tuple[K, ...]:
        return tuple(self._keys.get(member, ()))


def _discard(groups: dict[K, dict[V, None]], key: K, member: V) -> None:
    group = groups.get(key)
    if group is not None:
        group.pop(member, None)
        if not group:
            del groups[key]
