"""A real OpenAI-compatible server for tests: llama.cpp's own, in a process that a test can kill.

Run as ``python llama_server.py MODEL [SLOTS]``: prints its address and lives until its input is closed.
"""

from __future__ import annotations

import sys

import xllamacpp


def main(path: str, slots: str = "1") -> None:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 2048 * int(slots)
    params.n_parallel = int(slots)
    params.n_batch = params.n_ubatch = 64
    params.cache_idle_slots = False
    params.cache_ram_mib = 0
    params.warmup = False
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
