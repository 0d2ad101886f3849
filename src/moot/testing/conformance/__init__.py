"""The conformance suite of backends: a system does the same on each; on a durable one it outlives its process.

A backend brings a `Store` and runs the `cases` that apply to it, with any test runner::

    @pytest.mark.parametrize("case", cases(MyStore), ids=str)
    def test_my_backend(case: Case, tmp_path: Path) -> None:
        case.play(MyStore(tmp_path))

A case is a plain function whose docstring is its claim. It speaks to agents and managers
as a user does, and never to the backend, so it holds for whatever a backend is made of.
Each public coroutine function of the modules here is a case: none is left out because a list forgets it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from types import ModuleType

import msgspec

from moot.testing.conformance import (
    asks,
    clients,
    failures,
    full_mailboxes,
    mail,
    shared,
    timers,
    turns,
    unstorable,
)
from moot.testing.conformance.durable import agents, delivery, parked, promises
from moot.testing.conformance.durable import mail as mail_of_lives
from moot.testing.conformance.durable import turns as turns_of_lives
from moot.testing.conformance.lives import Ending, Lives, Store
from moot.testing.virtual_loop import run

__all__ = ["Case", "Lives", "Store", "cases"]

_OF_ALL = (turns, asks, mail, full_mailboxes, clients, timers, shared, unstorable)
_OF_DURABLE = (mail_of_lives, parked, delivery, turns_of_lives, agents, promises)
_OF_FAILING = (failures,)


class Case(msgspec.Struct, frozen=True):
    """One thing that a backend must do. ``ending`` says how the lives in it end, if there are several."""

    name: str
    claim: str
    fn: Callable[[Lives], Coroutine[object, object, None]]
    ending: Ending | None = None

    def play(self, store: Store) -> None:
        """Try it on an empty store, on a virtual clock. Raises `AssertionError` if it does not hold."""
        run(self._play(store))

    async def _play(self, store: Store) -> None:
        lives = Lives(store, self.ending or "stop")
        try:
            await self.fn(lives)
        finally:
            await lives.close()

    def __str__(self) -> str:
        return self.name if self.ending is None else f"{self.name}[{self.ending}]"


def cases(store: type[Store]) -> list[Case]:
    """The cases that apply to a kind of store."""
    found = list(_cases(_OF_ALL))
    if store.is_durable:
        found += _cases(_OF_DURABLE, "stop")
        if store.can_fail:
            found += _cases(_OF_DURABLE, "failure")
            found += _cases(_OF_FAILING, "failure")
    return found


def _cases(modules: tuple[ModuleType, ...], ending: Ending | None = None) -> Iterable[Case]:
    for module in modules:
        for name, fn in vars(module).items():
            if inspect.iscoroutinefunction(fn) and fn.__module__ == module.__name__ and not name.startswith("_"):
                yield Case(name, fn.__doc__ or "", fn, ending)
