"""`moot demo PATTERN`: a coordination pattern at work, with a result to look at.

Each demo is a module of `moot.cli.demos`, loaded when it is called. They use no language model and no network; the
same ``--seed`` shows the same run.
"""

from __future__ import annotations

import typer

from moot.cli.app import Command, LazyGroup

__all__ = ["DEMOS", "app"]

DEMOS = {
    "map_reduce": Command("moot.cli.demos.map_reduce", "map_reduce", "Words counted by workers who crash and hang."),
    "debate": Command("moot.cli.demos.debate", "debate", "Seven guesses converge, round by round."),
    "group_chat": Command(
        "moot.cli.demos.group_chat", "group_chat", "A help desk hands questions on, and each chat ends."
    ),
    "voting": Command("moot.cli.demos.voting", "voting", "A hundred ballots, counted by five methods."),
    "market": Command("moot.cli.demos.market", "market", "Four kinds of auction among the same bidders."),
    "pipeline": Command("moot.cli.demos.pipeline", "pipeline", "Texts pass through three stages, all at work at once."),
    "swarm": Command("moot.cli.demos.swarm", "swarm", "Boids that nobody leads come to fly in one direction."),
}


class Demos(LazyGroup):
    """The demos, by the names of their patterns."""

    loads = DEMOS


app = typer.Typer(cls=Demos, help="Show a coordination pattern at work.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Show a coordination pattern at work."""
