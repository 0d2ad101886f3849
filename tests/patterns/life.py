"""One life of a scenario in a file: ``life.py SCENARIO FILE``. It is there to be killed.

It prints a line for each turn that ended, and ``over`` when there is an outcome and nothing is left to do.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from moot import AgentManager
from tests.patterns.suite import load, play


class Talkative:
    """An observer that prints a line for each turn that ended."""

    def turn_started(self, *facts: Any) -> None:
        pass

    def turn_ended(self, *facts: Any) -> None:
        print("turn", flush=True)


async def live(name: str, path: str) -> None:
    manager = AgentManager(f"sqlite:///{path}")
    manager.observe(Talkative())
    async with manager:
        await play(load(name), manager)
        await manager.settle()
    print("over", flush=True)


if __name__ == "__main__":
    logging.getLogger("moot.runtime.dispatch.rollback").setLevel(logging.CRITICAL)  # scenarios have agents that fail
    asyncio.run(live(sys.argv[1], sys.argv[2]))
