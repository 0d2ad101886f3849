"""The local engine: llama.cpp in this process, through xllamacpp (imported here and nowhere else).

The model is loaded by a thread on first use. Requests run in llama.cpp's own
batching loop; each occupies one worker thread that waits without the GIL, and
streams into the event loop. Two things were measured and decide the shape:

* An in-process call can only be stopped from its own callback, so every request
  streams and asks for progress reports: the callback then runs during the prompt
  too, and a cancelled request frees its slot within one batch of 64 tokens (a
  batch of 512 is no faster on a CPU). Closing a loopback connection instead is
  noticed once a second only.
* The library opens a loopback port, prints to the terminal and turns errors into
  dictionaries; all three are put right here.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from moot.clock import Clock
from moot.engine.base import ChatMessage, Completion, CompletionChunk, EngineRequest
from moot.engine.deadline import RunningLoopClock, before_deadline
from moot.engine.errors import (
    ContextOverflow,
    EngineError,
    EngineRejected,
    EngineUnavailable,
    ModelUnavailable,
)
from moot.engine.schema import bounded_schema
from moot.engine.threadcall import ThreadCall
from moot.engine.threads import choose_threads
from moot.engine.wire import AnswerReader, chat_body, check_json, engine_error, last_completion, message_dicts

__all__ = ["LocalEngine"]

# Tokens computed between two looks at the cancel flag.
_BATCH = 64
# Compact JSON: a small model would spend half a short answer on indentation. Lenient: keywords that
# the grammar cannot express are left to the caller's validator instead of dropping the whole schema.
_GUIDANCE = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":", "lenient": True}


class LocalEngine:
    """An `Engine` on a GGUF file.

    ``slots`` requests are batched; on a CPU one slot is best, since each slot has its own prefix
    cache and batching gains little. ``context_size`` is per request and is lowered to what the
    model was trained for. ``threads`` as in `choose_threads`.
    """

    supports_grammar = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "local",
        slots: int = 1,
        context_size: int = 4096,
        threads: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(f"engine {name!r} needs the library xllamacpp; run: python -m pip install 'moot[local]'")
        self.path = Path(path)
        self.name = name
        self.slots = slots
        self.context_size = context_size
        self._threads = threads
        self._clock = clock if clock is not None else RunningLoopClock()
        self._key = secrets.token_urlsafe(24)
        self._workers = ThreadPoolExecutor(max_workers=slots, thread_name_prefix="moot-local")
        self._server: Any = None  # held here only, so that close() can free it
        self._loading: Future[None] | None = None
        self._calls: set[ThreadCall] = set()
        self._is_closed = False

    async def start(self) -> None:
        """Load the model, once; raises `ModelUnavailable` or `EngineError` when that fails."""
        await self._ready()

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        """Exactly what the model will see, its chat template included."""
        await self._ready()
        reply = await asyncio.to_thread(self._post, "/v1/chat/completions/input_tokens", messages)
        return int(reply["input_tokens"])

    async def metrics(self) -> dict[str, float]:
        """llama.cpp's own counters, such as ``requests_processing`` and ``n_busy_slots_per_decode``."""
        await self._ready()
        text = await asyncio.to_thread(self._server.handle_metrics)
        lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
        return {name.removeprefix("llamacpp:"): float(value) for name, value in lines}

    async def generate(self, request: EngineRequest) -> Completion:
        """Answer one prompt; cancelling frees the slot within one batch."""
        return await last_completion(self.stream(request))

    async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
        """Answer one prompt piece by piece."""
        async with before_deadline(request.deadline, self._clock, self.name):
            await self._ready()
            body = self._body(request)
            prompt_tokens = await self.count_tokens(request.messages)
        if prompt_tokens + request.sampling.max_tokens > self.context_size:
            raise ContextOverflow(self.name, prompt_tokens, request.sampling.max_tokens, self.context_size)
        reader = AnswerReader(self.path.stem)
        call = ThreadCall(asyncio.get_running_loop())
        self._workers.submit(call.run, self._handle, body)
        self._calls.add(call)
        try:
            while not call.is_over:
                async with before_deadline(request.deadline, self._clock, self.name):
                    chunks = await call.wait_chunks()
                for chunk in chunks:
                    if "error" in chunk:
                        raise self._error(chunk["error"], request)
                    if text := reader.read(chunk):
                        yield CompletionChunk(text=text)
        finally:
            call.is_cancelled = True
            self._calls.discard(call)
        completion = reader.completion()
        if request.schema is not None and completion.finish_reason == "stop":
            check_json(self.name, completion.text)
        yield CompletionChunk(completion=completion)

    async def close(self) -> None:
        """Fail the running requests with `EngineUnavailable`, then free the model."""
        self._is_closed = True
        for call in tuple(self._calls):
            call.fail(self._closed_error())
        await asyncio.to_thread(self._unload)

    async def _ready(self) -> None:
        if self._is_closed:
            raise self._closed_error()
        if self._loading is None:
            self._loading = self._workers.submit(self._load)
        await asyncio.shield(asyncio.wrap_future(self._loading))

    def _load(self) -> None:
        import xllamacpp

        _check_is_gguf(self.path, self.name)
        try:
            self._server = xllamacpp.Server(self._params(xllamacpp.CommonParams()))
        except RuntimeError as error:
            reason = f"llama.cpp cannot load {self.path} (damaged, of an unknown kind, or too large for the memory)"
            raise ModelUnavailable(self.name, reason) from error
        settings = self._post("/props")["default_generation_settings"]
        self.context_size = min(self.context_size, int(settings["n_ctx"]))

    def _handle(self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool]) -> None:
        self._server.handle_chat_completions(body, on_chunk)

    def _unload(self) -> None:
        # In a thread: dropping the only reference frees the model and joins llama.cpp's own thread.
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _params(self, params: Any) -> Any:
        params.model.path = str(self.path)
        params.n_parallel = self.slots
        params.n_ctx = self.context_size * self.slots
        params.kv_unified = True
        params.n_batch = params.n_ubatch = max(_BATCH, self.slots)
        params.cache_idle_slots = False  # True moves an idle slot's prefix away and clears it
        params.cache_ram_mib = 0
        params.fit_params = False
        params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = choose_threads(self._threads)
        params.n_threads_http = 2
        params.api_keys = [self._key]  # the library opens a loopback port; nobody else shall use it
        params.ui = False
        params.endpoint_metrics = True
        params.verbosity = -1
        return params

    def _body(self, request: EngineRequest) -> dict[str, Any]:
        body = chat_body(request, self.name) | {"return_progress": True}
        if request.grammar is not None:
            body["grammar"] = request.grammar
        if request.schema is not None:
            body["grammar"] = self._grammar(request.schema)
        return body

    def _grammar(self, schema: Mapping[str, Any]) -> str:
        # Not as ``response_format``: that path ignores the bounds of numbers.
        import xllamacpp

        try:
            bounded = {**bounded_schema(schema), "x-guidance": _GUIDANCE}
            return str(xllamacpp.json_schema_to_grammar(json.dumps(bounded)))
        except ValueError as error:
            raise EngineRejected(self.name, str(error)) from error

    def _post(self, path: str, messages: tuple[ChatMessage, ...] | None = None) -> Any:
        address = urlsplit(self._server.listening_address)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        body = None if messages is None else json.dumps({"messages": message_dicts(messages)})
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            response = connection.getresponse()
            reply = json.loads(response.read())
        except OSError as error:
            raise EngineUnavailable(self.name, f"its tokenizer does not answer ({error})") from error
        finally:
            connection.close()
        if "error" in reply:
            raise engine_error(self.name, response.status, reply["error"], 0)
        return reply

    def _error(self, error: EngineError | Mapping[str, Any], request: EngineRequest) -> EngineError:
        if isinstance(error, EngineError):
            return error
        return engine_error(self.name, int(error.get("code", 500)), error, request.sampling.max_tokens)

    def _closed_error(self) -> EngineUnavailable:
        return EngineUnavailable(self.name, "it has been closed")


def _check_is_gguf(path: Path, name: str) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelUnavailable(name, f"{path} cannot be read ({error.strerror})") from error
    if magic != b"GGUF":
        raise ModelUnavailable(name, f"{path} is not a GGUF file")
