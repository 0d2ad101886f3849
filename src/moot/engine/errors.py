"""Errors of language-model engines; each says itself whether trying again may help."""

from __future__ import annotations

from moot.errors import Factual, MootError

__all__ = [
    "ContextOverflow",
    "EngineBreakerOpen",
    "EngineCrashed",
    "EngineError",
    "EngineRejected",
    "EngineTimeout",
    "EngineUnavailable",
    "ModelUnavailable",
]


class EngineError(MootError):
    """The language-model engine failed; ``retryable`` says whether trying again may help."""

    retryable: bool = False
    retry_after: float | None = None

    def __init__(self, text: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        self.retryable = retryable
        self.retry_after = retry_after
        super().__init__(text)


class EngineUnavailable(Factual, EngineError):
    """The engine cannot be reached or has been closed. ``advice`` says what to do about it."""

    engine: str
    reason: str
    retry_after: float | None = None
    advice: str = "start it, or choose another with --engine or MOOT_ENGINE"
    retryable = True
    template = "engine {engine!r} is not available: {reason}; {advice}"


class EngineBreakerOpen(EngineUnavailable):
    """The engine failed so often in a row that it is left alone for ``retry_after`` seconds; nothing was sent to it."""

    def __init__(self, engine: str, retry_after: float, last: str) -> None:
        self.last = last
        text = f"its circuit breaker is open for {retry_after:.3g} s more after repeated failures, the last: {last}"
        super().__init__(engine, text, retry_after=retry_after)


class EngineCrashed(EngineUnavailable):
    """The engine's own process ended while ``request`` was under way; the next request gets a new process.

    ``how`` it ended goes on from "its process". ``lost`` names all requests that were under way. ``incident`` is the
    same for all that one ending costs: they are one failure.
    """

    def __init__(self, engine: str, how: str, request: str, *, lost: tuple[str, ...], incident: int) -> None:
        self.how = how
        self.request = request
        self.lost = lost
        self.incident = incident
        others = [other for other in lost if other != request]
        also = f", as are {', '.join(others[:8])}" + (" and more" if len(others) > 8 else "") if others else ""
        what = f"{request} is lost{also}" if request else "nothing was sent to it"
        super().__init__(
            engine, f"its process {how}; {what}", advice="ask again: a new process answers the next request"
        )


class EngineRejected(Factual, EngineError):
    """The engine refused the request as such (bad parameter, bad schema, unknown model)."""

    engine: str
    reason: str
    template = "engine {engine!r} refused the request: {reason}; correct the request"


class EngineTimeout(Factual, EngineError, TimeoutError):
    """The request's deadline passed before the engine answered."""

    engine: str
    seconds: float
    template = "engine {engine!r} gave no answer within {seconds:.3g} s; allow more time or ask for less text"


class ContextOverflow(Factual, EngineError):
    """Prompt and answer do not fit the model's context; found before anything is sent."""

    engine: str
    prompt_tokens: int
    max_tokens: int
    context_size: int
    template = (
        "a prompt of {prompt_tokens:,} tokens and an answer of up to {max_tokens:,} do not fit "
        "the context of {context_size:,} tokens of engine {engine!r}; shorten the prompt or enlarge the context"
    )


class ModelUnavailable(Factual, EngineError):
    """The model's file is not here and no source for it could be reached."""

    model: str
    reason: str

    def __str__(self) -> str:
        name = f" {self.model}" if self.model.isidentifier() and self.model != "default" else ""
        return (
            f"model {self.model!r} is not available: {self.reason}; "
            f"run 'moot models pull{name}', or give the path of a .gguf file with --model"
        )
