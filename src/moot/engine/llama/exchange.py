"""One request to llama.cpp's process and its answer, over a connection of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from moot.engine.llama.process import LlamaProcess

__all__ = ["Exchange"]

_MAX_LINE = 16 * 1024 * 1024
_TAKEN = b'{"taken": true}\n'


class Exchange:
    """A request under way in ``process``, by the ``name`` that is reported if it is lost. Begun with `begin`."""

    def __init__(
        self, process: LlamaProcess, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.name = name
        self._reader = reader
        self._writer = writer
        process.under_way.add(name)

    @classmethod
    async def begin(cls, process: LlamaProcess, name: str, line: bytes) -> Exchange:
        """Hand a request in and wait until the process has taken it.

        Raises:
            OSError: it has ended before, and has done nothing of it.
        """
        reader, writer = await asyncio.open_unix_connection(sock=process.connect(), limit=_MAX_LINE)
        exchange = cls(process, name, reader, writer)
        try:
            writer.write(line)
            if await exchange._line() != _TAKEN:
                raise BrokenPipeError("the request was not taken")
        except BaseException:
            exchange.close()
            raise
        return exchange

    async def read(self) -> dict[str, Any] | None:
        """The next line of the answer; empty at its end, and None if the process has broken it off.

        A process that sends something else is killed, for it is none of ours.
        """
        data = await self._line()
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError:
            if data:
                self.process.kill(f"sent what is no answer ({data[:80]!r})")
            return None

    def close(self) -> None:
        """End it. If the answer is not complete, the process stops working on it."""
        self.process.under_way.discard(self.name)
        self._writer.transport.abort()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil()
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        except asyncio.LimitOverrunError:  # endless: the beginning is enough to see that
            return await self._reader.read(100)
