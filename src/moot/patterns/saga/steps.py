"""Steps: what a saga is made of, what came of each, and how one that was aborted ended.

A step that failed has had no effect, may have had one, or cannot be told from one that had: a timeout says nothing
about what the other side did. `may_have_happened` decides it from the error; what may have happened is undone.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from moot import (
    BreakerOpen,
    Factual,
    InvalidAnswer,
    MailboxFull,
    MessageError,
    RateLimited,
    Request,
    TurnError,
    UnknownAgent,
)
from moot.policies.fields import check_fields

__all__ = [
    "Abort",
    "Asked",
    "Fate",
    "SagaAborted",
    "Step",
    "answer_of",
    "check_steps",
    "may_have_happened",
    "not_there",
]

Results = Mapping[str, Any]
Asked = Request[Any] | Callable[[Results], Request[Any]]
"""A request, or what makes it of the results so far, by the names of their steps."""

_NOT_THERE = (UnknownAgent, MailboxFull, RateLimited, BreakerOpen)


class Step(msgspec.Struct, frozen=True):
    """One step: ``to`` is asked with ``request``; ``undo`` takes its effect back, and is None if there is none.

    Both may be functions of the results so far, which say the same of the same results. ``undo`` must bear that its
    step never happened, and may come twice; it goes to ``undo_to``, by default to ``to``. ``name``, by default ``to``,
    is unique in a saga. ``timeout`` is in seconds, for each of ``attempts``; tried again, a request may come twice.
    After a ``pivot`` nothing is undone any more, and what follows is tried until it is done. A handler that raised was
    rolled back, so its step counts as not done, unless ``undo_failed`` says that it does what a rollback leaves.
    """

    to: str
    request: Asked
    undo: Asked | None = None
    name: str = ""
    undo_to: str = ""
    timeout: float = 30.0
    attempts: int = 1
    pivot: bool = False
    undo_failed: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.attempts < 1 or not 0 < self.timeout < float("inf"):
            raise ValueError("a step has 1 attempt or more, and a timeout above 0 s that is finite")

    @property
    def id(self) -> str:
        """Its name in the saga."""
        return self.name or self.to


class Fate(msgspec.Struct, frozen=True):
    """What came of an ask: an answer, or an error; ``happened`` tells whether it may have had an effect."""

    answer: Any = None
    error: str | None = None
    happened: bool = True


class Abort(msgspec.Struct, frozen=True):
    """How an aborted saga ended: the step that ``failed``, why, and which steps were ``undone``, in that order.

    ``not_undone`` are those whose effect stays or may stay, with the reason; somebody has to look after them.
    """

    failed: str
    error: str
    undone: tuple[str, ...] = ()
    not_undone: dict[str, str] = {}
    past_pivot: bool = False


class SagaAborted(Factual):
    """A step failed for good; its facts are in ``abort``."""

    abort: Abort

    def __str__(self) -> str:
        abort = self.abort
        left = "; ".join(f"{step}: {why}" for step, why in abort.not_undone.items())
        rest = f"these were not, look after them: {left}" if left else "nothing is left; it can be begun anew"
        return (
            f"the saga was aborted by step {abort.failed!r}: {abort.error}; "
            f"{len(abort.undone)} step(s) were undone ({', '.join(abort.undone) or 'none'}); {rest}"
        )


def check_steps(steps: Sequence[Step]) -> None:
    """Refuse what is no saga. Raises `ValueError`."""
    names = [step.id for step in steps]
    if not steps or len(set(names)) < len(names):
        raise ValueError(f"a saga has 1 step or more, each with a name of its own, not {names}; pass Step(name=…)")
    if sum(step.pivot for step in steps) > 1:
        raise ValueError("a saga has 1 pivot at most: after it nothing is undone any more")


def not_there(error: BaseException) -> bool:
    """Whether the request was not taken, which may pass."""
    return isinstance(error, _NOT_THERE)


def may_have_happened(step: Step, error: BaseException) -> bool:
    """Whether a step that failed with ``error`` may have taken effect."""
    if isinstance(error, TurnError):  # it was rolled back
        return step.undo_failed
    return isinstance(error, InvalidAnswer) or not isinstance(error, (MessageError, *_NOT_THERE))


def answer_of(request: Request[Any], answer: Any) -> Any:
    """The answer as the type that ``request`` declares, as it comes back from a record, too.

    Raises:
        msgspec.ValidationError: it is not of that type.
    """
    for owner in type(request).__mro__:
        for base in getattr(owner, "__orig_bases__", ()):
            if typing.get_origin(base) is Request:
                declared = typing.get_args(base)[0]
                plain = isinstance(declared, (str, typing.TypeVar, typing.ForwardRef)) or declared is Any
                return answer if plain else msgspec.convert(answer, declared)
    return answer
