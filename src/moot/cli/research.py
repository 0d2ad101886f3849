"""``moot research``: answer a question from the user's own files, with citations that open.

The report goes to stdout, everything else to stderr. The work and what
it needs are imported when it begins, so that ``--help`` stays quick.

Exit codes: 0 a report, 1 not found in the sources, 2 bad input or an engine that
cannot start, 3 a partial report because the engine failed on the way, 130
interrupted, with what was found until then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moot.cli.app import forget
from moot.cli.research_input import BadInputError, Depth, check_input

if TYPE_CHECKING:
    from moot.teams.research import Report

__all__ = ["research"]

_NOT_FOUND, _BAD_INPUT, _PARTIAL, _INTERRUPTED = 1, 2, 3, 130


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
    import asyncio  # this and what follows: --help does without

    from moot.backends.errors import BackendError
    from moot.cli.research_screen import Screen
    from moot.cli.research_work import answer, chosen_engine, serve_requests, with_engine
    from moot.cli.stored_run import StoredRun

    paths = [*(sources or []), *(more_sources or [])]
    durable, output = (path and path.expanduser().absolute() for path in (durable, output))
    found: list[Report] = []
    try:
        check_input(question, paths, output, is_serving=serve)
        if serve and durable is not None:
            raise BadInputError("--serve keeps nothing; leave out --durable, or ask one question")
        chosen = chosen_engine(engine, model, threads)
        with Screen(is_quiet=quiet) as screen:
            if serve:
                asyncio.run(with_engine(chosen, screen, lambda: serve_requests(paths, chosen, screen)))
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
            work = with_engine(chosen, screen, lambda: answer(run, durable, chosen, screen, found))
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
