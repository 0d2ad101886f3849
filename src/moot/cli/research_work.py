"""The work of ``moot research``: the engine from start to end, one question, or the requests that come from stdin."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from moot.cli.app import forget
from moot.cli.research_input import BadInputError, Depth

if TYPE_CHECKING:
    from moot.cli.research_screen import Screen
    from moot.cli.stored_run import StoredRun
    from moot.engine.base import Engine
    from moot.teams.research import Report

__all__ = ["answer", "chosen_engine", "serve_requests", "with_engine"]

T = TypeVar("T")

_MIN_CONTEXT = 1_024


def chosen_engine(spec: str | None, model: str | None, threads: int | None) -> Engine | None:
    """The engine that the options name, not started yet; None for ``none``.

    Raises:
        BadInputError: there is no such engine.
    """
    from moot.engine.choose import open_engine
    from moot.engine.errors import EngineError

    if spec == "none":
        return None
    try:
        return open_engine(spec, model=model, threads=threads)
    except (EngineError, ValueError, ImportError) as error:
        raise BadInputError(str(error)) from error


async def with_engine(engine: Engine | None, screen: Screen, work: Callable[[], Awaitable[T]]) -> T:
    """Start the engine, do the work, and close the engine whatever comes; SIGTERM cancels the work.

    Raises:
        BadInputError: the engine cannot start, or is too small for the work.
    """
    from moot.engine.errors import EngineError

    task = asyncio.current_task()
    if task is not None and os.name == "posix":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if engine is None:
        return await work()
    try:
        screen.say(f"starting the engine {engine.name}")
        await engine.start()
        if engine.context_size < _MIN_CONTEXT:
            raise BadInputError(
                f"the context of engine {engine.name!r} is too small: {engine.context_size} tokens, "
                f"{_MIN_CONTEXT} are needed; choose another model"
            )
        return await work()
    except EngineError as error:
        raise BadInputError(str(error)) from error
    finally:
        await engine.close()


async def answer(
    run: StoredRun, file: Path | None, engine: Engine | None, screen: Screen, found: list[Report]
) -> tuple[Report, bool]:
    """The report on the run's question, and whether it is what an interruption left; that one is in ``found``, too.

    Raises:
        BadInputError: the sources or the file cannot be used, or the engine refused from the start.
    """
    from moot.cli.stored_run import claim
    from moot.engine.errors import EngineUnavailable
    from moot.teams.research import ResearchTeam, SourceError

    url = f"sqlite:///{file}" if file is not None else "memory://"
    async with ResearchTeam(run.sources, engine=engine, url=url) as team:
        if file is not None and (stored := await claim(team.manager.shared_state, run)).id != run.id:
            raise BadInputError(
                f"{file} holds another run: {stored.question!r}; go on with that one by 'moot resume {file}', "
                "or name another file"
            )
        try:
            report = await team.research(
                run.question,
                depth=Depth(run.depth).value,
                on_progress=screen.show,
                run_id=run.id if file is not None else None,
            )
        except SourceError as error:
            raise BadInputError(str(error)) from error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            found.append(team.so_far("Interrupted: this is what was found until then."))
            return found[0], True
    has_started = report.failure == EngineUnavailable.__name__ or any(use.calls for use in report.statistics.agents)
    if report.status == "partial" and not has_started:  # what the engine refuses from the start is the user's to mend
        raise BadInputError(report.notices[-1] if report.notices else "the engine gave no answer")
    return report, False


async def serve_requests(paths: list[Path], engine: Engine | None, screen: Screen) -> None:
    """Answer the requests that come from stdin until it ends.

    Raises:
        BadInputError: the sources cannot be used, or the answers cannot be written.
    """
    from moot.teams.research import ResearchTeam, SourceError
    from moot.teams.research.serve import serve
    from moot.teams.research.sources.ingest import check_sources

    try:
        check_sources(paths)
    except SourceError as error:
        raise BadInputError(str(error)) from error
    async with ResearchTeam(paths, engine=engine) as team:
        screen.say("answering research_request messages from stdin; Ctrl-C ends it")
        try:
            await serve(team.manager, stdin_lines(), write_line)
        except BrokenPipeError:
            forget(sys.stdout)
        except OSError as error:
            raise BadInputError(f"cannot write the answers: {error.strerror}") from error


async def stdin_lines() -> AsyncIterator[bytes]:
    """Lines of stdin, read by a thread with bare reads: a buffered reader would hold a lock at exit."""
    import threading

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        rest = b""
        while piece := os.read(sys.stdin.fileno(), 65_536):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                loop.call_soon_threadsafe(lines.put_nowait, line)
        for last in ([rest] if rest else []) + [None]:
            loop.call_soon_threadsafe(lines.put_nowait, last)

    threading.Thread(target=read, name="moot-stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


def write_line(line: bytes) -> None:
    """Write an answer to stdout."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
