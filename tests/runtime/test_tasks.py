"""Tasks of the runtime begin with a later pass, whatever the loop's task factory does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from moot.runtime.tasks import begin_later


async def _note(events: list[str], what: str) -> str:
    events.append(what)
    return what


async def test_a_task_has_not_begun_when_it_is_there() -> None:
    events: list[str] = []

    task = begin_later(_note(events, "begun"))

    assert events == []
    assert await task == "begun"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
async def test_an_eager_task_has_not_begun_either() -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    events: list[str] = []

    task = begin_later(_note(events, "begun"))

    assert events == []
    assert await task == "begun"


async def test_work_whose_task_is_cancelled_before_it_begins_is_closed() -> None:
    """Else Python would warn that it was never awaited."""
    events: list[str] = []
    work: Coroutine[Any, Any, str] = _note(events, "begun")

    task = begin_later(work)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert events == []
    with pytest.raises(RuntimeError, match="cannot reuse"):
        work.send(None)
