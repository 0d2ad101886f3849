"""The demos of `moot demo`, a module each, and what they share.

They run on the virtual clock: what takes seconds takes no time, and the same seed prints the same lines.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["SEED"]

SEED = Annotated[int, typer.Option(min=0, help="The same seed shows the same run.")]
