"""Reinforcement on top of a clone: it keeps what was cloned, is held to it where it drives, and ends better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.corridor import INPUTS, Corridor, demonstrations, drive
from support.gone_on import gone_on

from nightshift.driving.imitate.bc import BcLearner
from nightshift.driving.imitate.finetune import FinetuneLearner
from nightshift.driving.imitate.settings import FinetuneSettings
from nightshift.driving.learn.ppo import PpoSettings
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
SETTINGS = FinetuneSettings(warm_up=0.1, anchor_weight_start=0.5, anchor_weight_end=0.05)
LEARNT = demonstrations(60, seed=1)


@pytest.fixture(scope="module")
def cloned() -> Policy:
    shape = PolicyShape(observation=INPUTS, hidden=(32, 32))

    def build(device: torch.device) -> BcLearner:
        return BcLearner(Policy(shape), LEARNT, LEARNT, batch_size=64, learning_rate=3e-3)

    return train(build, LoopPlan(epochs=10, seed=0), LoopContext(device="cpu")).learner.module


def learner(cloned: Policy, settings: FinetuneSettings = SETTINGS) -> FinetuneLearner:
    return FinetuneLearner(Corridor(16, 3), cloned, settings, PPO, seed=0)


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


def test_it_is_held_to_the_clone_less_and_less_and_ends_better(cloned: Policy) -> None:
    run = learner(cloned)
    returned, _ = drive(cloned, 120, seed=5)
    weights = []
    while run.steps < PPO.total_steps:
        run.advance()
        weights.append(run.figures()["anchor_weight"])
    assert weights == pytest.approx(np.linspace(0.5, 0.05, len(weights) + 1)[1:])
    after, failed = drive(run.policy(), 120, seed=5)
    assert after > returned + 0.2
    assert failed < 0.15


def test_the_penalty_is_the_squared_distance_to_the_clone_in_the_states_of_the_rollout(cloned: Policy) -> None:
    settings = FinetuneSettings(warm_up=0.0, anchor_weight_start=2.0, anchor_weight_end=2.0)
    run = FinetuneLearner(Corridor(16, 3), cloned, settings, replace(PPO, epochs=1, minibatch=1024), seed=0)
    for _ in range(3):
        run.advance()
    began = cloned.state_dict()["mean.weight"]
    moved = run.model.policy.action_net.weight.detach()
    assert not torch.equal(moved, began)
    run.model.drive()
    seen = torch.from_numpy(run.model.rollout_buffer.observations).flatten(0, 1)
    with torch.no_grad():
        apart = (run.model.nets.mean(seen) - cloned.say(seen).mean[:, 0]).square().sum(dim=1).mean()
    assert float(apart) > 0.0
    run.model.train()
    assert run.model.figures["penalty"] == pytest.approx(2.0 * float(apart), rel=1e-4)


def test_a_strong_anchor_holds_the_policy_to_the_clone_where_it_drives(cloned: Policy) -> None:
    off = []
    for weight in (0.0, 20.0):
        settings = FinetuneSettings(warm_up=0.0, anchor_weight_start=weight, anchor_weight_end=weight)
        run = learner(cloned, settings)
        for _ in range(6):
            run.advance()
        seen = torch.from_numpy(run.model.rollout_buffer.observations).flatten(0, 1)
        with torch.no_grad():
            off.append(float((run.policy()(seen) - cloned(seen)).square().mean()))
    free, held = off
    assert held < 0.3 * free


def test_it_goes_on_bit_for_bit_held_to_the_clone_that_it_began_with(cloned: Policy) -> None:
    # As a run is taken up again: what it is given to begin with is the policy as it was left.
    whole, again = gone_on(lambda: learner(cloned), lambda begun: learner(begun.policy()), first=5, then=3)
    for name, weights in whole.state_dict().networks.items():
        assert torch.equal(again.state_dict().networks[name], weights), name
    assert again.figures() == whole.figures()
