"""The reference design's error cases: what a manager and its router say when something is not as the sender thought."""

from __future__ import annotations

import asyncio

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    DuplicateAgent,
    ManagerStopped,
    Reason,
    UnknownAgent,
)


class Collector(Agent):
    """Keeps what it is sent."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.received: list[tuple[str, int]] = []

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "forward":
            ctx.send(message.content, 0, message_type="note")
        else:
            self.received.append((message.sender, message.content))


def note(sender: str, to: str, number: int) -> AgentMessage:
    return AgentMessage(sender=sender, to=to, content=number, message_type="note")


def test_a_second_agent_with_the_same_id_is_refused() -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            await manager.register(Collector("researcher_1"))

            with pytest.raises(DuplicateAgent, match="'researcher_1' is registered already"):
                await manager.register(Collector("researcher_1"))

    asyncio.run(main())


def test_a_message_to_nobody_is_refused_to_the_caller() -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            with pytest.raises(UnknownAgent, match="'researcher_1'"):
                await manager.get_message_sender()(note("user", "researcher_1", 1))

    asyncio.run(main())


def test_a_message_from_an_agent_to_nobody_becomes_a_dead_letter() -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            await manager.register(Collector("researcher_1"))

            await manager.tell("researcher_1", "analyst_1", message_type="forward")
            await manager.settle()

            (letter,) = manager.dead_letters
            assert (letter.message.to, letter.reason) == ("analyst_1", Reason.UNKNOWN_AGENT)

    asyncio.run(main())


def test_a_receiver_that_has_gone_is_unknown_and_its_name_is_free_again() -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            await manager.register(Collector("writer_1"))
            await manager.unregister("writer_1")

            with pytest.raises(UnknownAgent):
                await manager.tell("writer_1", 1, message_type="note")

            again = Collector("writer_1")
            await manager.register(again)
            await manager.tell("writer_1", 2, message_type="note")
            await manager.settle()
            assert [content for _, content in again.received] == [2]

    asyncio.run(main())


def test_two_senders_at_once_lose_nothing_and_keep_their_own_order() -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            collector = Collector("writer_1")
            await manager.register(collector)

            async def speak(name: str) -> None:
                sender = manager.get_message_sender(name)
                for number in range(100):
                    await sender(note(name, "writer_1", number))
                    await asyncio.sleep(0)

            await asyncio.gather(speak("ada"), speak("grace"))
            await manager.settle()

        for name in ("ada", "grace"):
            assert [number for sender, number in collector.received if sender == name] == list(range(100))
        assert collector.received[:4] == [("ada", 0), ("grace", 0), ("ada", 1), ("grace", 1)]

    asyncio.run(main())


def test_a_sender_of_a_stopped_manager_is_told_so() -> None:
    async def main() -> None:
        manager = AgentManager()
        await manager.register(Collector("writer_1"))
        await manager.start()
        sender = manager.get_message_sender()
        await manager.stop()

        with pytest.raises(ManagerStopped):
            await sender(note("user", "writer_1", 1))

    asyncio.run(main())
