"""Work pulling: workers say how many tasks they will take, and a pool gives them no more.

A pool is a worker to its manager: it is asked to do a `Task`, and answers when one of its own has. What it cannot give
out waits in its state, not in a worker's mailbox, so a slow worker holds nothing up. A task that its worker fails, or
is not heard of for the length of a lease, or whose worker stops, goes to another. Credits are totals, as in the
flow control of HTTP/2 (RFC 9113, section 5.2), so that lost and repeated messages do no harm.

Cancelling does not pass a pool: what was given out is done. What waits past its asker's deadline is not given out.
"""

from __future__ import annotations

import math

import msgspec

from moot import Agent, AgentContext, CoordinationError, Factual, Payload, ReplyTo, Terminated, handles
from moot.patterns.hierarchy.messages import Ready, Task, TaskResult

__all__ = ["PoolFull", "WorkPool"]


class PoolFull(Factual, CoordinationError):
    """As many tasks wait in the pool as it takes."""

    pool: str
    capacity: int
    template = "{capacity} tasks wait in the pool {pool!r}; ask again later, or add workers"


class Lapsed(Payload):
    """The lease of a task, given out for the ``turn``-th time, is over."""

    task_id: str
    turn: int


class Entry(msgspec.Struct, frozen=True):
    """A task, who waits for it, who has it now, and who had it; given out ``turn`` times so far."""

    task: Task
    waiting: tuple[ReplyTo, ...] = ()
    told: tuple[str, ...] = ()
    worker: str | None = None
    had: tuple[str, ...] = ()

    @property
    def turn(self) -> int:
        return len(self.had)

    def is_late(self, now: float) -> bool:
        """Whether it was not given out, and nobody waits for it any more."""
        late = all(one.deadline is not None and one.deadline <= now for one in self.waiting)
        return late and self.worker is None and not self.told


class Credit(msgspec.Struct, frozen=True):
    """How many tasks a worker will take in all, and how many it was given, in its present run."""

    run: str
    total: int
    given: int

    @property
    def left(self) -> int:
        return self.total - self.given


class Pool(msgspec.Struct, frozen=True):
    """The tasks, those that came first first, and the credits of the workers that were heard of."""

    entries: dict[str, Entry] = {}
    workers: dict[str, Credit] = {}


