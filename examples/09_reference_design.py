"""The reference design: three agents that override `handle_message`, a request from outside, running until Ctrl-C.

Untyped content and `message_type` strings; the typed way (`@handles`) is in the other examples.
Prints: the notes, the analysis, the report; then waits for Ctrl-C
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, AgentMessage


class ResearcherAgent(Agent):
    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "research_request":
            topic, depth = message.content["topic"], message.content["depth"]
            notes = [f"note {number + 1} on {topic}" for number in range(depth)]
            print("researcher_1:", notes)
            ctx.send("analyst_1", {"topic": topic, "notes": notes}, message_type="research_result")


class AnalystAgent(Agent):
    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "research_result":
            summary = f"{len(message.content['notes'])} notes agree"
            print("analyst_1:", summary)
            ctx.send(
                "writer_1", {"topic": message.content["topic"], "summary": summary}, message_type="analysis_result"
            )


class WriterAgent(Agent):
    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "analysis_result":
            print(f"writer_1: a report on {message.content['topic']}: {message.content['summary']}")


async def main() -> None:
    manager = AgentManager()
    await manager.register(ResearcherAgent("researcher_1"))
    await manager.register(AnalystAgent("analyst_1"))
    await manager.register(WriterAgent("writer_1"))
    await manager.start()

    sender = manager.get_message_sender()
    await sender(
        AgentMessage(
            sender="user",
            to="researcher_1",
            content={"topic": "quantum computing", "depth": 3},
            message_type="research_request",
        )
    )
    await manager.run_until_stopped()  # Ctrl-C or SIGTERM stops the agents in order


if __name__ == "__main__":
    asyncio.run(main())
