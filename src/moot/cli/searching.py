"""Searching: a system in simulation, seed after seed, and what is said about the first that fails."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable

from moot.cli.app import UsageError
from moot.cli.serving import load
from moot.testing.simulation.faults import Fault, Faults
from moot.testing.simulation.outcome import Simulation, as_json, report
from moot.testing.simulation.search import Search, search

__all__ = ["holds", "parsed"]


def holds(
    target: str, seeds: Iterable[int], faults: Faults, until: float | None, *, is_one: bool, as_values: bool
) -> bool:
    """Run ``target`` with one seed after the other and print what was found; whether every law held.

    ``is_one``: a seed that is run again. It is not tried in another process once more.
    """
    build = load(target)
    if not callable(build):
        raise UsageError(f"{target} is of type {type(build).__name__}, not a function that takes a manager")
    found = search(build, seeds=seeds, faults=faults, until=until)
    shrunk = found.shrunk
    replay = line(target, shrunk, until) if shrunk is not None else ""
    strange = differs(replay, shrunk) if shrunk is not None and not is_one else None
    if as_values:
        print(json.dumps({**totals(found), "replay": replay or None, "repeatable": strange is None}, indent=2))
    elif shrunk is None:
        print(summary(found))
    else:
        print(f"{found.seeds} seed(s) run; the last of them fails\n\n{report(shrunk, replay)}")
        if strange is not None:
            print(f"\nnot repeatable: in another process the digest is {strange}; something depends on hash order")
    return shrunk is None


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
