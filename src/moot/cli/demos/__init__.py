"""The demos of `moot demo`, a module each, and what they share.

They run on the virtual clock: what takes seconds takes no time, and the same seed prints the same lines.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

__all__ = ["SEED", "play"]

SEED = Annotated[int, typer.Option(min=0, help="The same seed shows the same run.")]


def play(demo: Coroutine[Any, Any, None]) -> None:
    """Run a demo. What fails in it is part of what it shows, so dead letters are not logged as well."""
    from moot.testing import run

    logging.getLogger("moot.messaging.dead_letters").setLevel(logging.ERROR)
    run(demo)
