"""Capabilities: address what an agent can do instead of who it is.

`capability:NAME` goes to the shortest mailbox among those who can; ties rotate.
Prints: three translations, by at least two different translators
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Request, UnknownAgent, handles

WORDS = {"agent": "toimija", "message": "viesti", "turn": "vuoro"}


class Translate(Request[str]):
    word: str


class Translator(Agent):
    capabilities = ("translate.fi",)

    @handles
    async def translate(self, message: Translate) -> str:
        return f"{message.word} = {WORDS[message.word]} (by {self.id})"


class TranslateAll(Request[list[str]]):
    words: list[str]


class Editor(Agent):
    @handles
    async def translate_all(self, message: TranslateAll, ctx: AgentContext) -> list[str]:
        asks = [ctx.ask("capability:translate.fi", Translate(word=word), timeout=1) for word in message.words]
        return await ctx.gather(asks)


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Translator("translator_1"))
        await manager.register(Translator("translator_2"))
        await manager.register(Editor("editor"))
        for line in await manager.ask("editor", TranslateAll(words=list(WORDS)), timeout=1):
            print(line)
        try:
            await manager.ask("capability:translate.sv", Translate(word="agent"), timeout=1)
        except UnknownAgent as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
