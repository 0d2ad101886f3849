"""`moot simulate MODULE:BUILD`: run a system in simulation, with one seed after the other.

BUILD is a function, async or not, that is given a started manager, registers agents
with it and does what a program does: what `moot run` takes is fine. The first seed that
breaks a law ends the search, is shrunk and reported.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import Annotated

import typer

from moot.cli.app import EXIT_FAILED, UsageError
from moot.cli.run import load
from moot.testing.simulation.faults import Fault, Faults
from moot.testing.simulation.outcome import Simulation, as_json, report
from moot.testing.simulation.search import Search, search

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
    chosen = parsed(faults, only)
    build = load(target)
    if not callable(build):
        raise UsageError(f"{target} is of type {type(build).__name__}, not a function that takes a manager")
    searched = [seed] if seed is not None else range(start, start + seeds)
    found = search(build, seeds=searched, faults=chosen, until=until)
    shrunk = found.shrunk
    replay = line(target, shrunk, until) if shrunk is not None else ""
    strange = differs(replay, shrunk) if shrunk is not None and seed is None else None
    if as_values:
        print(json.dumps({**totals(found), "replay": replay or None, "repeatable": strange is None}, indent=2))
    elif shrunk is None:
        print(summary(found))
    else:
        print(f"{found.seeds} seed(s) run; the last of them fails\n\n{report(shrunk, replay)}")
        if strange is not None:
            print(f"\nnot repeatable: in another process the digest is {strange}; something depends on hash order")
    if shrunk is not None:
        raise typer.Exit(EXIT_FAILED)


def parsed(faults: str, only: str | None) -> Faults:
    """The faults that the options ask for."""
    try:
        chosen = Faults.parse(faults)
        return chosen if only is None else chosen.just(Fault.parse(text) for text in only.split())
    except ValueError as error:
        raise UsageError(str(error)) from error


def line(target: str, shrunk: Simulation, until: float | None) -> str:
    """The command that runs a shrunk seed again."""
    words = ["moot", "simulate", target, "--seed", str(shrunk.seed)]
    if faults := str(shrunk.faults):
        words += ["--faults", faults]
    if shrunk.faults.only is not None:
        words += ["--only", " ".join(str(fault) for fault in shrunk.struck)]
    if until is not None:
        words += ["--until", f"{until:g}"]
    return shlex.join(words)


def differs(replay: str, shrunk: Simulation) -> str | None:
    """Run a failing seed in a process with other hashes; its digest if it is another one."""
    words = [sys.executable, "-c", "from moot.cli import main; main()", *shlex.split(replay)[1:], "--json"]
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        words, env={**os.environ, "PYTHONHASHSEED": other}, capture_output=True, text=True, check=False
    )
    try:
        digest = str(json.loads(done.stdout)["failing"]["digest"])
    except (ValueError, KeyError, TypeError):
        return "missing: it does not fail there"
    return None if digest == shrunk.digest else digest


def totals(found: Search) -> dict[str, object]:
    """A search as plain values."""
    return {
        "seeds": found.seeds,
        "turns": found.turns,
        "virtual_seconds": found.seconds,
        "dead_letters": found.dead_letters,
        "faults": found.struck,
        "failing": None if found.shrunk is None else as_json(found.shrunk),
    }


def summary(found: Search) -> str:
    """A search that found nothing, in a few lines."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(found.struck.items())) or "none"
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(found.dead_letters.items())) or "none"
    return (
        f"{found.seeds} seed(s) hold: {found.turns} turns in {found.seconds:,.0f} virtual seconds\n"
        f"faults: {struck}\ndead letters: {dead}"
    )
