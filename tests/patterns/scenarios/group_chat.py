"""Two who talk sense are in a chat with one who crashes, one who hangs and one who answers rubbish.

Who talks counts each of its turns in the shared state, so that it is seen whether somebody was asked twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, handles
from moot.patterns.group_chat import ChatRules, Handoff, Speak, Utterance, group_chat
from tests.patterns.suite import CLIENT, Begin

SPEAKERS = ("ann", "crashing", "ben", "hanging", "rubbish")


class Speaker(Agent):
    cancel_with_asker = True

    @handles
    async def speak(self, message: Speak, ctx: AgentContext) -> Any:
        if self.id == "crashing":
            raise ValueError("lost its voice")
        if self.id == "hanging":
            await asyncio.sleep(1000)
        if self.id == "rubbish":
            return [42, None]
        said = [line for line in message.history if line.speaker == self.id]
        spoken = await ctx.shared_state.get(self.id, 0)
        await ctx.shared_state.set(self.id, spoken + 1)
        to = "nobody" if self.id == "ann" else "ann"
        return Utterance(f"{self.id} {len(said)}", to, done=len(said) == 2)


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        rules = ChatRules(timeout=0.5, turns=30, failures=2)
        await ctx.shared_state.set("outcome", await group_chat(ctx, "sense", SPEAKERS, taking=Handoff(), rules=rules))


def agents() -> Sequence[Agent[Any]]:
    return [*(Speaker(name) for name in SPEAKERS), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    chat = state["outcome"]
    wrong = [] if chat["stop"] in ("done", "failed_speakers") else [f"it ended by {chat['stop']}"]
    said: dict[str, int] = {}
    for turn in chat["turns"]:
        speaker = turn["speaker"]
        if "utterance" in turn:
            number = said[speaker] = said.get(speaker, 0) + 1
            if speaker not in ("ann", "ben") or turn["utterance"]["text"] != f"{speaker} {number - 1}":
                wrong.append(f"{speaker} has said {turn['utterance']}")
        elif not turn["error"]:
            wrong.append(f"{speaker} has said nothing, and it is not known why")
    for speaker, times in said.items():
        if state.get(speaker, 0) < times:
            wrong.append(f"{speaker} has spoken {times} times, and was asked {state.get(speaker, 0)} times")
    return wrong
