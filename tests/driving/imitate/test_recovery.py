"""Candidates, critics and the recovery method on a toy."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.corridor import INPUTS, SPEED_AT, SPEED_SCALE, Corridor, drive

from nightshift.driving.imitate.candidates import PLAN, Candidates, CandidateShape, plan_of
from nightshift.driving.imitate.critics import Twin
from nightshift.driving.imitate.decider import Decider, DeciderShape
from nightshift.driving.imitate.memory import Experience, Memory
from nightshift.driving.imitate.recovery import RecoveryLearner
from nightshift.driving.imitate.settings import RecoverySettings
from nightshift.driving.learn.checkpointing import LAST, RunFacts
from nightshift.driving.learn.judging import Judged
from nightshift.driving.learn.loop import LoopPlan, learn
from nightshift.driving.learn.recorder import RunRecorder, now
from nightshift.driving.runs import RunFile, RunFolder
from nightshift.errors import InterruptedTraining
from nightshift.nets.checkpoint import load
from nightshift.nets.policy import Policy, PolicyShape
from nightshift.settings import Home

POLICY = PolicyShape(observation=INPUTS, hidden=(16,), head="mixture", components=2)
CANDIDATES = CandidateShape(speed_at=SPEED_AT, speed_scale=SPEED_SCALE, accel_step=0.4, steer_step=0.3)


def decider(seed: int = 0, **changes: Any) -> Decider:
    torch.manual_seed(seed)
    return Decider(DeciderShape(policy=POLICY, candidates=CANDIDATES, hidden=(32, 16), **changes))


def seen(n: int = 5) -> torch.Tensor:
    return torch.from_numpy(Corridor(n, 1).reset())


def learner(settings: RecoverySettings, seed: int = 0) -> RecoveryLearner:
    return RecoveryLearner(decider(), Corridor(8, 3), settings, seed, at_a_time=4)


QUICK = RecoverySettings(
    gamma_safe=0.5,
    tau=0.02,
    tau_safe=5e-3,
    learning_rate=1e-3,
    batch_size=64,
    capacity=20_000,
    offline_steps=1_600,
    pretrain_updates=200,
    steps_per_update=8,
)


def test_a_plan_is_where_the_car_comes_to() -> None:
    # Steady at 10 m/s, braking at 5 m/s2 until it stands after 2 s and 10 m, and with full lock: a circle of 20 m.
    squashed = torch.tensor([[[0.0, 0.0], [-5 / 6, 0.0], [0.0, 1.0]]])
    plan = plan_of(squashed, torch.full((1, 1), 10.0))[0, :, 2:].reshape(3, 3, 3) * torch.tensor([50.0, 10.0, 20.0])
    assert plan.shape == (3, 3, (PLAN - 2) // 3)
    assert plan[0].flatten().tolist() == pytest.approx([10, 0, 10, 20, 0, 10, 30, 0, 10], abs=1e-4)
    assert plan[1].flatten().tolist() == pytest.approx([7.5, 0, 5, 10, 0, 0, 10, 0, 0], abs=1e-4)
    # After 1 s the circle was followed for 10 m, half a radian: 20 sin 0.5 ahead, 20 (1 - cos 0.5) aside.
    ahead, aside = 20 * math.sin(0.5), 20 * (1 - math.cos(0.5))
    assert math.hypot(ahead - float(plan[2, 0, 0]), aside - float(plan[2, 0, 1])) < 0.15


def test_candidates_are_the_modes_departures_from_them_and_two_brakes() -> None:
    candidates = Candidates(Policy(POLICY), CANDIDATES)
    proposed = candidates.propose(seen())
    assert proposed.action.shape == (5, candidates.count, 2) == (5, 2 * 5 + 2, 2)
    assert proposed.plan.shape == (5, 12, PLAN)
    said = candidates.policy.say(seen())
    assert torch.allclose(proposed.action[:, 0], said.mean[:, 0])
    assert torch.allclose(proposed.action[:, 6, 0], (said.mean[:, 1, 0] + 0.4).clamp(-1, 1))
    assert proposed.action[:, -2:, 0].tolist() == [[-1.0, pytest.approx(-0.4)]] * 5
    assert not any(p.requires_grad for p in candidates.policy.parameters())


def test_the_method_acts_among_safe_candidates_and_recovers_where_there_are_none() -> None:
    method = decider(risk_limit=0.1)
    score = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    risk = torch.tensor([[0.5, 0.05, 0.09], [0.9, 0.3, 0.6]])
    acts = method.composite(score, risk)
    first = math.e / (1.0 + math.e)
    assert acts[0].tolist() == pytest.approx([0.0, first, 1.0 - first], abs=1e-6)
    assert acts[1].tolist() == [0.0, 1.0, 0.0]
    assert method.safely(score, torch.logit(risk)).argmax(dim=1).tolist() == [1, 1]


def test_what_is_proposed_and_what_is_driven_are_kept_apart() -> None:
    settings = QUICK.model_copy(update={"offline_steps": 8, "pretrain_updates": 0})
    overseen = RecoveryLearner(decider(risk_limit=0.01), Corridor(8, 3), settings, 0)
    for _ in range(20):
        overseen.advance()
    rows = overseen.memory.draw(400, torch.Generator().manual_seed(0))
    # An untrained risk is about 0.05 everywhere, and none is allowed: whatever is proposed is overruled.
    assert overseen.figures()["overruled"] == 1.0
    assert not torch.allclose(rows.proposed, rows.executed)


class Settled(Twin):
    """Answers with numbers of its own, one more in the second critic."""

    def __init__(self, answer: float) -> None:
        super().__init__(INPUTS, PLAN, (4,), sigmoid=False)
        self.answer = answer

    def target(self, observation: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        one = torch.full(plan.shape[:2], self.answer)
        return torch.stack([one, one + 0.1])


def test_targets_are_cost_and_the_higher_risk_reward_and_the_lower_value(monkeypatch: pytest.MonkeyPatch) -> None:
    run = learner(RecoverySettings(gamma=0.9, gamma_safe=0.5, tau_safe=1e-9, tau=1e-9))
    run.decider.risk, run.decider.task = Settled(0.3), Settled(2.0)
    nothing = torch.zeros(3, INPUTS)
    batch = Experience(
        observation=nothing,
        following=nothing,
        reward=torch.tensor([0.5, 0.5, -1.0]),
        cost=torch.tensor([0.0, 0.0, 1.0]),
        ongoing=torch.tensor([1.0, 0.0, 0.0]),
        factor=torch.tensor([0.9, 0.9, 0.9]),
        proposed=torch.zeros(3, 2),
        executed=torch.zeros(3, 2),
    )
    targets: list[torch.Tensor] = []
    monkeypatch.setattr(run, "_said", lambda twin, _batch, _action: torch.zeros(2, 3, requires_grad=True) + 0.5)
    monkeypatch.setattr(run, "_take", lambda _steps, loss: 0.0)
    monkeypatch.setattr(
        torch.nn.functional, "binary_cross_entropy", lambda said, target: (targets.append(target[0]), said.sum())[1]
    )
    acts, risk, task = run._following(batch)
    run._learn_risk(batch, acts, risk)
    assert targets[0].tolist() == pytest.approx([0.5 * 0.4, 0.0, 1.0])
    assert (batch.reward + batch.ongoing * batch.factor * (acts * task).sum(1)).tolist() == pytest.approx(
        [0.5 + 1.8, 0.5, -1.0]
    )


def test_memory_forgets_the_oldest() -> None:
    memory = Memory(4, INPUTS, torch.device("cpu"))
    for i in range(3):
        n = torch.full((2,), float(i))
        wide, pair = torch.zeros(2, INPUTS), torch.zeros(2, 2)
        memory.add(Experience(wide, wide, n, n, n, n, pair, pair))
    drawn = memory.draw(200, torch.Generator().manual_seed(0))
    assert set(drawn.reward.tolist()) == {1.0, 2.0}
    other = Memory(4, INPUTS, torch.device("cpu"))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(
        other.draw(9, torch.Generator().manual_seed(1)).reward, memory.draw(9, torch.Generator().manual_seed(1)).reward
    )


def test_it_learns_to_drive_better_and_to_fail_less() -> None:
    run = learner(QUICK)
    before, failed = drive(run.decider, 120, seed=5)
    while run.updates < 700:
        run.advance()
    after, failed_after = drive(run.decider, 120, seed=5)
    assert after > before + 0.7
    assert failed_after < 0.1 < failed


def test_a_run_that_is_taken_up_again_goes_on_to_the_bit() -> None:
    settings = QUICK.model_copy(update={"offline_steps": 200, "pretrain_updates": 5})
    run = learner(settings)
    for _ in range(10):
        run.advance()
    file = io.BytesIO()
    held = run.state_dict()
    torch.save({"networks": held.networks, "optimisers": held.optimisers, "more": held.more}, file)
    file.seek(0)
    read = torch.load(file, weights_only=True)
    other = RecoveryLearner(decider(seed=9), Corridor(8, 77), settings, seed=5, at_a_time=4)
    other.load_state_dict(type(held)(**read))
    for one in (run, other):
        for _ in range(6):
            one.advance()
    ours, theirs = run.decider.state_dict(), other.decider.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert np.array_equal(run.observation, other.observation)
    assert run.figures() == other.figures()


PRETRAINING = QUICK.model_copy(update={"offline_steps": 64, "pretrain_updates": 450, "batch_size": 8})


def pretrained(root: Path, *stops: int) -> RecoveryLearner:
    """Train in the loop, asked to stop at the n-th question each time, then to the end."""
    plan = LoopPlan(total_steps=128, eval_every_steps=128, row_steps=128, checkpoint_every_s=1e9)
    told = {"subject": "toy", "dataset": "d", "cell": "c", "config": {}, "observation": "l", "started_at": now()}
    folder, file = RunFolder(Home(root), "toy"), RunFile(run_id="toy", algorithm="cimrl", **told)
    for stop in (*stops, 99):
        run, questions = learner(PRETRAINING), iter(range(99))
        recorder = RunRecorder(folder, file, total_steps=128)

        def asked(n: int = stop, count: Any = questions) -> bool:
            return bool(next(count) == n)

        with recorder:
            if stop < 99:
                with pytest.raises(InterruptedTraining):
                    learn(run, plan, lambda _: Judged(0.5, {}), recorder, RunFacts("cimrl", "l", "f", {}), asked)
            else:
                learn(run, plan, lambda _: Judged(0.5, {}), recorder, RunFacts("cimrl", "l", "f", {}), asked)
        kept = load(folder.checkpoints / LAST)
        assert kept is not None
        assert kept.more["counts"] == [run.steps, run.updates, run.pretrained]
    return run


def test_it_can_be_stopped_while_it_learns_from_offline_driving_and_loses_nothing(tmp_path: Path) -> None:
    run, done = learner(PRETRAINING), list[tuple[int, int]]()
    while run.pretrained < 450:
        run.advance()
        done.append((run.steps, run.pretrained))
    assert done == [(32, 0), (64, 200), (64, 400), (64, 450)]
    whole, again = pretrained(tmp_path / "whole"), pretrained(tmp_path / "again", 2, 1, 1)
    ours, theirs = whole.decider.state_dict(), again.decider.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
