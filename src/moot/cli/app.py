"""The command group: which commands there are, and how they end.

Each command is one module of this package, named in `COMMANDS` with its line
of help and loaded only when it is called: importing all of them would cost
more than the help text takes. Errors a user can do something about end in one
line on stderr and exit code 2 (usage) or 1 (it did not work); a traceback is
for bugs.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TextIO

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from moot.errors import MootError

__all__ = [
    "COMMANDS",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_USAGE",
    "Command",
    "LazyGroup",
    "UsageError",
    "app",
    "run",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UsageError(Exception):
    """The command cannot start with what it was given; the text is shown as one line, exit code 2."""


class Command(NamedTuple):
    """Where a command lives: ``target`` in ``module`` is a `typer.Typer` or a function with typer's annotations."""

    module: str
    target: str
    help: str

    def load(self) -> Any:
        """The click command, with its module imported."""
        found = getattr(importlib.import_module(self.module), self.target)
        if not isinstance(found, typer.Typer):
            return get_command(single(found))
        found.rich_markup_mode = None
        return get_group(found)


COMMANDS = {
    "research": Command("moot.cli.research", "research", "Answer a question from your own documents, with citations."),
    "resume": Command("moot.cli.resume", "resume", "Go on with a research run that was kept in a file."),
    "run": Command("moot.cli.run", "run", "Run the agents of MODULE:APP until Ctrl-C."),
    "demo": Command("moot.cli.demo", "app", "Show a coordination pattern at work."),
    "simulate": Command("moot.cli.simulate", "simulate", "Run a system in simulation, with many seeds and faults."),
    "models": Command("moot.cli.models", "app", "List, download and verify language models."),
    "bench": Command("moot.cli.bench", "bench", "Measure this machine: messages, asks and fan-out per second."),
    "doctor": Command("moot.cli.doctor", "doctor", "Check this machine, or the file of a durable system."),
    "inspect": Command("moot.cli.inspect", "inspect", "Show what is in the file of a durable system."),
    "dlq": Command("moot.cli.dlq", "app", "Look at the dead letters of a durable system, requeue or drop them."),
    "vacuum": Command("moot.cli.vacuum", "vacuum", "Make the file of a durable system small again."),
    "version": Command("moot.cli.version", "version", "Print the version."),
}


class LazyGroup(TyperGroup):
    """A group whose commands are stand-ins with a line of help until one is called. A subclass names them."""

    loads: ClassVar[Mapping[str, Command]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands.update({name: stand_in(name, command.help) for name, command in self.loads.items()})

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table: what a newcomer needs first stands first."""
        return list(self.loads)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the stand-in that is about to run by the real command."""
        name = args[0] if args else ""
        if name in self.loads:
            self.add_command(self.loads[name].load(), name)
        return super().resolve_command(ctx, args)


class Commands(LazyGroup):
    """The commands of ``moot``."""

    loads = COMMANDS


def single(function: Callable[..., Any]) -> typer.Typer:
    """A Typer app of one command."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command()(function)
    return alone


def stand_in(name: str, text: str) -> Any:
    """A command that only has a name and a help line."""

    def nothing() -> None: ...

    nothing.__name__, nothing.__doc__ = name, text
    return get_command(single(nothing))


app = typer.Typer(
    name="moot",
    cls=Commands,
    help="Multi-agent systems: agents, messages and a shared language-model engine.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich alone would cost 150 ms
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options() -> None:
    """Exists so that the app is a group also when only one command is registered."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = get_command(app)(args=list(arguments), prog_name="moot", standalone_mode=False)
    except typer.Abort:
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost frame: what is a bug is raised again
        code = explain(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    return flush(code if isinstance(code, int) else EXIT_OK)


def explain(error: Exception) -> int:
    """Say on stderr what went wrong, in one line where the user can mend it; re-raise what is a bug."""
    if callable(show := getattr(error, "show", None)):  # typer's own usage errors
        show()
        return int(getattr(error, "exit_code", EXIT_USAGE))
    if isinstance(error, (UsageError, MootError)):
        print(f"moot: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
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
