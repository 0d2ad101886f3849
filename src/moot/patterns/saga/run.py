"""Running a saga: forward while it goes, then, if it must be, backward.

Each step is one recorded effect, whose value says what came of it; so is each compensation. A run again finds what
was recorded and never looks at the other way: a saga that has begun to undo does not go forward any more. A step that
an earlier run may have asked for, without recording what came of it, may have happened whatever is answered now.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from moot import AgentContext, Backoff, ManagerStopped, MootError, Request, retried_while
from moot.patterns.saga.steps import (
    Abort,
    Asked,
    Fate,
    SagaAborted,
    Step,
    answer_of,
    check_steps,
    may_have_happened,
    not_there,
)
from moot.policies.fields import check_fields

__all__ = ["SagaPolicy", "saga"]

_FAILURES = (MootError, msgspec.ValidationError, RuntimeError, TypeError)


class SagaPolicy(msgspec.Struct, frozen=True):
    """How much a saga takes.

    ``undo_attempts``: how often a compensation is tried; ``forward_attempts``: how often a step after the pivot is;
    ``backoff``: the pauses between, doubling up to its limit; ``undo_timeout``: seconds for each compensation;
    ``patience``: seconds for which a receiver that is not there, or has no room, is waited for.
    """

    undo_attempts: int = 8
    forward_attempts: int = 8
    backoff: Backoff = Backoff(0.2, 10.0)
    undo_timeout: float = 30.0
    patience: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.undo_attempts < 1 or self.forward_attempts < 1 or self.patience < 0:
            raise ValueError("attempts are 1 or more, and patience is 0 s or more")
        if not 0 < self.undo_timeout < math.inf:
            raise ValueError(f"undo_timeout is above 0 s and finite, not {self.undo_timeout:g}")


USUAL = SagaPolicy()
"""Eight tries, half a minute each."""
PAST_PIVOT = "the saga is past its pivot, so it stays done"


async def saga(
    ctx: AgentContext[Any],
    steps: Sequence[Step],
    how: SagaPolicy = USUAL,
    *,
    results: Mapping[str, Any] | None = None,
    ended: Callable[[str, str], None] | None = None,
) -> dict[str, Any]:
    """Do ``steps`` in order; their results by name, after those in ``results``, which it begins with.

    ``ended(step, what)`` is called for each step that was ``"done"``, ``"failed"``, ``"undone"`` or ``"not undone"``,
    in each run of the turn. Steps need no thought for a run again: their outcomes are recorded.

    Raises:
        SagaAborted: a step failed, and what could be undone is. RuntimeError: the turn has a deadline, which could
            leave the saga half done. ValueError: no steps, or names that repeat.
    """
    check_steps(steps)
    if ctx.deadline is not None:
        raise RuntimeError(
            "a saga in a turn that was asked would be cut off by the asker's deadline; ask a SagaAgent, "
            "or defer the answer and send this agent a message in whose turn the saga runs"
        )
    return await _Run(ctx, how, results or {}, ended or (lambda step, what: None)).forward(steps)


class _Run:
    """One saga in one run of its turn."""

    def __init__(
        self, ctx: AgentContext[Any], how: SagaPolicy, results: Mapping[str, Any], ended: Callable[[str, str], None]
    ) -> None:
        self.ctx = ctx
        self.how = how
        self.results = dict(results)
        self.ended = ended
        self.may_be_asked = False
        """Whether an earlier run may have asked for what comes next: it recorded what came before."""

    async def forward(self, steps: Sequence[Step]) -> dict[str, Any]:
        await self._recorded("saga begins", _nothing)
        done: list[Step] = []
        is_past_pivot = False
        for step in steps:
            attempts = max(step.attempts, self.how.forward_attempts if is_past_pivot else 1)
            fate = await self._ask(step, "do", step.request, attempts)
            if fate.error is not None:
                self.ended(step.id, "failed")
                raise SagaAborted(await self._abort(done, step, fate, is_past_pivot=is_past_pivot))
            self.ended(step.id, "done")
            self.results[step.id] = fate.answer
            done.append(step)
            is_past_pivot = is_past_pivot or step.pivot
        return self.results

    async def _abort(self, done: list[Step], failed: Step, fate: Fate, *, is_past_pivot: bool) -> Abort:
        """Undo what was done, the last first, and before it the failed step if it may have happened."""
        error = fate.error or ""
        affected = [*done, failed] if fate.happened else done
        if is_past_pivot:
            stays = {step.id: PAST_PIVOT if step is not failed else error for step in affected}
            return Abort(failed.id, error, (), stays, past_pivot=True)
        undone: list[str] = []
        not_undone: dict[str, str] = {}
        for step in reversed(affected):
            if step.undo is None:
                if step.pivot:
                    not_undone[step.id] = "it may have happened, and has no undo"
                continue
            undoing = await self._ask(step, "undo", step.undo, self.how.undo_attempts)
            if undoing.error is None:
                undone.append(step.id)
            else:
                not_undone[step.id] = undoing.error
            self.ended(step.id, "undone" if undoing.error is None else "not undone")
        return Abort(failed.id, error, tuple(undone), not_undone)

    async def _ask(self, step: Step, what: str, asked: Asked, attempts: int) -> Fate:
        """Ask up to so often, and record what came of it. What was recorded is not asked again."""
        is_undo = what == "undo"
        to = (step.undo_to or step.to) if is_undo else step.to
        timeout = self.how.undo_timeout if is_undo else step.timeout

        async def attempt() -> Fate:
            try:
                request = self._made(asked)
            except Exception as error:  # noqa: BLE001 - a step whose request cannot be made has failed, as any other
                return Fate(error=_text(error), happened=False)
            fate = await self._tried(step, to, request, timeout, attempts)
            if fate.error is not None:
                return fate
            return Fate() if is_undo else _kept(fate)

        fate = await self._recorded(f"saga {what} {step.id}", attempt)
        if fate.error is None and not is_undo:
            return msgspec.structs.replace(fate, answer=answer_of(self._made(asked), fate.answer))
        return fate

    async def _recorded(self, name: str, make: Callable[[], Awaitable[Fate]]) -> Fate:
        is_made = False

        async def once(_: str) -> Fate:
            nonlocal is_made
            is_made = True
            return await make()

        fate = await self.ctx.effect(name, once, type=Fate)
        self.may_be_asked = not is_made
        return fate

    def _made(self, asked: Asked) -> Request[Any]:
        return asked(dict(self.results)) if callable(asked) else asked

    async def _tried(self, step: Step, to: str, request: Request[Any], timeout: float, attempts: int) -> Fate:
        happened, backoff = self.may_be_asked, self.how.backoff
        waits = backoff.pauses(within=self.how.patience)  # (all attempts share them)

        async def ask() -> Fate:
            return Fate(answer_of(request, await self.ctx.ask(to, request, timeout=timeout)))

        def has_failed(error: Exception) -> bool:
            nonlocal happened
            happened = happened or may_have_happened(step, error)
            return isinstance(error, _FAILURES) and not isinstance(error, ManagerStopped)

        try:
            pauses = itertools.islice(backoff.pauses(), attempts - 1)
            return await retried_while(lambda: retried_while(ask, not_there, waits), has_failed, pauses)
        except ManagerStopped:
            raise
        except _FAILURES as error:
            return Fate(error=_text(error), happened=happened)


def _kept(fate: Fate) -> Fate:
    """The step is done; if no record can hold its answer, which would fail the turn, it counts as failed."""
    try:
        plain = msgspec.msgpack.decode(msgspec.msgpack.encode(fate.answer))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return Fate(error=f"its answer cannot be kept: {_text(error)}", happened=True)
    return msgspec.structs.replace(fate, answer=plain)


async def _nothing() -> Fate:
    return Fate()


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
