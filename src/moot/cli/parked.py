"""What `moot dlq` does with the mail that waits in a durable system's file."""

from __future__ import annotations

import time
from pathlib import Path

from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.repair import repairing
from moot.cli.app import UsageError
from moot.cli.files import cell, columns, day, printing, safe, size, to_json

__all__ = ["discard_mail", "print_parked"]


def print_parked(file: Path, *, as_json: bool) -> None:
    """Print for whom mail waits, that which nobody claims first."""
    with printing(), inspecting(file) as inspection:
        waiting = inspection.waiting()
    if as_json:
        print(to_json(waiting))
        return
    rows = [
        (
            *(cell(one.agent_id), str(one.mail), size(one.bytes)),
            "-" if one.unclaimed_since is None else day(one.unclaimed_since),
        )
        for one in waiting
    ]
    for line in columns([("agent", "mail", "size", "unclaimed since (UTC)"), *rows]) if rows else ["no mail waits"]:
        print(line)


def discard_mail(file: Path, agent: str | None, days: float | None) -> None:
    """Delete mail that waits."""
    if agent is None and days is None:
        raise UsageError("say whose mail with --agent, or how old it is with --older-than; both narrow it")
    before = time.time() - days * 86400 if days is not None else None
    with printing("register the agent in it, which then handles its mail"):
        try:
            with repairing(file) as held:
                count = held.discard(agent, before)
        except KeyError:
            text = f"{file} knows no agent {agent!r}; moot dlq parked {file} shows for whom mail waits"
            raise UsageError(safe(text)) from None
    print(f"{count} messages deleted")
