"""What a run leaves on disk while it goes, when it ends, and when it goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nightshift.driving.learn.recorder import RunRecorder, claim, free_id, now, read_metrics
from nightshift.driving.runs import RunFile, RunFolder, RunStatus
from nightshift.errors import InterruptedTraining, UsageError
from nightshift.settings import Home


def a_run(run_id: str = "ppo_v1", cell: str = "c1") -> RunFile:
    return RunFile(
        run_id=run_id,
        algorithm="ppo",
        subject="highway",
        dataset="d" * 64,
        cell=cell,
        config={"seed": 1},
        observation="o" * 64,
        started_at=now(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(Home(tmp_path), "ppo_v1")


def status_of(folder: RunFolder) -> RunStatus:
    return RunStatus.model_validate_json((folder.logs / "status.json").read_bytes())


def test_an_id_is_taken_once_and_its_own_training_goes_on(folder: RunFolder, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    assert not claim(folder, a_run(), mine)
    assert claim(folder, a_run(), mine)
    before = (folder.checkpoints / "run.json").read_bytes()
    with pytest.raises(UsageError, match=r"a run 'ppo_v1' exists: ppo on highway, begun 2.*another --run-id"):
        claim(folder, a_run(cell="c2"), other)
    assert (folder.checkpoints / "run.json").read_bytes() == before
    assert not other.exists()


def test_a_run_that_was_killed_before_it_had_its_id_does_not_write_into_who_took_it(
    folder: RunFolder, tmp_path: Path
) -> None:
    # Its marker is written, its `run.json` was not; then another one took the id.
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("ppo_v1")
    assert not claim(folder, a_run(cell="c2"), other)
    with pytest.raises(UsageError, match="a run 'ppo_v1' exists"):
        claim(folder, a_run(), mine)
    assert claim(folder, a_run(cell="c2"), other)


def test_a_run_without_a_name_takes_the_next_free_one(folder: RunFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert free_id(folder, mine).run_id == "ppo_v1"
    claim(folder, a_run(), mine)
    assert free_id(folder, mine).run_id == "ppo_v1"
    assert free_id(folder, tmp_path / "other").run_id == "ppo_v1-2"


def test_figures_reach_file_log_events_and_the_one_who_listens(folder: RunFolder) -> None:
    told = []
    with RunRecorder(folder, a_run(), total_steps=300, total_rows=3, tell=lambda *row: told.append(row)) as recorder:
        recorder.row(100, {"mean_reward": 1.5, "collision": 0.25, "loss": float("nan"), "entropy": 2.0, "score": None})
        recorder.rivals = {"IDM driver": {"score": 0.9, "collision": 0.1, "ttc": 1.0, "comfort": 1.0}}
        recorder.row(200, {"mean_reward": 2.5, "collision": 0.5, "score": 0.75, "val_collision": 0.25})
        recorder.best(0.75, 200)
        while_it_runs = EventAccumulator(str(folder.logs)).Reload()
    rows = read_metrics(folder.logs / "metrics.jsonl")
    assert [(row.step, row.mean_reward, row.loss, row.score) for row in rows] == [
        (100, 1.5, None, None),
        (200, 2.5, None, 0.75),
    ]
    assert rows[0].more == {"entropy": 2.0}
    assert rows[1].more["steps_per_s"] > 0
    assert [(e.step, e.value) for e in while_it_runs.Scalars("mean_reward")] == [(100, 1.5), (200, 2.5)]
    assert [(number, total) for number, total, _, _ in told] == [(1, 3), (2, 3)]
    assert told[0][3] == {"step": 100.0, "mean_reward": 1.5, "collision": 0.25, "entropy": 2.0}
    log = (folder.logs / "train.log").read_text()
    assert "step 100/300; training: mean reward 1.5, collision 25.0%\n" in log
    judged = "validation: score 0.75, collision 25.0% (IDM driver: score 0.9, collision 10.0%, comfort 100.0%); "
    assert f"step 200/300; training: mean reward 2.5, collision 50.0%; {judged}" in log
    assert log.rstrip().endswith("completed")
    ended = status_of(folder)
    assert (ended.state, ended.step, ended.best_score, ended.best_step) == ("completed", 200, 0.75, 200)
    assert ended.latest == rows[1]


def test_status_is_renewed_while_the_training_is_silent(folder: RunFolder) -> None:
    with RunRecorder(folder, a_run(), total_steps=10, every_s=0.02):
        first = status_of(folder)
        until = time.monotonic() + 5
        while status_of(folder).updated_at == first.updated_at and time.monotonic() < until:
            time.sleep(0.01)
        assert status_of(folder).updated_at > first.updated_at
        assert first.state == "running"
        assert (first.memory_mb or 0) > 10


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (InterruptedTraining("stopped after 5 steps"), "stopped", ""),
        (ValueError("so\nand so"), "failed", "ValueError: so"),
    ],
)
def test_the_last_word_is_how_it_ended(folder: RunFolder, error: Exception, state: str, told: str) -> None:
    with pytest.raises(type(error)), RunRecorder(folder, a_run(), total_steps=10):
        raise error
    ended = status_of(folder)
    assert (ended.state, ended.error) == (state, told)


def test_a_run_that_goes_on_writes_what_came_after_its_checkpoint_again(folder: RunFolder) -> None:
    with RunRecorder(folder, a_run(), total_steps=30) as recorder:
        for step in (10, 20, 30):
            recorder.row(step, {"loss": float(step)})
    with (folder.logs / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "at"')
    told = []
    with RunRecorder(folder, a_run(), total_steps=30, tell=lambda *row: told.append(row)) as recorder:
        recorder.go_on(10, rows=1)
        recorder.row(20, {"loss": 2.0})
    rows = read_metrics(folder.logs / "metrics.jsonl")
    assert [(row.step, row.loss) for row in rows] == [(10, 10.0), (20, 2.0)]
    assert [number for number, *_ in told] == [2]
    seen = EventAccumulator(str(folder.logs)).Reload().Scalars("loss")
    assert [(e.step, e.value) for e in seen] == [(10, 10.0), (20, 2.0)]


def test_a_run_that_left_rows_and_no_checkpoint_begins_anew(folder: RunFolder) -> None:
    with RunRecorder(folder, a_run(), total_steps=30) as recorder:
        recorder.go_on(0, rows=0)
        recorder.row(10, {"loss": 1.0})
    with (folder.logs / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "at"')
    with RunRecorder(folder, a_run(), total_steps=30) as recorder:
        recorder.go_on(0, rows=0)
        recorder.row(10, {"loss": 2.0})
    assert [(row.step, row.loss) for row in read_metrics(folder.logs / "metrics.jsonl")] == [(10, 2.0)]
    assert (folder.logs / "train.log").read_text().count("begins anew") == 1
