"""`moot version`: the versions a bug report needs."""

from __future__ import annotations

import json as jsonlib
import platform
from importlib import metadata
from typing import Annotated

import typer

__all__ = ["version"]


def version(
    json: Annotated[bool, typer.Option("--json", help="Print an object instead of a line.")] = False,
) -> None:
    """Print the version of Moot, of Python and of the machine's system."""
    facts = {
        "moot": metadata.version("moot"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if json:
        print(jsonlib.dumps(facts))
    else:
        print(f"moot {facts['moot']} (Python {facts['python']}, {facts['system']})")
