"""One request to llama.cpp's process and its answer, over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, TypedDict

import msgspec

from moot.engine.llama.process import LlamaProcess

__all__ = ["Exchange"]

_MAX_LINE = 16 * 1024 * 1024
_TAKEN = b'{"taken": true}\n'


class _Error(TypedDict, total=False):
    code: int
    message: str
    type: str
    n_prompt_tokens: int
    n_ctx: int


class _Line(TypedDict, total=False):
    """What a line of an answer may have: of llama.cpp's chunks, what is read of them, and the child's own words."""

    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    error: _Error
    overflow: int
    text: str
    input_tokens: int
    n_saved: int
    n_restored: int


class Exchange:
    """A request to ``process``, by the ``name`` that is reported if it is lost.

    Raises:
        ConnectionError: the process has ended. OSError: there can be no connection.
    """

    def __init__(self, process: LlamaProcess, name: str) -> None:
        self.process = process
        self.name = name
        self._connection = process.connect()
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        process.under_way[name] = self._connection

    async def begin(self, line: bytes) -> None:
        """Hand the request in and wait until the process has taken it.

        Raises:
            ConnectionError: it has ended before, and has done nothing of it.
        """
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._connection, limit=_MAX_LINE)
            self._writer.write(line)
            if await self._line() != _TAKEN:
                raise BrokenPipeError("the request was not taken")
        except BaseException:
            self.close()
            raise

    async def read(self) -> _Line | None:
        """The next line of the answer; empty at its end, and None if the process has broken it off.

        A process that sends something else is killed, for it is none of ours.
        """
        data = await self._line()
        try:
            return msgspec.json.decode(data, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if data:
                self.process.kill(f"sent what is no answer ({data[:80]!r})")
            return None

    def hang_up(self) -> None:
        """End the connection, from any thread; who reads it gets None. A fork may hold a copy, so it is shut down."""
        with contextlib.suppress(OSError):  # it has ended already
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it. If the answer is not complete, the process stops working on it."""
        self.process.under_way.pop(self.name, None)
        self.hang_up()
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            self._connection.close()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil()
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        except asyncio.LimitOverrunError:  # endless: the beginning is enough to see that
            return await self._reader.read(100)
