"""What the commands about a durable system's file share: how they print, and how they say that they cannot begin.

A file's texts come from anywhere, so nothing that steers a terminal gets through.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from moot.backends.errors import BackendBusy, BackendError
from moot.cli.app import UsageError

__all__ = ["cell", "columns", "day", "printing", "safe", "shortened", "size", "to_json"]

_WIDTH = 100
_DEPTH = 100


@contextmanager
def printing(in_a_running_system: str | None = None) -> Iterator[None]:
    """Print anything, whatever the terminal can show; a file that cannot be used is a usage error.

    ``in_a_running_system`` is what to do instead while the file's owner runs.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        yield
    except BackendBusy as error:
        if in_a_running_system is None:
            raise UsageError(safe(str(error))) from error
        text = (
            f"{error.path} belongs to a running system ({error.owner}); stop that one first, or {in_a_running_system}"
        )
        raise UsageError(safe(text)) from error
    except BackendError as error:
        raise UsageError(safe(str(error))) from error


def safe(text: str) -> str:
    """``text`` on one line, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def shortened(value: Any, width: int | None = _WIDTH) -> str:
    """A decoded value as JSON on one line, ``width`` characters at most."""
    text = msgspec.json.encode(plain(value)).decode()
    if width is None or len(text) <= width:
        return safe(text)
    return f"{safe(text[: width - 1])}… ({len(text):,} characters)"


def to_json(value: Any) -> str:
    """A view as indented JSON. What JSON cannot say is shown as Python would."""
    return msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode()


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` of things that JSON has, down to a depth that fits any stack."""
    if depth > _DEPTH:
        return "…"
    depth += 1
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): plain(item, depth) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth) for item in value]
    if isinstance(value, msgspec.Struct):
        config = {field.name: field.encode_name for field in msgspec.structs.fields(value)}
        return {name: plain(getattr(value, key), depth) for key, name in config.items()}
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else repr(value)
    return value.isoformat() if isinstance(value, dt.datetime) else repr(value)


def cell(text: str, width: int = _WIDTH) -> str:
    """A text that takes part of a line, ``width`` characters at most before it is made `safe`."""
    return safe(text if len(text) <= width else f"{text[: width - 1]}…")


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, each column as wide as it must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def day(at: float) -> str:
    """A moment in seconds since the Unix epoch, in UTC."""
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(sep=" ", timespec="seconds")[:19]
    except (OverflowError, ValueError, OSError):
        return repr(at)


def size(count: int | None) -> str:
    """Bytes in words."""
    if count is None:
        return "-"
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1e3:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"
