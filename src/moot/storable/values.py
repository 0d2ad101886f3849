"""Values that are read again as themselves: the check, and the copy.

The check is the promise itself: a value is encoded, read as its declared type, and compared with what was read, class
by class. What was read is also a copy that nobody else holds. So what an agent gets is in every life, and on every
backend, what it would be read as.

Values of a class with only numbers, texts and bytes cannot be changed and are not copied. For them the classes of the
fields decide, and a set of classes that was good once is good again; that costs a tenth of a microsecond.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from moot.errors import MootError
from moot.storable.difference import UNREADABLE, difference, explained, is_within
from moot.storable.types import SCALARS, fault_of, fields_of, is_mutable, is_scalar, scalars_of

__all__ = ["Form", "Unstorable", "form_of", "form_of_reply", "loose", "made_form", "plain"]

Admit = Callable[[Any], Any]

_LARGEST = (1 << 63) - 1
_encode = msgspec.msgpack.encode
_fields = msgspec.structs.astuple


class Unstorable(MootError, TypeError):
    """A value, or a type, that could not be read again in another life of the process."""


class Form(NamedTuple):
    """How values of one type are stored.

    ``admit(value)`` is the value as it is read again, a copy of it if it may be changed in place; it raises
    `Unstorable` if that is not the same. ``copy(value)`` is a copy of a value that was admitted; None if none is
    needed, because such a value cannot be changed. ``fault`` says why no value of the type is admitted; empty if
    values are. ``admit_own`` is as ``admit``, but faster, for what is known to be of the very class; None if it is not
    faster.
    """

    admit: Admit
    copy: Callable[[Any], Any] | None = None
    fault: str = ""
    admit_own: Admit | None = None


def form_of(kind: Any) -> Form:
    """The form of the type ``kind``. A type that cannot be read again has one that admits nothing."""
    try:
        return _form_of(kind)
    except TypeError:  # the type cannot be hashed
        return made_form(kind)


@functools.lru_cache(maxsize=4096)
def _form_of(kind: Any) -> Form:
    return made_form(kind)


def made_form(kind: Any) -> Form:
    """As `form_of`, for a caller that keeps it."""
    fault = fault_of(kind)
    if fault is not None:
        return Form(_refuser(str(fault)), fault=str(fault))
    decode = msgspec.msgpack.Decoder(kind).decode

    def admit(value: Any) -> Any:
        try:
            again = decode(_encode(value))
            gap = difference(value, again)
        except UNREADABLE as error:
            raise Unstorable(explained(error, value)) from None
        if gap is not None:
            raise Unstorable(gap.removeprefix(".").removeprefix(": "))
        return again

    if is_mutable(kind):
        return Form(admit, lambda value: decode(_encode(value)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not hasattr(kind, "__post_init__"):
        fields = fields_of(kind)
        if all(map(is_scalar, fields.values())):
            flat = _flat(fields, admit)
            return Form(lambda value: (flat if value.__class__ is kind else admit)(value), admit_own=flat)
    elif is_scalar(kind):
        return Form(_scalar(scalars_of(kind), admit))
    return Form(admit)


def _flat(kinds: dict[str, Any], admit: Admit) -> Admit:
    """The check of a class whose fields hold numbers, texts and bytes alone.

    Most such classes have few fields with one class each. For them it stands written out: it is a tenth of a tell.
    """
    if not kinds:
        return lambda value: value
    declared = tuple(kinds.values())
    if len(kinds) <= len(_WRITTEN_OUT) and all(kind in SCALARS for kind in declared):
        return _WRITTEN_OUT[len(kinds) - 1](admit, *declared)
    classes_of = attrgetter(*(f"{name}.__class__" for name in kinds))
    approved = set()

    def admit_flat(value: Any) -> Any:
        if classes_of(value) in approved:
            try:
                _encode(value)  # a number may be too large, and a text may be none
            except (ValueError, OverflowError):
                return admit(value)
            return value
        again = admit(value)
        classes = classes_of(again)
        if classes_of(value) != classes:  # a whole number where a float is declared
            return again
        approved.add(classes)
        return value

    return admit_flat


def _of_one(admit: Admit, first: type) -> Admit:
    def admit_one(value: Any) -> Any:
        (one,) = _fields(value)
        if one.__class__ is first:
            try:
                _encode(value)  # as fast as to look whether a number is too large, or a text is none
            except (ValueError, OverflowError):
                return admit(value)
            return value
        return admit(value)

    return admit_one


def _of_two(admit: Admit, first: type, second: type) -> Admit:
    def admit_two(value: Any) -> Any:
        one, two = _fields(value)
        if one.__class__ is first and two.__class__ is second:
            try:
                _encode(value)
            except (ValueError, OverflowError):
                return admit(value)
            return value
        return admit(value)

    return admit_two


_WRITTEN_OUT: tuple[Callable[..., Admit], ...] = (_of_one, _of_two)


def _scalar(kinds: frozenset[type], admit: Admit) -> Admit:
    """The check of a number, a text or bytes."""

    def admit_scalar(value: Any) -> Any:
        kind = value.__class__
        if kind in kinds:
            if kind is int:
                return value if -_LARGEST <= value <= _LARGEST else admit(value)
            if kind is not str or value.isascii():
                return value
        return admit(value)

    return admit_scalar


def form_of_reply(kind: Any) -> Form:
    """As `form_of`, but plain data is made into the ``kind``, as plain content is made into a payload."""
    form = form_of(kind)
    if form.fault or kind is Any or is_scalar(kind):
        return form
    return _form_of_reply(form, kind)


def _form_of_reply(form: Form, kind: Any) -> Form:
    decode = msgspec.msgpack.Decoder(kind).decode

    def admit(value: Any) -> Any:
        try:
            return form.admit(value)
        except Unstorable:
            if value.__class__ is not dict and value.__class__ is not list:
                raise
            plain().admit(value)
            try:
                again = decode(_encode(value))
                if is_within(value, msgspec.msgpack.decode(_encode(again))):
                    return again
            except UNREADABLE as error:
                raise Unstorable(explained(error, value)) from None
            raise

    return form._replace(admit=admit)


def plain() -> Form:
    """The form of what no type is declared for: it is read again as maps, lists and scalars."""
    return _form_of(Any)


def loose() -> Form:
    """The form of a value whose type is declared where this process does not see it. It can be stored, that is all."""
    return _LOOSE


def _admit_loose(value: Any) -> Any:
    try:
        _encode(value)
    except UNREADABLE as error:
        raise Unstorable(explained(error, value)) from None
    return value


_LOOSE = Form(_admit_loose)


def _refuser(reason: str) -> Admit:
    def refuse(value: Any) -> Any:  # noqa: ARG001 - as any other form
        raise Unstorable(reason)

    return refuse
