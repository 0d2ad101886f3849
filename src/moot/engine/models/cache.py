"""The model cache: where models lie on disk, and whether they are what they should be.

A file appears under its final name only after its bytes were checked, by an
atomic rename. Its stamp (size and time of change at that check) lets later runs
skip hashing a gigabyte; a file whose stamp does not fit is hashed again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from moot.engine.errors import EngineError, ModelUnavailable
from moot.engine.models.catalogue import CATALOGUE, Model, find_model

__all__ = [
    "ModelState",
    "cache_dir",
    "cached_path",
    "locked",
    "model_path",
    "model_state",
    "partial_path",
    "sha256_of",
    "write_stamp",
]

_BLOCK = 1 << 20


class ModelState(StrEnum):
    """What is in the cache for a model."""

    MISSING = "missing"
    PARTIAL = "partial"
    CORRUPT = "corrupt"
    READY = "ready"


def cache_dir() -> Path:
    """``MOOT_CACHE_DIR``, else ``XDG_CACHE_HOME/moot``, else ``~/.cache/moot``.

    A relative one begins where the process worked when it was first asked for.
    """
    if told := os.environ.get("MOOT_CACHE_DIR"):
        return _absolute(told)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return _absolute(base) / "moot"
    try:
        return Path.home() / ".cache" / "moot"
    except RuntimeError as error:
        raise EngineError("there is no home directory to keep models in; set MOOT_CACHE_DIR") from error


@functools.cache
def _absolute(folder: str) -> Path:
    return Path(folder).absolute()


def cached_path(model: Model) -> Path:
    """Where this model lies, or will lie."""
    return cache_dir() / "models" / model.file


def model_path(name: str) -> Path:
    """The file of a model of the catalogue, or of a ``.gguf`` path; raises `ModelUnavailable` if it cannot be used."""
    model = find_model(name)
    if model is None:
        path = Path(name).expanduser()
        if not path.is_file():
            names = ", ".join(entry.name for entry in CATALOGUE)
            raise ModelUnavailable(name, f"there is no such file, and the models known by name are: {names}")
        return path
    state = model_state(model)
    if state is ModelState.CORRUPT:
        raise ModelUnavailable(name, f"{cached_path(model)} is damaged")
    if state is not ModelState.READY:
        raise ModelUnavailable(name, f"{model.title} ({model.size / 1e6:,.0f} MB) has not been downloaded")
    return cached_path(model)


def model_state(model: Model, *, thorough: bool = False) -> ModelState:
    """What the cache has; hashes the file if ``thorough`` or if it changed since it was checked last."""
    path = cached_path(model)
    if not path.is_file():
        return ModelState.PARTIAL if partial_path(model).exists() else ModelState.MISSING
    if not thorough and _stamp_fits(path, model):
        return ModelState.READY
    if path.stat().st_size != model.size or sha256_of(path) != model.sha256:
        with contextlib.suppress(OSError):
            _stamp_path(path).unlink(missing_ok=True)
        return ModelState.CORRUPT
    write_stamp(path, model)
    return ModelState.READY


def partial_path(model: Model) -> Path:
    """Where a download of this model grows."""
    return cached_path(model).with_suffix(".part")


def sha256_of(path: Path) -> str:
    """The hash of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_stamp(path: Path, model: Model) -> None:
    """Note that ``path`` was checked in its present state; a cache that cannot be written goes without."""
    with contextlib.suppress(OSError):
        _stamp_path(path).write_text(_stamp(path, model), "utf-8")


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; ``on_wait`` is called when another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: two downloads at once are left to the final check
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp_path(path: Path) -> Path:
    return path.with_suffix(".checked")


def _stamp(path: Path, model: Model) -> str:
    facts = path.stat()
    return f"{model.sha256} {facts.st_size} {facts.st_mtime_ns}\n"


def _stamp_fits(path: Path, model: Model) -> bool:
    try:
        return _stamp_path(path).read_text("utf-8") == _stamp(path, model)
    except OSError:
        return False
