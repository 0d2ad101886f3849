"""Entry: the script that the child process of the local engine runs.

It finds `child` and its neighbours by this folder alone, as a package `llama` of its own. As parts of `moot` they would
load all of Moot first.
"""

from __future__ import annotations

import importlib
import os
import sys

__all__: list[str] = []

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # last: `queue` is Python's
    try:
        importlib.import_module("llama.child").main(sys.argv[1])
    except BaseException:  # noqa: BLE001 - it is printed, and ends the process
        sys.excepthook(*sys.exc_info())
    os._exit(0)  # neither Python nor llama.cpp cleans up: nothing is worth the time, and its destructor may hang
