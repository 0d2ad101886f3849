"""`moot doctor`: is this machine fit to run Moot, and what is missing? Or: is a durable system's file whole?

Each check is one line with what was found and, where something is wrong, what
to do about it. Only what nothing works without makes the exit code 1; a missing
extra or a model that is not here yet is reported and costs nothing.
"""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from moot.cli.app import EXIT_FAILED, UsageError

__all__ = ["doctor"]


def doctor(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Check the file of 'sqlite:///FILE'.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Go on without the changes that FILE has lost. The system must be stopped.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of lines.")] = False,
) -> None:
    """Check Python, cores, memory, extras, the model, the disk and the engine; exit 1 if Moot cannot work here.

    With FILE, check that file of a durable system instead; exit 1 if anything is wrong with it.
    """
    import msgspec  # this and the runtime: --help does without

    from moot.cli.findings import file_findings, findings

    if file is not None:
        found = file_findings(file, accept=accept)
    elif accept:
        raise UsageError("--accept is about a file: moot doctor FILE --accept")
    else:
        found = findings()
    if json:
        print(jsonlib.dumps(msgspec.to_builtins(found), indent=2))
    else:
        for finding in found:
            print(f"{finding.status:8}{finding.name:10}{finding.text}")
    if any(finding.status == "failed" for finding in found):
        raise typer.Exit(EXIT_FAILED)
