"""Work pulling: workers say how many tasks they will take, and a pool gives them no more.

A pool is a worker to its manager: it is asked to do a `Task`, and answers when one of its own has. What it cannot give
out waits in its state, not in a worker's mailbox, so a slow worker holds nothing up. A task whose worker is not heard
of for the length of a lease, or stops, goes back to the front of the queue. Credits are totals, as in the flow control
of HTTP/2 (RFC 9113, section 5.2), so that lost and repeated messages do no harm.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from moot import Agent, AgentContext, CoordinationError, Payload, ReplyTo, Terminated, handles
from moot.patterns.hierarchy.messages import Ready, Task, TaskResult

__all__ = ["PoolFull", "PullingWorker", "WorkPool"]


class PoolFull(CoordinationError):
    """As many tasks wait in the pool as it takes."""

    def __init__(self, pool: str, capacity: int) -> None:
        self.pool = pool
        self.capacity = capacity
        super().__init__(f"{capacity} tasks wait in the pool {pool!r}; ask again later, or add workers")


class Lapsed(Payload):
    """The lease of a task, given out for the ``turn``-th time, is over."""

    task_id: str
    turn: int


class Entry(msgspec.Struct, frozen=True):
    """A task, who waits for it, who has it, and who had it; given out ``turn`` times so far."""

    task: Task
    waiting: tuple[ReplyTo, ...] = ()
    told: tuple[str, ...] = ()
    worker: str | None = None
    had: tuple[str, ...] = ()

    @property
    def turn(self) -> int:
        return len(self.had)


class Credit(msgspec.Struct, frozen=True):
    """How many tasks a worker will take in all, and how many it was given, in its present run."""

    run: str
    total: int
    given: int


class Pool(msgspec.Struct, frozen=True):
    """The tasks, those that came first first, and the credits of the workers."""

    entries: dict[str, Entry] = {}
    workers: dict[str, Credit] = {}


class WorkPool(Agent[Pool]):
    """Gives tasks to workers that have credit, in the order in which they came.

    ``lease``: seconds after which a worker that has not answered is given up; ``attempts``: how often a task is given
    out; ``capacity``: how many tasks it holds.
    """

    def __init__(self, agent_id: str, *, lease: float = 30.0, attempts: int = 3, capacity: int = 1000) -> None:
        super().__init__(agent_id)
        self.lease = lease
        self.attempts = attempts
        self.capacity = capacity

    @handles
    async def on_task(self, task: Task, ctx: AgentContext[Pool]) -> None:
        entries = ctx.state.entries
        if task.id not in entries and len(entries) >= self.capacity:
            raise PoolFull(self.id, self.capacity)
        entry = entries.get(task.id, Entry(task))  # asked again, it is still one task
        if ctx.reply_to is not None:
            entry = msgspec.structs.replace(entry, waiting=(*entry.waiting, ctx.defer()))
        else:
            entry = msgspec.structs.replace(entry, told=(*entry.told, ctx.sender))
        self._give(ctx, {**entries, task.id: entry}, ctx.state.workers)

    @handles
    async def on_ready(self, ready: Ready, ctx: AgentContext[Pool]) -> None:
        workers = ctx.state.workers
        known = workers.get(ctx.sender)
        if known is None:
            ctx.watch(ctx.sender)
        if known is None or known.run != ready.run:
            known = Credit(ready.run, 0, 0)
        credit = Credit(known.run, max(known.total, ready.total), max(known.given, ready.taken))
        self._give(ctx, ctx.state.entries, {**workers, ctx.sender: credit})

    @handles
    async def on_result(self, result: TaskResult, ctx: AgentContext[Pool]) -> None:
        entries, task_id = ctx.state.entries, result.task_id or ""
        entry = entries.get(task_id)
        if entry is None or ctx.sender not in entry.had:
            return  # it was done by another meanwhile, or never given to the sender
        if result.error is None or (entry.worker == ctx.sender and entry.turn >= self.attempts):
            self._answer(ctx, entry, TaskResult(task_id, result.result, result.error))
            entries = {key: one for key, one in entries.items() if key != task_id}
        elif entry.worker == ctx.sender:
            entries = {**entries, task_id: msgspec.structs.replace(entry, worker=None)}
        self._give(ctx, entries, ctx.state.workers)

    @handles
    async def on_lapsed(self, lapsed: Lapsed, ctx: AgentContext[Pool]) -> None:
        entry = ctx.state.entries.get(lapsed.task_id)
        if entry is not None and entry.worker is not None and entry.turn == lapsed.turn:
            workers = dict(ctx.state.workers)
            if (credit := workers.get(entry.worker)) is not None:  # what it never got does not count
                workers[entry.worker] = Credit(credit.run, credit.total, max(0, credit.given - 1))
            self._give(ctx, self._without(ctx, lapsed.task_id, entry.worker), workers)

    @handles
    async def on_terminated(self, gone: Terminated, ctx: AgentContext[Pool]) -> None:
        entries = ctx.state.entries
        for task_id, entry in entries.items():
            if entry.worker == gone.agent_id:
                entries = self._without(ctx, task_id, gone.agent_id, entries)
        self._give(ctx, entries, {key: one for key, one in ctx.state.workers.items() if key != gone.agent_id})

    def _without(
        self, ctx: AgentContext[Pool], task_id: str, worker: str, entries: dict[str, Entry] | None = None
    ) -> dict[str, Entry]:
        """The tasks, with one taken from its worker: it waits again, or has failed for good."""
        entries = dict(ctx.state.entries if entries is None else entries)
        entry = entries[task_id]
        if entry.turn < self.attempts:
            entries[task_id] = msgspec.structs.replace(entry, worker=None)
        else:
            self._answer(ctx, entry, TaskResult(task_id, error=f"given out {entry.turn} times; the last: to {worker}"))
            del entries[task_id]
        return entries

    def _give(self, ctx: AgentContext[Pool], entries: dict[str, Entry], workers: dict[str, Credit]) -> None:
        """Give out what waits to who has credit, and keep the rest."""
        entries, workers, now = dict(entries), dict(workers), ctx.now()
        for task_id, entry in list(entries.items()):
            if (
                entry.worker is None
                and entry.waiting
                and not entry.told
                and all(_late(one, now) for one in entry.waiting)
            ):
                del entries[task_id]
                continue
            worker = max(workers, key=lambda name: workers[name].total - workers[name].given, default=None)
            if worker is None or workers[worker].total <= workers[worker].given:
                break
            if entry.worker is not None:
                continue
            credit = workers[worker]
            workers[worker] = Credit(credit.run, credit.total, credit.given + 1)
            entries[task_id] = msgspec.structs.replace(entry, worker=worker, had=(*entry.had, worker))
            ctx.send(worker, entry.task)
            ctx.schedule(self.lease, Lapsed(task_id, entry.turn + 1), name=f"lease of {task_id}")
        ctx.state = Pool(entries, workers)

    def _answer(self, ctx: AgentContext[Pool], entry: Entry, result: TaskResult) -> None:
        ctx.unschedule(f"lease of {entry.task.id}")
        for reply_to in entry.waiting:
            ctx.send(reply_to, result)
        for asker in entry.told:
            ctx.send(asker, result)


def _late(reply_to: ReplyTo, now: float) -> bool:
    return reply_to.deadline is not None and reply_to.deadline <= now


class Announce(Payload):
    """Time to tell the pool again."""


class PullingWorker(Agent):
    """A worker that takes up to ``credit`` tasks of a pool ahead of what it does; override `work`.

    It tells the pool what it will take when it starts, after each task, and every ``announce_every`` seconds.
    """

    def __init__(self, agent_id: str, pool: str, *, credit: int = 1, announce_every: float = 5.0) -> None:
        super().__init__(agent_id)
        self.pool = pool
        self.credit = credit
        self.announce_every = announce_every
        self.run = ""
        self.taken = 0

    def work(self, content: Any, ctx: AgentContext) -> Any:
        """Do a task; may be async. What it raises is told to the pool, which gives the task to another."""
        raise NotImplementedError(f"{type(self).__name__} has no work(); override it")

    async def on_start(self, ctx: AgentContext) -> None:
        self.run = f"{ctx.now():.6f}-{ctx.random.getrandbits(32):08x}"
        ctx.send(self.pool, self._ready())
        ctx.schedule(self.announce_every, Announce(), every=self.announce_every, name="announce")

    @handles
    async def on_announce(self, message: Announce, ctx: AgentContext) -> None:
        ctx.send(self.pool, self._ready())

    @handles
    async def on_task(self, task: Task, ctx: AgentContext) -> None:
        if ctx.attempt == 1:
            self.taken += 1
        try:
            result = self.work(task.content, ctx)
            result = await result if inspect.isawaitable(result) else result
        except Exception as error:  # the turn fails, and the pool need not wait for its lease to know
            ctx.progress(ctx.sender, TaskResult(task.id, error=f"{type(error).__name__}: {error}"))
            ctx.progress(self.pool, self._ready())
            raise
        ctx.send(ctx.sender, TaskResult(task.id, result))
        ctx.send(self.pool, self._ready())

    def _ready(self) -> Ready:
        return Ready(self.run, self.taken + self.credit, self.taken)
