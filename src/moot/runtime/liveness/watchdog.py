"""The watchdog: a thread that notices when the event loop does not turn, and names the agent that blocks it.

A handler that computes or waits without awaiting stops every agent, and nothing inside the loop
can say so. The thread asks the loop for a sign of life. When none comes, it reads the stack of
the loop's thread. It belongs to real loops only: on a virtual clock no time passes while a
handler runs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable

__all__ = ["Watchdog"]

_SETTLING = 0.05
_FRAMES = 8
_STDLIB = threading.__file__.rpartition("/")[0] or threading.__file__.rpartition("\\")[0]

_log = logging.getLogger("moot.runtime.liveness.watchdog")


class Watchdog:
    """Watches the loop of the present thread, until `close`.

    A loop that has not turned for ``threshold`` seconds is reported once, and again when it turns. ``agent()`` is the
    id of the agent whose turn the loop runs; it is called in the watchdog's thread. ``lag`` is how long the last sign
    of life took, in seconds. ``blocks`` counts the reports.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float, agent: Callable[[], str | None]) -> None:
        if threshold <= 0:
            raise ValueError(f"a watchdog barks after more than 0 s, not {threshold:g}; None is for no watchdog")
        self._loop = loop
        self._threshold = threshold
        self._agent = agent
        self._watched = threading.get_ident()
        self._ended = threading.Event()
        self._answered = threading.Event()
        self.lag: float | None = None
        self.blocks = 0
        self._thread = threading.Thread(target=self._watch, name="moot watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._answered.set()
        self._thread.join(self._threshold + 1.0)

    def _watch(self) -> None:
        while not self._ended.wait(self._threshold / 2):
            answered = self._answered = threading.Event()
            sent = self._loop.time()
            try:
                self._loop.call_soon_threadsafe(self._answer, answered, sent)
            except RuntimeError:
                return  # the loop was closed by somebody who did not stop the manager
            # A second, short look: after a pause of the whole process both threads are late, not the loop alone.
            if not self._ended.is_set() and not answered.wait(self._threshold) and not answered.wait(_SETTLING):
                self._report(answered, sent)

    def _answer(self, answered: threading.Event, sent: float) -> None:
        """The loop's sign of life."""
        self.lag = self._loop.time() - sent
        answered.set()

    def _report(self, answered: threading.Event, sent: float) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - there is no other way to see another thread
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES) if frame else []
        agent = self._agent()
        who = f"agent {agent}" if agent is not None else "something that is no agent"
        culprit = next((step for step in stack if not _is_stdlib(step.filename)), stack[0] if stack else None)
        where = f"{culprit.filename}:{culprit.lineno} in {culprit.name}" if culprit is not None else "an unknown place"
        self.blocks += 1
        _log.warning(
            "%s has blocked the event loop for %.3g s at %s; await instead, or use ctx.run_sync\n%s",
            *(who, self._loop.time() - sent, where, "".join(traceback.format_list(list(reversed(stack))))),
        )
        while not answered.wait(self._threshold) and not self._ended.is_set():
            pass
        _log.warning("the event loop turns again, %.3g s after %s blocked it", self._loop.time() - sent, who)


def _is_stdlib(filename: str) -> bool:
    return filename.startswith(_STDLIB) and "site-packages" not in filename
