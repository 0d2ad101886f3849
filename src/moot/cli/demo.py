"""`moot demo PATTERN`: a coordination pattern at work, with a result to look at.

Each demo is a module of `moot.cli.demos`, loaded when it is called. They use no language model and no network; the
same ``--seed`` shows the same run.
"""

from __future__ import annotations

import typer

from moot.cli.app import Command, LazyGroup

__all__ = ["DEMOS", "app"]

DEMOS = {
    "blackboard": Command(
        "moot.cli.demos.blackboard", "blackboard", "Misheard syllables become a sentence on a board."
    ),
    "pipeline": Command("moot.cli.demos.pipeline", "pipeline", "Texts pass through three stages, all at work at once."),
    "saga": Command("moot.cli.demos.saga", "saga", "A trip is booked step by step, and undone where it fails."),
}


class Demos(LazyGroup):
    """The demos, by the names of their patterns."""

    loads = DEMOS


app = typer.Typer(cls=Demos, help="Show a coordination pattern at work.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Show a coordination pattern at work."""
