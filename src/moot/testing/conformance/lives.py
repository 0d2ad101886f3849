"""Lives: a system on one store, life after life, each ended as the case asks for.

A case that begins a second life does not say how the first one ended. It is played once
for each way there is: a stop that does not wait, and, where the store can fail, a failure
at that moment. What a system promises is the same for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from moot.agent.agent import Agent
from moot.backends import Backend
from moot.engine.base import Engine
from moot.manager.manager import AgentManager
from moot.policies import ParkedMail

__all__ = ["Ending", "Lives", "Store"]

Ending = Literal["stop", "failure"]
"""How a life ends: ``stop(drain=False)``, or as if the process or the power had gone."""

Maker = Callable[[str], Agent[Any]]

_SEED = 1  # the same in all lives, which must tell their messages apart in spite of it


class Store(ABC):
    """One place where a backend keeps a system; each case is given a new one, which is empty.

    Subclass it and say what the backend can do. ``is_durable``: it keeps what it was told. ``can_fail``: `fail` is
    there.
    """

    is_durable: ClassVar[bool] = False
    can_fail: ClassVar[bool] = False

    @abstractmethod
    def backend(self) -> Backend:
        """A backend on this place, not opened. The one before has been closed, or has failed, or is still open."""

    def fail(self) -> None:
        """The process or the power is gone: what the open backend has not stored by now never will be.

        What is still said to that backend must have no effect on the next one.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot fail; say can_fail = False")


class Lives:
    """The lives of one system on ``store``; ``manager`` is that of the present one."""

    def __init__(self, store: Store, ending: Ending = "stop") -> None:
        self.store = store
        self.ending = ending
        self._managers: list[AgentManager] = []

    @property
    def is_durable(self) -> bool:
        """Whether the store keeps a system."""
        return self.store.is_durable

    @property
    def manager(self) -> AgentManager:
        """That of the present life."""
        return self._managers[-1]

    async def begin(
        self,
        *agents: Agent[Any],
        engine: Engine | None = None,
        host: Mapping[str, Maker] | None = None,
        parked: ParkedMail | None = None,
    ) -> AgentManager:
        """Start a manager on the store, with these agents, and with a maker of agents for each domain of ``host``."""
        manager = AgentManager(self.store.backend(), engine=engine, seed=_SEED, parked=parked or ParkedMail())
        for agent in agents:
            await manager.register(agent)
        for domain, make in (host or {}).items():
            manager.host(make, domain=domain)
        await manager.start()
        self._managers.append(manager)
        return manager

    async def end(self) -> None:
        """End the present life."""
        if self.ending == "failure":
            self.store.fail()
        await self.manager.stop(drain=False)

    async def next(
        self,
        *agents: Agent[Any],
        engine: Engine | None = None,
        host: Mapping[str, Maker] | None = None,
        parked: ParkedMail | None = None,
    ) -> AgentManager:
        """End the present life and begin another; see `begin`."""
        await self.end()
        return await self.begin(*agents, engine=engine, host=host, parked=parked)

    async def close(self) -> None:
        """Stop whatever runs."""
        for manager in self._managers:
            await manager.stop(drain=False)
