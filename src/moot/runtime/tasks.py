"""Tasks of the runtime: they begin with a later pass of the loop, whatever the loop's task factory does.

An eager task factory (`asyncio.eager_task_factory`) runs the first step of a task inside the call
that makes it, before the caller has the task. What needs the caller's books waits for a pass.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["begin_later", "next_pass"]

T = TypeVar("T")


@types.coroutine
def next_pass() -> Generator[None, None, None]:
    """Let the loop make one pass; `asyncio.sleep(0)` with a frame less."""
    yield


def begin_later(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that does ``work``, and has not begun it when this call returns.

    If the task is cancelled before it begins, ``work`` is closed.
    """
    made: list[asyncio.Task[T]] = []

    async def begin() -> T:
        if not made:
            await next_pass()
        return await work

    task = asyncio.get_running_loop().create_task(begin())
    task.add_done_callback(lambda _: work.close())
    made.append(task)
    return task
