"""`moot demo debate`: seven guess the weight of an ox; a chart shows how their positions converge, round by round."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from statistics import median

from moot import Agent, AgentContext, AgentManager, handles
from moot.cli.demos import SEED, play
from moot.patterns.debate import Argue, DebateAgent, DebateRules, Judge, OpenDebate, Outcome, Position, StopReason

__all__ = ["debate"]

OX = 543
"""Kilograms: the 1,198 pounds of the ox in F. Galton, "Vox Populi", Nature 75, 1907."""
NAMES = ("butcher", "farmer", "clerk", "miller", "teacher", "smith", "doctor")
NEAR = 4
WIDTH = 76
LOW, HIGH = 400, 700


class Guesser(Agent):
    """Guesses as well as it can, and then trusts the others more, the less it knows itself."""

    cancel_with_asker = True

    def __init__(self, agent_id: str, guess: int, trust: float) -> None:
        super().__init__(agent_id)
        self.guess = guess
        self.trust = trust

    @handles
    async def argue(self, message: Argue, ctx: AgentContext) -> Position:
        if self.id == "doctor" and message.number == 2:
            await asyncio.sleep(1000)  # called to a patient
        if message.own is None or not message.others:
            return Position(str(self.guess), "as it looks to me")
        others = median(int(position.answer) for position in message.others.values())
        mine = int(message.own.answer)
        return Position(str(round(mine + self.trust * (others - mine))), "the others may be right")

    @handles
    async def judge(self, message: Judge) -> Position:
        return Position(str(round(median(int(held.answer) for held in message.positions.values()))), "the middle one")


def near(positions: Mapping[str, Position], debaters: int) -> str | None:
    """They agree when all are near each other."""
    guesses = sorted(int(position.answer) for position in positions.values())
    is_near = 2 * len(guesses) > debaters and guesses[-1] - guesses[0] <= NEAR
    return str(round(median(guesses))) if is_near else None


def axis(positions: Mapping[str, Position]) -> str:
    """Each position as the first letter of its holder, from `LOW` to `HIGH`; several at one place as their number."""
    cells: list[list[str]] = [[] for _ in range(WIDTH)]
    for name, position in positions.items():
        share = (int(position.answer) - LOW) / (HIGH - LOW)
        cells[min(WIDTH - 1, max(0, round(share * (WIDTH - 1))))].append(name[0])
    return "".join("·" if not cell else cell[0] if len(cell) == 1 else str(len(cell)) for cell in cells)


def told(outcome: Outcome) -> None:
    print(f"{'':8} {LOW}{'kg':^{WIDTH - 6}}{HIGH}")
    for number, held in enumerate(outcome.rounds, 1):
        silent = f"  silent: {', '.join(held.failed)}" if held.failed else ""
        print(f"round {number:<2} {axis(held.positions)}{silent}")
    print(f"{'the ox':8} {' ' * round((OX - LOW) / (HIGH - LOW) * (WIDTH - 1))}^\n")
    print(f"{'':8} " + "".join(f"{name:>9}" for name in NAMES))
    for number, held in enumerate(outcome.rounds, 1):
        row = (held.positions[name].answer if name in held.positions else "-" for name in NAMES)
        print(f"round {number:<2} " + "".join(f"{answer:>9}" for answer in row))
    how = "they agree" if outcome.stop is StopReason.AGREED else f"ended by: {outcome.stop}"
    print(f"\n{how}: {outcome.answer} kg (the ox weighs {OX} kg)")


async def main(seed: int) -> None:
    choice = random.Random(seed)
    async with AgentManager(seed=seed) as manager:
        for number, name in enumerate(NAMES):
            guess = min(HIGH, max(LOW, round(choice.gauss(OX, 30 + 15 * number))))
            await manager.register(Guesser(name, guess, 0.4 + 0.07 * number))
        await manager.register(Guesser("judge", OX, 0))
        rules = DebateRules(rounds=8, agreed=near, timeout=10)
        await manager.register(DebateAgent("fair", NAMES, "judge", rules))
        told(await manager.ask("fair", OpenDebate("What does the ox weigh?"), timeout=1000))


def debate(seed: SEED = 1) -> None:
    """Have seven people agree on the weight of an ox."""
    play(main(seed))  # the chart shows the doctor's silence
