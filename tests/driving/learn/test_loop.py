"""The loop on a toy: rows and evaluations at fixed steps, the best kept, stopped and killed runs that go on exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.toy_field import ToyField

from nightshift.driving.learn import checkpointing
from nightshift.driving.learn.checkpointing import BEST, LAST, RunFacts, load_for, save_last
from nightshift.driving.learn.judging import Judged
from nightshift.driving.learn.loop import Learned, LoopPlan, learn, row_steps
from nightshift.driving.learn.ppo import PpoLearner, PpoSettings
from nightshift.driving.learn.recorder import RunRecorder, now, read_metrics
from nightshift.driving.learn.sac import SacLearner, SacSettings
from nightshift.driving.runs import MetricsRow, RunFile, RunFolder, RunStatus
from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.nets.checkpoint import load
from nightshift.nets.device import threads
from nightshift.nets.policy import Policy, PolicyShape
from nightshift.settings import Home

TOTAL = 3_000
FACTS = RunFacts("ppo", "layout-1", "f" * 64, {"config": {"seed": 1}})
PLAN = LoopPlan(total_steps=TOTAL, eval_every_steps=1_000, row_steps=512, checkpoint_every_s=0.0)


def judge(policy: Policy) -> Judged:
    """Better the nearer its answer is to what a car at 1 must do; draws a picture of nothing."""
    torch.rand(3)  # What a judge draws must not change the training.
    with torch.no_grad():
        score = float(1.0 - (policy(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))[0, 0] + 1.0).abs())
    return Judged(score, {"val_collision": 0.0}, lambda path: path.write_bytes(b"GIF"))  # type: ignore[arg-type,return-value]


def run(
    root: Path,
    kind: str = "ppo",
    *,
    plan: LoopPlan = PLAN,
    facts: RunFacts = FACTS,
    should_stop: Callable[[], bool] = lambda: False,
    begin: Policy | None = None,
) -> Learned:
    folder = RunFolder(Home(root), "toy")
    file = RunFile(
        run_id="toy",
        algorithm=kind,
        subject="toy",
        dataset="d",
        cell="c",
        config={},
        observation="layout-1",
        started_at=now(),
    )
    learner: PpoLearner | SacLearner
    if kind == "ppo":
        settings = PpoSettings(total_steps=plan.total_steps, rollout_steps=16, minibatch=64, epochs=2, hidden=(8,))
        learner = PpoLearner(ToyField(16), settings, seed=1, begin=begin)
    else:
        sac = SacSettings(
            total_steps=20_000, replay_size=900, first_steps=160, minibatch=32, hidden=(8,), gradient_steps=2
        )
        learner = SacLearner(ToyField(8), sac, seed=1)
    with threads(1), RunRecorder(folder, file, total_steps=plan.total_steps) as recorder:
        return learn(learner, plan, judge, recorder, facts, should_stop)


def rows_of(root: Path) -> list[MetricsRow]:
    """The curve, without what differs in time alone."""
    rows = read_metrics(RunFolder(Home(root), "toy").logs / "metrics.jsonl")
    for row in rows:
        row.at = ""
        row.more.pop("steps_per_s", None)
    return rows


def weights(path: Path) -> torch.Tensor:
    found = load(path)
    assert found is not None
    return torch.cat([w.flatten() for w in (*found.model.values(), *found.more["networks"].values())])


@pytest.fixture(scope="module", params=["ppo", "sac"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(f"whole-{request.param}")
    run(root, request.param)
    return request.param, root


def test_rows_evaluations_and_checkpoints_stand_at_fixed_steps(whole: tuple[str, Path]) -> None:
    kind, root = whole
    folder, at_a_time = RunFolder(Home(root), "toy"), {"ppo": 256, "sac": 64}[kind]
    rows = rows_of(root)
    judged = [row.step for row in rows if row.score is not None]
    ends = [-(-n // at_a_time) * at_a_time for n in (1_000, 2_000, 3_000)]
    assert judged == ends
    assert all(row.step % at_a_time == 0 for row in rows)
    assert {row.step // 512 for row in rows} >= set(range(1, 6))
    numbered = sorted(p.name for p in folder.checkpoints.glob("step_*.pt"))
    assert numbered == [checkpointing.numbered(step) for step in ends]
    assert sorted(p.name for p in folder.pictures.iterdir()) == [n.replace(".pt", ".gif") for n in numbered]
    status = RunStatus.model_validate_json((folder.logs / "status.json").read_bytes())
    scores = {row.step: row.score for row in rows if row.score is not None}
    best = max(scores, key=lambda step: scores[step] or 0.0)
    assert (status.best_step, status.best_score) == (best, scores[best])
    kept, content = load_for(folder.checkpoints / BEST, "layout-1")
    assert (content.meta["step"], content.meta["algorithm"]) == (best, "ppo")
    assert judge(kept).score == scores[best]


@pytest.mark.parametrize("at", [3, 8])
def test_a_stopped_run_ends_as_one_that_was_not(whole: tuple[str, Path], tmp_path: Path, at: int) -> None:
    kind, root = whole
    asked = iter([False] * at + [True])
    with pytest.raises(InterruptedTraining, match=r"stopped after [\d,]+ of 3,000 steps"):
        run(tmp_path, kind, should_stop=lambda: next(asked))
    torch.rand(7)
    again = run(tmp_path, kind)
    places = [RunFolder(Home(r), "toy").checkpoints for r in (root, tmp_path)]
    assert torch.equal(*(weights(place / LAST) for place in places))
    assert torch.equal(*(weights(place / BEST) for place in places))
    assert rows_of(tmp_path) == rows_of(root)
    # One that has ended is not trained again.
    once_more = run(tmp_path, kind)
    assert (once_more.step, once_more.score, once_more.steps) == (again.step, again.score, again.steps)
    assert rows_of(tmp_path) == rows_of(root)


_KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_loop import run
run(Path({root!r}))
"""


