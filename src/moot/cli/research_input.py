"""Research input: what ``moot research`` was given, looked at before the work and not after it."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path

__all__ = ["BadInputError", "Depth", "check_input"]


class Depth(StrEnum):
    """How much is read and written."""

    BRIEF = "brief"
    STANDARD = "standard"
    COMPREHENSIVE = "comprehensive"


class BadInputError(Exception):
    """One clear line for the user."""


def check_input(question: str, paths: list[Path], output: Path | None, *, is_serving: bool) -> None:
    """Whether there is a question, sources that can be opened, and a place for the report.

    Raises:
        BadInputError: there is not.
    """
    if not is_serving and not question.strip():
        raise BadInputError('no question; give one, as in: moot research "How …?" --sources docs/')
    if not paths:
        raise BadInputError("no sources; name files or folders with --sources")
    for path in paths:
        try:
            path.expanduser().stat()
        except FileNotFoundError:
            raise BadInputError(f"no such file or folder: {path}") from None
        except (OSError, RuntimeError) as error:  # a folder on the way is closed, a name too long, a user unknown
            raise BadInputError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}") from None
    if output is not None:
        _check_output(output.expanduser(), [path.expanduser().resolve() for path in paths])
    elif sys.stdout is None:
        raise BadInputError("there is no stdout to write to; name a file with --output")


def _check_output(output: Path, sources: list[Path]) -> None:
    """Whether the report can go there, and destroys nothing that it rests on."""
    try:
        if not output.parent.is_dir():
            raise BadInputError(f"no such folder for the report: {output.parent}")
        if output.is_dir():
            raise BadInputError(f"cannot write {output}: it is a folder; name a file in it")
        place = output.resolve()
        is_there = output.exists()
    except OSError as error:
        raise BadInputError(f"cannot write {output}: {error.strerror}") from None
    if is_there and any(place.is_relative_to(source) for source in sources):
        raise BadInputError(f"{output} is one of the sources; write the report to another file")
    if not os.access(output if is_there else output.parent, os.W_OK):
        raise BadInputError(f"cannot write {output}: no permission")
