"""Slots that batches of one machine share: how many cells run at once, and with what memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nightshift.errors import InterruptedTraining
from nightshift.plan.batch import CapacityError
from nightshift.settings import Home
from nightshift.stages import batch_slots
from nightshift.stages.batch_limits import room_now, usage_of
from nightshift.stages.batch_slots import Slots

ROOT = Path(__file__).resolve().parents[2]
# Holds a slot for itself until it is killed.
HOLDER = """
import os, sys, time
from nightshift.settings import use_home
from nightshift.stages.batch_slots import Slots
with Slots(use_home(), 1, float(sys.argv[1])).one(lambda: False) as slot:
    slot.note(os.getpid())
    print("held", flush=True)
    time.sleep(600)
"""


def never() -> bool:
    return False


def holder(home: Home, memory_gb: float) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", HOLDER, str(memory_gb)]
    environment = {**os.environ, **home.environment(), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_batches_together_run_no_more_than_the_machine_and_each_no_more_than_its_own(home: Home) -> None:
    batches = [Slots(home, 3, 0.001), Slots(home, 3, 0.001)]
    batches[0].bound(3)
    batches[1].bound(1)
    running, most, lock = [0, 0], [0, 0, 0], threading.Lock()

    def cell(which: int) -> None:
        with batches[which].one(never):
            with lock:
                running[which] += 1
                for i, now in enumerate((*running, sum(running))):
                    most[i] = max(most[i], now)
            time.sleep(0.05)
            with lock:
                running[which] -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(cell, [0, 1] * 10))
    assert most[1:] == [1, 3]
    assert most[0] <= 3


def test_a_cell_starts_only_where_the_memory_promised_to_others_is_left_and_a_stop_ends_the_wait(home: Home) -> None:
    most_gb = room_now(home).memory_gb * 0.6
    batch = Slots(home, 4, most_gb)
    told = threading.Event()

    def wait() -> str:
        try:
            with batch.one(told.is_set):
                return "started"
        except InterruptedTraining:
            return "stopped"

    with ThreadPoolExecutor(2) as pool:
        with batch.one(never):
            waiting = pool.submit(wait)
            with Slots(home, 4, 0.001).one(never):  # one that needs little starts
                time.sleep(0.6)
            assert not waiting.done()
        assert waiting.result(20) == "started"
        with batch.one(never):
            waiting = pool.submit(wait)
            told.set()
            assert waiting.result(20) == "stopped"


def test_what_other_cells_hold_is_known_and_the_slot_of_a_killed_process_is_free(home: Home) -> None:
    batch = Slots(home, 1, 0.001)
    with holder(home, 0.5) as process:
        assert batch.held_gb() == pytest.approx(usage_of(process.pid).memory_gb, rel=0.2)
        process.kill()
    assert batch.held_gb() == 0
    with batch.one(never):
        pass


def test_memory_that_no_cell_holds_is_not_waited_for_for_ever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_slots, "PATIENCE_S", 0.3)
    with (
        pytest.raises(CapacityError, match=r"may hold 1e\+06 GB of memory; \d+\.\d GB are free, and no other cell"),
        Slots(home, 2, 1e6).one(never),
    ):
        pass
