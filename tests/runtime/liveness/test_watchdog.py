"""A handler that blocks the event loop is named, with the line it is in, while it still does.

This is the one place where real time passes: a blocked loop does not exist on a virtual clock. Nothing is awaited by
the clock, though: the handlers here block until the watchdog has barked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from moot import AgentManager, Payload
from moot.runtime.liveness.watchdog import Watchdog
from moot.testing import run

PATIENCE = 30.0


class Block(Payload):
    """Blocks the loop until the watchdog has said so."""


class Barks(logging.Handler):
    """Keeps what the watchdog logs; sets ``barked`` at the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.barked = threading.Event()
        self.went_on = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        (self.went_on if self.barked.is_set() else self.barked).set()


@pytest.fixture
def barks() -> Iterator[Barks]:
    handler = Barks()
    logger = logging.getLogger("moot.runtime.liveness.watchdog")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "moot watchdog"]


def test_the_agent_and_the_line_that_block_the_loop_are_named(barks: Barks) -> None:
    async def main() -> int:
        async def blocker(message: Block) -> None:
            compute(barks)

        async with AgentManager(watchdog=0.05) as manager:
            await manager.register(blocker)
            await manager.tell("blocker", Block())
            await manager.settle()
            await asyncio.to_thread(barks.went_on.wait, PATIENCE)
            return manager.health().blocks

    blocks = asyncio.run(main())

    first, last = barks.lines[0], barks.lines[-1]
    assert "agent blocker has blocked the event loop for" in first
    assert f"{__file__}:" in first
    assert "in compute; await instead, or use ctx.run_sync" in first
    assert "barks.barked.wait" in first
    assert "in blocker" in first
    assert "the event loop turns again" in last
    assert "after agent blocker blocked it" in last
    assert blocks == len(barks.lines) / 2
    assert watchdogs() == []


def compute(barks: Barks) -> None:
    assert barks.barked.wait(PATIENCE)


def test_a_loop_that_turns_is_measured(barks: Barks) -> None:
    async def main() -> float:
        async with AgentManager(watchdog=5) as manager:
            assert len(watchdogs()) == 1
            while (lag := manager.health().loop_lag) is None:  # noqa: ASYNC110 - health is looked at, it does not call
                await asyncio.sleep(0.01)
            return lag

    assert 0 <= asyncio.run(main()) < PATIENCE
    assert watchdogs() == []


def test_what_blocks_and_is_no_agent_is_named_by_its_line(barks: Barks) -> None:
    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), 0.05, lambda: None)
        compute(barks)
        watchdog.close()

    asyncio.run(main())

    assert "something that is no agent has blocked the event loop" in barks.lines[0]
    assert watchdogs() == []


def test_no_thread_watches_a_virtual_clock_or_where_none_is_wanted() -> None:
    async def main(threshold: float | None) -> int:
        async with AgentManager(watchdog=threshold):
            return len(watchdogs())

    assert run(main(0.05)) == 0
    assert asyncio.run(main(None)) == 0


def test_a_threshold_of_nothing_is_refused() -> None:
    async def main() -> None:
        await AgentManager(watchdog=0).start()

    with pytest.raises(ValueError, match="None is for no watchdog"):
        asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_may_fork_and_end_beside_a_watchdog() -> None:
    code = """
import asyncio, os, sys
from moot.runtime.liveness.watchdog import Watchdog

async def main():
    watchdog = Watchdog(asyncio.get_running_loop(), 0.02, lambda: None)
    child = os.fork()
    if child == 0:
        watchdog.close()
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.stdout, done.returncode) == ("7\n", 0)
    assert "Traceback" not in done.stderr
