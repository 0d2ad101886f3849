"""Retrying a call in place: as often as a policy says, for the errors that it names."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from moot.errors import decisive
from moot.policies import RetryPolicy

__all__ = ["retried"]

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
