from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from nightshift.errors import InterruptedTraining
from tasks.signals import StopOnSignal


class Taken(Exception):
    """What the handler that stood before raises, as Prefect's own does."""


@pytest.fixture(autouse=True)
def own_handlers():
    def raises(number: int, _frame: object) -> None:
        raise Taken(signal.Signals(number).name)

    before = {number: signal.signal(number, raises) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_nothing_happens():
    with StopOnSignal() as stop:
        assert not stop.asked()
    with pytest.raises(Taken):
        os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_asks_the_stage_to_stop_and_lets_it_finish():
    kept = []
    with pytest.raises(InterruptedTraining), StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked()
        kept.append("checkpoint")
    assert kept == ["checkpoint"]


def test_a_stage_that_gave_up_by_itself_is_heard_as_it_is():
    with pytest.raises(InterruptedTraining, match="epoch 3"), StopOnSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        raise InterruptedTraining("stopped after epoch 3")


def test_ctrl_c_ends_as_a_keyboard_interrupt_once_the_stage_has_ended():
    with pytest.raises(KeyboardInterrupt), StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked()
        raise InterruptedTraining("checkpoint recorded")


def test_an_error_of_the_stage_is_not_hidden_by_the_stop():
    with pytest.raises(ValueError, match="disk"), StopOnSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("disk")


def test_a_second_signal_acts_as_if_the_guard_were_not_there():
    with pytest.raises(Taken), StopOnSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_outside_the_main_thread_it_leaves_signals_alone():
    seen = []

    def work() -> None:
        with StopOnSignal() as stop:
            seen.append(stop.asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
