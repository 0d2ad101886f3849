"""Durable steps of DBOS: workflows of many small steps, each recorded in SQLite before the next.

``dbos_durable.py WORKFLOWS STEPS``: so many workflows side by side, in the async API. Its SQLite settings are its own
(a rollback journal with full sync); its users could switch to WAL.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID


@DBOS.step()  # type: ignore[untyped-decorator]
async def step(turns: int, total: int) -> tuple[int, int]:
    return turns + 1, total + turns


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def walk(steps: int) -> int:
    turns, total = 0, 0
    while turns < steps:
        turns, total = await step(turns, total)
    return total


async def main(workflows: int, steps: int) -> None:
    async def one(number: int) -> int:
        with SetWorkflowID(f"walk-{number}"):
            total: int = await walk(steps)
        return total

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(workflows)))
    taken, used = time.perf_counter() - wall, time.process_time() - cpu
    turns = workflows * steps
    print(json.dumps({"turns_s": turns / taken, "cpu_us": used / turns * 1e6}))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix=".durable-", dir=".") as folder:
        database = f"sqlite:///{Path(folder).absolute()}/dbos.db"
        config: DBOSConfig = {"name": "walk", "system_database_url": database, "run_admin_server": False}
        DBOS(config=config)
        DBOS.launch()
        asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
        DBOS.destroy()
