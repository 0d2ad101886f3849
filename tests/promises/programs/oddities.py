"""What handlers do besides: errors that they raise, and what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from moot import Retry

__all__ = ["ODD", "odd", "raise_inside"]


def make_error(name: str) -> BaseException:
    kinds: dict[str, Callable[[], BaseException]] = {
        "os": lambda: OSError("out"),
        "value": lambda: ValueError("wrong"),
        "key": lambda: KeyError("none"),
        "zero": lambda: ZeroDivisionError("zero"),
        "retry": lambda: Retry("again"),
        "fresh": lambda: Retry("afresh", fresh=True),
        "after": lambda: Retry("later", after=0.3),
        "cancelled": lambda: asyncio.CancelledError("gone"),
        "group": lambda: ExceptionGroup("several", [ValueError("one"), OSError("two")]),
        "generator": lambda: GeneratorExit("left"),
        "arithmetic": lambda: OverflowError("much"),
        "fatal": lambda: FloatingPointError("for all"),
        "assertion": lambda: AssertionError("not so"),
    }
    return kinds[name]()


def raise_inside(name: str) -> None:
    """Raise an error while another one is handled."""
    try:
        raise BufferError("before")
    except BufferError:
        raise make_error(name)  # noqa: B904 - its context is what is compared


class Odd:
    """An awaitable that yields ``what`` to the loop, as no library would but anybody may."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __await__(self) -> Generator[Any, Any, str]:
        return str((yield self.what))


async def counted() -> AsyncGenerator[int, None]:
    for number in range(2):
        await asyncio.sleep(0)
        yield number


async def odd(kind: str, sleep: float) -> str:  # noqa: C901, PLR0911, PLR0912 - a list of ways
    """Wait in one of the ways in which a handler can."""
    loop = asyncio.get_running_loop()
    match kind:
        case "pass":
            return await Odd(None)
        case "nonsense":
            return await Odd(42)
        case "bare future":
            return await Odd(loop.create_future())
        case "future":
            future: asyncio.Future[str] = loop.create_future()
            loop.call_later(sleep, future.set_result, "came")
            return await future
        case "failure":
            future = loop.create_future()
            loop.call_later(sleep, future.set_exception, OSError("came"))
            return await future
        case "done":
            future = loop.create_future()
            future.set_result("done")
            return await future
        case "cancelled":
            future = loop.create_future()
            loop.call_later(sleep, future.cancel, "over there")
            return await future
        case "shield":
            return await asyncio.shield(asyncio.sleep(sleep, "shielded"))
        case "task":
            return await asyncio.create_task(asyncio.sleep(sleep, "a task"))
        case "timeout":
            async with asyncio.timeout(sleep / 2):
                return await asyncio.sleep(sleep, "too late")
        case "generator":
            return str([number async for number in counted()])
        case "lock":
            lock = asyncio.Lock()
            await lock.acquire()
            loop.call_later(sleep, lock.release)
            async with lock:
                return "locked"
        case "queue":
            queue: asyncio.Queue[str] = asyncio.Queue()
            loop.call_later(sleep, queue.put_nowait, "taken")
            return await asyncio.wait_for(queue.get(), sleep * 2)
        case "thread":
            return await asyncio.to_thread(lambda: "a thread")
        case _:
            return str(await asyncio.gather(asyncio.sleep(sleep, "both"), asyncio.sleep(0)))


ODD = (
    *("pass", "nonsense", "bare future", "future", "failure", "done", "cancelled", "shield", "task", "timeout"),
    *("generator", "lock", "queue", "thread", "gather"),
)
