"""Deadlocks: agents that wait for each other in a circle are found when the circle closes, not when a timeout ends.

A wait-for graph has two kinds of nodes. A *turn* that awaits asks in its own task cannot go on
as long as one of them cannot be answered. A *cell* cannot take its next message as long as its
outbox cannot be delivered, or all of its slots run turns that cannot go on. An ask leads to the
turn that handles it or, if it was not taken, to the cell that would take it. A turn may also
wait for a timer, an engine, a child task or a quorum. Such a wait is unknown, counts as "may go
on", and is never part of a reported circle.

A node cannot go on if the greatest fixpoint of these rules contains it, over the nodes that it
reaches (E. Knapp, "Deadlock Detection in Distributed Databases", 1987: the AND-OR model). The
fixpoint is computed only when an edge is added that may close a circle. An ask that is answered
within a pass of the loop adds no edge.
"""

from __future__ import annotations

import asyncio
import logging
import typing
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from moot.agent.ask import Ask, AskTable
from moot.errors import DeadlockError
from moot.messaging.message import members_of
from moot.runtime.phase import ACTIVE, RESTARTING

if TYPE_CHECKING:
    from moot.agent.port import Turn
    from moot.messaging.flow_control import Station
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.runner import Runner

__all__ = ["DeadlockMode", "Deadlocks", "Wait"]

DeadlockMode = Literal["break", "report", "off"]

_log = logging.getLogger("moot.runtime.liveness.deadlock")


class Turns(Protocol):
    """The turns under way; `moot.runtime.dispatch.pool.RunnerPool` has them."""

    runners: dict[asyncio.Task[Any], Runner]


class Wait:
    """A turn that waits, in its own task, for all of ``asks``."""

    __slots__ = ("answers", "asks", "cell", "fails_fast", "is_reported", "turn")

    def __init__(self, cell: Cell, turn: Turn, asks: Sequence[Ask[Any]], *, fails_fast: bool) -> None:
        self.cell = cell
        self.turn = turn
        self.asks = asks
        self.answers: list[int] = []
        """The keys of the asks that the turn is to answer."""
        self.fails_fast = fails_fast
        self.is_reported = False

    @property
    def is_over(self) -> bool:
        """Whether the turn is about to go on: all asks have ended, or one has failed and the turn waits for no more."""
        if self.fails_fast and any(ask.error is not None for ask in self.asks):
            return True
        return all(ask.done for ask in self.asks)


class _Edge(NamedTuple):
    """An edge to a node that is waited for. ``ask`` is the ask that waits, if it is one."""

    ask: Ask[Any] | None
    node: Wait | Station


_Graph = dict["Wait | Station", list[list[_Edge]]]
"""For each node its groups of edges. A node is stuck if all nodes of one group are."""


