"""The child process of the local engine: llama.cpp, and as little else as possible (xllamacpp is imported here only).

llama.cpp holds the interpreter's lock while it loads a model and while it ends, and a fault in it ends its process. So
it has a process of its own, which holds nothing that is worth saving and is never asked to end well: it is killed.

It is run by a script, `entry`, and imports nothing of Moot but `beats`, its neighbour: it starts in a moment and stays
small. Its one argument is a JSON object (`moot.engine.llama.settings.Settings`). Its standard input and output are the
*control* channel: it writes a line when the model is loaded, then a beat each second, and it ends when its input does.
Each request has a connection of its own: one line of JSON in, lines of JSON out, ``{}`` as the last. A request is
cancelled by closing its connection.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .beats import Beats  # noqa: TID252 - by its full name it would load Moot

__all__ = ["Child", "main"]

MAX_LINE = 64 * 1024 * 1024
"""Bytes that a request may have."""
MAX_CONNECTIONS = 512
"""Connections served at once, users of a shared child among them; more wait until one ends."""

_TAKEN = b'{"taken": true}\n'  # a request is under way; one that is not yet is handed to the next child, if need be
_PROGRESS = b'"prompt_progress":{'
"""Marks a progress report. In an answer's text the quotation marks would be escaped."""
_FIRST_WORD = 10.0  # seconds in which whoever connects says what it wants


class Child:
    """llama.cpp on one model, and the connections that ask it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._key = secrets.token_urlsafe(24)
        self._beats = Beats()
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        self._inside = threading.Semaphore(settings["slots"])
        self._leases = 0
        self._lease_lock = threading.Lock()
        self._server: Any = None
        self._facts = b""
        self._context_size = int(settings["context_size"])

    def load(self) -> bytes:
        """Load the model, or raise `RuntimeError`; the line that the parent waits for."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        for name, value in self._settings["params"].items():
            setattr(params, name, value)
        params.model.path = self._settings["model"]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._settings["threads"]
        params.api_keys = [self._key]  # the library opens a loopback port; nobody else shall use it
        self._server = xllamacpp.Server(params)
        properties = self._http("GET", "/props")["default_generation_settings"]
        self._context_size = min(self._context_size, int(properties["n_ctx"]))
        self._facts = _line({"context_size": self._context_size, "pid": os.getpid()})
        return self._facts

    def beat(self, write: Callable[[bytes], Any]) -> None:
        every = float(self._settings["beat"])
        with contextlib.suppress(OSError):
            while True:
                write(_line(self._beats.beat(every)))
                time.sleep(every)

    def serve(self, connection: socket.socket) -> None:
        self._places.acquire()
        threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def serve_handed(self, control: socket.socket) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not data:
                return
            for descriptor in descriptors:
                self.serve(socket.socket(fileno=descriptor))

    def serve_all(self, listener: socket.socket) -> None:
        self.serve(listener.accept()[0])
        _end_with(0)  # from now on its users keep it, whoever has started it
        while True:
            self.serve(listener.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_FIRST_WORD)
            # Whoever has gone, or is none of ours, gets no answer.
            with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as reader:
                line = reader.readline(MAX_LINE)
                if line.endswith(b"\n"):
                    connection.settimeout(None)
                    self._dispatch(json.loads(line), connection)
        finally:
            self._places.release()
            if self._settings["address"]:
                self._leave_if_unused()

    def _dispatch(self, request: dict[str, Any], connection: socket.socket) -> None:
        if request["op"] == "lease":
            self._lease(connection)
            return
        # Not in llama.cpp's own queue, where what nobody waits for any more is begun all the same.
        with self._inside if request["op"] == "chat" else contextlib.nullcontext():
            if not _has_gone(connection):
                connection.sendall(_TAKEN)
                self._work(request, connection)

    def _work(self, request: dict[str, Any], connection: socket.socket) -> None:
        try:
            if request["op"] == "chat":
                self._chat(request, connection)
            elif request["op"] == "metrics":
                connection.sendall(_line({"text": str(self._server.handle_metrics())}))
            else:
                connection.sendall(_line(self._http("POST", request["path"], request["content"])))
            connection.sendall(b"{}\n")
        except _Refused as refused:
            connection.sendall(_line({"error": refused.args[0]}))
        except (KeyError, TypeError, http.client.HTTPException) as error:  # whoever asked is told
            connection.sendall(_line({"error": {"code": 500, "message": f"{type(error).__name__}: {error}"}}))

    def _chat(self, request: dict[str, Any], connection: socket.socket) -> None:
        body: dict[str, Any] = request["body"]
        counted = self._http("POST", "/v1/chat/completions/input_tokens", {"messages": body["messages"]})
        prompt = int(counted["input_tokens"])
        if prompt + body["max_tokens"] > self._context_size:
            connection.sendall(_line({"overflow": prompt}))
            return
        if request.get("schema") is not None:
            body["grammar"] = _grammar(request["schema"])
        self._complete(body, connection)

    def _complete(self, body: dict[str, Any], connection: socket.socket) -> None:
        beats = self._beats

        def on_chunk(chunk: bytes) -> bool:
            """Pass a chunk on; whether llama.cpp shall stop."""
            beats.ended()
            try:
                if _PROGRESS not in chunk:
                    connection.sendall(chunk + b"\n")
                return _has_gone(connection)
            except OSError:
                return True
            finally:
                beats.begun()

        beats.begun()
        try:
            self._server.handle_chat_completions(json.dumps(body).encode(), on_chunk)
        except (RuntimeError, ValueError) as error:  # how the library reports a request that it cannot parse
            raise _Refused({"code": 400, "message": str(error)}) from error
        finally:
            beats.ended(progress=False)

    def _http(self, method: str, path: str, content: object = None) -> Any:
        # What the library offers over its loopback port only. The port is open to those with the key.
        address = urlsplit(self._server.listening_address)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=600)
        body = None if content is None else json.dumps(content)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        self._beats.begun()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            reply = json.loads(response.read())
        finally:
            self._beats.ended()
            connection.close()
        if "error" in reply:
            raise _Refused({"code": response.status, **reply["error"]})
        return reply

    def _lease(self, connection: socket.socket) -> None:
        with self._lease_lock:
            self._leases += 1
        with contextlib.suppress(OSError):
            connection.sendall(self._facts)
            threading.Thread(target=self.beat, args=(connection.sendall,), daemon=True).start()
            while connection.recv(64):
                continue
        with self._lease_lock:
            self._leases -= 1

    def _leave_if_unused(self) -> None:
        with self._lease_lock:
            if self._leases:
                return
            with contextlib.suppress(OSError):
                os.unlink(self._settings["address"])
            os._exit(0)


