"""Group chat: a help desk hands a question on to who knows; and two who hand it to and fro are stopped.

The chat asks whoever's turn it is, so nobody speaks out of turn, and it always ends with a reason.
Prints: front: Billing should know. / billing: It was paid twice; here is your money. -> done; then: -> ping_pong
"""

import asyncio

from moot import Agent, AgentManager, handles
from moot.patterns.group_chat import Discuss, GroupChatAgent, Handoff, Speak, Utterance

SAYS = {
    "front": Utterance("Billing should know.", to="billing"),
    "billing": Utterance("It was paid twice; here is your money.", done=True),
    "left": Utterance("That is for the right one.", to="right"),
    "right": Utterance("That is for the left one.", to="left"),
}


class Clerk(Agent):
    @handles
    async def speak(self, message: Speak) -> Utterance:
        return SAYS[self.id]


async def main() -> None:
    async with AgentManager() as manager:
        for name in SAYS:
            await manager.register(Clerk(name))
        await manager.register(GroupChatAgent("desk", ["front", "left", "billing"], Handoff()))
        await manager.register(GroupChatAgent("office", ["left", "right"], Handoff()))

        for chat in ("desk", "office"):
            transcript = await manager.ask(chat, Discuss("I was charged twice"))
            for line in transcript.lines:
                print(f"{line.speaker}: {line.text}")
            print(f"-> {transcript.stop}")


if __name__ == "__main__":
    asyncio.run(main())
