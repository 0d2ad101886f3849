"""`moot run MODULE:APP`: a system of agents as a process.

APP is an `AgentManager`, a function that returns one, or a function that takes
one and registers agents with it; the functions may be async. The manager is
started, runs until Ctrl-C or SIGTERM, and is stopped in order.
"""

from __future__ import annotations

from typing import Annotated

import typer

from moot.cli.app import EXIT_INTERRUPTED

__all__ = ["run"]


def run(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:APP", help="A manager, or a function that makes or fills one.")
    ],
    engine: Annotated[
        str | None, typer.Option(envvar="MOOT_ENGINE", help="Engine of a manager that this command makes.")
    ] = None,
) -> None:
    """Run the agents of MODULE:APP until Ctrl-C."""
    from moot.cli.serving import serve  # the runtime, which --help does without

    if serve(target, engine):
        raise typer.Exit(EXIT_INTERRUPTED)
