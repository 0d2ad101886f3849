"""The bank, ended in one of the ways in which programs end. Run as a program: ``exiting.py FILE RUN HOW SEED``.

It prints ``ready`` and then a line for each deposit that was accepted, like `tests.backends.bank`. ``HOW`` is one of
`WAYS`. The ways in `SIGNALS` wait for signals from whoever started the program; the others choose their moment from
``SEED``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from moot import AgentContext, AgentManager, Payload, handles
from tests.backends.bank import ACCOUNTS, Account, Book, Deposit, Token, open_bank

__all__ = ["SIGNALS", "WAYS"]

SIGNALS = {
    "one ctrl-c": [signal.SIGINT],
    "two ctrl-c": [signal.SIGINT, signal.SIGINT],
    "ctrl-c while it drains": [signal.SIGINT],
    "two ctrl-c while it drains": [signal.SIGINT, signal.SIGINT],
    "ctrl-c in a plain loop": [signal.SIGINT],
    "terminate": [signal.SIGTERM],
    "terminate twice": [signal.SIGTERM, signal.SIGTERM],
    "terminate with a grace period": [signal.SIGTERM, signal.SIGKILL],
    "hang up": [signal.SIGHUP],
    "kill": [signal.SIGKILL],
}


class Poison(Payload):
    """Whoever gets it in the run ``run`` ends the program, at once or as `sys.exit` does."""

    run: str
    at_once: bool


class Odd(Account):
    """An account that takes a while to compute, without letting the loop go on, and that may end the program."""

    def __init__(self, agent_id: str, run: str, folder: str) -> None:
        super().__init__(agent_id, folder)
        self.run = run

    @handles
    async def token(self, message: Token, ctx: AgentContext[Book]) -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        await super().token(message, ctx)

    @handles
    async def poison(self, message: Poison, ctx: AgentContext[Book]) -> None:
        if message.run == self.run:
            if message.at_once:
                os._exit(3)
            sys.exit(3)


class Life:
    """One run of the program."""

    def __init__(self, path: str, run: str, seed: str) -> None:
        self.path = Path(path)
        self.run = run
        self.after = random.Random(seed).uniform(0, 0.3)
        self.manager = AgentManager(f"sqlite:///{path}")

    async def begin(self) -> None:
        """Register the accounts, and let the money go round."""

        def make(name: str, folder: str | None, _pause: float) -> Account:
            return Odd(name, self.run, str(folder))

        await open_bank(self.manager, str(self.path.parent), make=make)
        print("ready", flush=True)

    async def deposit(self) -> NoReturn:
        """One deposit after the other, for ever."""
        number = 0
        while True:
            name = f"account_{number % ACCOUNTS}"
            await self.manager.tell(name, Deposit(1), message_id=f"{self.run}-{number}")
            print(number, flush=True)
            number += 1

    async def deposit_for(self, seconds: float) -> None:
        """Deposits for a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.deposit(), seconds)

    async def deposit_in_block(self) -> None:
        async with self.manager:
            await self.begin()
            await self.deposit()

    async def drain(self) -> None:
        async with self.manager:
            await self.begin()
            await self.deposit_for(self.after)

    async def run_until_stopped(self) -> None:
        async with self.manager:
            await self.begin()
            depositing = asyncio.ensure_future(self.deposit())
            await self.manager.run_until_stopped()
            await asyncio.gather(depositing, return_exceptions=True)

    async def time_out(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.after + 0.2):
                await self.deposit_in_block()

    async def time_out_while_it_drains(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self.after + 0.2):
                await self.drain()

    async def return_without_a_stop(self) -> None:
        await self.manager.start()
        await self.begin()
        await self.deposit_for(self.after)

    async def raise_without_a_stop(self) -> NoReturn:
        await self.return_without_a_stop()
        raise LookupError("of the program")

    async def fail_beside_it(self) -> None:
        async def fail() -> NoReturn:
            await asyncio.sleep(self.after + 0.1)
            raise LookupError("of a sibling")

        async with asyncio.TaskGroup() as group:
            group.create_task(self.drain())
            group.create_task(fail())

    async def cancel_all_tasks(self) -> None:
        await self.return_without_a_stop()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.05)

    async def exit_in_a_handler(self) -> None:
        await self.poison(at_once=False)

    async def exit_at_once_in_a_handler(self) -> None:
        await self.poison(at_once=True)

    async def poison(self, *, at_once: bool) -> None:
        async with self.manager:
            await self.begin()
            await self.deposit_for(self.after)
            await self.manager.tell("account_3", Poison(self.run, at_once))
            await self.deposit()

    async def exit_in_the_program(self) -> NoReturn:
        async with self.manager:
            await self.begin()
            await self.deposit_for(self.after)
            sys.exit(3)

    async def stop_without_draining(self) -> None:
        await self.return_without_a_stop()
        await self.manager.stop(drain=False)


PROGRAMS: dict[str, Callable[[Life], Awaitable[None]]] = {
    "one ctrl-c": Life.deposit_in_block,
    "two ctrl-c": Life.deposit_in_block,
    "ctrl-c while it drains": Life.drain,
    "two ctrl-c while it drains": Life.drain,
    "ctrl-c in a plain loop": Life.deposit_in_block,
    "terminate": Life.run_until_stopped,
    "terminate twice": Life.run_until_stopped,
    "terminate with a grace period": Life.run_until_stopped,
    "hang up": Life.deposit_in_block,
    "kill": Life.deposit_in_block,
    "time out": Life.time_out,
    "time out while it drains": Life.time_out_while_it_drains,
    "return without a stop": Life.return_without_a_stop,
    "raise without a stop": Life.raise_without_a_stop,
    "fail beside it": Life.fail_beside_it,
    "cancel all tasks": Life.cancel_all_tasks,
    "exit in a handler": Life.exit_in_a_handler,
    "exit at once in a handler": Life.exit_at_once_in_a_handler,
    "exit in the program": Life.exit_in_the_program,
    "close the loop": Life.return_without_a_stop,
    "stop without draining": Life.stop_without_draining,
}
WAYS = tuple(PROGRAMS)


def main(path: str, run: str, how: str, seed: str) -> None:
    """One life."""

    async def life() -> None:
        await PROGRAMS[how](Life(path, run, seed))

    if how == "close the loop":
        loop = asyncio.new_event_loop()
        loop.run_until_complete(life())
        loop.close()
    elif how == "ctrl-c in a plain loop":
        loop = asyncio.new_event_loop()
        task = loop.create_task(life())
        try:
            loop.run_until_complete(task)
        except KeyboardInterrupt:
            for one in asyncio.all_tasks(loop):
                one.cancel()
            loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
            loop.close()
    else:
        asyncio.run(life())


if __name__ == "__main__":
    main(*sys.argv[1:])