class WorkPool(Agent[Pool]):
    """Gives tasks to workers that have credit, in the order in which they came.

    ``lease``: seconds after which a worker that has not answered is given up; ``attempts``: how often a task is given
    out; ``capacity``: how many tasks it holds.
    """

    def __init__(self, agent_id: str, *, lease: float = 30.0, attempts: int = 3, capacity: int = 1000) -> None:
        super().__init__(agent_id)
        if not 0 < lease < math.inf or attempts < 1 or capacity < 1:
            raise ValueError("a pool's lease is above 0 s and has an end, and its attempts and capacity are 1 or more")
        self.lease = lease
        self.attempts = attempts
        self.capacity = capacity

    async def on_start(self, ctx: AgentContext[Pool]) -> None:
        """Forget the workers of another life: those that are there say so themselves."""
        ctx.state = Pool(ctx.state.entries)

    @handles
    async def on_task(self, task: Task, ctx: AgentContext[Pool]) -> None:
        now = ctx.now()
        entries = {key: one for key, one in ctx.state.entries.items() if not one.is_late(now)}
        if task.id not in entries and len(entries) >= self.capacity:
            raise PoolFull(self.id, self.capacity)
        entry = entries.get(task.id, Entry(task))  # asked again, it is still one task
        if ctx.reply_to is not None:
            entry = msgspec.structs.replace(entry, waiting=(*entry.waiting, ctx.defer()))
        elif ctx.sender not in entry.told:
            entry = msgspec.structs.replace(entry, told=(*entry.told, ctx.sender))
        self._give(ctx, {**entries, task.id: entry}, ctx.state.workers)

    @handles
    async def on_ready(self, ready: Ready, ctx: AgentContext[Pool]) -> None:
        workers = ctx.state.workers
        known = workers.get(ctx.sender)
        if known is None or known.run != ready.run:  # what it has got from here may not have reached it yet
            ctx.watch(ctx.sender)
            under_way = sum(one.worker == ctx.sender for one in ctx.state.entries.values())
            known = Credit(ready.run, 0, ready.taken + under_way)
        credit = Credit(known.run, max(known.total, ready.total), max(known.given, ready.taken))
        self._give(ctx, ctx.state.entries, {**workers, ctx.sender: credit})

    @handles
    async def on_result(self, result: TaskResult, ctx: AgentContext[Pool]) -> None:
        entries, task_id = dict(ctx.state.entries), result.task_id or ""
        entry = entries.get(task_id)
        if entry is None or ctx.sender not in entry.had:
            return  # it was done by another meanwhile, or never given to the sender
        if result.error is None:
            self._answer(ctx, entry, result)
            del entries[task_id]
        elif entry.worker == ctx.sender:
            self._take_away(ctx, entries, entry, result.error)
        self._give(ctx, entries, ctx.state.workers)

    @handles
    async def on_lapsed(self, lapsed: Lapsed, ctx: AgentContext[Pool]) -> None:
        entries, workers = dict(ctx.state.entries), dict(ctx.state.workers)
        entry = entries.get(lapsed.task_id)
        if entry is not None and entry.worker is not None and entry.turn == lapsed.turn:
            workers.pop(entry.worker, None)  # until it is heard of
            self._take_away(ctx, entries, entry, f"{entry.worker} was not heard of for {self.lease:g} s")
            self._give(ctx, entries, workers)

    @handles
    async def on_terminated(self, gone: Terminated, ctx: AgentContext[Pool]) -> None:
        entries = dict(ctx.state.entries)
        for entry in ctx.state.entries.values():
            if entry.worker == gone.agent_id:
                self._take_away(ctx, entries, entry, f"{gone.agent_id} stopped")
        self._give(ctx, entries, {key: one for key, one in ctx.state.workers.items() if key != gone.agent_id})

    def _take_away(self, ctx: AgentContext[Pool], entries: dict[str, Entry], entry: Entry, why: str) -> None:
        """Take a task from its worker: it waits again, or has failed for good."""
        if entry.turn < self.attempts:
            entries[entry.task.id] = msgspec.structs.replace(entry, worker=None)
            return
        self._answer(ctx, entry, TaskResult(entry.task.id, error=f"given out {entry.turn} times; the last time: {why}"))
        del entries[entry.task.id]

    def _give(self, ctx: AgentContext[Pool], entries: dict[str, Entry], workers: dict[str, Credit]) -> None:
        """Give out what waits to who has credit, and keep the rest."""
        entries, workers, now = dict(entries), dict(workers), ctx.now()
        free = [name for name, credit in workers.items() if credit.left > 0]
        for task_id, entry in list(entries.items()) if free else ():
            if not free:
                break
            if entry.worker is not None:
                continue
            if entry.is_late(now):
                del entries[task_id]
                continue
            worker = min(free, key=lambda name: (entry.had.count(name), -workers[name].left))
            credit = workers[worker] = Credit(workers[worker].run, workers[worker].total, workers[worker].given + 1)
            if credit.left <= 0:
                free.remove(worker)
            entries[task_id] = msgspec.structs.replace(entry, worker=worker, had=(*entry.had, worker))
            ctx.send(worker, entry.task)
            ctx.schedule(self.lease, Lapsed(task_id, entry.turn + 1), name=f"lease of {task_id}")
        ctx.state = Pool(entries, workers)

    def _answer(self, ctx: AgentContext[Pool], entry: Entry, result: TaskResult) -> None:
        ctx.unschedule(f"lease of {entry.task.id}")
        for reply_to in entry.waiting:
            ctx.send(reply_to, msgspec.to_builtins(result, builtin_types=(bytes,)))  # (its ask declares no type)
        for asker in entry.told:
            ctx.send(asker, result)
