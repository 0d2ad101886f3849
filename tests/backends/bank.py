"""A bank that is killed: ten accounts that send each other money and pass tokens round, for ever.

Run as a program it prints ``ready`` and then a line for each deposit that was accepted; whoever reads the lines
kills it at any of them. `audit` looks at the file that it left and says what is wrong.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from moot import Agent, AgentContext, AgentManager, AgentMessage, Payload, handles

ACCOUNTS = 10
TOKENS = 3
OPENING = 100


class Move(Payload):
    """Take so much from the account, and send it on."""

    amount: int
    to: str


class Credit(Payload):
    """``number`` counts those of this pair, from 1."""

    amount: int
    sender: str
    number: int


class Deposit(Payload):
    amount: int


class Token(Payload):
    token: int
    hop: int


class Book(msgspec.Struct, frozen=True):
    """What an account knows. ``sent`` and ``got`` count transfers by the other account; ``hops`` are the last seen."""

    balance: int = OPENING
    deposited: int = 0
    sent: dict[str, int] = {}
    got: dict[str, int] = {}
    hops: dict[int, int] = {}
    broken: tuple[str, ...] = ()


class Account(Agent[Book]):
    """``folder`` is where its effects on the outside are to be seen, if anywhere; ``pause`` how long a turn takes."""

    def __init__(self, agent_id: str, folder: str | None = None, pause: float = 0.0) -> None:
        super().__init__(agent_id)
        self.folder = folder
        self.pause = pause

    @handles
    async def deposit(self, message: Deposit, ctx: AgentContext[Book]) -> None:
        book = ctx.state
        ctx.state = msgspec.structs.replace(
            book, balance=book.balance + message.amount, deposited=book.deposited + message.amount
        )

    @handles
    async def move(self, message: Move, ctx: AgentContext[Book]) -> None:
        book = ctx.state
        number = book.sent.get(message.to, 0) + 1
        ctx.send(message.to, Credit(message.amount, self.id, number))
        sent = {**book.sent, message.to: number}
        ctx.state = msgspec.structs.replace(book, balance=book.balance - message.amount, sent=sent)

    @handles
    async def credit(self, message: Credit, ctx: AgentContext[Book]) -> None:
        await asyncio.sleep(self.pause)
        book = ctx.state
        number = book.got.get(message.sender, 0) + 1
        broken = book.broken
        if message.number != number:
            broken = (*broken, f"{self.id} got transfer {message.number} of {message.sender}, and not {number}")
        got = {**book.got, message.sender: number}
        ctx.state = msgspec.structs.replace(book, balance=book.balance + message.amount, got=got, broken=broken)
        other = f"account_{ctx.random.randrange(ACCOUNTS)}"
        ctx.send(self.id, Move(message.amount, other))

    @handles
    async def token(self, message: Token, ctx: AgentContext[Book]) -> None:
        await asyncio.sleep(self.pause)
        book = ctx.state
        last = book.hops.get(message.token)
        broken = book.broken
        if last is not None and message.hop != last + ACCOUNTS:
            broken = (*broken, f"token {message.token} came with hop {message.hop} after {last}")
        ctx.state = msgspec.structs.replace(book, hops={**book.hops, message.token: message.hop}, broken=broken)
        if self.folder is not None and message.hop % 7 == 0:
            log = Path(self.folder) / "effects"
            await ctx.effect("first", lambda key: note(log, f"first {key}"))
            await ctx.effect("second", lambda key: note(log, f"second {key}"))
        number = int(self.id.rpartition("_")[2])
        ctx.send(f"account_{(number + 1) % ACCOUNTS}", Token(message.token, message.hop + 1))


def note(log: Path, line: str) -> bool:
    """An effect on the outside."""
    with log.open("a") as file:
        file.write(f"{line}\n")
    return True


async def open_bank(
    manager: AgentManager,
    folder: str | None = None,
    pause: float = 0.0,
    make: Callable[[str, str | None, float], Account] = Account,
) -> None:
    """Register the accounts and, once in the life of the file, begin to move money and tokens."""
    for number in range(ACCOUNTS):
        await manager.register(make(f"account_{number}", folder, pause))
    for number in range(ACCOUNTS):
        await manager.tell(f"account_{number}", Move(7, f"account_{(number + 3) % ACCOUNTS}"), message_id=f"m{number}")
    for token in range(TOKENS):
        await manager.tell("account_0", Token(token, 0), message_id=f"t{token}")


async def main(path: str, run: str) -> None:
    """The program: a deposit after the other, until it is killed."""
    async with AgentManager(f"sqlite:///{path}") as manager:
        await open_bank(manager, str(Path(path).parent))
        print("ready", flush=True)
        for number in range(100_000):
            await manager.tell(f"account_{number % ACCOUNTS}", Deposit(1), message_id=f"{run}-{number}")
            print(number, flush=True)


def audit(path: Path, least: int, most: int) -> list[str]:
    """What is wrong with the bank in a file into which at least ``least`` and at most ``most`` was deposited."""
    return wrong_with(*read(path), least, most)


def wrong_with(books: dict[str, Book], mail: list[AgentMessage], least: int, most: int) -> list[str]:
    """What is wrong with a bank, told from its accounts and its mail."""
    wrong = [line for book in books.values() for line in book.broken]
    flying = [message.content for message in mail if message.message_type == "credit"]
    waiting = sum(message.content["amount"] for message in mail if message.message_type == "deposit")
    deposited = sum(book.deposited for book in books.values())
    total = sum(book.balance for book in books.values()) + sum(credit["amount"] for credit in flying)
    missing = (ACCOUNTS - len(books)) * OPENING
    if total + missing - deposited != ACCOUNTS * OPENING:
        wrong.append(f"money was {'made' if total + missing - deposited > ACCOUNTS * OPENING else 'lost'}: {total}")
    if not least <= deposited + waiting <= most:
        wrong.append(f"{deposited} handled and {waiting} waiting deposits, of {least} acknowledged and {most} tried")
    in_flight = Counter(
        (credit["sender"], message.to)
        for message in mail
        if message.message_type == "credit"
        for credit in [message.content]
    )
    for name, book in books.items():
        for other, sent in book.sent.items():
            got = books[other].got.get(name, 0) if other in books else 0
            if sent - got != in_flight[name, other]:
                wrong.append(f"{name} sent {other} {sent}, which got {got}, with {in_flight[name, other]} on the way")
    tokens = Counter(message.content["token"] for message in mail if message.message_type == "token")
    begun = {token for book in books.values() for token in book.hops} | set(tokens)
    wrong += [f"token {token} is there {tokens[token]} times" for token in begun if tokens[token] != 1]
    return wrong


def read(path: Path) -> tuple[dict[str, Book], list[AgentMessage]]:
    """The accounts and the mail in a file that nobody has open."""
    connection = sqlite3.connect(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            return {}, []
        rows: list[Any] = connection.execute("SELECT id, body FROM state JOIN agent ON agent = aid").fetchall()
        books = {name: msgspec.msgpack.decode(body, type=Book) for name, body in rows}
        mail = [
            msgspec.msgpack.decode(body, type=AgentMessage)
            for (body,) in connection.execute("SELECT body FROM mail ORDER BY mid")
        ]
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    finally:
        connection.close()
    return books, mail


def dead_letters(path: Path) -> list[Any]:
    """The dead letters in a file that nobody has open."""
    connection = sqlite3.connect(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            return []
        return [msgspec.msgpack.decode(body) for (body,) in connection.execute("SELECT body FROM dead")]
    finally:
        connection.close()


def repeated_effects(log: Path) -> list[str]:
    """Effects that were repeated although their turn had gone on: then they had been recorded."""
    gone_on: set[str] = set()
    wrong = []
    for line in log.read_text().splitlines() if log.exists() else ():
        which, _, key = line.partition(" ")
        turn = key.partition("/")[0]
        if which == "second":
            gone_on.add(turn)
        elif turn in gone_on:
            wrong.append(f"the first effect of turn {turn} was repeated after the second")
    return wrong


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
