"""The research team, agent by agent: a request from outside, a report on a topic, every sentence with its source.

Without MOOT_ENGINE no model is called, and the answer is quotes; `MOOT_ENGINE=local` writes with the default model.
Prints: progress, the answer with the place of each quote, and where the sources differ
"""

import asyncio
import os
from pathlib import Path

from moot import Agent, AgentManager, AgentMessage, handles
from moot.teams.research import AnalystAgent, Report, ResearcherAgent, WriterAgent

CORPUS = Path(__file__).parent / "corpus"
QUESTION = "How many physical qubits would it take to factor a 2048-bit RSA integer, and how long would it take?"


class Desk(Agent):
    topics = ("research_reports",)

    def __init__(self, agent_id: str, done: asyncio.Event) -> None:
        super().__init__(agent_id)
        self._done = done

    @handles
    async def show(self, report: Report) -> None:
        for claim in report.claims:
            places = [f"{Path(note.path).name}:{note.line}" for note in map(report.note, claim.notes)]
            print(f"answer: {claim.text} [{', '.join(places)}]")
        for difference in report.differences:
            print("sources differ:", " against ".join(difference.values))
        self._done.set()


async def main() -> None:
    done = asyncio.Event()
    async with AgentManager(engine=os.environ.get("MOOT_ENGINE")) as manager:
        await manager.register(ResearcherAgent("researcher_1", [str(CORPUS)]))
        await manager.register(AnalystAgent("analyst_1"))
        await manager.register(WriterAgent("writer_1"))
        await manager.register(Desk("desk_1", done))
        print("who can do what:", {skill: manager.find(skill) for skill in ("research", "analysis", "writing")})

        sender = manager.get_message_sender("user")
        await sender(
            AgentMessage(
                sender="user",
                to="researcher_1",
                content={"topic": QUESTION, "depth": "standard"},
                message_type="research_request",
            )
        )
        await done.wait()


if __name__ == "__main__":
    asyncio.run(main())
