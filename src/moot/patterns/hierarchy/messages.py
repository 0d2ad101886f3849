"""What managers and workers say to each other."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from moot import Payload, ReplyTo, Request

__all__ = ["AwaitResult", "Forget", "Ready", "Task", "TaskProgress", "TaskRequest", "TaskResult"]


Budget = Annotated[int, msgspec.Meta(ge=0)]


class TaskRequest(Request[Any]):
    """Have ``task`` done; asked of a manager. The answer is what it combines from its workers' results.

    ``budget`` is in units of the user's choice, such as tokens: what all workers below may spend together.
    """

    task: Any
    budget: Budget | None = None


class Task(Request[Any]):
    """A part of a task, for one worker; ``number`` of ``parts``, from 1, as its manager's ``attempt``.

    ``id`` is the same for every attempt of a part, and for no other part. ``progress`` is where whoever asked at the
    top of the tree can be told how it gets on.
    """

    id: str
    content: Any
    number: int = 1
    parts: int = 1
    attempt: int = 1
    budget: Budget | None = None
    progress: ReplyTo | None = None


class TaskResult(Payload):
    """The result of a task, where it is sent as a message of its own: by a worker that does not answer the ask, and
    to whoever told a manager instead of asking it. ``error`` says why there is none.
    """

    task_id: str | None = None
    result: Any = None
    error: str | None = None


class AwaitResult(Request[TaskResult]):
    """Answer when ``worker`` has sent its result of the task ``task_id``, which was given to it at or after ``since``;
    asked of a `Reports`.
    """

    worker: str
    task_id: str
    since: float


class Forget(Payload):
    """Nobody waits any more for ``worker`` to send its result of the task ``task_id``."""

    worker: str
    task_id: str


class TaskProgress(Payload):
    """``worker`` has done part ``number`` of ``parts`` of the task ``task_id``; so many are done now."""

    task_id: str
    worker: str
    number: int
    parts: int
    done: int


class Ready(Payload):
    """A worker's credit: it will take ``total`` tasks in all, counted since it began as ``run``, and has got ``taken``.

    Totals, and not differences: a message that is lost or comes twice changes nothing.
    """

    run: str
    total: int
    taken: int
