"""`moot bench`: what this machine does, in a few seconds.

Tell, ask and fan-out through a manager, each beside the least that asyncio itself
needs for it (a bare queue). The comparison with error bars and rivals is the
repository's `benchmarks/`; this one answers "is it fast here, too?".
"""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from moot.cli.app import UsageError

__all__ = ["bench"]


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="tell, ask or fan-out; all without it.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Operations to run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
) -> None:
    """Measure tell, ask and fan-out on this machine, beside a bare asyncio queue."""
    import msgspec  # this and the runtime: --help does without

    from moot.cli.workloads import WORKLOADS, measure

    if name is not None and name not in WORKLOADS:
        raise UsageError(f"there is no benchmark {name!r}; choose one of: {', '.join(WORKLOADS)}")
    rows = [measure(chosen, size) for chosen in ([name] if name else WORKLOADS)]
    if json:
        print(jsonlib.dumps(msgspec.to_builtins(rows), indent=2))
        return
    print(f"{'':10}{'per second':>12}{'µs each':>10}{'bare queue':>12}{'ratio':>8}")
    for row in rows:
        print(f"{row.name:10}{1e6 / row.cpu_us:12,.0f}{row.cpu_us:10.2f}{row.floor_us:12.2f}{row.ratio:8.2f}")
    print("CPU time of one run; the ratio is to the least that asyncio needs, and above 1 is faster.")
