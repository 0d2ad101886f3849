"""A table of types with values, and the places in which a life stores them for the next one to read."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import fractions
import math
import pathlib
import re
import types
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles

__all__ = ["CASES", "PLACES", "Case", "alike", "first_life", "second_life"]

T = TypeVar("T")


class Cat(msgspec.Struct, frozen=True):
    name: str


class Dog(msgspec.Struct, frozen=True):
    name: str
    barks: bool = True


class Puppy(Dog, frozen=True):
    weeks: int = 8


class Tagged(msgspec.Struct, frozen=True, tag=True):
    one: int


class Marked(msgspec.Struct, frozen=True, tag=True):
    two: int


class Loose(msgspec.Struct):
    items: list[int] = []


class Row(msgspec.Struct, frozen=True, array_like=True):
    one: int
    two: str


class Renamed(msgspec.Struct, frozen=True, rename="camel"):
    a_field: int
    _hidden: int = 1


class Brief(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    one: int = 1
    two: tuple[int, ...] = ()


class Unset(msgspec.Struct, frozen=True):
    one: int | msgspec.UnsetType = msgspec.UNSET


class Doubling(msgspec.Struct, frozen=True):
    one: int

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "one", self.one * 2)


class Tree(msgspec.Struct, frozen=True):
    value: int
    left: Tree | None = None
    right: Tree | None = None


class Box(msgspec.Struct, Generic[T], frozen=True):
    value: T


class Holder(msgspec.Struct, frozen=True):
    animal: Dog
    more: tuple[Dog, ...] = ()


class Pets(msgspec.Struct, frozen=True):
    pets: list[Cat | Dog]


class Counted(msgspec.Struct, frozen=True):
    words: Counter[str]


class Positive(msgspec.Struct, frozen=True):
    number: Annotated[int, msgspec.Meta(gt=0)]


class Small(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    YES = "yes"


class Colour(enum.Enum):
    RED = "red"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    one: int
    two: str


class Options(TypedDict):
    one: int


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass(frozen=True)
class Place:
    x: int
    name: str = ""


@dataclasses.dataclass
class Open:
    items: list[int] = dataclasses.field(default_factory=list)


class Plain:
    """A class of the program's own."""


class Text(str):
    """A subclass of a builtin."""

    __slots__ = ()


class Numbers(list[int]):
    """A subclass of a builtin."""


Age = NewType("Age", int)
Pet = NewType("Pet", object)
Shelf = Union[Cat, Dog]  # noqa: UP007 - an alias of the old kind
WHEN = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")


class Case(NamedTuple):
    """A type, and a value that a program gives where the type is declared."""

    declared: Any
    value: Any


