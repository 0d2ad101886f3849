"""`moot dlq`: the dead letters in the file of a durable system, and the mail that may become some: look, send, drop."""

from __future__ import annotations

from typing import Annotated

import typer

from moot.cli.file_options import FILE, JSON
from moot.cli.group import Group
from moot.messaging.reason import Reason

__all__ = ["app"]

app = typer.Typer(
    cls=Group, help="List, show, requeue and drop the dead letters of a durable system.", no_args_is_help=True
)

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Ids, as 'moot dlq list' shows them.")]
All = Annotated[bool, typer.Option("--all", help="All there are, or all of one --reason.")]
OfReason = Annotated[Reason | None, typer.Option("--reason", help="Only those that died of this.")]


@app.command("list")
def list_letters(file: FILE, reason: OfReason = None, json: JSON = False) -> None:
    """Show the dead letters, oldest first. Changes nothing; the system may run."""
    from moot.cli.letters import print_all  # here and below: the backend, which --help does without

    print_all(file, reason, as_json=json)


@app.command()
def show(
    file: FILE,
    letter: Annotated[int, typer.Argument(metavar="ID", help="As 'moot dlq list' shows it.")],
    json: JSON = False,
) -> None:
    """Show one dead letter whole. Changes nothing; the system may run."""
    from moot.cli.letters import print_one

    print_one(file, letter, as_json=json)


@app.command()
def requeue(file: FILE, letters: Ids = None, every: All = False, reason: OfReason = None) -> None:
    """Send dead letters again, as new messages that the next run handles. The system must be stopped."""
    from moot.cli.letters import send_again

    send_again(file, letters, reason, every=every)


@app.command()
def drop(file: FILE, letters: Ids = None, every: All = False, reason: OfReason = None) -> None:
    """Delete dead letters for good. The system must be stopped."""
    from moot.cli.letters import delete

    delete(file, letters, reason, every=every)


@app.command()
def parked(file: FILE, json: JSON = False) -> None:
    """Show for whom mail waits, and since when nobody claims it. Changes nothing; the system may run."""
    from moot.cli.parked import print_parked

    print_parked(file, as_json=json)


@app.command()
def discard(
    file: FILE,
    agent: Annotated[str | None, typer.Option(help="The mail of this agent.")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Only what nobody has claimed for so many days.")
    ] = None,
) -> None:
    """Delete mail that waits, for good: that of --agent, or what is --older-than. The system must be stopped."""
    from moot.cli.parked import discard_mail

    discard_mail(file, agent, older_than)