def test_a_killed_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    tests, here = Path(__file__).parents[2], Path(__file__).parent
    run(tmp_path / "whole")
    root = tmp_path / "killed"
    code = _KILLED.format(tests=str(tests), here=str(here), root=str(root))
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tests.parent)})
    metrics = RunFolder(Home(root), "toy").logs / "metrics.jsonl"
    until = time.monotonic() + 120
    while len(read_metrics(metrics)) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    run(root)
    places = [RunFolder(Home(r), "toy").checkpoints for r in (tmp_path / "whole", root)]
    assert torch.equal(*(weights(place / LAST) for place in places))
    assert rows_of(root) == rows_of(tmp_path / "whole")
    # Killed before its first checkpoint, with rows.
    (places[1] / LAST).unlink()
    run(root)
    assert rows_of(root) == rows_of(tmp_path / "whole")


def test_what_takes_long_to_write_is_written_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []

    def slowly(*given: Any) -> None:
        time.sleep(0.3)
        save_last(*given)
        saved.append(given[-1]["step"])

    monkeypatch.setattr(checkpointing, "save_last", slowly)
    run(tmp_path)
    # After the first call, and with each evaluation; not after all twelve.
    assert saved == [256, 1_024, 2_048, 3_072]


def test_what_it_begins_from_is_judged_first_and_never_lost(tmp_path: Path) -> None:
    first = Policy(PolicyShape(observation=4, hidden=(8,)))
    with torch.no_grad():  # As good as can be: there is nothing to gain.
        first.mean.weight.zero_()
        first.mean.bias.fill_(-1.0)
    with pytest.raises(InterruptedTraining):
        run(tmp_path, begin=first, should_stop=lambda: True)
    learned = run(tmp_path)  # What goes on has its beginning in its checkpoint.
    assert (learned.step, learned.score) == (0, 1.0)
    assert torch.equal(learned.policy.mean.bias, first.mean.bias)
    rows = rows_of(tmp_path)
    assert [row.step for row in rows if row.score is not None] == [0, 1_024, 2_048, 3_072]
    assert rows[-1].score is not None
    assert rows[-1].score < 1.0


def test_the_time_limit_ends_it_with_an_evaluation(tmp_path: Path) -> None:
    learned = run(tmp_path, plan=LoopPlan(TOTAL, 1_000, 512, time_limit_s=0.0))
    assert learned.over_time
    assert learned.steps == 256
    assert rows_of(tmp_path)[-1].score == learned.score


def test_another_trainings_checkpoint_and_another_layout_are_refused(whole: tuple[str, Path], tmp_path: Path) -> None:
    kind, root = whole
    other = RunFacts("ppo", "layout-1", "e" * 64, {"config": {"seed": 2}})
    kept = (RunFolder(Home(root), "toy").checkpoints / LAST).read_bytes()
    with pytest.raises(TrainingError, match=r"last\.pt belongs to another training: .*seed"):
        run(root, kind, facts=other)
    assert (RunFolder(Home(root), "toy").checkpoints / LAST).read_bytes() == kept
    best = RunFolder(Home(root), "toy").checkpoints / BEST
    with pytest.raises(TrainingError, match=r"best\.pt was trained on another layout of the observation"):
        load_for(best, "layout-2")
    with pytest.raises(TrainingError, match="is missing"):
        load_for(tmp_path / "none.pt", "layout-1")


def test_a_loss_that_is_no_number_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PpoLearner, "figures", lambda self: {"loss": float("nan")})
    with pytest.raises(TrainingError, match="the loss must be a finite number, got nan at step 512"):
        run(tmp_path)


def test_rows_are_about_two_hundred_and_whole_calls() -> None:
    assert row_steps(10_000_000, 32_768) == 65_536
    assert row_steps(1_000, 8_192) == 8_192
