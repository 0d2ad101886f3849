"""The options that the commands about a durable system's file share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["FILE", "JSON"]

FILE = Annotated[Path, typer.Argument(metavar="FILE", help="The file of 'sqlite:///FILE'.")]
JSON = Annotated[bool, typer.Option("--json", help="Print an object instead of lines.")]
