"""PPO and SAC on a toy: they learn, and go on from their state as if nothing had been between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from support.gone_on import gone_on
from support.toy_field import LONGEST, ToyField

from nightshift.driving.learn.checkpointing import LearnerState
from nightshift.driving.learn.loop import Learner
from nightshift.driving.learn.ppo import Hooks, PpoLearner, PpoSettings, Rollout, policy_of_ppo
from nightshift.driving.learn.sac import SacLearner, SacSettings
from nightshift.nets.device import threads

PPO_TOY = PpoSettings(
    total_steps=20_000, rollout_steps=32, minibatch=128, epochs=8, hidden=(16,), learning_rate=3e-3, anneal=True
)
SAC_TOY = SacSettings(
    total_steps=20_000, replay_size=900, first_steps=160, minibatch=64, hidden=(32,), learning_rate=3e-3
)


def a_learner(kind: str, seed: int = 1) -> Learner:
    if kind == "ppo":
        return PpoLearner(ToyField(16), PPO_TOY, seed=seed)
    return SacLearner(ToyField(8), SAC_TOY, seed=seed)


def weights_of(state: LearnerState) -> torch.Tensor:
    return torch.cat([w.flatten() for w in state.networks.values()])


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


@pytest.mark.parametrize(("kind", "calls"), [("ppo", 30), ("sac", 90)])
def test_it_learns_to_stop_at_the_mark(kind: str, calls: int) -> None:
    learner = a_learner(kind)
    learner.advance()
    first = learner.figures()["mean_reward"] if kind == "ppo" else None
    for _ in range(calls):
        learner.advance()
    learner.figures()
    for _ in range(3):
        learner.advance()
    figures = learner.figures()
    assert figures["mean_reward"] > 0.75 * LONGEST
    assert figures["collision"] == 0.0
    assert {"loss", "value_loss", "policy_loss"} <= set(figures)
    if first is not None:
        assert figures["mean_reward"] > first
        assert figures["explained_variance"] < 1.0
    # What is exported acts as what was trained.
    policy, seen = learner.policy(), torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    with torch.no_grad():
        assert float(policy(seen)[0, 0]) < -0.3
        assert float(policy(seen)[1, 0]) > 0.3
        theirs, _ = learner.model.predict(seen.numpy(), deterministic=True)  # type: ignore[attr-defined]
        np.testing.assert_allclose(policy(seen).numpy(), theirs, atol=0.2)


def test_ppos_policy_is_the_average_of_its_last_updates() -> None:
    learner, now = PpoLearner(ToyField(16), replace(PPO_TOY, average=0.3), seed=1), []
    for _ in range(6):
        now.append(policy_of_ppo(learner.model).mean.weight.detach().numpy().copy())
        learner.advance()
    now.append(policy_of_ppo(learner.model).mean.weight.detach().numpy().copy())
    assert np.ptp(np.stack(now), axis=0).min() > 0
    # The first updates forget sooner: 1/11, 2/12, 3/13, 4/14 of the old one are kept, then 0.3.
    wanted = now[0]
    for i, later in enumerate(now[1:], 1):
        kept = min(0.3, i / (i + 10))
        wanted = kept * wanted + (1 - kept) * later
    policy = learner.policy()
    np.testing.assert_allclose(policy.mean.weight.detach().numpy(), wanted, rtol=1e-5)
    # The spread is as it is, and nothing that is done to the policy is done to the learner.
    np.testing.assert_array_equal(policy.log_std.detach().numpy(), learner.model.policy.log_std.detach().numpy())
    with torch.no_grad():
        policy.mean.weight.zero_()
    np.testing.assert_allclose(learner.policy().mean.weight.detach().numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ppo", "sac"])
def test_it_goes_on_bit_for_bit_from_its_state(kind: str) -> None:
    def of_another_seed(begun: Learner) -> Learner:
        # So that nothing is right by chance.
        other = a_learner(kind, seed=2)
        assert not torch.equal(weights_of(other.state_dict()), weights_of(begun.state_dict()))
        return other

    whole, taken_up = gone_on(lambda: a_learner(kind), of_another_seed, first=14, then=10)
    assert taken_up.steps == whole.steps
    assert torch.equal(weights_of(taken_up.state_dict()), weights_of(whole.state_dict()))
    assert taken_up.figures() == whole.figures()


def test_an_update_is_sb3s() -> None:
    # Dropping the last, smaller minibatch's shuffle: one minibatch, one epoch, so that the order tells nothing.
    settings = PpoSettings(
        total_steps=512, rollout_steps=32, minibatch=512, epochs=1, hidden=(16,), ent_coef=0.01, log_std_end=None
    )
    ours, theirs = (PpoLearner(ToyField(16), settings, seed=3).model for _ in range(2))
    ours.drive()
    theirs.policy.load_state_dict(ours.policy.state_dict())
    for name in ("observations", "actions", "log_probs", "advantages", "returns", "values"):
        setattr(theirs.rollout_buffer, name, getattr(ours.rollout_buffer, name).copy())
    theirs.rollout_buffer.full = True
    ours.train()
    PPO.train(theirs)
    for mine, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    told = theirs.logger.name_to_value
    assert ours.figures["value_loss"] == pytest.approx(told["train/value_loss"], rel=1e-4)
    assert ours.figures["loss"] == pytest.approx(told["train/loss"], rel=1e-4)


def test_a_rollout_knows_what_was_cut_by_the_clock() -> None:
    learner = PpoLearner(
        ToyField(4), PpoSettings(total_steps=200, rollout_steps=50, minibatch=100, hidden=(8,)), seed=1
    )
    seen: list[Rollout] = []
    rewards: list[np.ndarray] = []
    learner.hooks.rollout = lambda rollout: (seen.append(rollout), rewards.append(rollout.rewards.copy()))[0]
    learner.advance()
    rollout = seen[0]
    whole = ~rollout.terminated[:LONGEST].any(0)
    assert whole.any()
    np.testing.assert_array_equal(rollout.truncated[LONGEST - 1], whole)
    assert not rollout.truncated[: LONGEST - 1].any()
    goes_on = ~(rollout.truncated | rollout.terminated)[:-1]
    np.testing.assert_array_equal(rollout.following[:-1][goes_on], rollout.observations[1:][goes_on])
    at = LONGEST - 1
    assert not np.array_equal(rollout.following[at], rollout.observations[at + 1])
    # The critic's guess of what follows is added where the clock cut, and nowhere else.
    changed = rollout.rewards != rewards[0]
    np.testing.assert_array_equal(changed, rollout.truncated)


def test_hooks_change_rewards_penalise_and_freeze_the_actor() -> None:
    def nothing(rollout: Rollout) -> None:
        rollout.rewards[:] = 0.0

    frozen = Hooks(rollout=nothing, actor_frozen=lambda: True, figures=lambda: {"mine": 4.0})
    learner = PpoLearner(ToyField(8), PPO_TOY, seed=1, hooks=frozen)
    before = {name: weights.clone() for name, weights in learner.policy().state_dict().items()}
    critic = learner.model.policy.value_net.weight.clone()
    learner.advance()
    after = learner.policy().state_dict()
    assert all(torch.equal(before[name], weights) for name, weights in after.items())
    assert not torch.equal(critic, learner.model.policy.value_net.weight)
    assert learner.figures()["mine"] == 4.0
    pulled = PpoLearner(
        ToyField(8),
        PPO_TOY,
        seed=1,
        hooks=Hooks(rollout=nothing, penalty=lambda mean, _rows: 100.0 * (mean - 0.5).square().mean()),
    )
    for _ in range(6):
        pulled.advance()
    with torch.no_grad():
        assert float((pulled.policy()(torch.zeros(1, 4)) - 0.5).abs().max()) < 0.2


def test_the_spread_is_held_under_a_line_that_falls_to_the_end() -> None:
    settings = PpoSettings(total_steps=512, rollout_steps=16, minibatch=128, epochs=1, hidden=(8,), log_std_end=-3.0)
    learner = PpoLearner(ToyField(16), settings, seed=1)
    widest = []
    for _ in range(2):
        learner.advance()
        widest.append(float(learner.policy().log_std.detach().max()))
    assert widest[0] <= -2.25
    assert widest[1] <= -3.0


def test_the_rate_falls_from_its_full_value_and_the_last_update_narrows_to_the_end() -> None:
    settings = PpoSettings(
        total_steps=300,
        rollout_steps=16,
        minibatch=128,
        epochs=1,
        hidden=(8,),
        anneal=True,
        log_std_end=-3.0,
    )
    learner = PpoLearner(ToyField(16), settings, seed=1)
    rates = []
    while learner.steps < settings.total_steps:
        learner.advance()
        rates.append(learner.figures()["learning_rate"])
    # 512 steps of 300 were driven.
    np.testing.assert_allclose(rates, [3e-4, 3e-4 * (1 - 256 / 300)])
    np.testing.assert_allclose(learner.policy().log_std.detach(), -3.0)


def test_a_run_of_a_single_rollout_learns_from_it() -> None:
    settings = PpoSettings(total_steps=100, rollout_steps=16, minibatch=128, epochs=1, hidden=(8,), anneal=True)
    learner = PpoLearner(ToyField(16), settings, seed=1)
    before = learner.policy().mean.weight.detach().clone()
    learner.advance()
    assert learner.steps >= settings.total_steps
    assert not torch.equal(learner.policy().mean.weight, before)


@pytest.mark.parametrize("kind", ["ppo", "sac"])
def test_it_begins_from_another_policy(kind: str) -> None:
    learned = a_learner(kind, seed=5)
    for _ in range(8):
        learned.advance()
    policy, seen = learned.policy(), torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
    again: Learner
    if kind == "ppo":
        again = PpoLearner(ToyField(8), PPO_TOY, seed=6, begin=policy)
    else:
        again = SacLearner(ToyField(8), SAC_TOY, seed=6, begin=policy)
    with torch.no_grad():
        assert torch.equal(again.policy()(seen), policy(seen))
