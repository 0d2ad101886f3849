"""Launch: from the settings of an engine to a process that can be started, alone or shared with other programs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from moot.engine.errors import ModelUnavailable
from moot.engine.llama.process import LlamaProcess, OnEnd
from moot.engine.llama.settings import ProcessPolicy, Settings
from moot.engine.threads import choose_threads

__all__ = ["make_process"]


def make_process(name: str, settings: Settings, policy: ProcessPolicy, on_end: OnEnd) -> LlamaProcess:
    """A process that is not started yet.

    Raises:
        ModelUnavailable: there is no model at its path.
    """
    _check_is_gguf(Path(settings.model), name)
    kind: type[LlamaProcess] = LlamaProcess
    if policy.is_shared:
        from moot.engine.llama.shared import SharedLlamaProcess, shared_address

        kind, settings = SharedLlamaProcess, msgspec.structs.replace(settings, address=shared_address(settings))
    settings = msgspec.structs.replace(settings, threads=choose_threads(settings.threads or None))
    return kind(name, settings, silence=policy.silence, on_end=on_end)


def _check_is_gguf(path: Path, name: str) -> None:
    try:
        if not path.is_file():
            raise ModelUnavailable(name, f"{path} is no file")
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelUnavailable(name, f"{path} cannot be read ({error.strerror})") from error
    if magic != b"GGUF":
        raise ModelUnavailable(name, f"{path} is not a GGUF file")
