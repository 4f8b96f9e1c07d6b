from __future__ import annotations

import itertools
import logging

from nightshift.plan.cell import Cell
from nightshift.plan.records import PROGRESS, STAGES, work_folder
from nightshift.progress import FileSink, ProgressEvent, percent_of
from nightshift.settings import Home
from tasks.artifacts import BatchBar, key_of, never_fatal


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


def test_a_batch_is_as_far_as_its_cells_and_says_what_each_does_now(tmp_path):
    home, ended = Home(tmp_path), {"a.rul.pi": None}
    cells = [Cell(subject=s, family="rul", target="pi", dataset="d" * 64, config={}, code="c" * 64) for s in "ab"]
    bar = BatchBar(home, ["a.rul.pi", "b.rul.pi", "c.rul.pi", "d.rul.pi"], ended)
    sink = FileSink(work_folder(home, cells[1].key) / PROGRESS)
    sink(ProgressEvent("k", "report", at=1.0))
    bar.look(cells[1])
    assert bar.now() == (25.0, "")
    sink(ProgressEvent("k", "train", 5, 10, message="member 5"))
    for cell in cells:
        bar.look(cell)
    assert bar.now() == ((100 + 38) / 4, "- b.rul.pi: train 5/10 member 5")
    ended["b.rul.pi"] = None
    assert bar.now() == (50.0, "")
