"""Outside effects: what a turn does outside, once, and what a second run of the turn finds of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.agent.records import Records
from moot.ids import checked_text
from moot.messaging.content import admitted_as, form_of_result
from moot.resilience.retry import retried

if TYPE_CHECKING:
    from moot.agent.unit_of_work import UnitOfWork
    from moot.policies import RetryPolicy

__all__ = ["outside_effect"]


async def outside_effect(
    turn: UnitOfWork[Any], records: Records, name: str, fn: Callable[[str], Any], kind: Any, retry: RetryPolicy | None
) -> Any:
    """The result of ``fn``, which is called unless ``records`` have it; see `AgentContext.effect`."""
    if retry is not None and not hasattr(retry, "retry_on"):
        raise TypeError(f"retry= takes a RetryPolicy, not {retry!r}; write RetryPolicy(max_attempts=…)")
    agent_id = turn.cell.id
    kind = Any if kind is None else kind
    name = records.scope + checked_text("the name of an effect", name)
    form = form_of_result(kind, name, agent_id)
    with records.occurrence("effect", name) as number:
        target = f"{name}#{number}"
        known, result = records.find("effect", target, None, kind)
        if not known:
            key = f"{turn.idempotency_key}/{target}"

            async def call() -> Any:
                with records.inside(target):
                    result = await retried(
                        lambda: fn(key), retry, lambda attempt: turn.runtime.random_for(f"{key}/{attempt}")
                    )
                    return admitted_as(form, result, f"effect {name}", f"its result for {agent_id!r}")

            result = await records.once("effect", target, call)
        return result if form.copy is None else form.copy(result)
