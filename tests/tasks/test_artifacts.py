from __future__ import annotations

import itertools
import logging

from nightshift.plan.records import STAGES
from nightshift.progress import ProgressEvent, percent_of
from tasks.artifacts import key_of, never_fatal


def test_keys_hold_only_what_prefect_allows():
    assert key_of("motor_siemens_1LA7_001.anomaly.pi", "metrics") == "motor-siemens-1la7-001-anomaly-pi-metrics"


def test_progress_never_falls_along_the_chain():
    events = [ProgressEvent(cell="c", stage=s, step=n, total=4) for s in STAGES for n in range(5)]
    shown = [percent_of(e) for e in events]
    assert all(a <= b for a, b in itertools.pairwise(shown))
    assert (shown[0], shown[-1]) == (0.0, 100.0)


def test_progress_without_a_total_is_the_beginning_of_its_stage():
    assert percent_of(ProgressEvent(cell="c", stage="train", step=7)) == percent_of(
        ProgressEvent(cell="c", stage="train", step=0, total=9)
    )


def test_more_steps_than_the_total_do_not_run_into_the_next_stage():
    assert percent_of(ProgressEvent(cell="c", stage="train", step=9, total=3)) == percent_of(
        ProgressEvent(cell="c", stage="evaluate")
    )


def test_a_picture_that_cannot_be_shown_costs_a_line_in_the_log_and_nothing_else(caplog):
    @never_fatal
    def show() -> None:
        raise ConnectionError("the server has gone")

    with caplog.at_level(logging.WARNING, "nightshift"):
        show()
    assert "the server has gone" in caplog.text
