"""`moot inspect`: what is in the file of a durable system, also while the system runs."""

from __future__ import annotations

from typing import Annotated

import typer

from moot.cli.file_options import FILE, JSON

__all__ = ["inspect"]

_SHOWN = 20


def inspect(
    file: FILE,
    agent: Annotated[str | None, typer.Option(help="Show the mail and the state of this agent.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="The most entries of a list, 0 for all; 20, with --json all.")
    ] = None,
    json: JSON = False,
) -> None:
    """Show the agents, mail, timers, dead letters and keys in the file of a durable system. Changes nothing."""
    from moot.cli.file_view import show  # the backend, which --help does without

    if limit is None:
        limit = 0 if json else _SHOWN
    show(file, agent, limit, as_json=json)
