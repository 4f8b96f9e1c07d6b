"""Reinforcement on top of a clone: it keeps what was cloned, and ends better."""

from __future__ import annotations

import pytest
import torch
from support.corridor import INPUTS, Corridor, demonstrations, drive

from nightshift.driving.imitate.bc import BcLearner
from nightshift.driving.imitate.finetune import finetune_learner
from nightshift.driving.imitate.settings import FinetuneSettings
from nightshift.driving.learn.ppo import PpoLearner, PpoSettings
from nightshift.nets.loop import LoopContext, LoopPlan, train
from nightshift.nets.policy import Policy, PolicyShape

PPO = PpoSettings(
    total_steps=20_480,
    rollout_steps=64,
    minibatch=256,
    epochs=5,
    hidden=(32, 32),
    learning_rate=1e-3,
    log_std=-1.5,
    log_std_end=None,
)
SETTINGS = FinetuneSettings(warm_up=0.1, weight=0.1, fades=0.5, batch_size=64)
LEARNT = demonstrations(60, seed=1)


@pytest.fixture(scope="module")
def cloned() -> Policy:
    shape = PolicyShape(observation=INPUTS, hidden=(32, 32))

    def build(device: torch.device) -> BcLearner:
        return BcLearner(Policy(shape), LEARNT, LEARNT, batch_size=64, learning_rate=3e-3)

    return train(build, LoopPlan(epochs=10, seed=0), LoopContext(device="cpu")).learner.module


def learner(cloned: Policy, settings: FinetuneSettings = SETTINGS) -> PpoLearner:
    return finetune_learner(Corridor(16, 3), cloned, LEARNT, settings, PPO, seed=0)


def test_the_critic_learns_first_and_the_actor_stays_as_it_was_cloned(cloned: Policy) -> None:
    run = learner(cloned)
    began = run.policy().state_dict()
    assert torch.allclose(began["mean.weight"], cloned.state_dict()["mean.weight"])
    assert torch.equal(began["log_std"], torch.full((2,), -1.5))
    run.advance()
    critic = [p.detach().clone() for p in run.model.nets._value.parameters()]
    run.advance()
    assert all(torch.equal(v, began[name]) for name, v in run.policy().state_dict().items())
    assert not torch.equal(critic[0], next(run.model.nets._value.parameters()))
    assert run.figures()["actor_frozen"] == 1.0
    run.advance()
    assert run.figures()["actor_frozen"] == 0.0
    assert not torch.equal(run.policy().state_dict()["mean.weight"], began["mean.weight"])


def test_the_critic_learns_by_more_passes_while_the_actor_waits(cloned: Policy) -> None:
    run = learner(cloned, FinetuneSettings(warm_up=0.05, critic_epochs=9))
    run.advance()
    assert (run.figures()["actor_frozen"], run.model._n_updates) == (1.0, 9)
    run.advance()
    assert (run.figures()["actor_frozen"], run.model._n_updates) == (0.0, 9 + PPO.epochs)


def test_the_imitation_term_fades_and_the_end_is_better_than_the_clone(cloned: Policy) -> None:
    run = learner(cloned)
    returned, _ = drive(cloned, 120, seed=5)
    weights = []
    while run.steps < PPO.total_steps:
        run.advance()
        weights.append(run.figures()["imitation_weight"])
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 0.09
    assert weights[-1] == 0.0
    after, failed = drive(run.policy(), 120, seed=5)
    assert after > returned + 0.2
    assert failed < 0.15


def test_a_strong_term_holds_the_actor_to_the_expert(cloned: Policy) -> None:
    seen, asked = torch.from_numpy(LEARNT.observation), torch.from_numpy(LEARNT.action)
    with torch.no_grad():
        off = [float((cloned(seen) - asked).square().mean())]
    for weight in (0.0, 20.0):
        run = learner(cloned, FinetuneSettings(warm_up=0.0, weight=weight, fades=1.0, batch_size=64))
        for _ in range(6):
            run.advance()
        with torch.no_grad():
            off.append(float((run.policy()(seen) - asked).square().mean()))
    began, free, held = off
    assert held - began < 0.3 * (free - began)