class Deadlocks:
    """Finds circles, and breaks each by failing the ask that was made last: that loses the least work.

    ``found`` counts the circles. In ``report`` mode they are only logged, and the asks end with their deadlines.
    """

    def __init__(self, asks: AskTable, turns: Turns, now: Callable[[], float], mode: DeadlockMode = "break") -> None:
        self._asks = asks
        self._turns = turns
        self._now = now
        if mode not in typing.get_args(DeadlockMode):
            raise ValueError(f"deadlocks is one of {', '.join(typing.get_args(DeadlockMode))}, not {mode!r}")
        self.breaks = mode == "break"
        self._waits: dict[Station, list[Wait]] = {}
        self._answering: dict[int, Wait] = {}
        self._looks = mode != "off"
        self.found = 0
        asks.waits = self

    def begin(self, asks: Sequence[Ask[Any]], *, fails_fast: bool = True) -> Wait | None:
        """The present task begins to wait for all of ``asks``. None if the task is not the own task of a turn.

        With ``fails_fast`` it waits no more when one has failed.
        """
        turn: Any = asks[0].asker
        task = asyncio.current_task()
        runner = self._turns.runners.get(task) if task is not None else None
        cell = runner.cell if runner is not None else None
        is_own = getattr(turn, "cell", None) is cell  # (a caller from outside has none)
        if runner is None or cell is None or not is_own or (runner.ctx is not None and runner.ctx is not turn):
            return None
        wait = Wait(cell, turn, asks, fails_fast=fails_fast)
        self._waits.setdefault(cell, []).append(wait)
        message = turn.message
        for member in members_of(message):
            answered = self._asks.get(member.reply_to) if member.reply_to is not None else None
            if answered is not None:
                self._answering[answered.key] = wait
                wait.answers.append(answered.key)
        may_be_waited_for = message.chain or cell.mailbox.items or cell.queue
        if self._looks and may_be_waited_for:
            self._look(wait)
        return wait

    def end(self, wait: Wait) -> None:
        """``wait``, which `begin` returned, is over."""
        waits = self._waits[wait.cell]
        waits.remove(wait)
        if not waits:
            del self._waits[wait.cell]
        for key in wait.answers:
            if self._answering.get(key) is wait:
                del self._answering[key]

    def blocked(self, cell: Station) -> None:
        """The outbox of ``cell`` waits for room."""
        if self._looks and (cell.mailbox.items or cell.queue):
            self._look(cell)

    def asks_of(self, cell: Station, turn: Turn | None) -> list[Ask[Any]]:
        """The asks that a turn of ``cell`` waits for, in its own task and for longer than a pass of the loop.

        A hook is a turn that its runner does not know: None.
        """
        waits = self._waits.get(cell, ())
        return [ask for wait in waits if turn is None or wait.turn is turn for ask in wait.asks if not ask.done]

    def check_chain(self, turn: Turn, target: Cell) -> None:
        """Fail an ask that could never be answered, before it is sent.

        ``turn`` is about to ask the busy agent ``target``. If that is its own agent, its asker, or one further up the
        chain, the turns up there go on only when ``turn`` is over. (If one of them does not depend on its ask alone,
        the ask passes. So it does if one of them began to wait in this pass of the loop: the circle is found when
        that turn is known to wait.)

        Raises:
            DeadlockError: the ask could never be answered.
        """
        if (target is not turn.cell and target.id not in turn.message.chain) or not self.breaks:
            return  # (what is only reported will be, once all of them wait)
        if target.phase is RESTARTING and target is not turn.cell:
            return  # the agent is being restarted, and takes messages after that
        path = [turn.cell.id]
        held = int(turn.cell is target)
        while held < target.concurrency:
            ask = self._asker_of(turn)
            if ask is None:
                return
            asker: Any = ask.asker
            turn = asker
            path.append(turn.cell.id)
            held += turn.cell is target
        self.found += 1
        error = DeadlockError(tuple(path[::-1]))
        _log.warning("%s: the last ask is not sent", error)
        raise error

    def _asker_of(self, turn: Turn) -> Ask[Any] | None:
        """The ask that ``turn`` answers, if another turn awaits it and nothing else."""
        reply_to = turn.message.reply_to
        ask = self._asks.get(reply_to) if reply_to is not None and not _is_deferred(turn) else None
        cell: Any = getattr(ask.asker, "cell", None) if ask is not None else None
        return ask if any(ask in wait.asks for wait in self._waits.get(cell, ())) else None

    def _awaited(self, ask: Ask[Any]) -> Wait | Station | None:
        """The node that ``ask`` waits for: a turn that waits itself, or a blocked cell; None if it is unknown."""
        target: Cell | None = ask.target  # type: ignore[assignment]  # stations with mail are cells
        message = ask.message
        if ask.done or target is None or message is None or ask.deadline <= self._now():
            return None  # (what is overdue ends with the next slot of the wheel)
        answering = self._answering.get(ask.key)
        if answering is not None:
            return None if _is_deferred(answering.turn) else answering
        if target.lanes is None and not self._slots(target):
            return None  # the agent can take a message
        if ask.lane is not None and ask.lane.messages:
            return target
        if target.seen is not None and message.name in target.seen:
            return None  # what waits there is a repetition
        untaken = target.mailbox.holds(message)
        return target if untaken else None

    def _slots(self, cell: Any) -> list[_Edge]:
        """The turns that hold all slots of a cell and wait; empty when one of them may go on, or a slot is free."""
        waits = [wait for wait in self._waits.get(cell, ()) if not wait.is_over]
        return [_Edge(None, wait) for wait in waits] if len(waits) >= cell.concurrency else []

    def _groups(self, node: Any) -> list[list[_Edge]]:
        if isinstance(node, Wait):
            if node.is_over or node.cell.phase is RESTARTING:
                return []  # (a restart interrupts it)
            return [[_Edge(ask, to)] for ask in node.asks if (to := self._awaited(ask)) is not None]
        if node.phase is not ACTIVE:
            return []  # a cell refuses what it does not take, or takes it after its restart
        slots = self._slots(node)
        return [[_Edge(None, target)] for target in node.lanes or ()] + ([slots] if slots else [])

    def _stuck(self, start: Wait | Station) -> _Graph:
        """The nodes that ``start`` reaches and that cannot go on, with their edges."""
        graph: _Graph = {}
        dependents: defaultdict[Wait | Station, list[Wait | Station]] = defaultdict(list)
        todo = [start]
        free = []
        while todo:
            node = todo.pop()
            if node in graph:
                continue
            groups = graph[node] = self._groups(node)
            if not groups:
                free.append(node)
            for edge in (edge for group in groups for edge in group):
                dependents[edge.node].append(node)
                todo.append(edge.node)
        while free:
            node = free.pop()
            if graph.pop(node, None) is not None:
                free += [other for other in dependents[node] if other in graph and _open_group(other, graph) is None]
        return graph

    def _circle(self, start: Wait | Station) -> list[tuple[Wait | Station, Ask[Any] | None]] | None:
        """A circle that ``start`` waits for: its nodes in order, each with the ask by which it waits for the next."""
        graph = self._stuck(start)
        if start not in graph:
            return None
        path: list[tuple[Wait | Station, Ask[Any] | None]] = []
        places: dict[Wait | Station, int] = {}
        node = start
        while node not in places:
            places[node] = len(path)
            group = _open_group(node, graph)
            assert group is not None
            path.append((node, group[0].ask))
            node = group[0].node
        return path[places[node] :]

    def _look(self, start: Wait | Station) -> None:
        """Find the circles that ``start`` waits for, and break them."""
        while circle := self._circle(start):
            asks = [(ask.key, ask, node) for node, ask in circle if ask is not None and isinstance(node, Wait)]
            if not asks:
                return  # outboxes alone: the flow's to settle
            _, victim, wait = max(asks, key=lambda found: found[0])
            if wait.is_reported:
                return
            wait.is_reported = True
            self.found += 1
            first = min(asks, key=lambda found: found[0])[2]  # whose ask is the oldest
            nodes = [node for node, _ in circle]
            start_at = nodes.index(first)
            error = DeadlockError(tuple(_ids(nodes[start_at:] + nodes[:start_at])))
            what = "fails" if self.breaks else "is left to its deadline"
            _log.warning("%s: the ask %r to %r %s", error, victim.message_type, victim.to, what)
            if not self.breaks:
                return
            victim.asker.withdraw(victim, expired=False)
            victim.fail(error)


def _open_group(node: Wait | Station, graph: _Graph) -> list[_Edge] | None:
    """A group of the edges of ``node`` that leads only to nodes in the graph; None if there is none."""
    return next((group for group in graph[node] if all(edge.node in graph for edge in group)), None)


def _is_deferred(turn: Turn) -> bool:
    return turn.effects is not None and turn.effects.is_deferred


def _ids(nodes: Sequence[Any]) -> list[str]:
    """The agents of a circle in order. A turn and its cell next to each other count as one."""
    ids = [node.cell.id if isinstance(node, Wait) else node.id for node in nodes]
    ids = [name for name, before in zip(ids, [None, *ids], strict=False) if name != before]
    return ids[:-1] if len(ids) > 1 and ids[0] == ids[-1] else ids
