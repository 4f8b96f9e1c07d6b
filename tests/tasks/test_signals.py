from __future__ import annotations

import os
import signal
import threading

import pytest

from nightshift.errors import InterruptedTraining
from tasks.signals import StopOnSignal


class TakenError(Exception):
    """What the handler that stood before raises, as Prefect's own does."""


@pytest.fixture(autouse=True)
def own_handlers():
    def raises(number: int, _frame: object) -> None:
        raise TakenError(signal.Signals(number).name)

    before = {number: signal.signal(number, raises) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_nothing_happens():
    with StopOnSignal() as stop:
        assert not stop.asked()
    with pytest.raises(TakenError):
        os.kill(os.getpid(), signal.SIGTERM)


def worked(*signals: int, then: Exception | None = None) -> None:
    """A stage that is sent signals, and ends well or with an error."""
    with StopOnSignal() as stop:
        for number in signals:
            os.kill(os.getpid(), number)
        assert stop.asked()
        if then is not None:
            raise then


def test_sigterm_asks_the_stage_to_stop_and_lets_it_finish():
    kept: list[str] = []

    def stage() -> None:
        with StopOnSignal() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked()
            kept.append("checkpoint")

    with pytest.raises(InterruptedTraining):
        stage()
    assert kept == ["checkpoint"]


def test_a_stage_that_gave_up_by_itself_is_heard_as_it_is():
    with pytest.raises(InterruptedTraining, match="epoch 3"):
        worked(signal.SIGTERM, then=InterruptedTraining("stopped after epoch 3"))


def test_ctrl_c_ends_as_sigterm_does_once_the_stage_has_ended():
    with pytest.raises(InterruptedTraining, match="checkpoint recorded"):
        worked(signal.SIGINT, then=InterruptedTraining("checkpoint recorded"))
    with pytest.raises(InterruptedTraining, match="on request"):
        worked(signal.SIGINT)


def test_an_error_of_the_stage_is_not_hidden_by_the_stop():
    with pytest.raises(ValueError, match="disk"):
        worked(signal.SIGTERM, then=ValueError("disk"))


def test_a_second_ctrl_c_acts_as_if_the_guard_were_not_there():
    with pytest.raises(TakenError):
        worked(signal.SIGINT, signal.SIGINT)


def test_a_second_sigterm_says_nothing_new():
    with pytest.raises(InterruptedTraining):
        worked(signal.SIGTERM, signal.SIGTERM)


def test_outside_the_main_thread_it_leaves_signals_alone():
    seen = []

    def work() -> None:
        with StopOnSignal() as stop:
            seen.append(stop.asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
