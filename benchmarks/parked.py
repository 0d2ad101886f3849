"""How much memory a system takes that opens a file with much mail, and how long its start takes.

    .venv/bin/python benchmarks/parked.py                        # 1 GB of mail
    .venv/bin/python benchmarks/parked.py --against CHECKOUT     # also a start with 200,000 mails, beside another build

The first table has the peak memory of a process that opens a file with 1,000,000 messages of 1,000 bytes and more: all
for an agent that is not registered; for one that is, with room for 4; for one that then handles all of it. The second
is the CPU time of a start with 200,000 small messages for an agent that is registered, until ``start()`` returns:
medians of the rounds, interleaved, and the median of each round's ratio.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = {
    "waits for an agent that is not there": "absent",
    "waits for an agent with room for 4": "stuck",
    "is handled by one agent": "handled",
}


def make(path: Path, count: int, size: int, root: Path) -> None:
    """A file of the build in ``root`` with so much mail for ``a``."""
    child(root, "empty", path)
    sys.path.insert(0, str(ROOT / "src"))
    import msgspec

    from moot.messaging.message import AgentMessage

    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO agent VALUES (1, 'a')")
        rows = (
            (
                n,
                1,
                "made",
                n,
                0,
                msgspec.msgpack.encode(AgentMessage("b", "a", {"data": "x" * size}, "blob", n, "made")),
            )
            for n in range(1, count + 1)
        )
        connection.executemany("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def child(root: Path, how: str, path: Path) -> list[float]:
    """Open the file in its own process: CPU seconds of the start, peak MB then and at the end, messages handled."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    words = [sys.executable, str(Path(__file__).resolve()), "--child", how, str(path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def in_child(how: str, path: str) -> None:
    import asyncio

    from moot import Agent, AgentManager, MailboxPolicy, Payload, handles

    class Blob(Payload):
        data: str

    class Reader(Agent):
        handled = 0

        @handles
        async def read(self, message: Blob) -> None:
            if how != "handled":
                await asyncio.Event().wait()
            Reader.handled += 1

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    async def life() -> None:
        manager = AgentManager(f"sqlite:///{path}")
        if how in {"stuck", "handled"}:
            await manager.register(Reader("a"), mailbox=MailboxPolicy(capacity=4))
        begun = time.process_time()
        await manager.start()
        print(time.process_time() - begun, peak())
        if how == "handled":
            await manager.settle()
        await manager.stop(drain=False)
        print(peak(), Reader.handled)

    asyncio.run(life())


def copied(original: Path, path: Path) -> None:
    """The file, as nobody has opened it yet."""
    shutil.copyfile(original, path)
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        in_child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        original, path = Path(folder, "made.db"), Path(folder, "team.db")
        make(original, options.messages, 1000, ROOT)
        size = original.stat().st_size / 1e6
        print(f"| {size:,.0f} MB of mail | peak MB at the start | peak MB at the end | handled |\n|---|---:|---:|---:|")
        for what, how in CASES.items():
            copied(original, path)
            _, first, last, handled = child(ROOT, how, path)
            print(f"| {what} | {first:.0f} | {last:.0f} | {handled:,.0f} |")
        if options.against is None:
            return
        original = Path(folder, "other.db")
        make(original, 200_000, 100, options.against.resolve())
        taken: list[tuple[float, float]] = []
        for turn in range(options.rounds + 1):
            seconds = {}
            for root in (options.against.resolve(), ROOT)[:: 1 if turn % 2 else -1]:
                copied(original, path)
                seconds[root] = child(root, "stuck", path)[0]
            if turn:
                taken.append((seconds[options.against.resolve()], seconds[ROOT]))
        theirs, ours = (statistics.median(side) * 1e3 for side in zip(*taken, strict=True))
        ratio = statistics.median(our / their for their, our in taken)
        print(f"\nstart with 200,000 mails: {theirs:.0f} ms, this {ours:.0f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
