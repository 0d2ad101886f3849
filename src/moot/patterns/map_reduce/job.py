"""A job: which agents map and reduce, and what is done for one that fails.

The result depends on the parts and on what is made of each, not on who did it, when, or how often it was tried: values
are reduced in the order of the parts that they come from, and of each part one answer counts.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from moot import Agent, AgentContext, Backoff, Factual, MootError, Payload, Request, handles
from moot.patterns.map_reduce.pool import NobodyAble, Pool
from moot.policies.fields import check_fields

__all__ = [
    "Job",
    "MapPart",
    "MapReduceAgent",
    "MapReduceFailed",
    "PartDone",
    "ReduceKey",
    "Reduced",
    "RunMapReduce",
    "map_reduce",
    "split",
]

T = TypeVar("T")

Pairs = list[list[Any]]
"""Lists of a key and a value; a tuple would be read again as a list."""
Reduce = Callable[[str, list[Any]], Any]


class MapPart(Request[list[tuple[str, Any]] | dict[str, Any]]):
    """Make pairs of key and value of a part; the answer is a list of them, or a map."""

    number: int
    part: Any


class ReduceKey(Request[Any]):
    """Make one value of all ``values`` of a key; they are in the order of the parts that they come from."""

    key: str
    values: list[Any]


class Job(msgspec.Struct, frozen=True):
    """Who maps and who reduces: agents, or ``capability:NAME``; ``reducer`` may be a function ``(key, values)``.

    ``combine`` is such a function, too: it reduces what one part gives, before that is kept and shuffled. Up to
    ``parallel`` tasks are under way at once, ``per_worker`` of them with one worker. Each is tried ``attempts`` times,
    for ``timeout`` seconds, with pauses between; who fails ``retire_after`` times in a row is passed over while there
    are others. A part may give ``most_pairs``.
    """

    mapper: str
    reducer: str | Reduce
    combine: Reduce | None = None
    parallel: int = 16
    per_worker: int = 1
    attempts: int = 3
    timeout: float = 30.0
    backoff: Backoff = Backoff(0.05, 5.0)
    retire_after: int = 3
    most_pairs: int = 100_000

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.parallel, self.per_worker, self.attempts, self.retire_after, self.most_pairs) < 1:
            raise ValueError(f"a job needs 1 or more of everything that it counts, not {self!r}")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"a task needs a timeout above 0 s and an end, not {self.timeout:g}")


class Reduced(msgspec.Struct, frozen=True):
    """The value of each key, in order of the keys; how many tasks each worker did; how many attempts were in vain."""

    values: dict[str, Any]
    work: dict[str, int] = {}
    retried: int = 0


class PartDone(Payload):
    """Progress: task ``number`` of ``tasks`` of a ``stage`` (``map`` or ``reduce``) was done by ``worker``."""

    stage: str
    number: int
    tasks: int
    worker: str


class RunMapReduce(Request[Reduced]):
    """Do the job on these parts. Whoever streams is told of each task."""

    parts: list[Any]


class MapReduceFailed(Factual):
    """A task failed in every attempt, and so the job has: a result without it would be another result."""

    stage: str
    task: str
    attempts: int
    reason: str
    template = (
        "{stage} of {task} failed {attempts} times, at last: {reason}; "
        "mend the worker or leave the part out, and run the job again"
    )


class Done(msgspec.Struct, frozen=True):
    """What came of a task, who did it, and in which attempt."""

    result: Any
    worker: str
    attempt: int


class _Task(msgspec.Struct, frozen=True):
    """One of the ``tasks`` of a stage. ``read`` makes the result of an answer, or raises `ValueError`."""

    stage: str
    number: int
    tasks: int
    name: str
    request: MapPart | ReduceKey
    read: Callable[[Any], Any]


def split(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Parts of ``size`` items each, in order; the last may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]


async def map_reduce(ctx: AgentContext[Any], parts: Sequence[Any], job: Job) -> Reduced:
    """Have each part mapped, and all values of each key reduced.

    Values pass the turn that calls this: a job that does not fit into memory is no job for it. On a durable backend
    they are kept, and come back as plain maps, lists and scalars. A handler runs several jobs one after the other.

    Raises:
        MapReduceFailed: a task failed in every attempt.
    """
    mappers = Pool(ctx, job.mapper, job.per_worker, job.retire_after)
    tasks = [
        _Task("map", number, len(parts), f"part {number}", MapPart(number, part), partial(_pairs, job))
        for number, part in enumerate(parts)
    ]
    mapped = await _all(job.parallel, [partial(_done, ctx, job, mappers, task) for task in tasks])
    groups: dict[str, list[Any]] = {}
    for done in mapped:
        for key, value in done.result:
            groups.setdefault(key, []).append(value)
    keys = sorted(groups)
    if not isinstance(job.reducer, str):
        values = {key: job.reducer(key, groups[key]) for key in keys}
        return _reduced(values, mapped)
    reducers = Pool(ctx, job.reducer, job.per_worker, job.retire_after)
    tasks = [
        _Task("reduce", number, len(keys), f"key {key[:60]!r}", ReduceKey(key, groups[key]), lambda value: value)
        for number, key in enumerate(keys)
    ]
    reduced = await _all(job.parallel, [partial(_done, ctx, job, reducers, task) for task in tasks])
    return _reduced({key: done.result for key, done in zip(keys, reduced, strict=True)}, [*mapped, *reduced])


class MapReduceAgent(Agent):
    """Does its job on the parts that it is asked with, for several who ask at once."""

    concurrency = 16
    cancel_with_asker = True

    def __init__(self, agent_id: str, job: Job) -> None:
        super().__init__(agent_id)
        self.job = job

    @handles
    async def run(self, message: RunMapReduce, ctx: AgentContext) -> Reduced:
        return await map_reduce(ctx, message.parts, self.job)


async def _done(ctx: AgentContext[Any], job: Job, pool: Pool, task: _Task) -> Done:
    """A task, once it is done; recorded, so that a run again does not ask for it."""
    done = await ctx.effect(f"{task.stage} {task.number}", partial(_attempts, ctx, job, pool, task), type=Done)
    ctx.progress(None, PartDone(task.stage, task.number, task.tasks, done.worker))
    return done


async def _attempts(ctx: AgentContext[Any], job: Job, pool: Pool, task: _Task, _key: str) -> Done:
    """Ask one worker after the other until there is a result.

    Raises:
        MapReduceFailed: there is none after all attempts.
    """
    tried: Counter[str] = Counter()
    reason = ""
    for attempt in range(1, job.attempts + 1):
        if attempt > 1:
            await asyncio.sleep(job.backoff.delay(attempt - 1, ctx.random))
        try:
            worker = await pool.take(tried)
        except NobodyAble as error:
            reason = str(error)
            continue
        tried[worker] += 1
        failed = True
        try:
            result = task.read(await ctx.ask(worker, task.request, timeout=job.timeout))
            failed = False
            return Done(result, worker, attempt)
        except MootError as error:
            reason = str(error)
        except (TypeError, ValueError) as error:  # a combiner, too, may raise it of values that are rubbish
            reason = f"{worker!r} answered rubbish: {error}"
        finally:
            pool.release(worker, failed=failed)
    raise MapReduceFailed(task.stage, task.name, job.attempts, reason)


def _pairs(job: Job, answer: Any) -> Pairs:
    """The pairs that a mapper answered. Raises `ValueError`: it answered something else."""
    pairs = list(answer.items()) if isinstance(answer, dict) else answer
    if not isinstance(pairs, list | tuple) or len(pairs) > job.most_pairs:
        raise ValueError(f"it is no list of up to {job.most_pairs} pairs, and no map")
    for pair in pairs:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError("it has something else in it than pairs of a text and a value")
        pair[0].encode()  # a text that no backend can keep is none
    if job.combine is None:
        return [[key, value] for key, value in pairs]
    groups: dict[str, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return [[key, job.combine(key, values)] for key, values in groups.items()]


async def _all(parallel: int, calls: Sequence[Callable[[], Awaitable[Done]]]) -> list[Done]:
    """The results of all calls, in their order, so many at once. The first that fails ends the others."""
    results: dict[int, Done] = {}
    waiting: Iterator[tuple[int, Callable[[], Awaitable[Done]]]] = iter(enumerate(calls))

    async def lane() -> None:
        for number, call in waiting:
            results[number] = await call()

    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(parallel, len(calls))):
                lanes.create_task(lane())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [results[number] for number in range(len(calls))]


def _reduced(values: dict[str, Any], done: Sequence[Done]) -> Reduced:
    work = Counter(one.worker for one in done)
    return Reduced(values, dict(sorted(work.items())), sum(one.attempt - 1 for one in done))
