"""How long Moot takes to start, beside another build of it, interleaved in one run; prints the ratios.

    .venv/bin/python benchmarks/start.py --against CHECKOUT                     # 21 rounds
    .venv/bin/python benchmarks/start.py --against CHECKOUT --python PYTHON     # in another environment

CHECKOUT is another checkout of this repository, an earlier commit for example. A figure is the CPU time of a whole
process, from its start on: the median over the rounds of that round's ratio to the other build, below 1 where this
build starts faster. "ask" is the program in the README: it ends when its one ask is answered. The bytecode of both
builds lies in a folder of this run, so it is there even where the shell forbids Python to write it beside the source.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COMMAND = "from moot.cli import main; main()"
PROGRAMS = {
    "empty Python": ("-c", "pass"),
    "moot --help": ("-c", COMMAND, "--help"),
    "moot run --help": ("-c", COMMAND, "run", "--help"),
    "moot version": ("-c", COMMAND, "version"),
    "import moot": ("-c", "import moot"),
    "an agent's names": ("-c", "from moot import Agent, AgentManager, Request, handles"),
}


def readme_program() -> str:
    """The first program of the README."""
    found = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def cpu_seconds(python: str, words: tuple[str, ...], root: Path, cache: str) -> float:
    """The CPU time of one process with the build of that checkout."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([python, *words], env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{root}: {' '.join(words)} failed:\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(other: Path, python: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """For each program the seconds of the other build and of this one, round by round."""
    programs = {**PROGRAMS, "ask": ("-c", readme_program())}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(rounds + 1):
            for name, words in programs.items():
                sides = [other, ROOT] if turn % 2 else [ROOT, other]
                seconds = {side: cpu_seconds(python, words, side, cache) for side in sides}
                if turn:  # the first round writes the bytecode
                    taken[name].append((seconds[other], seconds[ROOT]))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--python", default=sys.executable, help="the Python of another environment")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    print("| program | the other, ms | this, ms | this to the other (lowest-highest) |\n|---|---:|---:|---:|")
    for name, rounds in measured(options.against.resolve(), options.python, options.rounds).items():
        theirs, ours = (statistics.median(side) * 1e3 for side in zip(*rounds, strict=True))
        ratios = [our / their for their, our in rounds]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"| {name} | {theirs:.0f} | {ours:.0f} | **{statistics.median(ratios):.2f}** ({spread}) |")


if __name__ == "__main__":
    main()
