"""`moot simulate MODULE:BUILD`: run a system in simulation, with one seed after the other.

BUILD is a function, async or not, that is given a started manager, registers agents
with it and does what a program does: what `moot run` takes is fine. The first seed that
breaks a law ends the search, is shrunk and reported.
"""

from __future__ import annotations

from typing import Annotated

import typer

from moot.cli.app import EXIT_FAILED

__all__ = ["simulate"]


def simulate(
    target: Annotated[str, typer.Argument(metavar="MODULE:BUILD", help="A function that is given a manager.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to try.")] = 100,
    start: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Run just this one again.")] = None,
    faults: Annotated[
        str, typer.Option(help="Probabilities: drop=0.1,duplicate=…,delay,reorder,crash,pause,slow.")
    ] = "",
    only: Annotated[str | None, typer.Option(help="Of the seed's faults, let only these strike.")] = None,
    until: Annotated[float | None, typer.Option(min=0.0, help="End each run after so many virtual seconds.")] = None,
    as_values: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run MODULE:BUILD in simulation, in many orders and with faults, and report the first seed that fails."""
    from moot.cli.searching import holds, parsed  # the simulation, which --help does without

    seeds_to_run = [seed] if seed is not None else range(start, start + seeds)
    if not holds(target, seeds_to_run, parsed(faults, only), until, is_one=seed is not None, as_values=as_values):
        raise typer.Exit(EXIT_FAILED)
