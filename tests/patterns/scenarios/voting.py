"""Seven are asked for a ballot, of whom one crashes, one hangs, two answer rubbish; then an election is held.

In the election each honest voter votes twice, so that the second ballot counts, and others vote who may not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, Ask, MootError, Request, handles
from moot.patterns.voting import (
    Ballot,
    BallotPaper,
    CastBallot,
    ElectionAgent,
    OpenElection,
    Schulze,
    vote,
)
from tests.patterns.suite import CLIENT, Begin

HONEST = ("honest_0", "honest_1", "honest_2")
ORDERS = {"honest_0": ("tea", "coffee"), "honest_1": ("tea", "milk"), "honest_2": ("milk", "tea")}
DRINKS = ("tea", "coffee", "milk")


class Canvass(Request[None]):
    """Go and vote."""


class Voter(Agent):
    capabilities = ("voting",)
    cancel_with_asker = True

    @handles
    async def fill_in(self, message: BallotPaper) -> Any:
        kind, _, _number = self.id.partition("_")
        if kind == "crashing":
            raise ValueError("no pencil")
        if kind == "hanging":
            await asyncio.sleep(1000)
        rubbish = {"rubbish_0": 42, "rubbish_1": Ballot.ranked("beer")}
        return rubbish.get(self.id) or list(ORDERS[self.id])

    @handles
    async def canvass(self, message: Canvass, ctx: AgentContext) -> None:
        await asyncio.sleep(0.5)
        for names in (list(reversed(DRINKS)), list(ORDERS.get(self.id, ["beer"]))):
            with contextlib.suppress(MootError):
                await ctx.ask("office", CastBallot("drinks", names), timeout=1)


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        poll = await vote(ctx, "capability:voting", BallotPaper("What to drink?", DRINKS), Schulze(), timeout=2)
        await ctx.shared_state.set("poll", poll)
        terms = OpenElection("drinks", "What to drink?", DRINKS, 4.0, electorate=dict.fromkeys(HONEST, 1))
        for _ in range(20):  # whoever asks again joins those who wait
            canvassed: list[Ask[Any]] = [ctx.ask(voter, Canvass(), timeout=6) for voter in ctx.find("voting")]
            opened: Ask[Any] = ctx.ask("office", terms, timeout=6)
            await ctx.gather([opened, *canvassed], return_exceptions=True)
            if opened.error is None:
                await ctx.shared_state.set("outcome", opened.answer)
                return


def agents() -> Sequence[Agent[Any]]:
    voters = (*HONEST, "crashing_0", "hanging_0", "rubbish_0", "rubbish_1")
    return [*(Voter(voter) for voter in voters), ElectionAgent("office"), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    poll, election = state["poll"], state["outcome"]
    wrong = [f"{name} has a ballot" for name in [*poll["ballots"], *election["ballots"]] if name not in HONEST]
    for voter, ballot in poll["ballots"].items():
        if ballot["ranking"] != [[name] for name in ORDERS[voter]]:
            wrong.append(f"{voter}'s ballot is {ballot}")
    if not {"crashing_0", "hanging_0"} <= poll["absent"].keys():
        wrong.append(f"absent are {poll['absent']}")
    if len({*poll["ballots"], *poll["invalid"], *poll["absent"]}) < len(poll["ballots"] | poll["invalid"]) + 2:
        wrong.append("somebody is in two lists")
    late = [[name] for name in reversed(DRINKS)]
    for voter, ballot in election["ballots"].items():
        if ballot["ranking"] not in ([[name] for name in ORDERS[voter]], late):
            wrong.append(f"{voter}'s ballot in the election is {ballot}")
    if len(poll["ballots"]) == len(HONEST) and poll["tally"]["winners"] != ["tea"]:
        wrong.append(f"{poll['tally']['winners']} won")
    return wrong
