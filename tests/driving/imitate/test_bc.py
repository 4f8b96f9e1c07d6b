"""Cloning on a toy: the policy drives as the expert does, and follows from its seed."""

from __future__ import annotations

import pytest
import torch
from support.corridor import INPUTS, demonstrations, drive

from nightshift.driving.imitate.bc import BcLearner, cloning_loss
from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.nets.loop import LoopContext, LoopPlan, Trained, train
from nightshift.nets.policy import Head, Policy, PolicyShape


def clone(head: Head, learnt: Demonstrations, epochs: int = 12) -> Trained[BcLearner]:
    held = demonstrations(40, seed=2)
    shape = PolicyShape(observation=INPUTS, hidden=(32, 32), head=head, components=3 if head == "mixture" else 1)

    def build(device: torch.device) -> BcLearner:
        return BcLearner(Policy(shape).to(device), learnt, held, batch_size=64, learning_rate=3e-3)

    return train(build, LoopPlan(epochs=epochs, seed=0, patience=4, clip_norm=1.0), LoopContext(device="cpu"))


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
def test_a_clone_drives_as_its_expert_and_not_as_chance_would(head: Head) -> None:
    trained = clone(head, demonstrations(80, seed=1))
    assert trained.history[-1].watched < trained.history[0].watched - 1.0
    returned, failed = drive(trained.learner.module, 120, seed=5)
    control, crashed = drive(clone(head, demonstrations(80, seed=1, random=True), 3).learner.module, 120, seed=5)
    assert failed < 0.15
    assert crashed > 0.5 or control < returned - 1.0


def test_the_loss_is_the_likelihood_less_a_little_entropy() -> None:
    policy = Policy(PolicyShape(observation=INPUTS, hidden=(), head="gaussian"), log_std=0.0)
    for weights in policy.mean.parameters():
        torch.nn.init.zeros_(weights)
    action = torch.tensor([[0.5, -1.0]])
    # Two standard normals: log 2 pi + (0.25 + 1) / 2, and an entropy of log 2 pi + 1.
    likelihood, entropy = 1.8378771 + 0.625, 1.8378771 + 1.0
    loss = cloning_loss(policy, torch.zeros(1, INPUTS), action, entropy_weight=1e-3)
    assert float(loss.detach()) == pytest.approx(likelihood - 1e-3 * entropy, abs=1e-5)


def test_the_same_seed_clones_the_same() -> None:
    learnt = demonstrations(20, seed=1)
    one, again = (clone("mixture", learnt, epochs=2).learner.module.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)
