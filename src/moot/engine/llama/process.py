"""The parent's side of llama.cpp's process: started, watched and reaped by a thread that lives as long as it does.

The watch reads what the child tells of its own progress, kills one that has gone silent, and sees the end of one that
has crashed. It is a thread and no task: a child belongs to an engine, not to one of its event loops, and the kernel
ends the child together with the very thread that started it (`moot.engine.llama.child`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec

from moot.engine.errors import EngineError, EngineUnavailable
from moot.engine.llama.ear import ENDED, Ear, Over
from moot.engine.llama.reasons import ending, load_error
from moot.engine.llama.reports import Beat, Facts, Loaded, decoded
from moot.engine.llama.settings import Settings

__all__ = ["CHILD", "LlamaProcess", "OnEnd"]

CHILD = Path(__file__).with_name("entry.py")
"""The script that the process runs."""

_MISSED = 30.0
"""Seconds without a beat after which a loaded child counts as stopped."""
_PATIENCE = 60.0
"""Seconds that the smallest model may take to load, or from one sign of progress to the next."""
_BYTES_PER_SECOND = 20e6
"""A larger model may take longer: it is read from a slow disk, and each step computes with all of it."""
_LONGEST = 20
"""A pause may be so many times longer than any before it that ended."""
_GRACE = 5.0
"""Seconds that a killed process gets to be gone; one that waits for a broken disk takes longer, and is left alone."""
_LAST_BREATH = 0.5
"""Seconds in which a process that has closed its channel should be gone."""
OnEnd = Callable[["LlamaProcess", str], None]
"""Called once with the process and how it ended, before anybody else learns of it."""

_numbers = itertools.count(1)


class LlamaProcess:
    """One child process.

    ``ready`` gets its facts, or the `EngineError` that says why there are none. ``ended`` gets how it ended, in words
    that go on from "its process". Requests under way are noted in ``under_way``, each with its connection. ``silence``
    is how many seconds it may make no progress; None goes by the size of its model and by the longest pause that it
    has shown.
    """

    def __init__(self, engine: str, settings: Settings, *, silence: float | None, on_end: OnEnd) -> None:
        self.engine = engine
        self.settings = settings
        self.number = next(_numbers)
        self.ready: Future[Facts] = Future()
        self.ended: Future[str] = Future()
        self.under_way: dict[str, socket.socket] = {}
        self.lost: tuple[str, ...] = ()
        """The requests that were under way when it ended."""
        self.failure: EngineError | None = None
        """Why it never got ready, if it could tell."""
        self.was_told = False
        """Whether it was ended on purpose."""
        self._sick = ""
        self._silence = silence
        self._on_end = on_end
        self._patience = _PATIENCE + _size(settings.model) / _BYTES_PER_SECOND
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ear: Ear | None = None
        self._thread = threading.Thread(target=self._run, name=f"moot engine {engine}", daemon=True)

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def connect(self) -> socket.socket:
        """A connection for one request.

        Raises:
            ConnectionError: the process has ended. OSError: there can be no connection.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                with self._lock:
                    if self._channel is None:
                        raise BrokenPipeError("the process has ended")
                    socket.send_fds(self._channel, [b"c"], [theirs.fileno()], socket.MSG_DONTWAIT)
            except OSError:
                ours.close()
                raise
        return ours

    def end(self) -> None:
        """End it on purpose. It is killed: it holds nothing that is worth a farewell."""
        with self._lock:
            self.was_told = True
            self._kill()

    def kill(self, how: str) -> None:
        """End it because it is sick; ``how`` goes on from "its process"."""
        with self._lock:
            self._sick = how
            self._kill()

    def forget(self) -> None:
        """In a forked process: this is the child of the other one. Close the copies of what leads to it."""
        self._lock = threading.Lock()  # whoever held it is not here
        if self._popen is not None:
            self._popen.returncode = 0  # nobody here may wait for it
        self._close()

    def _run(self) -> None:
        how = ""
        try:
            how = self._reap(self._live())
        finally:
            self.lost = tuple(sorted(self.under_way))
            try:
                self._on_end(self, how)
            finally:
                self.ended.set_result(how)
                if not self.ready.done():
                    self.ready.set_exception(self.failure or Over(how))
                for connection in tuple(self.under_way.values()):
                    with contextlib.suppress(OSError):  # a process forked meanwhile may hold the other end open
                        connection.shutdown(socket.SHUT_RDWR)

    def _live(self) -> str:
        """The life of the process; what ended it, in words."""
        try:
            self.ready.set_result(self._open())
            self._watch()
        except EngineError as error:
            self.failure = error
        except Over as over:
            return str(over)
        except Exception as error:  # noqa: BLE001 - of ours, not the child's, so it is no crash; those who wait are told
            reason = f"its process could not be started ({type(error).__name__}: {error})"
            self.failure = EngineUnavailable(self.engine, reason, advice="mend that and ask again")
        return "could not be used"

    def _open(self) -> Facts:
        """Start the process and wait until its model is loaded."""
        self._channel = self._spawn()
        return self._wait_ready(self._channel, self._patience)

    def _spawn(self) -> socket.socket:
        if not sys.executable:
            raise EngineError(f"engine {self.engine!r} starts a Python, and sys.executable is empty; set it")
        settings = self.settings
        argument = {
            **msgspec.structs.asdict(settings),
            "params": settings.params(),
            "parent": os.getpid(),
            "path": [path for entry in sys.path if (path := _absolute(entry))],
        }
        command = [sys.executable, "-I", "-S", str(CHILD), json.dumps(argument)]
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                popen = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    cwd=os.sep,
                    env=os.environ | {"GGML_NO_BACKTRACE": "1"},  # its assertions would start a debugger first
                )
            except BaseException:
                ours.close()
                raise
        with self._lock:
            self._popen = popen
            if self.was_told:
                self._kill()
        return ours

    def _wait_ready(self, channel: socket.socket, patience: float) -> Facts:
        """Listen on ``channel`` until the model is loaded, up to ``patience`` seconds."""
        if self._ear is not None:
            self._ear.close()
        ear = self._ear = Ear(channel, self._popen.stderr if self._popen is not None else None)
        waited = 0.0
        while waited <= patience:
            if line := self._listen(ear):
                told = decoded(line, Loaded)
                if not told.failed:
                    return Facts(told.context_size, told.pid)
                ear.read_printed()
                raise load_error(self.engine, self.settings, told.failed, ear.tail if told.is_model else None)
            waited += ear.waited
        raise Over(f"did not load its model within {waited:.0f} s")

    def _watch(self) -> None:
        """Take in beats until the process ends or is found sick."""
        assert self._ear is not None
        missed = 0.0
        while True:
            line = self._listen(self._ear)
            missed = 0.0 if line else missed + self._ear.waited
            if line:
                beat = decoded(line, Beat)
                if beat.quiet > (self._silence or max(self._patience, _LONGEST * beat.longest)):
                    raise Over(f"made no progress for {beat.quiet:.0f} s")
            if missed > (self._silence or _MISSED):
                raise Over(f"gave no sign of life for {missed:.0f} s")

    def _listen(self, ear: Ear) -> bytes:
        line = ear.listen()
        if not line and self._popen is not None and self._popen.poll() is not None:
            line = ear.listen()  # it may have said something between that look and its end
            if not line:
                raise Over(ENDED)  # a process forked meanwhile may hold the other end of the channel
        return line

    def _kill(self) -> None:
        if self._popen is not None and self._popen.returncode is None:
            self._popen.kill()

    def _reap(self, how: str) -> str:
        """End it, whatever it does; how it ended, in words."""
        popen = self._popen
        if popen is not None:
            code = _wait(popen, _LAST_BREATH) if how == ENDED and not self.was_told else None
            if code is None:
                how = "hung up" if how == ENDED else how
                popen.kill()
                code = _wait(popen, _GRACE)
            if self._ear is not None:
                self._ear.read_printed()
            how = ending(self._sick or how, code, is_loading=not self.ready.done())
            if said := self._ear.last_words() if self._ear is not None else "":
                how += f" (it said: {said})"
        self._close()
        return how

    def _close(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
        if self._ear is not None:
            self._ear.close()
        if channel is not None:
            channel.close()
        if self._popen is not None and self._popen.stderr is not None:
            self._popen.stderr.close()


def _wait(popen: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _absolute(entry: object) -> str | None:
    """An entry of the import path for a process in another folder; None for one that cannot be meant."""
    try:
        return os.path.abspath(entry) if isinstance(entry, str) else None
    except OSError:  # of a folder that is gone
        return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
