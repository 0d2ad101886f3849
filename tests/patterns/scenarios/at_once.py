"""Seven patterns at once in one turn, for two subjects each, which begin in another order in each run of the turn.

What comes of each is about its own subject, and a turn that is run again decides nothing anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from moot import Agent, AgentContext, MootError, Request, handles
from moot.patterns.contract_net import AcceptProposal, CallForProposals, Propose, RejectProposal, Tender, contract_net
from moot.patterns.debate import Argue, DebateRules, debate
from moot.patterns.group_chat import ChatRules, Speak, group_chat
from moot.patterns.hierarchy import Delegation, Task, delegate
from moot.patterns.map_reduce import Job, MapPart, map_reduce
from moot.patterns.saga import Step, saga
from moot.patterns.voting import BallotPaper, vote
from tests.patterns.suite import CLIENT, Begin

HANDS = ("ann", "ben", "cem")
SUBJECTS = ("tea", "coffee")


class Prepare(Request[str]):
    """What comes before a pattern; it takes an unknown time."""

    name: str


class Serve(Request[str]):
    subject: str


class Hand(Agent):
    """Takes part in everything, with something to say about the subject that it is asked about."""

    capabilities = ("handy",)
    concurrency = 32

    @handles
    async def prepare(self, message: Prepare, ctx: AgentContext) -> str:
        await asyncio.sleep(ctx.random.random())
        return message.name

    @handles
    async def work(self, message: Task, ctx: AgentContext) -> str:
        if ctx.random.random() < 0.2:
            raise ValueError("not in the mood")
        return f"{message.content}!"

    @handles
    async def argue(self, message: Argue, ctx: AgentContext) -> str:
        return f"{message.question} {ctx.random.random()}"

    @handles
    async def speak(self, message: Speak, ctx: AgentContext) -> str:
        return f"{message.topic} {ctx.random.random()}"

    @handles
    async def fill_in(self, message: BallotPaper) -> list[str]:
        return list(message.candidates)

    @handles
    async def count(self, message: MapPart) -> dict[str, int]:
        return {str(message.part): 1}

    @handles
    async def propose(self, message: CallForProposals, ctx: AgentContext) -> Propose:
        return Propose(ctx.random.randint(1, 20))

    @handles
    async def perform(self, message: AcceptProposal) -> str:
        return f"{message.task} by {self.id}"

    @handles
    async def rejected(self, message: RejectProposal) -> None:
        """Somebody else does it."""

    @handles
    async def serve(self, message: Serve) -> str:
        return message.subject


async def hierarchy(ctx: AgentContext, subject: str) -> list[str]:
    parts = [f"{subject} {number}" for number in range(3)]
    return list((await delegate(ctx, parts, HANDS, Delegation(timeout=8, attempts=20))).values())


async def debating(ctx: AgentContext, subject: str) -> list[str]:
    held = (await debate(ctx, subject, HANDS, rules=DebateRules(rounds=2, timeout=8))).rounds
    return [position.answer for one in held for position in one.positions.values()]


async def chat(ctx: AgentContext, subject: str) -> list[str]:
    lines = (await group_chat(ctx, subject, HANDS, rules=ChatRules(turns=3, timeout=8))).turns
    return [turn.utterance.text for turn in lines if turn.utterance is not None]


async def polling(ctx: AgentContext, subject: str) -> list[str]:
    poll = await vote(ctx, HANDS, BallotPaper("Which?", (subject, f"no {subject}")), timeout=8)
    return [name for ballot in poll.ballots.values() for group in ballot.ranking for name in group]


async def counting(ctx: AgentContext, subject: str) -> list[str]:
    counted = await map_reduce(
        ctx, [subject] * 3, Job("capability:handy", lambda key, values: sum(values), attempts=20)
    )
    return [f"{name} {count}" for name, count in counted.values.items()]


async def contract(ctx: AgentContext, subject: str) -> list[str]:
    for _ in range(20):
        try:
            done = await contract_net(ctx, subject, HANDS, Tender(deadline=4, timeout=8))
        except MootError:
            continue
        return [str(done.result)] if str(done.result).endswith(done.contractor) else ["done by another"]
    return []


async def service(ctx: AgentContext, subject: str) -> list[str]:
    steps = [
        Step(name, Serve(f"{subject} by {name}"), pivot=name == HANDS[0], timeout=8, attempts=20) for name in HANDS
    ]
    return list((await saga(ctx, steps)).values())


PATTERNS: dict[str, Callable[[AgentContext, str], Awaitable[list[str]]]] = {
    one.__name__: one for one in (hierarchy, debating, chat, polling, counting, contract, service)
}


MAY_BE_SILENT = ("debating", "chat", "polling")
"""What ends without anybody's word if nobody is heard in time."""


class Client(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.runs: list[dict[str, list[str]]] = []
        """What came of each, in each run of the turn in this life."""

    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        results: dict[str, list[str]] = {}
        self.runs.append(results)

        async def one(name: str, subject: str) -> None:
            await ctx.ask("ben", Prepare(f"{name} {subject}"), timeout=8)
            with ctx.branch(f"{name} of {subject}"):
                results[f"{name} {subject}"] = await PATTERNS[name](ctx, subject)

        async with asyncio.TaskGroup() as group:
            for name in PATTERNS:
                for subject in SUBJECTS:
                    group.create_task(one(name, subject))
        if ctx.attempt < 3:
            raise TimeoutError("once more")
        await ctx.shared_state.set("outcome", self.runs)


def agents() -> Sequence[Agent[Any]]:
    return [*(Hand(name) for name in HANDS), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    runs = state["outcome"]
    wrong = [
        f"{key}: {about}"
        for run in runs
        for key, result in run.items()
        for about in result or ([] if key.split()[0] in MAY_BE_SILENT else ["nothing"])
        if about.split()[0] != key.split()[1] and about != f"no {key.split()[1]}"
    ]
    last = runs[-1]
    for run in runs[:-1]:
        wrong += [f"{key}: {found}, then {last[key]}" for key, found in run.items() if found != last[key]]
    if last.keys() != {f"{name} {subject}" for name in PATTERNS for subject in SUBJECTS}:
        wrong.append(f"there is {list(last)}")
    return wrong
