"""The `moot` command.

The commands need the `cli` extra (typer and rich); without it `moot` ends with
one line that says how to install it. Each command's module is loaded when the
command is called, and typer only when there is something to parse.
"""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `moot` script; ends the process with 0, 1, 2 or 130."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"moot: the command line needs {' and '.join(missing)}; install: python -m pip install 'moot[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        from moot.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were loading
        code = 130
    sys.exit(code)
