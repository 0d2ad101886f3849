"""``moot resume``: go on with a research run whose process has ended, from the file that stores it.

What the engine has answered before is not asked again. The exit codes are those of
``moot research``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["resume"]


def resume(
    file: Annotated[Path, typer.Argument(help="The file of moot research --durable FILE.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON, with verdicts and spans.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Go on with the research run in FILE, or print its report again if it is finished."""
    from moot.backends.errors import BackendError
    from moot.cli.app import UsageError
    from moot.cli.research import research
    from moot.cli.research_input import Depth
    from moot.cli.stored_run import stored_run

    try:
        run = stored_run(file)
    except BackendError as error:
        raise UsageError(f"resume: {error}") from error
    if run is None:
        raise UsageError(
            f"resume: {file} holds a system, but no research run; start the program that made it again with "
            f"AgentManager('sqlite:///{file}'), and it goes on"
        )
    file = file.absolute()
    output = output.expanduser().absolute() if output is not None else None
    try:
        os.chdir(run.folder)
    except OSError as error:
        raise UsageError(f"resume: the run began in {run.folder}, which cannot be entered: {error.strerror}") from error
    research(
        run.question,
        sources=[Path(source) for source in run.sources],
        depth=Depth(run.depth),
        engine=run.engine,
        model=run.model,
        threads=run.threads,
        output=output,
        as_json=as_json,
        durable=file,
        quiet=quiet,
    )
