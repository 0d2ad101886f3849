"""The table of commands: what each is called, what it is for, and where it lives.

Nothing of a command is loaded to name it: ``moot --help`` needs this table and no more.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ABOUT", "COMMANDS", "Command", "overview"]

ABOUT = "Multi-agent systems: agents, messages and a shared language-model engine."


class Command(NamedTuple):
    """Where a command lives: ``target`` in ``module`` is a `typer.Typer` or a function with typer's annotations."""

    module: str
    target: str
    help: str


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
    "dlq": Command("moot.cli.dlq", "app", "Look at a durable system's dead letters, requeue or drop them."),
    "vacuum": Command("moot.cli.vacuum", "vacuum", "Make the file of a durable system small again."),
    "version": Command("moot.cli.version", "version", "Print the version."),
}

_HEAD = """\
Usage: moot [OPTIONS] COMMAND [ARGS]...

  {about}

Options:
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or
                        customize the installation.
  -h, --help            Show this message and exit.

Commands:
"""


def overview() -> str:
    """The text of ``moot --help``, for 80 columns.

    It is what typer would print; to load typer alone takes longer than all the rest of ``moot --help``.
    """
    width = max(map(len, COMMANDS))
    return _HEAD.format(about=ABOUT) + "\n".join(f"  {name:{width}}  {one.help}" for name, one in COMMANDS.items())
