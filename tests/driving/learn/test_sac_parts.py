"""SAC's networks and replay buffer: a spread that stays narrow, sober critics, and ends by the clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from support.toy_field import LONGEST, ToyField

from nightshift.driving.learn.sac import SacLearner, policy_of_sac
from nightshift.driving.learn.sac_parts import SacSettings

SETTINGS = SacSettings(
    total_steps=20_000, replay_size=800, first_steps=10_000, minibatch=16, hidden=(8,), n_steps=3, log_std=-1.5
)


def test_it_begins_by_doing_little_and_never_widens_beyond_its_bound() -> None:
    learner = SacLearner(ToyField(8), SETTINGS, seed=1)
    learner.advance()
    replay, actor = cast(Any, learner.model.replay_buffer), learner.model.actor
    driven = replay.actions[: replay.pos]
    assert np.abs(driven.mean()) < 0.1
    assert 0.05 < driven.std() < np.exp(SETTINGS.log_std)
    seen = torch.rand(32, 4)
    with torch.no_grad():
        cast(Any, actor.log_std).bias.fill_(-6.0)
        torch.testing.assert_close(actor.get_action_dist_params(seen)[1], torch.full((32, 2), -6.0), atol=0.05, rtol=0)
        cast(Any, actor.log_std).bias.fill_(1.0)
    widest = actor.get_action_dist_params(seen)[1]
    assert float(widest.detach().max()) < SETTINGS.log_std
    # It can come back from there.
    widest.sum().backward()  # type: ignore[no-untyped-call]
    assert float(cast(Any, actor.log_std).bias.grad.min()) > 0.5


def test_critics_do_not_grow_with_what_they_have_never_seen() -> None:
    critic = SacLearner(ToyField(8), SETTINGS, seed=1).model.critic
    seen, action = torch.rand(64, 4), torch.zeros(64, 2)
    with torch.no_grad():
        near, far = (torch.cat(critic(scale * seen, action), 1).abs().max() for scale in (1e2, 1e6))
    assert float(far) < 1.5 * float(near)
    names = {name for name, _ in critic.named_parameters()}
    assert {"qf0.1.weight", "qf1.1.bias"} <= names
    held = {id(p) for group in critic.optimizer.param_groups for p in group["params"]}
    assert all(id(p) in held for p in critic.parameters())


def test_what_follows_the_end_by_the_clock_is_guessed_and_never_reached_over() -> None:
    learner = SacLearner(ToyField(1), replace(SETTINGS, drive_steps=LONGEST + 10), seed=1)
    learner.advance()
    replay, gamma = cast(Any, learner.model.replay_buffer), SETTINGS.gamma
    assert np.flatnonzero(replay.timeouts[: replay.pos, 0]).tolist() == [LONGEST - 1]
    found, rewards = replay._get_samples(np.arange(LONGEST)), replay.rewards[:, 0]
    for i in range(LONGEST):
        n = min(3, LONGEST - i)
        wanted = sum(gamma**k * rewards[i + k] for k in range(n))
        np.testing.assert_allclose(float(found.rewards[i]), wanted, rtol=1e-5)
        np.testing.assert_allclose(float(found.discounts[i]), gamma**n, rtol=1e-6)
        np.testing.assert_array_equal(found.next_observations[i].numpy(), replay.next_observations[i + n - 1, 0])
    assert not found.dones.any()


def test_the_spreads_bound_falls_along_a_line_wherever_a_run_goes_on() -> None:
    settings = replace(SETTINGS, total_steps=256, log_std_end=-3.0)
    assert [settings.widest(steps) for steps in (0, 128, 256, 512)] == [-1.5, -2.25, -3.0, -3.0]
    assert replace(settings, log_std_end=None).widest(256) == -1.5
    learner = SacLearner(ToyField(8), settings, seed=1)
    learner.advance()
    learner.advance()
    again = SacLearner(ToyField(8), settings, seed=2)
    again.load_state_dict(learner.state_dict())
    again.advance()
    assert again.model.actor.log_std_init == settings.widest(128) == -2.25


def test_what_is_judged_is_the_average_of_the_last_updates() -> None:
    learner, now = SacLearner(ToyField(8), replace(SETTINGS, first_steps=0, average=0.15), seed=1), []
    for _ in range(4):
        now.append(policy_of_sac(learner.model, learner.settings).mean.weight.detach().numpy().copy())
        learner.advance()
    now.append(policy_of_sac(learner.model, learner.settings).mean.weight.detach().numpy().copy())
    # The first updates forget sooner: 1/11 of the old one is kept, then 2/12, then 0.15.
    wanted = now[0]
    for i, later in enumerate(now[1:], 1):
        kept = min(0.15, i / (i + 10))
        wanted = kept * wanted + (1 - kept) * later
    np.testing.assert_allclose(learner.policy().mean.weight.detach().numpy(), wanted, rtol=1e-4, atol=1e-7)
    assert np.abs(wanted - now[-1]).max() > 1e-5
