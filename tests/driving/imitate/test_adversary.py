"""The discriminator, its reward, and adversarial imitation on a toy, with and without what it imitates."""

from __future__ import annotations

import io
from dataclasses import fields

import numpy as np
import pytest
import torch
from support.corridor import INPUTS, Corridor, demonstrations, drive

from nightshift.driving.imitate.adversary import Adversary
from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.driving.imitate.discriminator import REWARD_LIMIT, Discriminator, RunningScale, rows_of, update
from nightshift.driving.imitate.gail import GailLearner
from nightshift.driving.imitate.settings import AdversarySettings
from nightshift.driving.learn.checkpointing import LearnerState
from nightshift.driving.learn.ppo import PpoSettings
from nightshift.errors import DataError

CPU = torch.device("cpu")
PPO = PpoSettings(
    total_steps=16_384, rollout_steps=64, minibatch=256, epochs=6, hidden=(32, 32), learning_rate=1e-3, log_std=-1.0
)
SETTINGS = AdversarySettings(hidden=(32, 32), learning_rate=1e-3, batch_size=256, updates=8)


def gail(seed: int = 0, *, random: bool = False) -> GailLearner:
    adversary = Adversary(demonstrations(80, seed=1, random=random), SETTINGS, seed, CPU)
    return GailLearner(Corridor(16, 3), adversary, PPO, seed=seed)


def test_inputs_are_scaled_by_all_that_was_seen() -> None:
    scale, rows = RunningScale(2), torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0], [0.0, 5.0]])
    scale.update(rows[:1])
    scale.update(rows[1:])
    assert scale.mean.tolist() == pytest.approx(rows.mean(0).tolist())
    assert scale.variance.tolist() == pytest.approx(rows.var(0, unbiased=False).tolist())
    assert scale(rows)[:, 1].abs().max() < 1e-4


def test_the_reward_is_of_both_signs_so_that_surviving_alone_is_worth_nothing() -> None:
    torch.manual_seed(0)
    net = Discriminator(INPUTS)
    rows = rows_of(torch.randn(500, INPUTS), torch.randn(500, 2))
    reward = net.reward(rows)
    assert reward.min() < 0 < reward.max()
    net.net[-1].bias.data.fill_(100.0)
    assert net.reward(rows).max() == REWARD_LIMIT


def test_it_learns_to_tell_the_expert_from_others_and_pays_for_looking_like_it() -> None:
    expert, other = demonstrations(40, seed=1), demonstrations(40, seed=2, random=True)
    adversary = Adversary(expert, SETTINGS, 0, CPU)
    for _ in range(60):
        told = adversary.learn(other.observation, other.action, other.over)
    assert told.expert_right > 0.8
    assert told.learner_right > 0.6
    never = np.zeros(len(expert), np.bool_)
    alike = adversary.reward(expert.observation, expert.action, never)
    unlike = adversary.reward(expert.observation, -np.sign(expert.action), never)
    assert alike.mean() > unlike.mean() + 0.2


def test_an_episode_that_ends_goes_on_in_the_absorbing_state() -> None:
    adversary = Adversary(demonstrations(20, seed=1), SETTINGS, 0, CPU)
    observation, action = np.zeros((2, INPUTS), np.float32), np.zeros((2, 2), np.float32)
    paid = adversary.reward(observation, action, np.array([False, True]))
    after = float(adversary.net.reward(adversary.net.absorbed())) / REWARD_LIMIT
    stretch = sum(0.99**k for k in range(1, SETTINGS.absorbing_steps + 1))
    assert paid[1] - paid[0] == pytest.approx(after * stretch, rel=1e-4)
    # The learner ends, the expert never does: that state is the learner's, and so its worth falls below nothing.
    for _ in range(20):
        adversary.learn(observation, action, np.array([False, True]))
    assert float(adversary.net.reward(adversary.net.absorbed())) < -0.5


def test_trembling_alone_does_not_tell_the_learner_from_the_expert() -> None:
    expert, rng = demonstrations(40, seed=1), np.random.default_rng(0)
    trembles = np.clip(expert.action + rng.normal(0.0, 0.3, expert.action.shape), -1.0, 1.0).astype(np.float32)
    told = []
    for spread in (None, torch.full((2,), 0.3)):
        adversary = Adversary(expert, SETTINGS, 0, CPU)
        for _ in range(30):
            found = adversary.learn(expert.observation, trembles, expert.over, spread)
        told.append(found.expert_right + found.learner_right)
    assert told[0] > 1.3
    assert told[1] < 1.15


