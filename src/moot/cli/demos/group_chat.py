"""`moot demo group_chat`: a help desk at work, who hands what to whom, and why each chat ended."""

from __future__ import annotations

import asyncio
from typing import Any

from moot import Agent, AgentContext, AgentManager, handles
from moot.cli.demos import SEED, play
from moot.patterns.group_chat import (
    ChatRules,
    Discuss,
    GroupChatAgent,
    Handoff,
    Speak,
    Transcript,
    Turn,
    Utterance,
)

__all__ = ["group_chat"]

TIMEOUT = 10.0
DESK = ("front", "billing", "network", "trainee", "manager")
TOPICS = ("I was charged twice", "the line is slow", "my bill is slow", "nobody calls me back")
WORDS = {
    "charged": Utterance("Found it: paid on the 3rd and on the 5th. The second is on its way back.", done=True),
    "line": Utterance("The street's cabinet was wet; it is dry and fast again.", done=True),
}


class Clerk(Agent):
    """Answers what is its own, hands on what is not."""

    cancel_with_asker = True

    @handles
    async def speak(self, message: Speak, ctx: AgentContext) -> Any:
        await asyncio.sleep(1 + 4 * ctx.random.random() if self.id != "trainee" else 1000)
        return getattr(self, f"as_{self.id}")(message.topic)

    def as_front(self, topic: str) -> Utterance:
        named = "billing" if "charged" in topic or "bill" in topic else "network" if "slow" in topic else "manager"
        return Utterance(f"Good morning! That is for {named}.", named)

    def as_billing(self, topic: str) -> Utterance:
        return WORDS["charged"] if "charged" in topic else Utterance("Slow? That is for network.", "network")

    def as_network(self, topic: str) -> Utterance:
        return WORDS["line"] if "line" in topic else Utterance("A bill? That is for billing.", "billing")

    def as_manager(self, topic: str) -> Utterance:
        return Utterance("We will look into it.", "trainee")


def show(turn: Turn, began: float) -> str:
    """One turn: when, in whose lane, and what was said or why nothing."""
    lanes = "".join(f"{'●' if name == turn.speaker else '┊' if name == turn.handed_by else '·':^9}" for name in DESK)
    said = turn.utterance.text if turn.utterance else f"({'silence' if turn.seconds >= TIMEOUT else turn.error})"
    to = f" → {turn.utterance.to}" if turn.utterance and turn.utterance.to else ""
    return f"{began:6.1f} s {lanes} {said}{to}{f'  [{turn.note}]' if turn.note else ''}"


def told(topic: str, transcript: Transcript) -> None:
    """Print a chat that is over."""
    print(f"“{topic}”\n{'':9}{''.join(f'{name:^9}' for name in DESK)}")
    began = 0.0
    for turn in transcript.turns:
        print(show(turn, began))
        began += turn.seconds
    excluded = f"; excluded: {', '.join(transcript.excluded)}" if transcript.excluded else ""
    print(f"   ended by: {transcript.stop}{excluded}\n")


async def main(seed: int) -> None:
    async with AgentManager(seed=seed) as manager:
        for name in DESK:
            await manager.register(Clerk(name))
        rules = ChatRules(timeout=TIMEOUT, turns=12, failures=2)
        await manager.register(GroupChatAgent("desk", DESK, Handoff(), rules))
        for topic in TOPICS:
            told(topic, await manager.ask("desk", Discuss(topic), timeout=1000))


def group_chat(seed: SEED = 1) -> None:
    """Have a help desk talk about four questions, of which two are answered."""
    play(main(seed))  # the trainee's silence is shown above
