"""Choosing an engine by a string, the same on the command line, in code and in ``MOOT_ENGINE``."""

from __future__ import annotations

import os

from moot.clock import Clock
from moot.engine.base import Engine
from moot.engine.models.catalogue import CATALOGUE, find_model

__all__ = ["ENGINE_FORMS", "open_engine"]

ENGINE_FORMS = (
    "local",
    *(f"local:{model.name}" for model in CATALOGUE if model.name != "default"),
    "local:/path/model.gguf",
    "openai:MODEL@http://host:port/v1",
    "openai:MODEL",
)


def open_engine(
    spec: str | None = None,
    *,
    model: str | None = None,
    threads: int | None = None,
    context_size: int | None = None,
    slots: int | None = None,
    clock: Clock | None = None,
) -> Engine:
    """The engine that ``spec`` (or ``MOOT_ENGINE``, or ``"local"``) names; nothing is loaded before its first use.

    ``model`` overrides the model of the string: a name of the catalogue or a path for ``local``, the
    server's name for it for ``openai``. Raises `ValueError` for an unknown string, `ModelUnavailable`
    when the model is not here, and `EngineError` naming the install command for a missing library.
    """
    spec = spec or os.environ.get("MOOT_ENGINE") or "local"
    kind, _, rest = spec.partition(":")
    if kind == "local":
        from moot.engine.local import LocalEngine
        from moot.engine.models.cache import model_path

        chosen = model or rest or "default"
        _check_model(chosen)
        return LocalEngine(
            model_path(chosen),
            name="local" if chosen == "default" else f"local:{chosen}",
            slots=slots or 1,
            context_size=context_size or 4096,
            threads=threads,
            clock=clock,
        )
    if kind == "openai":
        from moot.engine.openai import OpenAIEngine

        served, url = _split_server(rest)
        if model or served:
            return OpenAIEngine(model or served, url, slots=slots, context_size=context_size, clock=clock)
    raise ValueError(f"unknown engine {spec!r}; use one of: {', '.join(ENGINE_FORMS)}")


def _check_model(model: str) -> None:
    if find_model(model) is None and not model.endswith(".gguf") and os.sep not in model:
        names = ", ".join(entry.name for entry in CATALOGUE)
        raise ValueError(f"unknown model {model!r}; use one of: {names}, or the path of a .gguf file")


def _split_server(rest: str) -> tuple[str, str]:
    for mark in ("@http://", "@https://"):
        model, found, address = rest.partition(mark)
        if found:
            return model, mark[1:] + address
    model, _, address = rest.rpartition("@")
    if model and any(mark in address for mark in ".:/"):  # else the documents would go to the default server
        raise ValueError(f"{address!r} is not an http(s) URL; write openai:MODEL@http://host:port/v1")
    return rest, os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
