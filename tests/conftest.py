"""Settings that hold for all tests: how Hypothesis searches, and an environment that does not leak in."""

from __future__ import annotations

import functools
import inspect
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from moot import AgentManager
from moot.testing import run

pytest_plugins = ["moot.testing.pytest_plugin"]  # where moot is installed, it is there by itself

# No deadline: speed is shown by benchmarks, never by a test. In CI the examples are derived from the test itself, so
# that a red gate is red again on the next run; elsewhere each run searches anew.
settings.register_profile(
    "gate",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--queued``: also an ask of an idle agent takes the queue of ready agents, unless a test says otherwise."""
    parser.addoption("--queued", action="store_true", help="managers are made with at_once=False by default")


@pytest.fixture(autouse=True, scope="session")
def way_of_asks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whether asks of idle agents are handled at once; see `pytest_addoption`."""
    if not request.config.getoption("--queued"):
        yield
        return
    begin = AgentManager.__init__

    @functools.wraps(begin)
    def begin_queued(manager: AgentManager, *words: Any, **options: Any) -> None:
        begin(manager, *words, **{"at_once": False} | options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentManager, "__init__", begin_queued)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own engine, model or colour settings decide no test."""
    for name in ("MOOT_ENGINE", "MOOT_MODEL", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


class _Counted(sqlite3.Connection):
    """A connection that knows whether it was closed."""

    still_open: set[_Counted] = set()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.still_open.add(self)

    def close(self) -> None:
        super().close()
        self.still_open.discard(self)


@pytest.fixture(autouse=True)
def every_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever opens a database closes it before the test ends.

    Python warns of this from 3.13 on, and then in whatever test the collector happens to run.
    """
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    before = set(_Counted.still_open)

    def connect_counted(*args: Any, **options: Any) -> sqlite3.Connection:
        return connect(*args, **{"factory": _Counted} | options)

    monkeypatch.setattr(sqlite3, "connect", connect_counted)
    yield
    left = _Counted.still_open - before
    for connection in left:
        connection.close()
    assert not left, f"{len(left)} connection(s) to a database were left open"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests on a virtual clock: an hour of timeouts takes no time, and a stall fails at once."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True
