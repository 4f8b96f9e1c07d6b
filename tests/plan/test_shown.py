"""A line of progress, and the event that is made of it again."""

from __future__ import annotations

import pytest

from nightshift.plan.shown import events_in, line_of
from nightshift.progress import ProgressEvent, described, percent_of

NAME = "motor_siemens_1la7_001.rul.pi"


@pytest.mark.parametrize(
    "event",
    [
        ProgressEvent("k", "train", 5, 10, message="member 5", metrics={"loss": 0.25}),
        ProgressEvent("k", "train", 2.5, 1e6),
        ProgressEvent("k", "evaluate"),
        ProgressEvent("k", "train", 3, 4, message="epoch 3 of 4", epoch=3),
        ProgressEvent("k", "load", message="reads: 3 files"),
        ProgressEvent("k", "generate", 1, 3, line=True, message="a line\nand another"),
    ],
)
def test_a_line_says_how_far_a_job_is_and_what_it_does(event: ProgressEvent) -> None:
    line = line_of(NAME, event)
    (found,) = events_in(line, 7.0).values()
    assert (found.stage, percent_of(found), found.at) == (event.stage, pytest.approx(percent_of(event)), 7.0)
    assert " ".join(described(event).split()) in described(found)
    assert events_in(f"- {line}\n- other.anomaly.pi: load", 7.0).keys() == {NAME, "other.anomaly.pi"}


def test_what_is_no_such_line_is_left_out_and_no_secret_is_in_one() -> None:
    assert events_in(f"{NAME}\n\nx\n: train\na: b-c\na: train 1e/2", 0.0) == {}
    assert line_of(NAME, ProgressEvent("k", "load", message="s3://me:secret@store/x")).endswith("load s3://store/x")
    assert len(line_of(NAME, ProgressEvent("k", "load", message="x" * 5_000))) == 300
