"""`moot demo voting`: the same ballots, counted by five methods, and who is preferred to whom."""

from __future__ import annotations

import random

from moot import Agent, AgentContext, AgentManager, Request, handles
from moot.cli.demos import SEED, play
from moot.patterns.voting import METHODS, Ballot, BallotPaper, Poll, Schulze, pairwise, vote

__all__ = ["voting"]

CITIES = {"Memphis": (0.0, 0.0), "Nashville": (3.1, 0.9), "Chattanooga": (4.6, -0.3), "Knoxville": (5.9, 0.7)}
"""Tennessee, in hundreds of kilometres: the textbook's election of a capital."""
PEOPLE = {"Memphis": 42, "Nashville": 26, "Chattanooga": 15, "Knoxville": 17}
NEAR = 2.0


class Citizen(Agent):
    """Prefers what is nearer to home, and approves of what is near."""

    capabilities = ("voting",)

    def __init__(self, agent_id: str, home: tuple[float, float]) -> None:
        super().__init__(agent_id)
        self.home = home

    def distance(self, city: str) -> float:
        x, y = CITIES[city]
        return float(((x - self.home[0]) ** 2 + (y - self.home[1]) ** 2) ** 0.5)

    @handles
    async def fill_in(self, message: BallotPaper) -> Ballot:
        order = sorted(message.candidates, key=self.distance)
        return Ballot.ranked(*order, approves=[city for city in order if self.distance(city) < NEAR] or order[:1])


class Elect(Request[Poll]):
    """Have everybody vote."""


async def elect(_message: Elect, ctx: AgentContext) -> Poll:
    return await vote(ctx, "capability:voting", BallotPaper("Which city?", tuple(CITIES)), Schulze())


def matrix(ballots: list[Ballot]) -> list[str]:
    """A line a city: how many prefer it to each other; a star where they are the more."""
    votes = pairwise(ballots, tuple(CITIES))
    lines = [f"{'':<13}" + "".join(f"{'over ' + city[:8]:>15}" for city in CITIES)]
    for city, row in votes.items():
        cells = (f"{row[o]}{'*' if row[o] > votes[o][city] else ' '}" if o in row else "· " for o in CITIES)
        lines.append(f"{city:<13}" + "".join(f"{cell:>15}" for cell in cells))
    return lines


async def main(seed: int) -> None:
    choice = random.Random(seed)
    async with AgentManager(seed=seed) as manager:
        for city, number in PEOPLE.items():
            for resident in range(number):
                home = (CITIES[city][0] + choice.gauss(0, 0.2), CITIES[city][1] + choice.gauss(0, 0.2))
                await manager.register(Citizen(f"{city.lower()}_{resident}", home))
        await manager.register(elect)
        poll = await manager.ask("elect", Elect())
    ballots = list(poll.ballots.values())
    print(f"{len(ballots)} citizens of Tennessee choose a capital; each prefers what is near.\n")
    print("\n".join(matrix(ballots)))
    print("\nThe same ballots by each method:")
    for name, method in METHODS.items():
        tally = method.tally(ballots, tuple(CITIES), seed=seed)
        places = " > ".join(" = ".join(f"{city} {tally.scores[city]:g}" for city in place) for place in tally.ranking)
        print(f"{name:<15} {tally.elected or '':<12} {places}")


def voting(seed: SEED = 1) -> None:
    """Count the ballots of a hundred citizens by five methods."""
    play(main(seed))
