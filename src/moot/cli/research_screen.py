"""What ``moot research`` shows while it works: a live line with rich on a terminal, plain lines otherwise.

All of it goes to stderr, so that the report can be piped.
"""

from __future__ import annotations

import logging
import sys
import textwrap
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from moot.teams.research import Progress

__all__ = ["Screen"]

_WIDEST = 400


class Screen:
    """Shows progress; use it with ``with``, which ends the live line.

    Meanwhile the runtime's log is kept to errors: that an interrupted run withdraws its messages is no news here.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet or sys.stderr is None
        self._log = logging.getLogger("moot")
        self._level = self._log.level
        self._console: Console | None = None
        self._status: Status | None = None
        if not self._is_quiet and sys.stderr.isatty():
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)

    def __enter__(self) -> Self:
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)
        if self._console is not None:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._log.setLevel(self._level)
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """One line of the command's own."""
        self._line("moot", text)

    def show(self, progress: Progress) -> None:
        """One step of an agent."""
        self._line(progress.agent, progress.text)

    def _line(self, who: str, text: str) -> None:
        line = textwrap.shorten(f"{who}: {text}", _WIDEST, placeholder=" …")  # a question may be a page
        if self._is_quiet:
            return
        try:
            self._show(who, line)
        except OSError:  # nobody listens any more: the report does not depend on it
            self._is_quiet = True

    def _show(self, who: str, line: str) -> None:
        if self._console is None:
            typer.echo(line, err=True)
            return
        self._console.print(line, markup=False, style="dim")
        if self._status is not None:
            self._status.update(f"{who} …")
