"""``moot research``: answer a question from the user's own files, with citations that open.

The report goes to stdout, everything else to stderr. Only typer is imported up
front, so that ``moot --help`` stays quick.

Exit codes: 0 a report, 1 not found in the sources, 2 bad input or an engine that
cannot start, 3 a partial report because the engine failed on the way, 130
interrupted, with what was found until then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from moot.cli.app import forget
from moot.cli.research_input import BadInputError, check_input

if TYPE_CHECKING:
    from moot.cli.research_screen import Screen
    from moot.cli.stored_run import StoredRun
    from moot.engine.base import Engine
    from moot.teams.research import Report

__all__ = ["research"]

T = TypeVar("T")

_MIN_CONTEXT = 1_024
_NOT_FOUND, _BAD_INPUT, _PARTIAL, _INTERRUPTED = 1, 2, 3, 130


class Depth(StrEnum):
    """How much is read and written."""

    BRIEF = "brief"
    STANDARD = "standard"
    COMPREHENSIVE = "comprehensive"


def research(
    question: Annotated[str, typer.Argument(help="What to find out; a specific question works best.")] = "",
    more_sources: Annotated[list[Path] | None, typer.Argument(help="Further files and folders.")] = None,
    sources: Annotated[list[Path] | None, typer.Option("--sources", "-s", help="Files and folders to read.")] = None,
    depth: Annotated[
        Depth, typer.Option(help="brief: about half a minute; standard; comprehensive: up to 6 answers, 5 minutes.")
    ] = Depth.STANDARD,
    engine: Annotated[
        str | None, typer.Option(envvar="MOOT_ENGINE", help="local, local:small, openai:MODEL@URL; none: quotes only.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name, or the path of a .gguf file.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the local engine.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON, with verdicts and spans.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer research_request messages from stdin, a JSON line each.")
    ] = False,
    durable: Annotated[
        Path | None, typer.Option(help="Keep the run in this file: killed, it goes on with 'moot resume FILE'.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Answer QUESTION from the files and folders given with --sources; every sentence carries its quote.

    Exit codes: 0 report, 1 not found in the sources, 2 bad input or an engine that cannot start,
    3 partial report because the engine failed on the way, 130 interrupted (with what was found).
    """
    from moot.backends.errors import BackendError
    from moot.cli.research_screen import Screen
    from moot.cli.stored_run import StoredRun

    paths = [*(sources or []), *(more_sources or [])]
    durable = durable.expanduser().absolute() if durable is not None else None
    found: list[Report] = []
    try:
        check_input(question, paths, output, is_serving=serve)
        if serve and durable is not None:
            raise BadInputError("--serve keeps nothing; leave out --durable, or ask one question")
        chosen = _open_engine(engine, model, threads)
        with Screen(is_quiet=quiet) as screen:
            if serve:
                asyncio.run(_with_engine(chosen, screen, lambda: _serve(paths, chosen, screen)))
                raise typer.Exit(0)
            run = StoredRun(
                question=question,
                sources=tuple(map(str, paths)),
                depth=depth.value,
                folder=str(Path.cwd()),
                engine=engine,
                model=model,
                threads=threads,
            )
            work = _with_engine(chosen, screen, lambda: _run(run, durable, chosen, screen, found))
            report, is_interrupted = asyncio.run(work)
        if is_interrupted and durable is not None:
            typer.echo(f"moot research: interrupted; go on with: moot resume {durable}", err=True)
        if report.status == "partial" and not is_interrupted:
            typer.echo(f"moot research: {_one_line(report.notices[-1])}", err=True)
        _write(report, output, as_json=as_json)
    except (BadInputError, BackendError, ImportError) as error:  # a missing extra says how to install it
        typer.echo(f"moot research: {_one_line(str(error))}", err=True)
        raise typer.Exit(_BAD_INPUT) from None
    except (KeyboardInterrupt, asyncio.CancelledError):  # SIGTERM cancels
        typer.echo("moot research: interrupted", err=True)
        for report in found:  # a second Ctrl-C ends the waiting and not the report
            _write(report, output, as_json=as_json)
        raise typer.Exit(_INTERRUPTED) from None
    raise typer.Exit(_INTERRUPTED if is_interrupted else _exit_code(report))


def _open_engine(spec: str | None, model: str | None, threads: int | None) -> Engine | None:
    from moot.engine.choose import open_engine
    from moot.engine.errors import EngineError

    if spec == "none":
        return None
    try:
        return open_engine(spec, model=model, threads=threads)
    except (EngineError, ValueError, ImportError) as error:
        raise BadInputError(str(error)) from error


async def _with_engine(engine: Engine | None, screen: Screen, work: Callable[[], Awaitable[T]]) -> T:
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


async def _run(
    run: StoredRun, file: Path | None, engine: Engine | None, screen: Screen, found: list[Report]
) -> tuple[Report, bool]:
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


async def _serve(paths: list[Path], engine: Engine | None, screen: Screen) -> None:
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
            await serve(team.manager, _stdin_lines(), _write_line)
        except BrokenPipeError:
            forget(sys.stdout)
        except OSError as error:
            raise BadInputError(f"cannot write the answers: {error.strerror}") from error


async def _stdin_lines() -> AsyncIterator[bytes]:
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


def _write_line(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _write(report: Report, output: Path | None, *, as_json: bool) -> None:
    from moot.teams.research import to_json, to_markdown

    text = to_json(report) + "\n" if as_json else to_markdown(report)
    if output is None:
        _print(text)
        return
    try:
        output.expanduser().write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        lost = f"cannot write {output}: {error.strerror}"
        if sys.stdout is not None:  # minutes of work are not thrown away for a full disk
            _print(text)
            lost += "; the report went to stdout"
        raise BadInputError(lost) from error
    typer.echo(f"written to {output}", err=True)


def _print(text: str) -> None:
    """Write to stdout; a reader that went away (``moot research … | head``) is no error."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        forget(sys.stdout)
    except OSError as error:
        forget(sys.stdout)
        raise BadInputError(f"cannot write the report to stdout: {error.strerror}") from error


def _one_line(text: str) -> str:
    """``text`` without what would break the line or act on a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _exit_code(report: Report) -> int:
    return {"not_found": _NOT_FOUND, "partial": _PARTIAL}.get(report.status, 0)
