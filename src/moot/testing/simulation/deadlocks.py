"""An oracle for deadlocks: says from the tasks themselves who waits in a circle, whoever keeps books or does not.

It is to be asked when the event loop has nothing left to do but timers; while tasks still
run, a circle may be about to close or to open. It shares the rules with the detector in
`moot.runtime.liveness.deadlock`, and nothing of how that one comes to its answer: no registered waits, no
events, no search. It looks at every task and takes away whoever may go on until nobody is left to take away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moot.agent.ask import Ask
from moot.agent.gather import gather
from moot.runtime.dispatch.runner import rest_of
from moot.runtime.phase import ACTIVE, STOPPING

if TYPE_CHECKING:
    from moot.manager.manager import AgentManager
    from moot.runtime.system import System

__all__ = ["awaited", "stuck"]

_AWAIT = Ask.__await__.__code__
_GATHER = gather.__code__
_REST_OF = rest_of.__code__


def stuck(manager: AgentManager) -> list[str]:
    """The ids of the agents that wait, by asks of theirs, for a circle that no message, timer or engine can open.

    Deadlines do not count: they end every wait. Sorted; empty when the manager does not run.
    """
    system = manager._system  # noqa: SLF001 - an oracle looks inside
    return sorted({cell.id for _, cell, _ in _stuck_turns(system)}) if system is not None else []


_Turn = tuple[Any, Any, Any]
"""A task, its cell, and what it awaits."""


def _stuck_turns(system: System) -> list[_Turn]:
    running = [runner for cell in _cells(system) for runner in system.pool.of(cell)]
    turns: list[_Turn] = [(one.task, one.cell, asks) for one in running if (asks := awaited(one.task))]
    now = system.now()
    blocked = {cell for cell in _cells(system) if cell.lanes}
    while True:
        may_take = {cell for cell in _cells(system) if _may_take(cell, turns, blocked)}
        still = [turn for turn in turns if any(_waits(ask, turns, may_take, now) for ask in turn[2])]
        lanes = {cell for cell in blocked if any(target not in may_take for target in cell.lanes)}
        if len(still) == len(turns) and len(lanes) == len(blocked):
            return still
        turns, blocked = still, lanes


def _cells(system: System) -> list[Any]:
    return list(system.directory.cells.values())


def _may_take(cell: Any, turns: list[_Turn], blocked: set[Any]) -> bool:
    held = sum(other is cell for _, other, _ in turns)
    return cell.phase is not ACTIVE or (cell not in blocked and held < cell.concurrency)


def _waits(ask: Ask[Any], turns: list[_Turn], may_take: set[Any], now: float) -> bool:
    """Whether nobody that may go on will answer this ask."""
    target: Any = ask.target
    if ask.done or ask.deadline <= now or target is None:
        return False
    for _, _, asks in turns:
        turn: Any = asks[0].asker
        reply_to = turn.message.reply_to if hasattr(turn, "message") else None
        if reply_to is not None and reply_to.key == ask.key:
            return turn.effects is None or not turn.effects.is_deferred
    queued = [*(target.mailbox.items or ()), *(message for lane in target.queue or () for message in lane.messages)]
    if target.phase is STOPPING:
        return False  # what it does not take is refused, also when it is in the directory no more
    return target not in may_take and any(message is ask.message for message in queued)


def awaited(task: asyncio.Task[Any] | None) -> Sequence[Ask[Any]]:
    """The asks that a suspended task awaits in its own coroutine, all of them needed; empty if it awaits anything else.

    It reads the coroutine's stack, so that the books of the detector can be checked without them.
    """
    step: Any = task.get_coro() if task is not None else None
    while step is not None:
        if getattr(step, "gi_code", None) is _AWAIT:
            return (step.gi_frame.f_locals["self"],)
        if getattr(step, "cr_code", None) is _GATHER:
            known = step.cr_frame.f_locals
            return tuple(known["asks"]) if known.get("needed") == len(known["asks"]) else ()
        if getattr(step, "gi_code", None) is _REST_OF and step.gi_yieldfrom is None:
            step = step.gi_frame.f_locals["visit"]
            continue
        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)
    return ()
