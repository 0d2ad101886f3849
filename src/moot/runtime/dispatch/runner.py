"""Runner: one task of the pool, and the rest of a visit that another task began.

A *visit* runs some turns of one cell; it is a coroutine of the dispatcher. Most visits are run
by the runner's own task from their beginning. A visit that was begun at once
(`moot.runtime.dispatch.at_once`) comes to its runner when it waits for something. The runner
then goes on with it as if it had begun it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell

__all__ = ["MakeContext", "Rest", "Runner", "Visit", "rest_of"]

Visit = Coroutine[Any, Any, int]
"""Runs some turns of a cell, and returns how many."""

MakeContext = Callable[["Cell", "AgentMessage"], "AgentContext[Any]"]
"""Makes the context of the first run of a turn."""


class Rest:
    """The rest of a visit. It ``waits_for`` a future, as a task would, or for a pass of the loop: None.

    ``cancelled`` is the cancellation that came to its runner before the runner could go on with it.
    """

    __slots__ = ("cancelled", "visit", "waits_for")

    def __init__(self, visit: Visit, waits_for: asyncio.Future[Any] | None) -> None:
        self.visit = visit
        self.waits_for = waits_for
        self.cancelled: asyncio.CancelledError | None = None


@types.coroutine
def rest_of(rest: Rest, task: asyncio.Task[Any]) -> Generator[Any, Any, int]:
    """Go on with a visit in ``task``, the present one, as if it had begun it. Returns how many turns the visit ran."""
    visit, waits_for = rest.visit, rest.waits_for
    if rest.cancelled is not None:
        task.cancel(*rest.cancelled.args)  # again: it comes where the visit waits
        task.uncancel()  # (it was counted before)
    elif waits_for is None:
        turns: int = yield from visit
        return turns
    while True:
        failure: BaseException | None = None
        try:
            yield waits_for
        except BaseException as error:
            failure = error
        if failure is None:
            turns = yield from visit
            return turns
        try:
            waits_for = visit.throw(failure)  # not in the block above: the visit would see what is handled there
        except StopIteration as end:
            return int(end.value)


class Runner:
    """One task of the pool. Its ``task`` runs in ``context``.

    ``cell`` is the cell whose turns the runner runs, and ``message`` that of the turn under way; a hook has none. A
    parked runner waits for ``gate``. ``rest`` is a visit that was begun at once and is to be gone on with, and
    ``failure`` what has ended one. ``interruption`` is why the turn is being cancelled, until the turn has ended.
    """

    __slots__ = (
        "_make_context",
        "abandoned",
        "cell",
        "context",
        "failure",
        "gate",
        "interruption",
        "is_spent",
        "made",
        "message",
        "rest",
        "task",
    )

    def __init__(self, context: Context, make_context: MakeContext) -> None:
        self._make_context = make_context
        self.context = context
        self.cell: Cell | None = None
        self.message: AgentMessage | None = None
        self.made: AgentContext[Any] | None = None
        """The context of the present run, if its handler takes one or somebody has asked for it."""
        self.interruption: BaseException | None = None
        self.abandoned = False
        self.is_spent = False
        """Whether the runner must not run another visit."""
        self.gate: asyncio.Future[None] | None = None
        self.rest: Rest | None = None
        self.failure: BaseException | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def ctx(self) -> AgentContext[Any] | None:
        """The context of the present run, made if there is none; None if no turn is under way."""
        if self.made is None and self.message is not None and self.cell is not None:
            self.made = self._make_context(self.cell, self.message)
        return self.made

    def open(self) -> None:
        """Let a parked runner go on."""
        if self.gate is not None and not self.gate.done():
            self.gate.set_result(None)

    def has_changed(self, clean: Context) -> bool:
        """Whether a handler has changed the context variables, which were those of ``clean``."""
        try:
            return bool(self.context != clean)
        except Exception:  # a value that cannot be compared is one that a handler has set
            return True

    def settle(self) -> BaseException | None:
        """Why the turn was interrupted, now that it has ended; None if it was not. The task goes on uncancelled."""
        reason, self.interruption = self.interruption, None
        if reason is not None and self.task is not None:
            self.task.uncancel()
        return reason
