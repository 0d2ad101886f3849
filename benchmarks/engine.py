"""What a stable prefix saves: agents that share a context, with and without it standing first.

Every agent reads the same context of about 1,000 tokens and answers one question. ``role first``
writes the agent's role in front of the context, as prompts are often written, so each agent pays
for the whole of it. ``shared first`` is `moot.engine.build_prompt`. Both run on one slot, serially, in
one process, interleaved per number of agents; engine seconds are llama.cpp's own timings, CPU
seconds those of the process and of llama.cpp's, and the ratio is of the latter, which a busy neighbour distorts least.

    python benchmarks/engine.py [--model tiny] [--agents 1,4,8] [--threads N] [--json PATH]
    python benchmarks/engine.py --against ANOTHER/src [--rounds 21]    two builds beside each other
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from engine_process import compare, tree_cpu
from moot.engine.base import ChatMessage, Engine, EngineRequest, SamplingParams
from moot.engine.choose import open_engine
from moot.engine.prompt import build_prompt
from moot.engine.queue import AdmissionQueue
from moot.engine.threads import choose_threads

INSTRUCTIONS = "You are one of several agents. Answer from the context only."
TASK = "Which fact matters most?"
CONTEXT_TOKENS = 1000
ANSWER_TOKENS = 8

Prompt = tuple[ChatMessage, ...]


class Cost(NamedTuple):
    """What a group of agents cost."""

    engine_seconds: float
    cpu_seconds: float
    fresh_tokens: int
    cached_tokens: int


def role(agent: int) -> str:
    return f"You are agent number {agent} and you judge by criterion {agent}."


def shared_first(context: str, agent: int) -> Prompt:
    return build_prompt(instructions=INSTRUCTIONS, shared=[context], role=role(agent), task=TASK)


def role_first(context: str, agent: int) -> Prompt:
    return (ChatMessage("system", f"{role(agent)} {INSTRUCTIONS}"), ChatMessage("user", f"{context}\n\n{TASK}"))


async def context_of(engine: Engine, tokens: int) -> str:
    """Numbered facts, so many that they have about ``tokens`` tokens."""
    facts: list[str] = []
    while await engine.count_tokens((ChatMessage("user", "\n".join(facts)),)) < tokens:
        facts += [f"Fact {len(facts) + n}: the station of line {n} opened with {n + 3} platforms." for n in range(4)]
    return "\n".join(facts)


async def measure(engine: Engine, write: Callable[[str, int], Prompt], context: str, agents: int) -> Cost:
    """Run the agents one after another on a cache that knows nothing of them."""
    sampling = SamplingParams(max_tokens=ANSWER_TOKENS)
    wipe = EngineRequest(messages=(ChatMessage("user", f"Unrelated {agents} {write.__name__}."),), sampling=sampling)
    queue = AdmissionQueue(engine)
    await queue.generate(wipe)
    cpu = tree_cpu()
    requests = [EngineRequest(messages=write(context, agent), sampling=sampling) for agent in range(agents)]
    answers = [await queue.generate(request) for request in requests]
    return Cost(
        sum(answer.seconds for answer in answers),
        tree_cpu() - cpu,
        sum(answer.usage.fresh_tokens for answer in answers),
        sum(answer.usage.cached_tokens for answer in answers),
    )


async def second_turn(engine: Engine, context: str) -> tuple[Cost, Cost]:
    """One agent's first turn (cold) and its next (hot)."""
    cold = await measure(engine, shared_first, context, 1)
    sampling = SamplingParams(max_tokens=ANSWER_TOKENS)
    messages = build_prompt(instructions=INSTRUCTIONS, shared=[context], role=role(0), task="And which the least?")
    cpu = tree_cpu()
    answer = await engine.generate(EngineRequest(messages=messages, sampling=sampling))
    usage = answer.usage
    return cold, Cost(answer.seconds, tree_cpu() - cpu, usage.fresh_tokens, usage.cached_tokens)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    engine = open_engine(f"local:{options.model}", threads=options.threads)
    try:
        await engine.start()
        context = await context_of(engine, CONTEXT_TOKENS)
        rows: list[tuple[str, Cost, Cost]] = []
        rows.append(("1 agent, second turn", *await second_turn(engine, context)))
        for agents in options.agents:
            if agents > 1:
                cold = await measure(engine, role_first, context, agents)
                rows.append((f"{agents} agents", cold, await measure(engine, shared_first, context, agents)))
    finally:
        await engine.close()
    return report(options, rows)


def report(options: argparse.Namespace, rows: list[tuple[str, Cost, Cost]]) -> dict[str, Any]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    setting = {
        "date": time.strftime("%Y-%m-%d"),
        "model": options.model,
        "threads": options.threads,
        "xllamacpp": version("xllamacpp"),
        "python": platform.python_version(),
        "machine": machine,
    }
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    print(f"{'':22}{'fresh tokens':>20}{'engine s':>18}{'CPU s':>18}{'times less':>12}")
    for name, cold, hot in rows:
        print(
            f"{name:22}{f'{cold.fresh_tokens:,} -> {hot.fresh_tokens:,}':>20}"
            f"{f'{cold.engine_seconds:.2f} -> {hot.engine_seconds:.2f}':>18}"
            f"{f'{cold.cpu_seconds:.2f} -> {hot.cpu_seconds:.2f}':>18}"
            f"{cold.cpu_seconds / hot.cpu_seconds:>11.1f}x"
        )
    results = [
        {
            "case": name,
            "cold": cold._asdict(),
            "hot": hot._asdict(),
            "ratio": round(cold.cpu_seconds / hot.cpu_seconds, 2),
        }
        for name, cold, hot in rows
    ]
    return {**setting, "results": results}


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--agents", type=numbers, default=[1, 4, 8])
    parser.add_argument("--threads", type=int, default=choose_threads())
    parser.add_argument("--against", type=Path, help="the src folder of another build, to measure beside this one")
    parser.add_argument("--rounds", type=int, default=21, help="of two builds")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    results = asyncio.run(run(options)) if options.against is None else compare(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
