"""`moot dlq`: the dead letters in the file of a durable system: look at them, send them again, drop them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.repair import Repair, repairing
from moot.backends.sqlite.snapshots import UNREADABLE
from moot.cli.app import UsageError
from moot.cli.files import FILE, JSON, cell, day, printing, safe, shortened, to_json
from moot.messaging.dead_letters import Reason

__all__ = ["app"]

app = typer.Typer(help="List, show, requeue and drop the dead letters of a durable system.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Ids, as 'moot dlq list' shows them.")]
All = Annotated[bool, typer.Option("--all", help="All there are, or all of one --reason.")]
OfReason = Annotated[Reason | None, typer.Option("--reason", help="Only those that died of this.")]


@app.command("list")
def list_letters(file: FILE, reason: OfReason = None, json: JSON = False) -> None:
    """Show the dead letters, oldest first. Changes nothing; the system may run."""
    with printing(), inspecting(file) as inspection:
        letters = (one for one in inspection.letters() if reason is None or one.reason == reason.value)
        if json:
            print(to_json(list(letters)))
            return
        for one in letters:
            what = (
                f"{one.message_type} from {one.sender} to {one.agent_id}"
                if one.reason != UNREADABLE
                else f"mail of {one.agent_id}"
            )
            died = f"{one.id:>6}  {day(one.at)}  {one.reason}, {one.attempts} attempt(s)"
            print(safe(f"{died}  {cell(what)}: {cell(one.error, 300)}"))


@app.command()
def show(
    file: FILE,
    letter: Annotated[int, typer.Argument(metavar="ID", help="As 'moot dlq list' shows it.")],
    json: JSON = False,
) -> None:
    """Show one dead letter whole. Changes nothing; the system may run."""
    with printing(), known(file), inspecting(file) as inspection:
        one = inspection.letter(letter)
    if json:
        print(to_json(one))
        return
    lines = {
        "dead letter": str(one.id),
        "of": one.agent_id,
        "reason": one.reason,
        "error": one.error,
        "attempts": str(one.attempts),
        "died at": f"{day(one.at)} UTC",
        "message": one.message_id,
        "type": one.message_type,
        "from": one.sender,
        "to": one.to,
        "content": shortened(one.content, None),
    }
    for name, text in lines.items():
        print(f"{name:<13}{safe(text)}")


@app.command()
def requeue(file: FILE, letters: Ids = None, every: All = False, reason: OfReason = None) -> None:
    """Send dead letters again, as new messages that the next run handles. The system must be stopped."""
    with printing("call manager.requeue(ID) in it"), known(file), repairing(file) as held:
        sent = held.requeue(chosen(held, letters, every, reason))
    for letter_id, message in sent.items():
        print(safe(f"dead letter {letter_id} waits as message {message.id}: {message.message_type} to {message.to}"))
    print(f"{len(sent)} requeued")


@app.command()
def drop(file: FILE, letters: Ids = None, every: All = False, reason: OfReason = None) -> None:
    """Delete dead letters for good. The system must be stopped."""
    with printing("leave them there: they do no harm"), known(file), repairing(file) as held:
        count = held.drop(chosen(held, letters, every, reason))
    print(f"{count} dropped")


def chosen(held: Repair, letters: list[int] | None, every: bool, reason: Reason | None) -> list[int]:
    """The dead letters that are meant: those that are named, or all, or all of one reason."""
    if bool(letters) == every or (letters and reason is not None):
        raise UsageError("name the ids of dead letters, or give --all, which --reason can narrow")
    return letters or held.letters(reason.value if reason is not None else None)


@contextmanager
def known(file: Path) -> Iterator[None]:
    """Where one of the letters is not there, nothing is changed, and the user is told."""
    try:
        yield
    except KeyError as error:
        text = f"{file} has no dead letter {error.args[0]}; moot dlq list {file} shows those there are"
        raise UsageError(text) from None
