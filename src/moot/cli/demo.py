"""`moot demo PATTERN`: a coordination pattern at work, with a result to look at.

Each demo is a module of `moot.cli.demos`, loaded when it is called. They use no language model and no network; the
same ``--seed`` shows the same run.
"""

from __future__ import annotations

import typer

from moot.cli.commands import Command
from moot.cli.group import LazyGroup

__all__ = ["DEMOS", "app"]

DEMOS = {
    name: Command(f"moot.cli.demos.{name}", function, text)
    for name, function, text in (
        ("hierarchy", "hierarchy", "A tree of managers counts primes while workers fail and hang."),
        ("contract_net", "contract_net", "Jobs are put out to tender among six workshops."),
        ("market", "market", "Four kinds of auction among the same bidders."),
        ("swarm", "swarm", "Boids that nobody leads come to fly in one direction."),
        ("voting", "voting", "A hundred ballots, counted by five methods."),
        ("debate", "debate", "Seven guesses converge, round by round."),
        ("group_chat", "group_chat", "A help desk hands questions on, and each chat ends."),
        ("blackboard", "blackboard", "Misheard syllables become a sentence on a board."),
        ("saga", "saga", "A trip is booked step by step, and undone where it fails."),
        ("scatter_gather", "scatter", "Ten sensors are asked; six answers are enough, or all that come."),
        ("pipeline", "pipeline", "Texts pass through three stages, all at work at once."),
        ("map_reduce", "map_reduce", "Words counted by workers who crash and hang."),
    )
}


class Demos(LazyGroup):
    """The demos, by the names of their patterns."""

    loads = DEMOS


app = typer.Typer(cls=Demos, help="Show a coordination pattern at work.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Show a coordination pattern at work."""
