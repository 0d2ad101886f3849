"""What `moot dlq` does with the dead letters in a durable system's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.repair import Repair, repairing
from moot.backends.sqlite.snapshots import UNREADABLE
from moot.cli.app import UsageError
from moot.cli.files import cell, day, printing, safe, shortened, to_json
from moot.messaging.reason import Reason

__all__ = ["delete", "print_all", "print_one", "send_again"]


def print_all(file: Path, reason: Reason | None, *, as_json: bool) -> None:
    """Print the dead letters, oldest first."""
    with printing(), inspecting(file) as inspection:
        letters = (one for one in inspection.letters() if reason is None or one.reason == reason.value)
        if as_json:
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


def print_one(file: Path, letter: int, *, as_json: bool) -> None:
    """Print one dead letter whole."""
    with printing(), known(file), inspecting(file) as inspection:
        one = inspection.letter(letter)
    if as_json:
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


def send_again(file: Path, letters: list[int] | None, reason: Reason | None, *, every: bool) -> None:
    """Send dead letters again, as new messages."""
    with printing("call manager.requeue(ID) in it"), known(file), repairing(file) as held:
        sent = held.requeue(chosen(held, letters, reason, every=every))
    for letter_id, message in sent.items():
        print(safe(f"dead letter {letter_id} waits as message {message.id}: {message.message_type} to {message.to}"))
    print(f"{len(sent)} requeued")


def delete(file: Path, letters: list[int] | None, reason: Reason | None, *, every: bool) -> None:
    """Delete dead letters for good."""
    with printing("leave them there: they do no harm"), known(file), repairing(file) as held:
        count = held.drop(chosen(held, letters, reason, every=every))
    print(f"{count} dropped")


def chosen(held: Repair, letters: list[int] | None, reason: Reason | None, *, every: bool) -> list[int]:
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
