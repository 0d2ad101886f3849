"""Registration: what an agent says of itself, and its registration in its place, is checked before it is added."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, TypedDict

from moot.ids import is_text
from moot.policies.fields import as_declared, check_value
from moot.policies.settings import (
    BreakerPolicy,
    MailboxPolicy,
    RateLimit,
    RestartKind,
    RetryPolicy,
    Supervision,
    TimeoutPolicy,
)

__all__ = ["Policies", "check_names", "check_policies", "names_of"]


class Policies(TypedDict, total=False):
    """What a registration may say in place of the agent's class; the names are those of its attributes."""

    mailbox: MailboxPolicy
    retry: RetryPolicy
    timeouts: TimeoutPolicy
    rate_limit: RateLimit | None
    breaker: BreakerPolicy | None
    supervision: Supervision
    restart: RestartKind


def check_policies(agent_id: str, said: Policies) -> None:
    """Refuse what an agent says, or its registration, that is no policy.

    Raises:
        TypeError: it is of the wrong type. ValueError: ``restart`` is none of the three.
    """
    for name, kind in typing.get_type_hints(Policies).items():
        check_value(f"agent {agent_id!r}", name, said[name], kind)  # type: ignore[literal-required]


def names_of(agent_id: str, attribute: str, given: Any, prefix: str) -> tuple[str, ...]:
    """The names in what an agent says of its ``capabilities`` or ``topics``; one name stands for itself.

    Raises:
        TypeError: these are no names. ValueError: one is empty, or begins with ``prefix``, as only an address does.
    """
    names = as_declared(given, tuple[str, ...])
    check_value(f"agent {agent_id!r}", attribute, names, tuple[str, ...], f"{attribute} = ('one', 'another')")
    for name in names:
        if not name or name.startswith(prefix) or not is_text(name):
            raise ValueError(
                f"agent {agent_id!r}: {name!r} in {attribute} is no name; "
                f"write text that is not empty and has no {prefix!r} before it"
            )
    return typing.cast("tuple[str, ...]", names)


def check_names(given: Mapping[str, object], known: type[Any], what: str) -> None:
    """Refuse keyword arguments that the typed dictionary ``known`` does not have. Raises `TypeError`."""
    if unknown := given.keys() - known.__annotations__:
        raise TypeError(f"there is no {what} {min(unknown)!r}; there are: {', '.join(known.__annotations__)}")
