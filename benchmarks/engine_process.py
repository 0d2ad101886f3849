"""What a process of its own costs the local engine: two builds of Moot beside each other, in turn, in one run.

It is run by `engine.py`. For each build and number of agents there is one process with a loaded model (`--serve`),
which answers on its input's word, so that the builds take turns within a second of each other. Each agent asks in a
loop of its own through one admission queue with as many slots as agents. Throughput is tokens over wall time, the
first token is that of a prompt whose prefix is cached, asked alone; CPU time is that of the process and of all its
children.

    git worktree add /tmp/before COMMIT
    python benchmarks/engine.py --against /tmp/before/src [--rounds 21]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
from moot.engine.choose import open_engine
from moot.engine.queue import AdmissionQueue

ANSWERS = 3
TOKENS = 24
FIRST_TOKENS = 8
SOURCE = Path(__file__).resolve().parent.parent / "src"
LIMITS = {"tokens_per_second": (0.95, "at least"), "cpu_per_answer": (1.1, "at most"), "first_token": (1.1, "at most")}


class Build(NamedTuple):
    """A build of Moot that runs for one number of agents."""

    name: str
    agents: int
    process: subprocess.Popen[str]

    def measure(self, word: str) -> dict[str, float]:
        """Say the word, and hear the figures."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        figures: dict[str, float] = json.loads(self.process.stdout.readline())
        return figures


def request(text: str, tokens: int) -> EngineRequest:
    return EngineRequest(messages=(ChatMessage("user", text),), sampling=SamplingParams(max_tokens=tokens))


async def answers(queue: AdmissionQueue, agents: int) -> dict[str, float]:
    """Every agent asks one question after another."""

    async def agent(number: int) -> int:
        tokens = 0
        for _ in range(ANSWERS):
            completion = await queue.generate(request(f"Tell a story about number {number}.", TOKENS))
            tokens += completion.usage.completion_tokens
        return tokens

    cpu, started = tree_cpu(), time.perf_counter()
    tokens = sum(await asyncio.gather(*(agent(number) for number in range(agents))))
    taken, cpu = time.perf_counter() - started, tree_cpu() - cpu
    return {"tokens_per_second": tokens / taken, "cpu_per_answer": cpu / (agents * ANSWERS)}


async def first_tokens(queue: AdmissionQueue) -> dict[str, float]:
    """Seconds until the first piece of an answer, the median of some."""
    seconds = []
    for _ in range(FIRST_TOKENS):
        started = time.perf_counter()
        chunks = queue.stream(request("Tell a story about number 0.", 2))
        await anext(chunks)
        seconds.append(time.perf_counter() - started)
        async for _ in chunks:
            pass
    return {"first_token": statistics.median(seconds)}


async def serve(model: str, agents: int, threads: int) -> None:
    """Load a model and answer each line of the input with a line of figures."""
    engine = open_engine(f"local:{model}", threads=threads, slots=agents, context_size=256)
    queue = AdmissionQueue(engine)
    await engine.start()
    await answers(queue, agents)
    loop = asyncio.get_running_loop()
    print(json.dumps({"megabytes": tree_memory()}), flush=True)
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        figures = await answers(queue, agents) if word == "answers" else await first_tokens(queue)
        print(json.dumps(figures), flush=True)
    await engine.close()


def children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def tree_cpu() -> float:
    """CPU seconds of this process and of its children that live."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children()]
    return time.process_time() + sum(int(field[11]) + int(field[12]) for field in fields) / tick


def tree_memory() -> float:
    """Megabytes of this process and of its children; what several map is counted once (PSS)."""
    kilobytes = 0
    for pid in (os.getpid(), *children()):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def start(name: str, source: Path, agents: int, options: argparse.Namespace) -> tuple[Build, float]:
    """Start a build; it, and the megabytes that it takes."""
    command = [sys.executable, str(Path(__file__)), "--serve", str(agents), "--model", options.model]
    process = subprocess.Popen(
        [*command, "--threads", str(options.threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(source)},
    )
    assert process.stdout is not None
    return Build(name, agents, process), json.loads(process.stdout.readline())["megabytes"]


def stop(build: Build) -> None:
    assert build.process.stdin is not None
    build.process.stdin.close()
    build.process.wait()


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all numbers of agents; a table, and its figures."""
    sources = {"before": options.against.resolve(), "after": SOURCE}
    rows = []
    for agents in options.agents:
        memory = []
        for name, source in sources.items():  # alone, since two that run share the model's pages
            build, megabytes = start(name, source, agents, options)
            memory.append(megabytes)
            stop(build)
        builds = [start(name, source, agents, options)[0] for name, source in sources.items()]
        seen: dict[str, list[list[float]]] = {}
        for number in range(options.rounds):
            for word in ("answers", "first") if agents == 1 else ("answers",):
                turn = builds if number % 2 else builds[::-1]
                figures = {build.name: build.measure(word) for build in turn}
                for figure in figures["before"]:
                    seen.setdefault(figure, []).append([figures[name][figure] for name in sources])
        for build in builds:
            stop(build)
        rows += [row(agents, figure, pairs) for figure, pairs in seen.items()]
        rows.append({"agents": agents, "figure": "megabytes", "before": memory[0], "after": memory[1]})
    return report(options, rows)


def row(agents: int, figure: str, pairs: list[list[float]]) -> dict[str, Any]:
    ratios = sorted(after / before for before, after in pairs)
    before, after = (statistics.median(values) for values in zip(*pairs, strict=True))
    quarter = len(ratios) // 4
    return {
        "agents": agents,
        "figure": figure,
        "before": before,
        "after": after,
        "ratio": statistics.median(ratios),
        "middle_half": [ratios[quarter], ratios[-1 - quarter]],
    }


def report(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    setting = {
        "date": time.strftime("%Y-%m-%d"),
        "model": options.model,
        "threads": options.threads,
        "rounds": options.rounds,
        "xllamacpp": version("xllamacpp"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    print(f"{'agents':>6}  {'figure':20}{'before':>10}{'after':>10}{'ratio':>8}  {'middle half':14}must")
    for one in rows:
        line = f"{one['agents']:>6}  {one['figure']:20}{one['before']:>10.4g}{one['after']:>10.4g}"
        if one["figure"] == "megabytes":
            print(f"{line}  {one['after'] - one['before']:+.0f} MB, must be at most +40")
            continue
        limit, kind = LIMITS[one["figure"]]
        low, high = one["middle_half"]
        print(f"{line}{one['ratio']:>8.3f}  {f'{low:.2f} to {high:.2f}':14}{kind} {limit}")
    return {**setting, "results": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--serve", type=int, required=True, help="the number of agents")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(serve(options.model, options.serve, options.threads))


if __name__ == "__main__":
    main()