CASES: dict[str, Case] = {
    f"{number}: {getattr(declared, '__name__', None) or declared} <- {value!r}"[:90]: Case(declared, value)
    for number, (declared, value) in enumerate(
        [
            # numbers, texts, bytes
            (int, 3),
            (int, -(2**63)),
            (int, 2**64 - 1),
            (int, 2**64),
            (int, "3"),
            (int, True),
            (int, Small.ONE),
            (int, 3.0),
            (int, None),
            (float, 1.5),
            (float, 3),
            (float, 2**60 + 1),
            (float, math.inf),
            (float, math.nan),
            (float, "1.5"),
            (bool, True),
            (bool, 1),
            (str, "é"),
            (str, "\ud800"),
            (str, Word.YES),
            (str, Text("x")),
            (str, date(2026, 1, 2)),
            (str, Decimal("1.10")),
            (str, b"x"),
            (bytes, b"\x00"),
            (bytes, bytearray(b"x")),
            (bytearray, bytearray(b"x")),
            (memoryview, memoryview(b"x")),
            (None, None),
            (complex, 1j),
            # what the standard library has
            (datetime, WHEN),
            (datetime, WHEN.replace(tzinfo=None)),
            (datetime, WHEN.astimezone(timezone(timedelta(hours=2)))),
            (datetime, WHEN.isoformat()),
            (date, date(2026, 1, 2)),
            (date, WHEN),
            (time, time(1, 2, 3)),
            (timedelta, timedelta(days=1, microseconds=1)),
            (Decimal, Decimal("1.10")),
            (Decimal, 1.1),
            (UUID, ID),
            (fractions.Fraction, fractions.Fraction(1, 3)),
            (pathlib.Path, pathlib.PurePosixPath("/tmp")),
            (re.Pattern, re.compile("x")),
            (timezone, UTC),
            (ZoneInfo, ZoneInfo("UTC")),
            (Exception, ValueError("x")),
            (type, int),
            (range, range(3)),
            (Callable[[], int], len),
            # enums
            (Small, Small.ONE),
            (Small, 1),
            (Word, Word.YES),
            (Colour, Colour.RED),
            (Access, Access.READ | Access.WRITE),
            (Small | Word, Word.YES),
            (int | Small, Small.ONE),
            (str | Word, Word.YES),
            (Literal["a", 1], "a"),
            (Literal["a", 1], "b"),
            # containers
            (list, [1, "a", None]),
            (list, [(1, 2)]),
            (list, [date(2026, 1, 2)]),
            (list, [Cat("mia")]),
            (list[int], [1, 2]),
            (list[int], (1, 2)),
            (list[int], [1, "2"]),
            (list[int], Numbers([1])),
            (list[float], [1, 2.5]),
            (list[Cat], [Cat("mia")]),
            (list[Dog], [Dog("rex"), Puppy("bo")]),
            (list[datetime | None], [WHEN, None]),
            (tuple, (1, "a")),
            (tuple, ((1,), "a")),
            (tuple[int, str], (1, "a")),
            (tuple[int, str], (1, 2)),
            (tuple[int, str], Pair(1, "a")),
            (tuple[int, ...], (1, 2, 3)),
            (tuple[Dog, ...], (Puppy("bo"),)),
            (set, {1}),
            (set[int], {1, 2}),
            (set[tuple[int, str]], {(1, "a")}),
            (frozenset[str], frozenset({"a"})),
            (frozenset[str], {"a"}),
            (set[Small], {Small.ONE}),
            (dict, {"a": 1}),
            (dict, {1: 2}),
            (dict, {(1, 2): 3}),
            (dict, {Small.ONE: 2}),
            (dict, {"a": {1, 2}}),
            (dict[str, int], {"a": 1}),
            (dict[str, int], {"a": "1"}),
            (dict[str, int], {1: 1}),
            (dict[str, int], Counter("ab")),
            (dict[str, int], OrderedDict(a=1)),
            (dict[str, int], defaultdict(int, a=1)),
            (dict[int, str], {1: "a"}),
            (dict[date, int], {date(2026, 1, 2): 1}),
            (dict[Small, int], {Small.ONE: 1}),
            (dict[Colour, int], {Colour.RED: 1}),
            (dict[UUID, int], {ID: 1}),
            (dict[tuple[int, int], str], {(1, 2): "x"}),
            (dict[str, Any], {"a": [1, {"b": None}]}),
            (dict[str, Any], {"a": date(2026, 1, 2)}),
            (dict[str, Any], {"a": Decimal("1.1")}),
            (dict[str, Any], {"a": Small.ONE}),
            (dict[str, Any], {"a": (1, 2)}),
            (dict[str, Any], {"a": {1}}),
            (dict[str, Any], {"a": Cat("mia")}),
            (dict[str, Any], {"a": b"x"}),
            (dict[str, Any], {"a": bytearray(b"x")}),
            (dict[str, Any], {"a": Point(1)}),
            (dict[str, object], {"a": WHEN.replace(tzinfo=None)}),
            (dict[str, list[Dog]], {"a": [Puppy("bo")]}),
            (Mapping[str, int], {"a": 1}),
            (Sequence[int], [1]),
            (Sequence[int], (1,)),
            (Iterable[int], [1]),
            (Counter, Counter("ab")),
            (Counter[str], Counter("ab")),
            (defaultdict[str, int], defaultdict(int, a=1)),
            (OrderedDict[str, int], OrderedDict(a=1)),
            (ChainMap, ChainMap({"a": 1})),
            (deque[int], deque([1])),
            (list[Counter[str]], [Counter("a")]),
            # anything
            (Any, [1, 2.5, "a", None, True, b"x", {"b": [1]}]),
            (Any, date(2026, 1, 2)),
            (Any, WHEN),
            (Any, timedelta(1)),
            (Any, Decimal(1)),
            (Any, ID),
            (Any, Colour.RED),
            (Any, Small.ONE),
            (Any, (1, 2)),
            (Any, {1, 2}),
            (Any, frozenset({1})),
            (Any, Cat("mia")),
            (Any, Point(1)),
            (Any, Pair(1, "a")),
            (Any, Plain()),
            (Any, Counter("a")),
            (Any, math.nan),
            (Any, 2**70),
            (object, {"a": 1}),
            (object, (1, 2)),
            (Plain, Plain()),
            # classes with fields
            (Cat, Cat("mia")),
            (Cat, Cat(7)),  # type: ignore[arg-type]
            (Cat, {"name": "mia"}),
            (Dog, Puppy("bo")),
            (Holder, Holder(Dog("rex"), (Dog("bo"),))),
            (Holder, Holder(Puppy("bo"))),
            (Holder, Holder(Dog("rex"), (Dog("a"), Puppy("bo")))),
            (Tagged | Marked, Marked(2)),
            (list[Tagged | Marked | None], [Tagged(1), None, Marked(2)]),
            (Tagged | list[int] | str, [1]),
            (Loose, Loose([1, 2])),
            (Row, Row(1, "a")),
            (Renamed, Renamed(1, 2)),
            (Brief, Brief()),
            (Brief, Brief(2, (3,))),
            (Unset, Unset()),
            (Unset, Unset(1)),
            (Doubling, Doubling(1)),
            (Tree, Tree(1, Tree(2), Tree(3, Tree(4)))),
            (Box[int], Box(1)),
            (Box[int], Box("1")),
            (Box, Box(date(2026, 1, 2))),
            (Box[Cat], Box(Cat("mia"))),
            (Positive, Positive(1)),
            (Positive, Positive(-1)),
            (Point, Point(1, 2.0)),
            (Point, Point("1")),  # type: ignore[arg-type]
            (Open, Open([1])),
            (Pair, Pair(1, "a")),
            (Pair, (1, "a")),
            (Options, {"one": 1}),
            (Options, {"one": 1, "two": 2}),
            (Age, 3),
            (Age, "3"),
            (Annotated[int, msgspec.Meta(ge=0)], -1),
            (Annotated[str, msgspec.Meta(max_length=3)], "abc"),
            (msgspec.Raw, msgspec.Raw(b"\x01")),
            (msgspec.msgpack.Ext, msgspec.msgpack.Ext(5, b"x")),
            # unions that bytes do not tell apart
            (Cat | Dog, Dog("rex")),
            (Optional[Cat | Dog], None),  # noqa: UP045 - as older code says it
            (Shelf, Cat("mia")),
            (Point | Place, Place(1)),
            (Point | Cat, Cat("mia")),
            (Cat | dict[str, int], {"a": 1}),
            (datetime | str, "x"),
            (date | str, date(2026, 1, 2)),
            (bytes | str, b"x"),
            (UUID | str, ID),
            (list[int] | set[int], {1}),
            (list[int] | tuple[int, ...], (1,)),
            (dict[str, Cat | Dog], {"a": Dog("rex")}),
            (list[Cat | Dog | None], [Cat("mia")]),
            (tuple[Cat | Dog, ...], (Cat("mia"),)),
            (Box[Cat | Dog], Box(Cat("mia"))),
            (Pets, Pets([Cat("mia")])),
            (Counted, Counted(Counter("a"))),
            # unions that they do
            (int | str | None, "a"),
            (int | float, 1),
            (int | float, 1.0),
            (bool | int, True),
            (Cat | int, Cat("mia")),
            (Cat | list[int], [1]),
            (datetime | int, WHEN),
            (Decimal | int, Decimal(2)),
            (Decimal | float, Decimal("2.5")),
        ]
    )
}
PLACES = ("state", "field", "reply", "effect", "shared")


