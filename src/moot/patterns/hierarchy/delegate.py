"""Delegate: share the parts of a task out among workers, and have a result for each part that is needed.

Who gets which part is decided at once and recorded, so that a run again asks the same workers, which have answered
already or answer again what they did. A part whose worker fails or is late goes to one that has not failed it; what the
first one says after all is not heard, so a part has one result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

import msgspec

from moot import AgentContext, Ask, AskGroup, Factual, MailboxFull, MootError, ReplyTo, UnknownAgent
from moot.patterns.hierarchy.crew import Crew, Load, NoWorkers, Plan
from moot.patterns.hierarchy.messages import AwaitResult, Forget, Task, TaskProgress, TaskResult
from moot.patterns.hierarchy.routing import LeastLoaded, Routing
from moot.policies.fields import check_fields

__all__ = ["Delegation", "PartFailed", "Work", "delegate"]


class Delegation(msgspec.Struct, frozen=True):
    """How a task is shared out.

    ``collect``: results of ``"all"`` parts are needed, of the ``"first"``, or of so many (a quorum). ``attempts``: how
    often a part is given to a worker. ``timeout``: seconds a worker has for one. ``parallel``: how many parts of a
    task are under way at once.
    """

    routing: Routing = LeastLoaded()
    collect: Literal["all", "first"] | int = "all"
    attempts: int = 3
    timeout: float = 30.0
    parallel: int = 256

    def __post_init__(self) -> None:
        check_fields(self)
        if self.attempts < 1 or self.parallel < 1 or not 0 < self.timeout < math.inf:
            raise ValueError("attempts and parallel are 1 or more, and timeout is above 0 s and has an end")
        if self.collect not in ("all", "first") and not (type(self.collect) is int and self.collect >= 1):
            raise ValueError(f"collect is 'all', 'first' or a number of parts from 1, not {self.collect!r}")

    def needed(self, parts: int) -> int:
        """Of how many of ``parts`` a result is needed."""
        if self.collect == "all":
            return parts
        return 1 if self.collect == "first" else int(self.collect)


USUAL = Delegation()
"""All parts, each up to three times, by the least loaded."""


class PartFailed(Factual):
    """A part that was needed has no result; ``errors`` says why, an entry for each attempt."""

    task_id: str
    number: int
    parts: int
    errors: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"part {self.number} of {self.parts} of task {self.task_id} failed {len(self.errors)} time(s), "
            f"the last time: {self.errors[-1]}; "
            "add workers that can do it, allow more attempts, or collect a quorum"
        )


class Work(msgspec.Struct, frozen=True):
    """A task as it came down the tree: its id, what may be spent on it, and where its progress is told.

    ``reports`` is who hears results that workers send as messages of their own, if anybody does.
    """

    id: str
    budget: int | None = None
    progress: ReplyTo | None = None
    reports: str | None = None


async def delegate(
    ctx: AgentContext[Any],
    parts: Sequence[Any],
    workers: str | Sequence[str],
    how: Delegation = USUAL,
    *,
    work: Work | None = None,
    load: Load | None = None,
) -> dict[int, Any]:
    """Have ``parts`` done by ``workers``: agents, or all who can do it if that is ``capability:NAME``.

    Each worker is asked with a `Task`. Returns results by the number of their part, counted from 0: of all parts, or
    of as many as ``how`` says. A turn that is run again must come with the same parts.

    Raises:
        PartFailed: fewer can be had than are needed. NoWorkers: there is nobody. ValueError: there are fewer parts
            than results needed.
    """
    if not parts:
        return {}
    if (needed := how.needed(len(parts))) > len(parts):
        raise ValueError(f"{needed} results cannot be had from {len(parts)} part(s); collect fewer")
    crew = Crew(ctx, workers, how.routing, load or Load())
    plan: Plan = await ctx.effect("plan", partial(crew.plan, parts), type=Plan)
    if len(plan.workers) != len(parts):
        raise RuntimeError(f"there were {len(plan.workers)} parts before, and now {len(parts)}; split alike every time")
    return await _Delegating(parts, crew, how, work or Work(plan.id), plan).run(needed)


class _Part(msgspec.Struct, eq=False):
    """A part: whom it was given to, and why that came to nothing. ``left`` is what may be spent on it yet."""

    number: int
    content: Any
    left: int | None
    tried: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class _Delegating:
    """One task under way."""

    def __init__(self, parts: Sequence[Any], crew: Crew, how: Delegation, work: Work, plan: Plan) -> None:
        self.ctx = crew.ctx
        shares = _shares(work.budget, len(parts))
        self.parts = [
            _Part(number, content, share) for (number, content), share in zip(enumerate(parts), shares, strict=True)
        ]
        self.crew = crew
        self.how = how
        self.work = work
        self.plan = plan
        self.asked: dict[Ask[Any], _Part] = {}
        self.results: dict[int, Any] = {}

    async def run(self, needed: int) -> dict[int, Any]:
        """Ask the workers, as many at once as may be, until as many results are there as are needed."""
        waiting = iter(zip(self.parts, self.plan.workers, strict=True))
        spare = len(self.parts) - needed
        results = self.results
        try:
            with AskGroup[Any]() as group:
                for part, worker in islice(waiting, self.how.parallel):
                    group.add(self._ask(part, worker))
                while len(results) < needed:
                    for ask in await group.ended():
                        part, following = self.asked.pop(ask), None
                        if ask.error is None and ask.answer is not None and ask.answer.__class__ not in _REPORTED:
                            self._done(part, ask.answer)  # nearly always
                        else:
                            following = await self._take(ask, part)
                        if following is None and part.number not in results:
                            spare -= 1
                            if spare < 0:
                                raise PartFailed(self.work.id, part.number + 1, len(self.parts), part.errors)
                        if len(results) >= needed:
                            break
                        if following is None and (fresh := next(waiting, None)) is not None:
                            following = self._ask(*fresh)
                        if following is not None:
                            group.add(following)
        finally:
            for ask, part in self.asked.items():
                self.crew.load.remove(part.tried[-1])
                if isinstance(ask.content, AwaitResult):
                    self.ctx.progress(ask.to, Forget(ask.content.worker, ask.content.task_id))
        return dict(sorted(results.items()))

    async def _take(self, ask: Ask[Any], part: _Part) -> Ask[Any] | None:
        """Take the end of an ask in; what is asked for this part next, if anything."""
        worker, reports = part.tried[-1], self.work.reports
        if ask.error is None and ask.answer is None and reports is not None:
            wanted = AwaitResult(worker, ask.content.id, self.plan.at)
            report: Ask[Any] = self.ctx.ask(reports, wanted, timeout=ask.timeout)
            self.asked[report] = part
            return report
        error, result = _outcome(ask)
        if error is None:
            self._done(part, result)
            return None
        self.crew.load.remove(worker)
        part.errors += (f"{worker}: {error}",)
        if part.left is not None and not isinstance(ask.error, (UnknownAgent, MailboxFull)):
            part.left -= _allotment(part.left, self.how.attempts - len(part.tried) + 1)
        if len(part.tried) >= self.how.attempts:
            return None
        return await self._again(part)

    async def _again(self, part: _Part) -> Ask[Any] | None:
        """Give a part that failed to another, the same one in a run again; None if there is nobody."""
        assign = self.crew.assign
        try:
            (another,) = await self.ctx.effect(
                f"again {part.number}/{len(part.tried)}", lambda key: assign([part.content], part.tried), type=list[str]
            )
        except NoWorkers as nobody:
            part.errors += (str(nobody),)
            return None
        return self._ask(part, another)

    def _ask(self, part: _Part, worker: str) -> Ask[Any]:
        how, number, attempt = self.how, part.number + 1, len(part.tried) + 1
        budget = None if part.left is None else _allotment(part.left, how.attempts - attempt + 1)
        task = Task(
            f"{self.work.id}/{number}", part.content, number, len(self.parts), attempt, budget, self.work.progress
        )
        ask: Ask[Any] = self.ctx.ask(worker, task, timeout=how.timeout)
        part.tried += (worker,)
        self.crew.load.add(worker)
        self.asked[ask] = part
        return ask

    def _done(self, part: _Part, result: Any) -> None:
        worker = part.tried[-1]
        self.crew.load.remove(worker)
        self.results[part.number] = result
        if self.work.progress is not None:
            told = TaskProgress(self.work.id, worker, part.number + 1, len(self.parts), len(self.results))
            self.ctx.progress(self.work.progress, told)


def _shares(budget: int | None, parts: int) -> list[int | None]:
    """A budget, divided as evenly as it goes."""
    if budget is None:
        return [None] * parts
    return [budget * (number + 1) // parts - budget * number // parts for number in range(parts)]


def _allotment(left: int, attempts: int) -> int:
    """What the next of so many attempts may spend of what is left: an even share, and 1 at least if there is 1."""
    return max(left // attempts, min(1, left))


def _outcome(ask: Ask[Any]) -> tuple[str | None, Any]:
    """Why an ask came to nothing, or None, and its result."""
    if ask.error is not None:
        if not isinstance(ask.error, MootError):
            raise ask.error
        return str(ask.error), None
    answer = ask.answer
    if isinstance(answer, TaskResult) or (isinstance(answer, dict) and answer.keys() == _FIELDS):
        try:
            told = msgspec.convert(answer, TaskResult, from_attributes=True)
        except msgspec.ValidationError as wrong:
            return f"its answer is no result: {wrong}", None
        if told.task_id is not None and isinstance(ask.content, Task) and told.task_id != ask.content.id:
            return f"it answered with the result of another task, {told.task_id}", None
        return told.error, told.result
    return None, answer


_FIELDS = set(TaskResult.__struct_fields__)
_REPORTED = (TaskResult, dict)
"""What a worker that reports may answer; a record of it is a map."""
