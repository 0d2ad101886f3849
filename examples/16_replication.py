"""Replication: three replicas of a list and a count, one of them cut off, changed on both sides, and equal again.

Prints: cut off: ['fog', 'ship'] and ['ship', 'storm'] · together: ['ship', 'storm'] everywhere, stock 9
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, AgentMessage, Payload, handles
from moot.replication import Add, Decrement, Increment, Read, Remove, Replicator, Status, Update


class Cut(Payload):
    is_cut: bool


class Cable(Agent):
    """Between the island and the shore; a replicator's peer is whoever answers to the id."""

    is_cut = False

    @handles
    async def cut(self, message: Cut) -> None:
        self.is_cut = message.is_cut

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if not self.is_cut:
            ctx.send("shore" if message.sender == "island" else "island", message.content)


async def equal(manager: AgentManager, replicas: tuple[str, ...]) -> None:
    for _ in range(200):
        if len({(await manager.ask(replica, Status())).digest for replica in replicas}) == 1:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not equal after 10 s")


async def main() -> None:
    replicas = ("harbour", "shore", "island")
    tags = Read(kind="or_set", name="tags")
    async with AgentManager() as manager:
        await manager.register(Cable("cable"))
        await manager.register(Replicator("harbour", peers=["shore"]))
        await manager.register(Replicator("shore", peers=["harbour", "cable"]))
        await manager.register(Replicator("island", peers=["cable"]))

        await manager.ask("harbour", Update(kind="or_set", name="tags", change=Add(("ship", "fog"))))
        await manager.ask("harbour", Update(kind="pn_counter", name="stock", change=Increment(by=10)))
        await equal(manager, replicas)

        await manager.tell("cable", Cut(is_cut=True))
        await manager.ask("shore", Update(kind="or_set", name="tags", change=Remove(("fog",))))
        await manager.ask("shore", Update(kind="or_set", name="tags", change=Add(("storm",))))
        await manager.ask("shore", Update(kind="pn_counter", name="stock", change=Decrement(by=3)))
        await manager.ask("island", Update(kind="pn_counter", name="stock", change=Increment(by=2)))
        print("cut off:", await manager.ask("island", tags), "and", await manager.ask("shore", tags))

        await manager.tell("cable", Cut(is_cut=False))
        await equal(manager, replicas)
        for replica in replicas:
            stock = await manager.ask(replica, Read(kind="pn_counter", name="stock"))
            print(f"{replica}: {await manager.ask(replica, tags)}, stock {stock}")


if __name__ == "__main__":
    asyncio.run(main())
