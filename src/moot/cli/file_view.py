"""The view of a durable system's file that `moot inspect` prints, also while the system runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.snapshots import AgentMail, Overview
from moot.cli.app import UsageError
from moot.cli.files import cell, columns, day, printing, safe, shortened, size, to_json

__all__ = ["show"]

_CELL = 150


def show(file: Path, agent: str | None, limit: int, *, as_json: bool) -> None:
    """Print what is in the file, or the mail and the state of one agent; ``limit`` 0 is all of each list."""
    with printing(), inspecting(file) as inspection:
        if agent is None:
            overview = inspection.overview(limit or -1)
            lines = [to_json(overview)] if as_json else list(of_file(overview))
        else:
            try:
                mail = inspection.agent(agent, limit or -1)
            except KeyError:
                raise UsageError(
                    safe(f"{file} knows no agent {agent!r}; moot inspect {file} shows those it does")
                ) from None
            lines = [to_json(mail)] if as_json else list(of_agent(mail))
    for line in lines:
        print(line)


def of_file(overview: Overview) -> Iterator[str]:
    """An overview, in sections; those that are empty are left out."""
    totals = overview.totals
    log = f", and {size(overview.log_bytes)} in {Path(overview.path).name}-wal" if overview.log_bytes else ""
    yield safe(f"{overview.path}: {size(overview.bytes)}{log}; batch {overview.batch}")
    yield (
        f"agent ids: {totals['agents']}, messages waiting: {totals['mail']}, states: {totals['states']}, "
        f"timers: {totals['timers']}, dead letters: {totals['letters']}, records: {totals['records']} of "
        f"{totals['turns']} turns, given ids: {totals['given']}, shared keys: {totals['shared']} "
        f"(and {totals['deleted']} deleted)"
    )
    agents = [
        (
            *(one.agent_id, str(one.mail), one.oldest or "-"),
            *("-" if one.state_version is None else f"version {one.state_version}", size(one.state_bytes)),
        )
        for one in overview.agents
    ]
    yield from section(("agent", "mail", "oldest mail", "state", "size"), agents, totals["agents"])
    timers = [
        (day(one.due), one.agent_id, one.message_type, f"every {one.every:g} s" if one.every else "once")
        for one in overview.timers
    ]
    yield from section(("timer due (UTC)", "agent", "message type", "repeats"), timers, totals["timers"])
    turns = [(one.turn, str(one.records), size(one.bytes)) for one in overview.turns]
    yield from section(("turn", "records", "size"), turns, totals["turns"])
    given = [
        (one.idempotency_key, one.address or "(ask of a turn)", day(one.at), "yes" if one.is_answered else "no")
        for one in overview.given
    ]
    yield from section(("given id", "address", "at (UTC)", "answer kept"), given, totals["given"])
    letters = [(reason, str(count)) for reason, count in overview.letters.items()]
    yield from section(("dead letters", "count"), letters, len(letters))
    shared = [(one.key, str(one.version), size(one.bytes)) for one in overview.shared]
    yield from section(("shared key", "version", "size"), shared, totals["shared"])


def of_agent(agent: AgentMail) -> Iterator[str]:
    """The mail and the state of an agent."""
    yield safe(f"{agent.agent_id}, messages waiting: {agent.waiting}")
    mail = [(one.id, one.sender, one.message_type, str(one.attempts), shortened(one.content)) for one in agent.mail]
    yield from section(("mail", "from", "message type", "attempts", "content"), mail, agent.waiting)
    yield ""
    if agent.state_version is None:
        yield "no state is kept"
    else:
        yield f"state, version {agent.state_version}, {size(agent.state_bytes)}:"
        yield shortened(agent.state, 2000)


def section(head: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> Iterator[str]:
    """A table under its head, and how much of it is not shown."""
    if not rows:
        return
    yield ""
    yield from columns([head, *([cell(text, _CELL) for text in row] for row in rows)])
    if len(rows) < total:
        yield f"… and {total - len(rows):,} more (--limit 0 shows all)"
