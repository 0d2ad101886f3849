"""Retrying a call in place: as often as a policy says, for the errors that it names.

A group of errors, as a ``TaskGroup`` raises, counts as one of them; `decisive` says as which.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from moot.errors import Retry, StateConflict
from moot.policies import RetryPolicy

__all__ = ["decisive", "retried"]

T = TypeVar("T")


async def retried(
    call: Callable[[], Awaitable[T] | T], policy: RetryPolicy | None, random_for: Callable[[str], random.Random]
) -> T:
    """The result of ``call()``, plain or awaited, after as many tries as ``policy`` allows.

    Raises:
        What the last try raised. None for a policy means one try.
    """
    attempt = 1
    while True:
        try:
            result: Any = call()
            return cast(T, await result if inspect.isawaitable(result) else result)
        except Exception as error:
            if policy is None or attempt >= policy.max_attempts:
                raise
            if not isinstance(decisive(error, policy.retry_on), policy.retry_on):
                raise
            await asyncio.sleep(policy.backoff.delay(attempt, random_for(str(attempt))))
            attempt += 1


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
