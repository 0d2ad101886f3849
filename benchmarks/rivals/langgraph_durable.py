"""Durable steps of LangGraph: a graph of one node that runs again and again, checkpointed to SQLite after each step.

``langgraph_durable.py THREADS STEPS``: so many graphs side by side, in the async API with its own SQLite saver. Full
sync, as on the other sides; ``durability="sync"`` waits for each checkpoint, as its users would who want none lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    turns: int
    total: int
    text: str


async def main(threads: int, steps: int) -> None:
    async def step(state: State) -> State:
        return {"turns": state["turns"] + 1, "total": state["total"] + state["turns"], "text": state["text"]}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: END if state["turns"] >= steps else "step")
    with tempfile.TemporaryDirectory(prefix=".durable-", dir=".") as folder:
        async with AsyncSqliteSaver.from_conn_string(str(Path(folder).absolute() / "graph.db")) as saver:
            await saver.setup()
            await saver.conn.execute("PRAGMA synchronous = FULL")
            app = graph.compile(checkpointer=saver)
            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(
                *(
                    app.ainvoke(
                        {"turns": 0, "total": 0, "text": "hello"},
                        {"configurable": {"thread_id": str(thread)}, "recursion_limit": steps + 10},
                        durability="sync",
                    )
                    for thread in range(threads)
                )
            )
            taken, used = time.perf_counter() - wall, time.process_time() - cpu
    turns = threads * steps
    print(json.dumps({"turns_s": turns / taken, "cpu_us": used / turns * 1e6}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