def test_nothing_is_learnt_from_nothing() -> None:
    some = demonstrations(5, seed=1)
    none = Demonstrations(**{f.name: getattr(some, f.name)[:0] for f in fields(some)})
    with pytest.raises(DataError, match="no demonstration"):
        Adversary(none, SETTINGS, 0, CPU)


def test_the_absorbing_state_hides_nothing_in_the_scales() -> None:
    torch.manual_seed(0)
    # Nearly always 1, as a cosine is: what little it varies by is what counts.
    steps = rows_of(1.0 + 0.01 * torch.randn(400, INPUTS), torch.zeros(400, 2))
    net = Discriminator(INPUTS)
    ended = torch.cat([steps[:200], net.absorbed().expand(200, -1)])
    update(net, torch.optim.Adam(net.parameters()), ended, ended, penalty=1.0)
    assert net.scale(steps[:, :-1])[:, :INPUTS].std() > 0.5
    assert net.scaled(net.absorbed()).tolist() == [[0.0] * (INPUTS + 2) + [1.0]]


def test_what_none_can_tell_apart_pays_for_going_nowhere() -> None:
    torch.manual_seed(0)
    net = Discriminator(INPUTS)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    rows = rows_of(torch.randn(4_000, INPUTS), torch.randn(4_000, 2))
    for _ in range(200):
        sides = rows[torch.randperm(len(rows))[:512]]
        update(net, optimiser, sides[:256], sides[256:], penalty=1.0)
    seen = net.scaled(rows).requires_grad_(True)
    (slope,) = torch.autograd.grad(net.net(seen).sum(), seen)
    assert float(slope.norm(dim=1).mean()) < 0.2


def test_it_learns_from_a_rollout_before_it_pays_for_it_and_the_actor_waits_for_both() -> None:
    learner = gail()
    before = learner.adversary.net.net[0].weight.detach().clone()
    learner.advance()
    assert not torch.equal(learner.adversary.net.net[0].weight, before)
    held, rewards = demonstrations(4, seed=1), []
    hook = learner.ppo.hooks.rollout
    assert hook is not None
    learner.ppo.hooks.rollout = lambda rollout: (hook(rollout), rewards.append((rollout.rewards.copy(), rollout)))[0]
    learner.advance()
    (paid, rollout), flat = rewards[0], (-1, INPUTS)
    never = np.zeros(paid.size, np.bool_)
    by_now = learner.adversary.reward(rollout.observations.reshape(flat), rollout.actions.reshape(-1, 2), never)
    goes_on = ~rollout.terminated.reshape(-1)
    np.testing.assert_allclose(paid.reshape(-1)[goes_on], by_now[goes_on], atol=1e-6)
    cloned = learner.policy()
    adversary = Adversary(held, SETTINGS.model_copy(update={"warm_up": 0.5}), 0, CPU)
    waiting = GailLearner(Corridor(16, 3), adversary, PPO, seed=0, begin=cloned)
    seen = torch.rand(20, INPUTS)
    waiting.advance()
    with torch.no_grad():
        assert torch.equal(waiting.policy()(seen), cloned(seen))


def test_it_drives_with_demonstrations_as_it_does_not_without_them() -> None:
    scores = []
    for random in (False, True):
        learner = gail(random=random)
        while learner.steps < PPO.total_steps:
            learner.advance()
        scores.append(drive(learner.policy(), 120, seed=5))
    (returned, failed), (control, control_failed) = scores
    assert returned > 3.5
    assert failed < 0.3
    # The control is what guards against a reward that pays for surviving, whatever is done.
    assert control < 0.7 * returned or control_failed > failed + 0.4


def test_a_run_that_is_taken_up_again_goes_on_to_the_bit() -> None:
    run, other = gail(), gail(seed=5)
    run.advance()
    file, held = io.BytesIO(), run.state_dict()
    torch.save({"networks": held.networks, "optimisers": held.optimisers, "more": held.more}, file)
    file.seek(0)
    other.load_state_dict(LearnerState(**torch.load(file, weights_only=True)))
    random = torch.get_rng_state()
    told = []
    for one in (run, other):
        # What draws actions is the process's generator, which the loop's checkpoint holds.
        torch.set_rng_state(random)
        one.advance()
        told.append(dict(one.figures()))
    assert told[0] == told[1]
    ours, theirs = run.policy().state_dict(), other.policy().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
