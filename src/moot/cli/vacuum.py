"""`moot vacuum`: make the file of a stopped system small again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from moot.cli.file_options import FILE

__all__ = ["vacuum"]


def vacuum(
    file: FILE,
    keep_tombstones: Annotated[
        bool, typer.Option(help="Keep the versions of deleted shared keys, if agents keep versions in their state.")
    ] = False,
    unclaimed: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Also delete mail that no agent has claimed for so many days."),
    ] = None,
) -> None:
    """Take out what no later run can need, and give its room back. The system must be stopped."""
    from moot.backends.sqlite.repair import repairing  # these three: the runtime, which --help does without
    from moot.cli.files import printing, safe, size
    from moot.runtime.durability.replies import REMEMBERED_FOR

    with printing("let it run: it works with the file as it is"):
        before = bytes_of(file)
        with repairing(file) as held:
            discarded = held.discard(None, time.time() - unclaimed * 86400) if unclaimed is not None else 0
            pruned = held.prune(time.time() - REMEMBERED_FOR, tombstones=not keep_tombstones)
            held.vacuum()
    print(
        f"taken out: {pruned.given} given ids older than {REMEMBERED_FOR / 86400:.0f} days, records of "
        f"{pruned.turns} turns that cannot run again, {pruned.deleted} deleted shared keys"
        + (f", {discarded} messages that nobody claims" if unclaimed is not None else "")
    )
    after = bytes_of(file)
    print(safe(f"{file}: {before:,} bytes before, {after:,} after ({size(max(0, before - after))} less)"))


def bytes_of(file: Path) -> int:
    """What the database and its log take."""
    return sum(path.stat().st_size for path in (file, file.with_name(f"{file.name}-wal")) if path.exists())
