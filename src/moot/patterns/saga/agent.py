"""An agent that runs a saga for whoever asks.

The saga runs in a turn that the agent tells itself to run, and the asker's answer is deferred: a turn that was told
has no deadline and no asker whose patience could end it half-way. So an asker that gives up learns nothing, and the
saga still ends with everything done or everything undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from moot import Agent, AgentContext, MootError, Payload, ReplyTo, Request, RetryPolicy, handles
from moot.patterns.saga.run import USUAL, SagaPolicy, saga
from moot.patterns.saga.steps import Abort, SagaAborted, Step, check_steps

__all__ = ["RunSaga", "SagaAgent", "SagaResult", "SagaStepEnded"]


class SagaResult(msgspec.Struct, frozen=True):
    """What came of a saga: the results by step, or, if it was aborted, how that ended."""

    results: dict[str, Any] = {}
    abort: Abort | None = None

    @property
    def is_done(self) -> bool:
        """Whether every step was done."""
        return self.abort is None


class RunSaga(Request[SagaResult]):
    """Run the saga; the functions of its steps find ``value`` among the results, under ``""``."""

    value: Any = None


class SagaStepEnded(Payload):
    """Progress: a step is ``"done"``, ``"failed"``, ``"undone"`` or ``"not undone"``."""

    step: str
    what: str


class BeginSaga(Payload):
    """The agent's message to itself: run it, and answer there."""

    value: Any
    reply_to: ReplyTo | None = None


class SagaAgent(Agent):
    """Runs its steps for whoever asks, several sagas at once. ``steps`` may be a function of the value.

    That function must give the same steps for the same value, in the next life of a durable system, too. The agent
    must keep ``cancel_with_asker`` and ``run_timeout`` off: either would stop a saga in the middle.
    """

    concurrency = 16
    retry = RetryPolicy(10, retry_on=(MootError, OSError, TimeoutError))

    def __init__(
        self, agent_id: str, steps: Sequence[Step] | Callable[[Any], Sequence[Step]], how: SagaPolicy = USUAL
    ) -> None:
        super().__init__(agent_id)
        if self.cancel_with_asker or self.timeouts.run_timeout is not None:
            raise TypeError(
                f"{type(self).__name__} would be stopped in the middle; leave cancel_with_asker and "
                "run_timeout as they are"
            )
        self.steps = steps
        self.how = how

    @handles
    async def on_run(self, message: RunSaga, ctx: AgentContext) -> None:
        check_steps(self._steps(message.value))
        ctx.send(self.id, BeginSaga(message.value, ctx.defer() if ctx.reply_to is not None else None))

    @handles
    async def on_begin(self, message: BeginSaga, ctx: AgentContext) -> None:
        reply_to = message.reply_to

        def ended(step: str, what: str) -> None:
            if reply_to is not None:
                ctx.progress(reply_to, SagaStepEnded(step, what))

        try:
            result = SagaResult(
                await saga(ctx, self._steps(message.value), self.how, results={"": message.value}, ended=ended)
            )
        except SagaAborted as error:
            result = SagaResult(abort=error.abort)
        if reply_to is not None:
            ctx.send(reply_to, result)

    def _steps(self, value: Any) -> Sequence[Step]:
        return self.steps(value) if callable(self.steps) else self.steps
