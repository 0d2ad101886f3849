"""A tree of three levels: its workers fail, hang and answer by messages of their own, and one leads a pool of others.

Each part of the task has one result, and the result is the right one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, AgentMessage, handles
from moot.patterns.hierarchy import (
    ByKey,
    Delegation,
    ManagerAgent,
    PullingWorker,
    RoundRobin,
    TaskRequest,
    WorkerAgent,
    WorkPool,
)
from tests.patterns.suite import CLIENT, Begin

TASK = [[1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11, 12]]
WANTED = [[n**2 for n in part] for part in TASK]
HOW = Delegation(timeout=8, attempts=6)


class Steady(WorkerAgent):
    def work(self, content: Any, ctx: AgentContext) -> int:
        return int(content) ** 2


class Moody(WorkerAgent):
    """Fails one task in three, and hangs in one of four."""

    async def work(self, content: Any, ctx: AgentContext) -> int:
        mood = ctx.random.random()
        if mood < 0.33:
            raise ValueError("not in the mood")
        if mood < 0.58:
            await asyncio.sleep(1000)
        return int(content) ** 2


class Messenger(Agent):
    """Says nothing, and sends its result later, twice."""

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        content = message.content
        task = content if isinstance(content, dict) else {"id": content.id, "content": content.content}
        for _ in range(2):
            ctx.send(
                message.sender, {"task_id": task["id"], "result": task["content"] ** 2}, message_type="task_result"
            )


class Puller(PullingWorker):
    def work(self, content: Any, ctx: AgentContext) -> int:
        if ctx.random.random() < 0.2:
            raise ValueError("not now")
        return int(content) ** 2


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        await ctx.shared_state.set("outcome", await ctx.ask("head", TaskRequest(TASK), timeout=200))


def agents() -> Sequence[Agent[Any]]:
    return [
        Steady("steady"),
        *(Moody(f"moody_{n}") for n in range(3)),
        *(Messenger(f"messenger_{n}") for n in range(2)),
        WorkPool("pool", lease=3, attempts=6),
        *(Puller(f"puller_{n}", "pool", credit=2, announce_every=1) for n in range(2)),
        ManagerAgent("a", ["steady", "moody_0", "moody_1", "moody_2"], HOW),
        ManagerAgent("b", ["messenger_0", "messenger_1", "steady"], Delegation(RoundRobin(), timeout=8, attempts=6)),
        ManagerAgent("c", ["pool"], HOW),
        ManagerAgent("head", ["a", "b", "c"], Delegation(ByKey(str), timeout=60, attempts=6)),
        Client(CLIENT),
    ]


def judge(state: dict[str, Any]) -> list[str]:
    return [] if state["outcome"] == WANTED else [f"{state['outcome']} instead of {WANTED}"]