def generic(cls: Any) -> Any:
    """A class whose argument is known only when the program runs."""
    return cls


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same classes throughout. (A whole number may become a float.)"""
    if type(one) is not type(other):
        return type(one) is int and type(other) is float and one == other
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike(list(one), list(other)) and alike(list(one.values()), list(other.values()))
    if isinstance(one, (set, frozenset)):
        return one == other and {*map(type, one)} == {*map(type, other)}
    fields = getattr(one, "__struct_fields__", None) or tuple(getattr(one, "__dataclass_fields__", ()))
    if fields and not isinstance(one, type):
        return all(alike(getattr(one, name), getattr(other, name)) for name in fields)
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124


class Probe:
    """An agent of a case, for one place; ``seen`` is what it was given in this life."""

    def __init__(self, name: str, case: Case, place: str) -> None:
        self.id, self.case, self.place = name, case, place
        self.seen: list[Any] = []
        self.is_first = True
        self.stored: Any = case.value
        """What was accepted in the first life. (A reply of plain data is made into what is declared.)"""
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def agent(self) -> Agent[Any]:
        """The agent itself. Raises what its classes raise."""
        probe, case = self, self.case
        declared = case.declared
        base: Any = generic(Agent)[declared] if self.place == "state" else Agent
        content: Any = Begin
        if self.place == "field":
            content = msgspec.defstruct("Give", [("it", declared)], bases=(Payload,), frozen=True)
        elif self.place == "reply":
            content = types.new_class("Get", (generic(Request)[declared],))

        class Taker(base):  # type: ignore[misc]
            def initial_state(self) -> Any:
                return None

            @handles(content)  # type: ignore[untyped-decorator]
            async def take(self, message: Any, ctx: AgentContext[Any]) -> Any:
                return await probe.handle(message, ctx)

        self.content = (lambda: content(case.value)) if self.place == "field" else content
        return Taker(self.id)

    async def handle(self, message: Any, ctx: AgentContext[Any]) -> Any:
        if self.place == "reply":
            return self.case.value
        if self.place == "state":
            if self.is_first:
                ctx.state = self.case.value
            else:
                self.seen.append(ctx.state)
        elif self.place == "effect":
            result = await ctx.effect("make", lambda key: self.case.value, type=self.case.declared)
            await self._held(result)
        else:
            await self._held(getattr(message, "it", None))
        return None

    async def _held(self, value: Any) -> None:
        self.seen.append(value)
        if self.is_first:  # until the process ends
            self.reached.set_result(None)
            await asyncio.get_running_loop().create_future()


class Begin(Payload):
    """Do in this life what is to be done."""


async def first_life(manager: AgentManager, probe: Probe) -> str | None:
    """Store the value of ``probe``. The result is why that is refused; None if it is not."""
    if probe.place == "shared":
        try:
            await manager.shared_state.set(probe.id, probe.case.value, type=probe.case.declared)
        except TypeError as error:
            return str(error)
        return None
    try:
        await manager.register(probe.agent())
        if probe.place == "reply":
            probe.stored = await manager.ask(probe.id, probe.content(), message_id="the first")
        elif probe.place == "state":
            await manager.ask(probe.id, probe.content())
        else:
            await manager.tell(probe.id, probe.content())
            await asyncio.wait([probe.reached], timeout=5)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        return f"{type(error).__name__}: {error}"
    return next((letter.error for letter in manager.dead_letters if letter.message.to == probe.id), None)


async def second_life(manager: AgentManager, probe: Probe) -> Any:
    """What the next life reads. Raises whatever that raises."""
    probe.is_first = False
    probe.seen.clear()
    if probe.place == "shared":
        return await manager.shared_state.get(probe.id, type=probe.case.declared)
    await manager.register(probe.agent())
    if probe.place == "reply":
        return await manager.ask(probe.id, probe.content(), message_id="the first")
    if probe.place == "state":
        await manager.ask(probe.id, probe.content())
    await manager.settle()
    (value,) = probe.seen
    return value
