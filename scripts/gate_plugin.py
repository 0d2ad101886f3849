"""The pytest plugin of the gate: it tells which test is running, and lets the stacks be asked for from outside.

With ``--tell FILE`` each line of the file is what runs from then on and, where it is known, the seconds that
pytest-timeout gives it. The stacks of all threads go to FILE.stacks at SIGUSR1.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Generator
from typing import Any

import pytest

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that names the file."""
    parser.getgroup("gate").addoption("--tell", metavar="FILE", help="write there which test is running")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to tell. Ctrl-C has its meaning for the tests also where a shell has started the gate in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    file = config.getoption("--tell")
    if file is not None:
        config.pluginmanager.register(Teller(file))


class Teller:
    """Writes what is running."""

    def __init__(self, file: str) -> None:
        create = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        faulthandler.register(signal.SIGUSR1, file=os.open(f"{file}.stacks", create), all_threads=True, chain=False)
        self._file = os.open(file, create)
        self._tell("before the first test")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """A test begins, and ends."""
        self._tell(item.nodeid)
        try:
            return (yield)
        finally:
            self._tell(f"after {item.nodeid}, outside of any test:")

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> None:
        """pytest-timeout has worked out the limit of this test."""
        self._tell(item.nodeid, settings.timeout)

    def _tell(self, what: str, seconds: float | None = None) -> None:
        os.write(self._file, f"{json.dumps([what, seconds])}\n".encode())
