"""The floor of durable turns: a bare writer thread that commits what tasks submit, in batches, and nothing else.

Each task is an agent without a runtime: it encodes its next message and its state, submits the rows and waits for the
commit. The same statements, settings and group commit (take all that waits, no window) as the backend has.
``durable_floor.py AGENTS SECONDS [BUSY]``, as `durable_ours.py`.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

TABLES = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
CREATE TABLE mail(mid INTEGER PRIMARY KEY, agent INT NOT NULL, body BLOB NOT NULL);
CREATE TABLE state(agent INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""


class Step(msgspec.Struct):
    sender: str
    to: str
    number: int
    text: str


class Turn(msgspec.Struct, gc=False):
    agent: int
    ended: int
    mail: tuple[int, int, bytes]
    state: bytes


class Writer:
    """Takes all that waits, commits it, and says so once a batch."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.executescript(TABLES)
        self.loop = loop
        self.queue: queue.SimpleQueue[tuple[Turn, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while (first := self.queue.get()) is not None:
            batch = [first]
            while not self.queue.empty() and (one := self.queue.get()) is not None:
                batch.append(one)
            turns = [turn for turn, _ in batch]
            execute = self.connection.executemany
            self.connection.execute("BEGIN IMMEDIATE")
            execute("INSERT INTO mail VALUES (?, ?, ?)", [turn.mail for turn in turns])
            execute("DELETE FROM mail WHERE mid = ?", [(turn.ended,) for turn in turns])
            execute("INSERT OR REPLACE INTO state VALUES (?, ?)", [(turn.agent, turn.state) for turn in turns])
            self.connection.execute("COMMIT")
            self.loop.call_soon_threadsafe(done, batch)


def done(batch: list[tuple[Turn, asyncio.Future[None]]]) -> None:
    for _, future in batch:
        future.set_result(None)


class Floor:
    goes_on = True
    turns = 0
    mid = 0


async def agent(number: int, writer: Writer) -> None:
    mine, loop, turns = 0, asyncio.get_running_loop(), 0
    while Floor.goes_on:
        turns += 1
        Floor.mid += 1
        body = msgspec.msgpack.encode(Step(f"walker_{number}", f"walker_{number}", turns, "hello"))
        turn = Turn(number, mine, (Floor.mid, number, body), msgspec.msgpack.encode((turns, turns)))
        mine = Floor.mid
        future: asyncio.Future[None] = loop.create_future()
        writer.queue.put((turn, future))
        await future
        Floor.turns += 1


async def keep_busy(share: float) -> None:
    while Floor.goes_on:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0.001 * (1 - share) / share)


async def main(agents: int, seconds: float, busy: float) -> None:
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix=".durable-", dir=".") as folder:
        writer = Writer(Path(folder).absolute() / "floor.db", loop)
        loop.call_later(seconds, setattr, Floor, "goes_on", False)
        wall, cpu = time.perf_counter(), time.process_time()
        running = [agent(number, writer) for number in range(agents)]
        await asyncio.gather(*running, *([keep_busy(busy)] if busy else []))
        taken, used = time.perf_counter() - wall, time.process_time() - cpu
        writer.queue.put(None)
        writer.thread.join()
        writer.connection.close()
    print(json.dumps({"turns_s": Floor.turns / taken, "cpu_us": used / Floor.turns * 1e6}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
