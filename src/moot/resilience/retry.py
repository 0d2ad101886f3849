"""Retrying a call in place: as often as there are pauses, for the errors that are worth another try.

A group of errors, as a ``TaskGroup`` raises, counts as one of them; `decisive` says as which.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

from moot.errors import Retry, StateConflict
from moot.policies import RetryPolicy

__all__ = ["decisive", "retried", "retried_while"]

T = TypeVar("T")


async def retried_while(
    call: Callable[[], Awaitable[T]], worth: Callable[[Exception], bool], pauses: Iterable[float]
) -> T:
    """The result of ``call()``. It is tried again after each of ``pauses`` (seconds), while its error is ``worth`` it.

    ``worth`` is asked about each error, also about the last. Calls that share an iterator of pauses share its patience.

    Raises:
        What the last try raised.
    """
    left = iter(pauses)
    while True:
        try:
            return await call()
        except Exception as error:
            if not worth(error) or (pause := next(left, None)) is None:
                raise
        await asyncio.sleep(pause)


async def retried(
    call: Callable[[], Awaitable[T] | T], policy: RetryPolicy | None, random_for: Callable[[str], random.Random]
) -> T:
    """The result of ``call()``, plain or awaited, after as many tries as ``policy`` allows.

    Raises:
        What the last try raised. None for a policy means one try.
    """

    async def once() -> T:
        result: Any = call()
        return cast(T, await result if inspect.isawaitable(result) else result)

    if policy is None:
        return await once()
    retriable, backoff = policy.retry_on, policy.backoff
    pauses = (backoff.delay(attempt, random_for(str(attempt))) for attempt in range(1, policy.max_attempts))
    return await retried_while(once, lambda error: isinstance(decisive(error, retriable), retriable), pauses)


def decisive(error: BaseException, retriable: tuple[type[Exception], ...] = ()) -> BaseException:
    """What a group of errors counts as; any other error as it is.

    That is the first that is not ``retriable``. If each is, it is what a handler said itself (`Retry`), else the first
    that counts as an attempt (a `StateConflict` does not).
    """
    if not isinstance(error, ExceptionGroup):
        return error
    leaves: list[BaseException] = []
    groups: list[BaseException] = [error]
    while groups:  # (a group may be nested deeper than calls can be)
        group = groups.pop()
        if isinstance(group, BaseExceptionGroup):
            groups += reversed(group.exceptions)
        else:
            leaves.append(group)

    def rank(leaf: BaseException) -> int:
        if not isinstance(leaf, retriable):
            return 0
        return 1 if isinstance(leaf, Retry) else 3 if isinstance(leaf, StateConflict) else 2

    return min(leaves, key=rank)