class _Refused(Exception):
    """llama.cpp refuses a request; its argument is the error object of the wire."""


def _grammar(schema: dict[str, Any]) -> str:
    # Not as ``response_format``: that path ignores the bounds of numbers.
    import xllamacpp

    try:
        return str(xllamacpp.json_schema_to_grammar(json.dumps(schema)))
    except (RuntimeError, ValueError) as error:
        raise _Refused({"code": 400, "message": str(error)}) from error


def _has_gone(connection: socket.socket) -> bool:
    # Nothing more is asked on it, so what there is to read is its end.
    return bool(select.select((connection,), (), (), 0)[0])


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _stand_apart() -> None:
    # Signals of a terminal or a service manager are for the parent. Where memory runs out, the child goes first: it is
    # replaced, while its parent has the agents. A crash leaves no image of its memory, which takes long to write; 0
    # bytes would still start a program that collects it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _end_with(parent: int) -> None:
    # The kernel kills the child when the parent's thread that started it ends, also while llama.cpp holds the
    # interpreter's lock, so that nobody reads the end of the input. 0: it does no longer.
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL if parent else 0)  # PR_SET_PDEATHSIG
        if parent and os.getppid() != parent:  # it ended before the kernel was told
            os._exit(0)


def main(argument: str) -> None:
    """Load the model and serve until the input ends, or the last user has left."""
    settings: dict[str, Any] = json.loads(argument)
    _stand_apart()
    _end_with(settings["parent"])
    control = socket.socket(fileno=os.dup(0))
    os.dup2(2, 1)  # what llama.cpp prints must not get into the control channel
    sys.path[:] = settings["path"]
    child = Child(settings)
    try:
        facts = child.load()
    except Exception as error:  # noqa: BLE001 - the parent is told
        is_model = isinstance(error, RuntimeError)
        control.sendall(_line({"failed": f"{type(error).__name__}: {error}", "is_model": is_model}))
        return
    if address := settings["address"]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(MAX_CONNECTIONS)
            control.sendall(facts)
            child.serve_all(listener)
    control.sendall(facts)
    threading.Thread(target=child.beat, args=(control.sendall,), daemon=True).start()
    child.serve_handed(control)
