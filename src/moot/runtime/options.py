"""Options: what a system can be told, with defaults that are right for most."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from moot.policies import ParkedMail, Supervision
from moot.policies.fields import check_value

if TYPE_CHECKING:
    from moot.runtime.dispatch.interceptor import Interceptor
    from moot.runtime.dispatch.ready_queue import ReadyQueue
    from moot.runtime.liveness.deadlock import DeadlockMode
    from moot.runtime.routing.delivery import Delivery
    from moot.runtime.routing.selector import Selector
    from moot.runtime.routing.transport import Transport
    from moot.telemetry.mail_observer import MailObserver

__all__ = ["PATIENCE", "Options", "check_seams"]

PATIENCE = 30.0
"""Seconds that what an earlier life has left waits for agents that are not registered yet."""


class Options(TypedDict, total=False):
    """What a system can be told besides, each with a default that is right for most.

    ``supervision``: what is done about failures of the agents that have no parent. ``selector``: chooses which of the
    agents behind ``capability:NAME`` gets a message. ``deadlocks``: what happens to asks that wait in a circle:
    ``break`` fails one of them with `DeadlockError`, ``report`` logs and counts, ``off`` does not look. ``watchdog``:
    after how many seconds a blocked event loop is reported; None is never. ``at_once``: whether an awaited ask of an
    idle agent may be handled without a pass of the event loop; if not, every ask takes the queue of ready agents.
    ``patience``: for how many seconds a turn that an earlier life has left waits for an agent that it asks and that is
    not registered yet, 30 by default; see `AgentManager.ready`.
    ``parked``: how much mail a durable backend keeps for an agent that is not registered, and for how long.

    The rest is for what surrounds a system. ``interceptor``: wraps each run of a handler. ``transport``: a function
    that is called with the system's delivery, and makes what carries messages between agents. ``mail_observer``: sees
    what comes from outside. ``ready``: the queue of agents that can run; a simulator chooses with it which agent is
    next.
    """

    supervision: Supervision
    selector: Selector
    deadlocks: DeadlockMode
    watchdog: float | None
    at_once: bool
    patience: float
    parked: ParkedMail
    interceptor: Interceptor
    transport: Callable[[Delivery], Transport]
    mail_observer: MailObserver
    ready: ReadyQueue


_PLAIN: dict[str, Any] = {
    "supervision": Supervision,
    "deadlocks": Literal["break", "report", "off"],
    "watchdog": float | None,
    "at_once": bool,
    "patience": float,
    "parked": ParkedMail,
}
"""The types of the options that are values."""

_SEAMS = {"selector": "select", "interceptor": "intercept", "mail_observer": "sending", "transport": "__call__"}
"""The method that each of these options must have. Only the interceptor's is a coroutine."""


def check_seams(options: Options) -> None:
    """Refuse an option that could not be called. At run time it would fail in the middle of a turn.

    Raises:
        TypeError: an option is a class, has no such method, or is asynchronous where it must not be, or the reverse;
        a plain option is of another type. ValueError: it is of the type, and not allowed.
    """
    for name, kind in _PLAIN.items():
        if name in options:
            check_value("AgentManager", name, options[name], kind)  # type: ignore[literal-required]
    patience = options.get("patience", PATIENCE)
    if not 0 <= patience < math.inf:
        raise ValueError(f"patience= is 0 s or more and finite, not {patience:g}")
    watchdog = options.get("watchdog")
    if watchdog is not None and not 0 < watchdog < math.inf:
        raise ValueError(f"watchdog= is above 0 s and finite, not {watchdog:g}; None is for no watchdog")
    if "ready" in options and not all(hasattr(options["ready"], name) for name in ("__len__", "append", "popleft")):
        raise TypeError(f"ready= takes a queue with __len__, append and popleft, not {options['ready']!r}")
    for name, method in _SEAMS.items():
        given = options.get(name)
        if given is None:
            continue
        called = getattr(given, method, None)
        is_class = isinstance(given, type) and name != "transport"
        if is_class or not callable(called) or inspect.iscoroutinefunction(called) != (name == "interceptor"):
            kind = "an async method" if name == "interceptor" else "a plain method"
            raise TypeError(f"{name}= takes an object with {kind} {method!r}, not {given!r}")
