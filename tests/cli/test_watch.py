"""Progress, from the files that cells write."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress

from nightshift.cli.watch import BarView, Estimate, PlainView, watched
from nightshift.plan.records import work_folder
from nightshift.progress import FileSink, ProgressEvent, described
from nightshift.settings import Home
from tests.tracking.cells import a_cell


def event(stage: str, step: float = 0, total: float = 0, at: float = 100.0, message: str = "") -> ProgressEvent:
    return ProgressEvent(cell=a_cell().key, stage=stage, step=step, total=total, at=at, message=message)


def test_plain_lines_show_each_stage_and_now_and_then_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    view, cell = PlainView(), a_cell()
    for given in (
        event("train", at=0),
        event("train", 1, 5, at=3, message="too soon"),
        event("train", 2, 5, at=30, message="LightGBM"),
        event("train", 1, 1, at=60, message="train done"),
        event("evaluate", at=61),
    ):
        view.show(cell, given)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["classification", "train"],
        ["classification", "train", "2/5", "LightGBM"],
        ["classification", "evaluate"],
    ]


def epoch_event(number: int, at: float) -> ProgressEvent:
    line = f"Epoch {number}/9 · train 0.2145 · val 0.2534 · accuracy 84.1 %"
    return replace(event("train", number, 9, at, line), metrics={"train_loss": 0.2145}, epoch=number)


def test_plain_lines_show_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    for given in (event("train", at=0), epoch_event(1, 0.1), epoch_event(2, 0.2)):
        view.show(a_cell(), given)
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"classification Epoch {n}/9 · train 0.2145 · val 0.2534 · accuracy 84.1 %" for n in (1, 2)
    ]


def test_a_line_of_its_own_is_shown_however_soon_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    said = replace(event("train", 12, 100, 0.1, "Goes on from the checkpoint after epoch 12/100"), line=True)
    for given in (event("train", at=0), ProgressEvent.from_json(said.to_json())):
        view.show(a_cell(), given)
    assert capsys.readouterr().out.splitlines()[1] == f"classification {said.message}"


def test_bars_show_every_epoch_as_a_line_above_them() -> None:
    shown = io.StringIO()
    progress = Progress(console=Console(file=shown, width=100))
    view, cell = BarView(progress, [a_cell()]), a_cell()
    with progress:
        for given in (event("train", at=0), epoch_event(1, 0.1), epoch_event(2, 0.2)):
            view.show(cell, given)
    lines = [line.rstrip() for line in shown.getvalue().splitlines() if "Epoch" in line]
    assert lines[:2] == [f"classification {epoch_event(n, 0).message}" for n in (1, 2)]


def test_only_what_happens_from_now_on_is_shown(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell = a_cell()
    sink = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    sink(event("load"))
    with watched(home, [cell]):
        sink(event("validate"))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["validate"]


def test_a_file_that_was_set_aside_begins_anew(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell = a_cell()
    path = work_folder(home, cell.key) / "progress.jsonl"
    for stage in ("load", "validate", "train"):
        FileSink(path)(event(stage))
    with watched(home, [cell]):
        path.unlink()
        FileSink(path)(event("export"))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["export"]


def test_a_torn_line_waits_for_its_end(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell = a_cell()
    path = work_folder(home, cell.key) / "progress.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with watched(home, [cell]):
        path.write_text(event("load").to_json() + "\n" + '{"cell": "half', encoding="utf-8")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["load"]


def test_an_event_reads_as_step_message_and_figures() -> None:
    shown = described(
        ProgressEvent(cell="", stage="train", step=2, total=4, message="XGBoost", metrics={"f1": 0.81234})
    )
    assert shown == "2/4 XGBoost f1=0.8123"


def synthesis_event(stage: str, step: float, at: float) -> ProgressEvent:
    return ProgressEvent(cell="s", stage=stage, step=step, total=10, at=at)


def test_what_is_left_of_a_synthesis_is_estimated_from_its_share_done() -> None:
    clock = Estimate()
    assert clock.left(synthesis_event("profile", 0, at=0)) == ""
    assert clock.left(synthesis_event("generate", 1, at=10)) == ""  # 9.6 %: too little to tell
    assert clock.left(synthesis_event("generate", 5, at=32)) == "about 1:08 left"  # 32 % in 32 s
    assert clock.left(synthesis_event("land", 10, at=60)) == ""


def test_what_had_ended_before_took_none_of_this_run_s_time() -> None:
    clock = Estimate()
    assert clock.left(synthesis_event("quality", 0, at=0)) == ""  # 60 % were there
    assert clock.left(synthesis_event("quality", 5, at=20)) == "about 0:23 left"


def test_of_a_cell_nothing_is_estimated() -> None:
    clock = Estimate()
    clock.left(event("load", 0, 1, at=0))
    assert clock.left(event("train", 5, 10, at=60)) == ""


def test_jobs_that_are_known_only_on_the_way_are_shown_too(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell, known = a_cell(), []
    with watched(home, [], lambda: known):
        time.sleep(0.4)
        known.append(cell)
        time.sleep(0.6)
        FileSink(work_folder(home, cell.key) / "progress.jsonl")(event("load"))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["classification", "load"]]
