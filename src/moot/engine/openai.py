"""The openai engine: any server that speaks the OpenAI chat API (the `openai` client is imported here only).

vLLM, llama.cpp's server, a nano-vLLM server, Ollama and the hosted services are
reached the same way. What a server can do beyond the common part is asked of it
once: the context size, the slots and GBNF grammars of llama.cpp, the context
size of vLLM. The client's own retries are off, because a retry belongs where
deadlines and priorities are known: in the admission queue.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from moot.clock import Clock
from moot.engine.base import ChatMessage, Completion, CompletionChunk, EngineRequest
from moot.engine.deadline import RunningLoopClock, before_deadline
from moot.engine.errors import (
    ContextOverflow,
    EngineError,
    EngineRejected,
    EngineUnavailable,
)
from moot.engine.schema import bounded_schema
from moot.engine.wire import AnswerReader, chat_body, check_json, engine_error, last_completion, message_dicts

if TYPE_CHECKING:
    import openai

__all__ = ["OpenAIEngine"]

_OPENAI_URL = "https://api.openai.com/v1"
_BYTES_PER_TOKEN = 3  # an estimate on the high side for English, where the server cannot count
_COUNT = "/chat/completions/input_tokens"  # llama.cpp's
_SILENCE = 600.0  # seconds without a byte after which a server counts as gone
_CONNECT = 5.0

_T = TypeVar("_T")


class OpenAIEngine:
    """An `Engine` on an OpenAI-compatible server.

    ``slots`` and ``context_size`` are asked of the server where it tells (llama.cpp, vLLM). The
    key is read from ``OPENAI_API_KEY`` and never written anywhere.
    """

    def __init__(
        self,
        model: str,
        base_url: str = _OPENAI_URL,
        *,
        slots: int | None = None,
        context_size: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or not _has_port(url):
            raise ValueError(f"{base_url!r} is not an http(s) URL; write openai:MODEL@http://host:port/v1")
        self.model = model
        self.base_url = urlunsplit((url.scheme, url.netloc, url.path.rstrip("/") or "/v1", url.query, ""))
        self._host = url.netloc.rpartition("@")[2]  # without credentials
        self.name = f"openai:{model}@{url.scheme}://{self._host}{urlsplit(self.base_url).path}"
        if importlib.util.find_spec("openai") is None:
            raise EngineError(
                f"engine {self.name!r} needs the library openai; run: python -m pip install 'moot[openai]'"
            )
        self.slots = slots or 8
        self.context_size = context_size or 4096
        self.supports_grammar = False
        self._told_slots = slots
        self._told_context = context_size
        self._counts_exactly = False
        self._clock = clock if clock is not None else RunningLoopClock()
        self._client: openai.AsyncOpenAI | None = None
        self._probing = asyncio.Lock()
        self._is_closed = False

    async def start(self) -> None:
        """Look at the server; raises `EngineUnavailable` when it does not answer."""
        await self._ready()

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        """Exact on llama.cpp; elsewhere an estimate of a token per three bytes."""
        client = await self._ready()
        if self._counts_exactly:
            return await self._count(client, messages)
        return sum(4 + -(-len(message.content.encode()) // _BYTES_PER_TOKEN) for message in messages)

    async def generate(self, request: EngineRequest) -> Completion:
        """Answer one prompt; cancelling closes the connection, on which the server frees its slot."""
        return await last_completion(self.stream(request))

    async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
        """Answer one prompt piece by piece."""
        async with before_deadline(request.deadline, self._clock, self.name):
            client = await self._ready()
            body = self._body(request)
            await self._check_fits(request)
        reader = AnswerReader(self.model)
        started = self._clock.now()
        async with self._chunks(client, body, request) as chunks:
            while True:
                async with before_deadline(request.deadline, self._clock, self.name):
                    with self._typed_errors(request.sampling.max_tokens):
                        chunk = await anext(chunks, None)
                if chunk is None:
                    break
                if text := reader.read(chunk.model_dump()):
                    yield CompletionChunk(text=text)
        completion = reader.completion(seconds=self._clock.now() - started)
        if request.schema is not None and completion.finish_reason == "stop":
            check_json(self.name, completion.text)
        yield CompletionChunk(completion=completion)

    async def close(self) -> None:
        """Close the connections; requests under way end with `EngineUnavailable`."""
        self._is_closed = True
        if self._client is not None:
            await self._client.close()

    async def _ready(self) -> openai.AsyncOpenAI:
        self._check_open()
        async with self._probing:
            if self._client is None:
                client = await asyncio.to_thread(self._new_client)
                try:
                    await self._probe(client)
                    self._check_open()  # it may have been closed meanwhile, without this client
                except BaseException:
                    await client.close()
                    raise
                self._client = client
        return self._client

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineUnavailable(self.name, "it has been closed")

    def _new_client(self) -> openai.AsyncOpenAI:
        import openai

        key = os.environ.get("OPENAI_API_KEY") or "none"  # local servers ask for none, the client insists on one
        timeout = openai.Timeout(_SILENCE, connect=_CONNECT)
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, timeout=timeout)

    async def _probe(self, client: openai.AsyncOpenAI) -> None:
        import openai

        with self._typed_errors(0):
            try:
                listing: Any = await _sent(lambda: client.get("/models", cast_to=object))
            except openai.NotFoundError:
                return  # a server may offer no list of models
        entries = listing.get("data") if isinstance(listing, dict) else None
        entry = next((e for e in entries or () if e.get("id") == self.model), (entries or [{}])[0])
        context = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx")
        if context:
            self.context_size = min(int(context), self._told_context or int(context))
        if entry.get("owned_by") == "llamacpp":
            self.supports_grammar = True
            await self._probe_llama(client)

    async def _probe_llama(self, client: openai.AsyncOpenAI) -> None:
        import openai

        with self._typed_errors(0):
            try:
                properties: Any = await client.get(f"{self.base_url.removesuffix('/v1')}/props", cast_to=object)
                self.slots = self._told_slots or int(properties.get("total_slots") or self.slots)
                await client.post(_COUNT, body={"messages": []}, cast_to=object)
            except openai.NotFoundError:
                return  # an older one
        self._counts_exactly = True

    async def _count(self, client: openai.AsyncOpenAI, messages: tuple[ChatMessage, ...]) -> int:
        body = {"messages": message_dicts(messages)}
        with self._typed_errors(0):
            reply: Any = await _sent(lambda: client.post(_COUNT, body=body, cast_to=object))
        return int(reply["input_tokens"])

    async def _check_fits(self, request: EngineRequest) -> None:
        if not self._counts_exactly:
            return  # only an exact count may refuse; elsewhere the server's own refusal is translated
        prompt_tokens = await self.count_tokens(request.messages)
        if prompt_tokens + request.sampling.max_tokens > self.context_size:
            raise ContextOverflow(self.name, prompt_tokens, request.sampling.max_tokens, self.context_size)

    def _body(self, request: EngineRequest) -> dict[str, Any]:
        body = chat_body(request, self.name)
        if self.base_url == _OPENAI_URL:
            body["max_completion_tokens"] = body.pop("max_tokens")
        if request.grammar is not None:
            if not self.supports_grammar:
                raise EngineRejected(self.name, "this server takes no GBNF grammar; use a schema")
            body["extra_body"] = {"grammar": request.grammar}
        if request.schema is not None:
            try:
                schema = bounded_schema(request.schema)
            except ValueError as error:
                raise EngineRejected(self.name, str(error)) from error
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return body

    @asynccontextmanager
    async def _chunks(
        self, client: openai.AsyncOpenAI, body: dict[str, Any], request: EngineRequest
    ) -> AsyncIterator[AsyncIterator[Any]]:
        max_tokens = request.sampling.max_tokens
        async with before_deadline(request.deadline, self._clock, self.name):
            with self._typed_errors(max_tokens):
                response = await _sent(lambda: client.chat.completions.create(model=self.model, **body))
        async with response:
            yield aiter(response)

    @contextmanager
    def _typed_errors(self, max_tokens: int) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise EngineUnavailable(self.name, f"no answer from {self._host}") from error
        except openai.APIConnectionError as error:
            raise EngineUnavailable(self.name, self._connection_text(error)) from error
        except openai.APIStatusError as error:
            raise self._status_error(error, max_tokens) from error
        except openai.APIError as error:  # an error object in the middle of a stream
            details = error.body if isinstance(error.body, Mapping) else {"message": error.message}
            code = details.get("code")
            status = code if isinstance(code, int) else 500
            raise engine_error(self.name, status, details, max_tokens) from error

    def _status_error(self, error: openai.APIStatusError, max_tokens: int) -> EngineError:
        details = error.body if isinstance(error.body, Mapping) else {"message": error.message}
        typed = engine_error(self.name, error.status_code, details, max_tokens)
        if isinstance(typed, EngineUnavailable):
            wait = _retry_after(error.response.headers)
            wait = 1.0 if wait is None and error.status_code == 429 else wait
            return EngineUnavailable(self.name, typed.reason, retry_after=wait)
        return typed

    def _connection_text(self, error: openai.APIConnectionError) -> str:
        if self._is_closed:
            return "it has been closed"
        cause = error.__cause__ or error
        return f"the connection to {self._host} failed ({type(cause).__name__}: {cause})"


async def _sent(send: Callable[[], Awaitable[_T]]) -> _T:
    """Send a request, and once more if the connection was closed before a byte of a response came.

    A server closes a connection that it has kept open for a while, and may do so just when the next request is on its
    way (RFC 9112, section 9.3.1). The client's own retries, which are off, would do the same.
    """
    import openai

    try:
        return await send()
    except openai.APITimeoutError:
        raise
    except openai.APIConnectionError as error:
        if type(error.__cause__).__name__ != "RemoteProtocolError":
            raise
    return await send()


def _has_port(url: SplitResult) -> bool:
    """Whether its port, if it names one, is a port: ``urlsplit`` looks at it only when asked."""
    try:
        return url.port != 0
    except ValueError:
        return False


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a number or a date; a date is measured from the server's own clock."""
    text = headers.get("retry-after", "").strip()
    try:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
