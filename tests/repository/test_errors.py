"""Errors: whatever its facts are, an error keeps its class, its text and its facts when it is copied or pickled."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import pickle
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Literal

import msgspec
import pytest

import moot
from moot.errors import AgentNotMade, AskTimeout, Factual, MailboxFull, MootError, TurnError, UnknownAgent

TEXTS = ("plain", "", "{0} {agent_id!r} %s", 'it\'s "ü"\n\\', "x" * 5_000)
NUMBERS = (1, 0, -7, 10**30, True)
SECONDS = (0.25, 0.0, float("inf"), 3, 1e-12)
MADE = len(TEXTS)


def _pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": _pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


class _Handmade(MootError):
    """An error as a user may write it: its constructor takes other things than its text."""

    def __init__(self, left: int, *, right: str) -> None:
        self.sides = (left, right)
        super().__init__(f"{left} is not {right}")


class _Grown(MailboxFull):
    """An error of ours with one more fact."""

    name: str = "box"


def test_every_error_survives_copy_and_pickle() -> None:
    kinds = [*_errors(), _Handmade, _Grown]

    lost = [
        f"{kind.__module__}.{kind.__qualname__}: {name}: {how}"
        for kind in kinds
        for error in _instances(kind)
        for name, copied in COPIES.items()
        if (how := _loss(error, copied))
    ]

    assert len(kinds) > 60
    assert sorted(set(lost)) == []


def test_facts_are_parameters_in_order_by_name_and_with_defaults() -> None:
    full = MailboxFull("a", capacity=3, retry_after=0.5)

    assert (full.agent_id, full.capacity, full.retry_after) == ("a", 3, 0.5)
    assert str(full) == (
        "mailbox of 'a' is full (3 messages); try again in about 0.5 s, or use tell(), which waits for room"
    )
    assert TurnError("a", "go", "E", "text").attempts == 1
    assert _Grown("a", 3, 0.5).name == "box"


@pytest.mark.parametrize(
    "facts",
    [((), {}), (("a", 3), {}), (("a", 3, 0.5, 4), {}), (("a", 3, 0.5), {"agent_id": "b"}), (("a", 3), {"x": 1})],
)
def test_facts_that_are_lacking_doubled_or_unknown_are_refused(facts: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="agent_id, capacity, retry_after"):
        MailboxFull(*facts[0], **facts[1])


def test_an_error_of_two_families_belongs_to_both() -> None:
    late = AskTimeout("a", "go", 1.0)
    unmade = AgentNotMade("a", OSError("no disk"))

    assert isinstance(late, TimeoutError)
    assert late.errno is None
    assert isinstance(unmade, UnknownAgent)
    assert unmade.suggestions == ()


def _errors() -> list[type[Exception]]:
    for module in pkgutil.walk_packages(moot.__path__, "moot."):
        with contextlib.suppress(ModuleNotFoundError):  # a library that is not installed here
            importlib.import_module(module.name)
    found: list[type[Exception]] = []
    ahead = [Exception]
    while ahead:
        ahead += (subclasses := ahead.pop().__subclasses__())
        found += (kind for kind in subclasses if kind.__module__.partition(".")[0] == "moot" and kind is not Factual)
    return list(dict.fromkeys(found))


def _instances(kind: type[Exception]) -> Iterator[Exception]:
    """Some errors of one kind: with awkward values for all that its constructor takes, and with the least it takes."""
    taken = _parameters(kind)
    for number in range(MADE):
        yield _made(kind, taken, number)
    yield _made(kind, [parameter for parameter in taken if parameter.default is parameter.empty], 0)


def _made(kind: type[Exception], taken: list[inspect.Parameter], number: int) -> Exception:
    values = [(parameter, _value(parameter.annotation, number)) for parameter in taken]
    return kind(
        *(value for parameter, value in values if parameter.kind is not parameter.KEYWORD_ONLY),
        **{parameter.name: value for parameter, value in values if parameter.kind is parameter.KEYWORD_ONLY},
    )


def _parameters(kind: type[Exception]) -> list[inspect.Parameter]:
    """What the constructor takes, annotated with types."""
    usual = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if issubclass(kind, Factual) and kind.__init__ is Factual.__init__:
        hints = typing.get_type_hints(kind)
        return [
            inspect.Parameter(name, usual, default=getattr(kind, name, inspect.Parameter.empty), annotation=hints[name])
            for name in kind._facts
        ]
    if not inspect.isfunction(kind.__init__):  # it is Exception's: any text
        return [inspect.Parameter("text", usual, annotation=str)]
    hints = typing.get_type_hints(kind.__init__)
    return [p.replace(annotation=hints[p.name]) for p in inspect.signature(kind).parameters.values()]


def _value(hint: Any, number: int) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(inner[number % len(inner)], number)
    if origin is Literal:
        return inner[number % len(inner)]
    if origin is dict:
        return {_value(inner[0], i): _value(inner[1], i) for i in range(number)}
    if origin is not None:  # a sequence; empty ones are not among them: some texts name the last
        return tuple(_value(inner[0], i) for i in range(number + 1))
    if issubclass(hint, Enum):
        return next(iter(hint))
    if issubclass(hint, msgspec.Struct):
        hints = typing.get_type_hints(hint)
        return hint(**{f.name: _value(hints[f.name], number) for f in msgspec.structs.fields(hint) if f.required})
    if issubclass(hint, BaseException):
        return (ValueError("{x}"), TurnError("a", "go", "E", "text"), KeyError("k"), ValueError(), OSError(2, "gone"))[
            number
        ]
    return {str: TEXTS, int: NUMBERS, float: SECONDS, bool: NUMBERS, types.NoneType: (None,) * MADE}[hint][number]


def _loss(error: Exception, copied: Callable[[Any], Any]) -> str:
    """How the copy of an error differs from it; empty if it does not."""
    error.add_note("seen on the way")
    try:
        return "" if _told(copied(error)) == _told(error) else "it comes back as another"
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is reported
        return type(failure).__name__


def _told(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), sorted((name, repr(fact)) for name, fact in vars(error).items())
