"""A function in a thread sees what its turn sees, and one that never ends keeps neither a stop nor the process."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.runtime.threads import SyncThreads
from moot.testing import FakeContext, run

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Ask(Request[list[str]]):
    pass


class Note(Payload):
    text: str


def told() -> str:
    before = WHO.get()
    WHO.set("the thread")
    return before


class Caller(Agent):
    @handles
    async def ask(self, message: Ask, ctx: AgentContext) -> list[str]:
        WHO.set("the turn")
        first = await ctx.run_sync(told)
        return [first, await ctx.run_sync(told), WHO.get()]


async def asked() -> list[str]:
    async with AgentManager() as manager:
        await manager.register(Caller("caller"))
        return await manager.ask("caller", Ask())


@pytest.mark.parametrize("runs", [asyncio.run, run])
def test_a_function_sees_the_context_variables_of_its_turn_and_changes_none(runs: object) -> None:
    assert callable(runs)

    assert runs(asked()) == ["the turn", "the turn", "the turn"]


def test_in_a_fake_context_it_is_the_same() -> None:
    async def main() -> list[str]:
        ctx: AgentContext = FakeContext.of()
        WHO.set("the turn")
        return [await ctx.run_sync(told), await ctx.run_sync(told), WHO.get()]

    assert run(main()) == ["the turn", "the turn", "the turn"]


PROGRAM = """
    import asyncio, logging, sys, threading
    from moot import AgentManager, Agent, AgentContext, handles
    from {module} import Note

    logging.basicConfig(format="%(message)s")
    url, blocks, drain = sys.argv[1], sys.argv[2] == "blocks", sys.argv[3] == "drain"
    entered = threading.Event()

    def blocking_call():
        entered.set()
        threading.Event().wait()

    class Worker(Agent):
        @handles
        async def work(self, message: Note, ctx: AgentContext):
            if blocks:
                await ctx.run_sync(blocking_call)
            print("handled", message.text, flush=True)

    async def main():
        manager = AgentManager(url)
        await manager.register(Worker("worker"))
        await manager.start()
        if blocks:
            for text in ("one", "two"):
                await manager.tell("worker", Note(text))
            await asyncio.to_thread(entered.wait)
            await manager.stop(drain=drain, timeout=0.2)
        else:
            await manager.settle()
            await manager.stop()
        print("stopped", flush=True)

    asyncio.run(main())
    print("ended", flush=True)
"""


def life(url: str, how: str, drain: str = "") -> tuple[str, str]:
    """What a process prints that works on ``url``, and what it logs."""
    code = textwrap.dedent(PROGRAM).format(module=__name__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", code, url, how, drain]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=40, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize("drain", ["drain", ""])
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_a_function_that_never_ends_keeps_neither_the_stop_nor_the_process(
    tmp_path: Path, backend: str, drain: str
) -> None:
    url = "memory://" if backend == "memory" else f"sqlite:///{tmp_path}/team.db"

    out, log = life(url, "blocks", drain)

    assert out.splitlines() == ["stopped", "ended"]
    assert "blocking_call of agent 'worker' does not end; its thread is left behind" in log
    if backend == "sqlite":
        assert life(url, "goes on")[0].splitlines() == ["handled one", "handled two", "stopped", "ended"]


def test_more_functions_than_threads_are_run_one_after_the_other() -> None:
    threads = SyncThreads(most=2)
    barrier = threading.Barrier(2)
    meeting = [threads.submit(barrier.wait) for _ in range(4)]

    assert sorted(future.result() for future in meeting) == [0, 0, 1, 1]
    assert threads.leave() == []


def test_what_has_not_begun_when_the_system_stops_never_does() -> None:
    threads, gate, entered = SyncThreads(most=1), threading.Event(), threading.Event()

    def first() -> bool:
        entered.set()
        return gate.wait()

    begun = threads.submit(first)
    entered.wait()
    waiting = threads.submit(gate.set)

    assert len(threads.leave()) == 1
    with pytest.raises(CancelledError):
        waiting.result()
    gate.set()
    assert begun.result()


def test_an_error_of_a_function_reaches_the_turn() -> None:
    threads = SyncThreads()

    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result()
    with pytest.raises(SystemExit):
        threads.submit(sys.exit, 3).result()
    assert threads.submit(sum, [1, 2]).result() == 3
    threads.leave()
