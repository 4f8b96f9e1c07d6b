"""`prefect server start` with garbage collected in a thread of its own: so a server on SQLite never stands still.

A connection to SQLite is locked while its thread waits for the write lock, and freeing a forgotten cursor of that
connection waits for it. Where Python's collector frees it on the thread of the event loop, the loop stands: it cannot
commit what the writer is waiting for, and nothing is answered for the 60 s of the waiting (measured on Prefect 3.8.8:
within a second of three workers that ask for runs). A thread that collects may wait; the loop goes on.
"""

from __future__ import annotations

import gc
import runpy
import sys
import threading
import time

#: Seconds between two collections of what is young, and how many of those there are to one of everything.
_EVERY_S, _YOUNG = 1.0, 30


def _collect() -> None:
    _once_through()
    # What has been loaded by now stays: going through it each time would be a third of what an idle server costs.
    gc.freeze()
    while True:
        _once_through()


def _once_through() -> None:
    for _ in range(_YOUNG):
        time.sleep(_EVERY_S)
        gc.collect(1)
    gc.collect()


if __name__ == "__main__":
    gc.disable()
    sys.argv[1:] = ["--no-prompt", "server", "start", "--analytics-off", *sys.argv[1:]]
    threading.Thread(target=_collect, name="garbage", daemon=True).start()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
