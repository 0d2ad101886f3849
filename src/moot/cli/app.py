"""The command line: what is called, and how it ends.

``moot --help`` needs no more than the table of commands, and a command no more than its own module; typer is loaded
for neither until something has to be parsed. Errors a user can do something about end in one line on stderr and exit
code 2 (usage) or 1 (it did not work); a traceback is for bugs.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from moot.cli.commands import overview
from moot.errors import MootError

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_USAGE",
    "UsageError",
    "run",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UsageError(Exception):
    """The command cannot start with what it was given; the text is shown as one line, exit code 2."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = call(list(arguments))
    except Exception as error:  # noqa: BLE001 - the outermost frame: what is a bug is raised again
        code = explain(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    return flush(code if isinstance(code, int) else EXIT_OK)


def call(arguments: list[str]) -> object:
    """Show the commands, or run one; the exit code if it is an integer."""
    if arguments in (["--help"], ["-h"]) and shutil.get_terminal_size().columns >= 80:
        print(overview(), flush=True)
        return EXIT_OK
    from moot.cli.group import invoke  # typer takes longer to load than the help takes in all

    return invoke(arguments)


def explain(error: Exception) -> int:
    """Say on stderr what went wrong, in one line where the user can mend it; re-raise what is a bug."""
    if callable(show := getattr(error, "show", None)):  # typer's own usage errors
        show()
        return int(getattr(error, "exit_code", EXIT_USAGE))
    if isinstance(error, (UsageError, MootError)):
        print(f"moot: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    if isinstance(error, BrokenPipeError):  # a reader that went away (``moot … | head``) wants to hear no more
        return EXIT_FAILED
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        print(f"moot: cannot write: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    raise error


def flush(code: int) -> int:
    """Write out what is buffered; a reader that went away (``moot … | head``) is no error."""
    problem = drain(sys.stdout)
    drain(sys.stderr)  # what could not be said there is no failure of the command
    if problem is not None and not isinstance(problem, BrokenPipeError):
        return explain(problem)
    return code


def drain(stream: TextIO | None) -> OSError | None:
    """Write out what a stream holds back; where that fails, let it go, since Python's own try at exit ends with 120."""
    if stream is None:  # it was closed before we began
        return None
    try:
        stream.flush()
    except OSError as error:
        forget(stream)
        return error
    return None


def forget(stream: TextIO) -> None:
    """Point a stream to nowhere, so that what is still buffered is no error at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
