"""Words are counted by six workers, of whom one crashes, one hangs and one answers rubbish; two more reduce."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, handles
from moot.patterns.map_reduce import Job, MapPart, ReduceKey, map_reduce
from tests.patterns.suite import CLIENT, Begin

TEXTS = ["a moot meets", "it meets and bargains", "a moot bargains", "a moot decides", "it meets a moot"]


class Mapper(Agent):
    capabilities = ("counting",)
    cancel_with_asker = True

    @handles
    async def count(self, message: MapPart) -> Any:
        if self.id == "crashing":
            raise ValueError("out of paper")
        if self.id == "hanging":
            await asyncio.sleep(1000)
        if self.id == "rubbish":
            return [["a", 1], [2, "b"]]
        return [(word, 1) for word in message.part.split()]


class Summer(Agent):
    capabilities = ("summing",)

    @handles
    async def total(self, message: ReduceKey) -> int:
        return sum(message.values)


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        job = Job("capability:counting", "capability:summing", attempts=20, timeout=1.0)
        await ctx.shared_state.set("outcome", await map_reduce(ctx, TEXTS, job))


def agents() -> Sequence[Agent[Any]]:
    mappers = [Mapper(name) for name in ("crashing", "hanging", "rubbish", "one", "two", "three")]
    return [*mappers, Summer("four"), Summer("five"), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    found = state["outcome"]
    wanted = Counter(word for text in TEXTS for word in text.split())
    wrong = [] if found["values"] == wanted else [f"{found['values']} instead of {wanted}"]
    if bad := found["work"].keys() - {"one", "two", "three", "four", "five"}:
        wrong.append(f"{bad} have done something")
    if sum(found["work"].values()) != len(TEXTS) + len(wanted):
        wrong.append(f"the work is {found['work']}")
    return wrong
