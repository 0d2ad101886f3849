"""How many turns a second a simulation runs, with all invariants on. Run: python benchmarks/simulation.py.

Three programs: a ring that passes tokens (the least a turn can be), twenty agents that ask each other, and the workflow
of the simulation tests under all faults. CPU time of the fastest of nine runs, for simulations are deterministic:
whatever is slower was disturbed.
"""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

from moot import Agent, AgentContext, Payload, Request, handles
from moot.testing import LAWS, Build, Faults, SimulatedManager, simulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.testing.simulation import workflow

RUNS = 9
AGENTS = 20
FAULTS = Faults(drop=0.02, duplicate=0.02, delay=0.05, reorder=0.05, crash=0.01, pause=0.01, slow=0.02)


class Token(Payload):
    left: int


class Question(Request[int]):
    number: int


class Member(Agent):
    """Passes a token on; answers a question."""

    def __init__(self, agent_id: str, successor: str) -> None:
        super().__init__(agent_id)
        self.successor = successor

    @handles
    async def token(self, message: Token, ctx: AgentContext) -> None:
        if message.left:
            ctx.send(self.successor, Token(left=message.left - 1))

    @handles
    async def question(self, message: Question) -> int:
        return message.number + 1


class Asker(Agent):
    @handles
    async def token(self, message: Token, ctx: AgentContext) -> None:
        for number in range(message.left):
            await ctx.ask(f"member_{number % AGENTS}", Question(number=number))


async def ring(manager: SimulatedManager) -> None:
    for number in range(AGENTS):
        await manager.register(Member(f"member_{number}", f"member_{(number + 1) % AGENTS}"))
    for number in range(AGENTS):
        await manager.tell(f"member_{number}", Token(left=500))


async def asks(manager: SimulatedManager) -> None:
    await ring(manager)
    for number in range(10):
        await manager.register(Asker(f"asker_{number}"))
        await manager.tell(f"asker_{number}", Token(left=500))


def rate(build: Build, faults: Faults, *, lawful: bool) -> float:
    """Turns a second."""
    best = 0.0
    for seed in range(RUNS):
        began = time.process_time()
        result = simulate(build, seed=seed, faults=faults, invariants=LAWS if lawful else ())
        best = max(best, result.turns / (time.process_time() - began))
        if result.failure is not None:
            raise SystemExit(f"seed {seed} fails: {result.failure}")
    return best


def main() -> None:
    print(f"Python {platform.python_version()}; simulated turns a second (10,000 must be reached, 20,000 is the aim)\n")
    print("| program | all invariants | none | all invariants and faults |\n|---|---|---|---|")
    programs: dict[str, Build] = {"ring of 20": ring, "asks of 10 to 20": asks, "workflow of 20": workflow.build}
    for name, build in programs.items():
        figures = (
            rate(build, Faults(), lawful=True),
            rate(build, Faults(), lawful=False),
            rate(build, FAULTS, lawful=True) if name != "ring of 20" else None,  # (its tokens would be dropped)
        )
        print(f"| {name} | {' | '.join('-' if figure is None else f'{figure:,.0f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
