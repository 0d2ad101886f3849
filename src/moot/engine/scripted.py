"""The scripted engine: answers written beforehand, for tests and examples.

It stands where a model would and keeps the port's promises that a test can lean
on: requests are recorded, a prompt that does not fit raises `ContextOverflow`,
cancelling frees the slot, and tokens (words here) count as cached when they
share a prefix with what its slot computed before. It never guesses: a request
without an answer is an error, and `assert_exhausted` finds answers nobody took.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import msgspec

from moot.clock import Clock
from moot.engine.base import ChatMessage, Completion, CompletionChunk, EngineRequest, Usage
from moot.engine.deadline import RunningLoopClock, before_deadline
from moot.engine.errors import ContextOverflow, EngineUnavailable

__all__ = ["Answer", "ScriptedEngine"]

Fixed = str | Completion | BaseException
Answer = Fixed | Callable[[EngineRequest], Fixed | Awaitable[Fixed]]
Predicate = str | Callable[[EngineRequest], bool]


class ScriptedEngine:
    """An `Engine` that answers from a script.

    ``answers`` is a series taken in order, or one function of the request that answers all. An
    answer is text, a whole `Completion`, an exception to raise, or a (sync or async) function of
    the request. Rules added with `when` are asked first. ``seconds`` is the engine's time for each
    answer, slept on the event loop's clock.
    """

    supports_grammar = True

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[EngineRequest], Fixed | Awaitable[Fixed]] = (),
        *,
        name: str = "scripted",
        slots: int = 1,
        context_size: int = 4096,
        seconds: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.slots = slots
        self.context_size = context_size
        self.requests: list[EngineRequest] = []
        self.running = 0
        self.most_running = 0
        self._function = answers if callable(answers) else None
        self._answers: deque[Answer] = deque() if callable(answers) else deque(_series(answers))
        self._rules: list[tuple[Predicate, Answer]] = []
        self._unused: list[Predicate] = []
        self._seconds = seconds
        self._clock = clock if clock is not None else RunningLoopClock()
        self._cache: list[list[str]] = [[] for _ in range(slots)]
        self._closed = False

    def when(self, predicate: Predicate, answer: Answer) -> ScriptedEngine:
        """Give ``answer`` to each request that ``predicate`` accepts: a function, or a text in its last message."""
        self._rules.append((predicate, answer))
        self._unused.append(predicate)
        return self

    def assert_exhausted(self) -> None:
        """Raise `AssertionError` if an answer of the series, or a rule, was never used."""
        left = [*self._answers, *(f"when({predicate!r})" for predicate in self._unused)]
        if left:
            raise AssertionError(f"{len(left)} scripted answer(s) were never asked for; the next is {left[0]!r}")

    async def start(self) -> None:
        """Nothing to load."""

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        """Words and punctuation marks, a word a token."""
        return len(_tokens(messages))

    async def generate(self, request: EngineRequest) -> Completion:
        """The answer that the script has for this request."""
        if self._closed:
            raise EngineUnavailable(self.name, "it has been closed")
        tokens = _tokens(request.messages)
        if len(tokens) + request.sampling.max_tokens > self.context_size:
            raise ContextOverflow(self.name, len(tokens), request.sampling.max_tokens, self.context_size)
        self.requests.append(request)
        answer = self._next_answer(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async with before_deadline(request.deadline, self._clock, self.name):
                await asyncio.sleep(self._seconds)
                return self._complete(tokens, await _resolve(answer, request))
        finally:
            self.running -= 1

    async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
        """The same answer, word by word."""
        completion = await self.generate(request)
        for piece in re.findall(r"\s*\S+|\s+$", completion.text):
            yield CompletionChunk(text=piece)
            await asyncio.sleep(0)
        yield CompletionChunk(completion=completion)

    async def close(self) -> None:
        """Refuse further requests."""
        self._closed = True

    def _next_answer(self, request: EngineRequest) -> Answer:
        for predicate, answer in self._rules:
            if _accepts(predicate, request):
                if predicate in self._unused:
                    self._unused.remove(predicate)
                return answer
        if self._function is not None:
            return self._function
        if self._answers:
            return self._answers.popleft()
        last = request.messages[-1].content[:200] if request.messages else ""
        raise AssertionError(f"request {len(self.requests)} has no scripted answer; it ends with: {last!r}")

    def _complete(self, tokens: list[str], answer: Fixed) -> Completion:
        if isinstance(answer, BaseException):
            raise answer
        completion = answer if isinstance(answer, Completion) else Completion(text=answer, model=self.name)
        if completion.usage == Usage():
            usage = self._use_cache(tokens, completion.text)
            seconds = completion.seconds or self._seconds
            completion = msgspec.structs.replace(completion, usage=usage, seconds=seconds)
        return completion

    def _use_cache(self, tokens: list[str], text: str) -> Usage:
        # As llama.cpp does it: the slot with the longest common prefix is taken and overwritten,
        # and the last prompt token is always computed, since the answer starts from it.
        slot = max(range(len(self._cache)), key=lambda index: _common(self._cache[index], tokens))
        cached = min(_common(self._cache[slot], tokens), len(tokens) - 1)
        answer = _WORD.findall(text)
        self._cache[slot] = tokens + answer
        return Usage(len(tokens), max(0, cached), len(answer))


_WORD = re.compile(r"\w+|[^\w\s]")


def _series(answers: Iterable[Answer]) -> Iterable[Answer]:
    if isinstance(answers, str):
        raise TypeError("answers is one text; give a list of answers, or a function of the request")
    return answers


def _tokens(messages: tuple[ChatMessage, ...]) -> list[str]:
    return [token for message in messages for token in (f"<{message.role}>", *_WORD.findall(message.content))]


def _common(first: list[str], second: list[str]) -> int:
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _accepts(predicate: Predicate, request: EngineRequest) -> bool:
    if isinstance(predicate, str):
        return bool(request.messages) and predicate in request.messages[-1].content
    return predicate(request)


async def _resolve(answer: Answer, request: EngineRequest) -> Fixed:
    if not callable(answer):
        return answer
    result = answer(request)
    return await result if isinstance(result, Awaitable) else result
