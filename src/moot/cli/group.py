"""The commands as typer sees them: a group whose members are loaded only when they are called.

Importing all of them would cost more than the help text takes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from moot.cli.commands import ABOUT, COMMANDS, Command

__all__ = ["Group", "LazyGroup", "app", "invoke"]

_SETTINGS = {"help_option_names": ["-h", "--help"]}


class Single(TyperCommand):
    """A command by itself."""

    def get_help_option(self, ctx: Any) -> Any:
        """The help flag; see `flag`."""
        return flag(super().get_help_option(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_help_option(self, ctx: Any) -> Any:
        """The help flag; see `flag`."""
        return flag(super().get_help_option(ctx))


class LazyGroup(Group):
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
            self.add_command(load(self.loads[name]), name)
        return super().resolve_command(ctx, args)


class Commands(LazyGroup):
    """The commands of ``moot``."""

    loads = COMMANDS


def flag(option: Any) -> Any:
    """A flag that is off unless it is given: for the value of one that is neither on nor off, typer loads pydantic."""
    if option is not None:
        option.default = False
    return option


def load(command: Command) -> Any:
    """A command as typer runs it, with its module imported."""
    found = getattr(importlib.import_module(command.module), command.target)
    if not isinstance(found, typer.Typer):
        return get_command(single(found))
    found.rich_markup_mode = None
    return get_group(found)


def single(function: Callable[..., Any]) -> typer.Typer:
    """A Typer app of one command."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(cls=Single)(function)
    return alone


def stand_in(name: str, text: str) -> Any:
    """A command that only has a name and a help line."""

    def nothing() -> None: ...

    nothing.__name__, nothing.__doc__ = name, text
    return get_command(single(nothing))


app = typer.Typer(
    name="moot",
    cls=Commands,
    help=ABOUT,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich alone would cost 150 ms
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)


@app.callback()
def options() -> None:
    """Exists so that the app is a group also when only one command is registered."""


def invoke(arguments: list[str]) -> object:
    """Run a command line; the exit code if it is an integer.

    A command that stands first runs without the group around it: the group has options of its own, and for their
    values typer loads pydantic, even where none is given.

    Raises:
        KeyboardInterrupt: the command was interrupted.
    """
    name = arguments[0] if arguments else ""
    is_alone = name in COMMANDS and "_MOOT_COMPLETE" not in os.environ
    try:
        if is_alone:
            command = load(COMMANDS[name])
            return command(args=arguments[1:], prog_name=f"moot {name}", standalone_mode=False, **_SETTINGS)
        return get_command(app)(args=arguments, prog_name="moot", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
