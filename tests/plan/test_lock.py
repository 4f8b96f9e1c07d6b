"""Who asks whether a lock is held does not hold it."""

from __future__ import annotations

import fcntl
import threading

from nightshift.plan import lock
from nightshift.settings import Home


def test_who_asks_is_not_taken_for_a_holder_by_others_who_ask(home: Home) -> None:
    with lock.held(home, "cell"):
        assert lock.is_held(home, "cell")
    with lock.lock_path(home, "cell").open("rb") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        assert not lock.is_held(home, "cell")


def test_who_asks_keeps_nobody_from_the_lock(home: Home) -> None:
    with lock.held(home, "cell"):
        pass
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            lock.is_held(home, "cell")

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(200):
            with lock.held(home, "cell"):  # raises when it is taken for busy
                pass
    finally:
        over.set()
        for thread in asking:
            thread.join()
