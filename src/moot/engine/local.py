"""The local engine: llama.cpp on a GGUF file, in a process of its own.

llama.cpp in this process would take it along: a crash ends it, and loading or closing a model holds the interpreter's
lock, once for ever. So the model lives in a child that is started on first use, watched, and replaced when it is sick
(`moot.engine.llama.supervisor`). Each request has a connection to it, over which the answer streams; a request is
cancelled by closing its connection, which the child sees within one batch of tokens.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import logging
import os
import socket
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from moot.clock import Clock
from moot.engine.base import ChatMessage, Completion, CompletionChunk, EngineRequest
from moot.engine.deadline import RunningLoopClock, before_deadline
from moot.engine.errors import ContextOverflow, EngineError, EngineRejected, EngineUnavailable
from moot.engine.llama.ear import TICK
from moot.engine.llama.exchange import Exchange
from moot.engine.llama.launch import make_process
from moot.engine.llama.process import LlamaProcess
from moot.engine.llama.reports import Facts
from moot.engine.llama.settings import ProcessPolicy, Settings
from moot.engine.llama.supervisor import LlamaSupervisor, leave, supervisor_of
from moot.engine.schema import bounded_schema
from moot.engine.slots import Slots
from moot.engine.wire import AnswerReader, chat_body, check_json, engine_error, last_completion, message_dicts

__all__ = ["LocalEngine", "ProcessPolicy"]

_MAX_TOKENS = 2**31 - 1
# Compact JSON: a small model would spend half a short answer on indentation. Lenient: keywords that the grammar cannot
# express are left to the caller's validator; otherwise the whole schema would be dropped.
_GUIDANCE = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":", "lenient": True}
_MAX_REQUEST = 64 * 1024 * 1024
_ATTEMPTS = 3
_INPUT_TOKENS = "/v1/chat/completions/input_tokens"


_log = logging.getLogger("moot.engine")

_NO_REQUEST = EngineRequest(messages=())
"""What has no deadline and no program."""


class LocalEngine:
    """An `Engine` on a GGUF file.

    ``slots`` requests are batched; on a CPU one slot is best, since each slot has its own prefix
    cache and batching gains little. ``context_size`` is per request and is lowered to what the
    model was trained for. ``threads`` as in `choose_threads`. ``process`` says how llama.cpp's process is kept.
    """

    supports_grammar = True

    def __init__(  # noqa: PLR0913 - each is a setting, given by its name
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "local",
        slots: int = 1,
        context_size: int = 4096,
        threads: int | None = None,
        clock: Clock | None = None,
        process: ProcessPolicy | None = None,
    ) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(f"engine {name!r} needs the library xllamacpp; run: python -m pip install 'moot[local]'")
        if not hasattr(socket, "AF_UNIX"):
            raise EngineError(
                f"engine {name!r} needs Unix sockets, which are not here; run llama-server and use openai:MODEL@URL"
            )
        for what, number in (("slots", slots), ("context_size", context_size), ("threads", threads or 1)):
            if type(number) is not int or number < 1 or threads == 0:
                raise ValueError(f"{what} must be a whole number above 0, not {number!r}")
        if slots * context_size > _MAX_TOKENS:
            raise ValueError(f"slots ({slots}) times context_size ({context_size}) must be at most {_MAX_TOKENS:,}")
        self.path = Path(path).absolute()
        self.name = name
        self.slots = slots
        self.context_size = context_size
        self._clock = clock if clock is not None else RunningLoopClock()
        self._inside = Slots(slots)
        policy = process if process is not None else ProcessPolicy()
        settings = Settings(
            model=str(self.path),
            slots=slots,
            context_size=context_size,
            threads=threads or 0,
            slot_folder=policy.slot_folder and f"{Path(policy.slot_folder).absolute()}{os.sep}",
            beat=TICK if policy.silence is None else min(TICK, policy.silence / 4),
        )
        self._has_slot_folder = bool(policy.slot_folder)
        policy = msgspec.structs.replace(policy, shared=policy.is_shared)
        make = functools.partial(make_process, name, settings, policy)
        key = (name, settings, policy)
        self._supervisor = supervisor_of(key, lambda: LlamaSupervisor(name, settings.model, make))
        self._leave = weakref.finalize(self, leave, key)
        self._leave.atexit = False  # the kernel does it then
        self._exchanges: set[Exchange] = set()
        self._is_closed = False
        _all.add(self)

    def forget_requests(self) -> None:
        """In a forked process, which does not inherit the requests under way."""
        self._inside = Slots(self.slots)
        self._exchanges = set()

    async def start(self) -> None:
        """Load the model, once; raises `ModelUnavailable` or `EngineError` when that fails."""
        await self._ready()

    async def process(self) -> Facts:
        """The process that answers now, started if there is none."""
        return (await self._ready()).ready.result()

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        """Exactly what the model will see, its chat template included."""
        asked = {"op": "post", "path": _INPUT_TOKENS, "content": {"messages": message_dicts(messages)}}
        return int((await self._call(asked))["input_tokens"])

    async def metrics(self) -> dict[str, float]:
        """llama.cpp's own counters, such as ``requests_processing`` and ``n_busy_slots_per_decode``."""
        text: str = (await self._call({"op": "metrics"}))["text"]
        lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
        return {name.removeprefix("llamacpp:"): float(value) for name, value in lines}

    async def save_slot(self, slot: int, filename: str) -> int:
        """Write what ``slot`` has read into ``filename`` of the ``slot_folder``; the number of tokens written.

        Raises:
            EngineRejected: there is no ``slot_folder``, no such slot, or the name is more than a name.
        """
        return int((await self._slot("save", slot, filename))["n_saved"])

    async def restore_slot(self, slot: int, filename: str) -> int:
        """Let ``slot`` continue from what `save_slot` wrote, as if it had read it; the number of tokens restored."""
        return int((await self._slot("restore", slot, filename))["n_restored"])

    async def generate(self, request: EngineRequest) -> Completion:
        """Answer one prompt; cancelling frees the slot within one batch."""
        return await last_completion(self.stream(request))

    async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
        """Answer one prompt piece by piece."""
        asked = self._asked(request)
        reader = AnswerReader(self.path.stem)
        async with self._slot_for(request), self._exchange(asked, request) as exchange:
            while line := await self._read(exchange, request):
                if (tokens := line.get("overflow")) is not None:
                    raise ContextOverflow(self.name, tokens, request.sampling.max_tokens, self.context_size)
                if text := reader.read(line):
                    yield CompletionChunk(text=text)
        completion = reader.completion()
        if request.schema is not None and completion.finish_reason == "stop":
            check_json(self.name, completion.text)
        yield CompletionChunk(completion=completion)

    async def close(self, *, grace: float = 5.0) -> None:
        """Fail the running requests with `EngineUnavailable`, and end the process unless another engine uses it, too.

        Waits at most ``grace`` seconds until it is gone.
        """
        self._is_closed = True
        for exchange in tuple(self._exchanges):
            exchange.hang_up()
        process = self._leave()
        if process is None:
            return
        if not (await asyncio.wait([asyncio.wrap_future(process.ended)], timeout=grace))[0]:
            _log.error("the process of engine %r was killed and has not ended within %g s", self.name, grace)

    async def _ready(self) -> LlamaProcess:
        self._check_open()
        process = await self._supervisor.ready()
        self._check_open()
        self.context_size = process.ready.result().context_size
        return process

    async def _slot(self, action: str, slot: int, filename: str) -> dict[str, Any]:
        if not 0 <= slot < self.slots:
            raise EngineRejected(self.name, f"it has no slot {slot}; its slots are 0 to {self.slots - 1}")
        if not self._has_slot_folder:
            raise EngineRejected(self.name, "it has nowhere to keep slots; give it a ProcessPolicy(slot_folder=…)")
        path = f"/slots/{slot:d}?action={action}"
        return await self._call({"op": "post", "path": path, "content": {"filename": filename}})

    async def _call(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        async with self._exchange(asked, _NO_REQUEST) as exchange:
            answer = await self._read(exchange, _NO_REQUEST)
            await self._read(exchange, _NO_REQUEST)  # its end
            return answer

    @asynccontextmanager
    async def _slot_for(self, request: EngineRequest) -> AsyncIterator[None]:
        async with before_deadline(request.deadline, self._clock, self.name):
            await self._inside.acquire()
        try:
            yield
        finally:
            self._inside.release()

    @asynccontextmanager
    async def _exchange(self, asked: Mapping[str, Any], request: EngineRequest) -> AsyncIterator[Exchange]:
        async with before_deadline(request.deadline, self._clock, self.name):
            exchange = await self._hand_in(asked, self._supervisor.name(request.program))
        try:
            yield exchange
        finally:
            self._exchanges.discard(exchange)
            exchange.close()

    async def _hand_in(self, asked: Mapping[str, Any], name: str) -> Exchange:
        try:
            line = json.dumps(asked).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise EngineRejected(self.name, f"it cannot be written as JSON ({error})") from error
        if len(line) > _MAX_REQUEST:
            raise EngineRejected(self.name, f"it has {len(line):,} bytes, and at most {_MAX_REQUEST:,} are taken")
        for _ in range(_ATTEMPTS):
            process = await self._ready()
            try:
                exchange = Exchange(process, name)
                self._exchanges.add(exchange)
                try:
                    await exchange.begin(line)
                except BaseException:
                    self._exchanges.discard(exchange)
                    raise
                return exchange
            except ConnectionError:  # nothing was done of it, so another process may be asked
                self._check_open()
                failure = await self._supervisor.lost(process, name)
            except OSError as error:
                reason = f"there can be no connection to its process ({error})"
                raise EngineUnavailable(self.name, reason, advice="mend that and ask again") from error
        raise failure

    def _asked(self, request: EngineRequest) -> dict[str, Any]:
        body = chat_body(request, self.name) | {"return_progress": True}
        if request.grammar is not None:
            body["grammar"] = request.grammar
        asked: dict[str, Any] = {"op": "chat", "body": body}
        if request.schema is not None:
            try:
                asked["schema"] = {**bounded_schema(request.schema), "x-guidance": _GUIDANCE}
            except (ValueError, RecursionError) as error:
                raise EngineRejected(self.name, str(error)) from error
        return asked

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineUnavailable(self.name, "it has been closed")

    async def _read(self, exchange: Exchange, request: EngineRequest) -> dict[str, Any]:
        """The next line of an answer; empty at its end."""
        async with before_deadline(request.deadline, self._clock, self.name):
            line = await exchange.read()
            if line is None:
                self._check_open()
                raise await self._supervisor.lost(exchange.process, exchange.name)
        if error := line.get("error"):
            raise engine_error(self.name, int(error.get("code", 500)), error, request.sampling.max_tokens)
        if not line:
            self._supervisor.answered()
        return dict(line)


def _after_fork() -> None:
    for engine in tuple(_all):
        engine.forget_requests()


_all: weakref.WeakSet[LocalEngine] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
