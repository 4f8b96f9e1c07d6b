"""The heads of a driving policy against torch's own distributions, and the file it is kept in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.policies import read_policy
from torch import distributions as dist

from nightshift.errors import TrainingError
from nightshift.nets.device import seeded
from nightshift.nets.policy import LOG_STD, Policy, PolicyShape, entropy_of, same_shape, save_policy

CPU = torch.device("cpu")


def a_policy(head: str, components: int = 1) -> Policy:
    with seeded(3, CPU):
        shape = PolicyShape(observation=7, hidden=(16, 8), head=head, components=components)  # type: ignore[arg-type]
        policy = Policy(shape).double()
        with torch.no_grad():
            for weights in policy.parameters():
                weights += 0.3 * torch.randn(weights.shape, dtype=weights.dtype)
    return policy


@pytest.fixture
def observation() -> torch.Tensor:
    return torch.randn(50, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).clamp(-1.9, 1.9)


@pytest.fixture
def action() -> torch.Tensor:
    return torch.rand(50, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1.8 - 0.9


def test_a_gaussian_has_the_likelihood_and_entropy_of_torchs(observation: torch.Tensor, action: torch.Tensor) -> None:
    policy = a_policy("gaussian")
    normal = dist.Normal(policy.mean(policy.trunk(observation)), policy.log_std.exp())
    torch.testing.assert_close(policy.log_prob(observation, action), normal.log_prob(action).sum(1))
    torch.testing.assert_close(entropy_of(policy.say(observation)), normal.entropy().sum(1))


def test_a_squashed_head_has_the_likelihood_of_torchs(observation: torch.Tensor, action: torch.Tensor) -> None:
    policy = a_policy("squashed")
    said = policy.say(observation)
    squashed = dist.TransformedDistribution(
        dist.Normal(said.mean[:, 0], said.log_std[:, 0].exp()), [dist.TanhTransform()]
    )
    torch.testing.assert_close(policy.log_prob(observation, action), squashed.log_prob(action).sum(1))
    assert (said.log_std >= LOG_STD[0]).all()


def test_a_mixture_has_the_likelihood_of_torchs_and_answers_its_heaviest_mean(
    observation: torch.Tensor, action: torch.Tensor
) -> None:
    policy = a_policy("mixture", 3)
    said = policy.say(observation)
    mixed = dist.MixtureSameFamily(
        dist.Categorical(logits=said.logits), dist.Independent(dist.Normal(said.mean, said.log_std.exp()), 1)
    )
    torch.testing.assert_close(policy.log_prob(observation, action), mixed.log_prob(action))
    for row, answer in enumerate(policy(observation)):
        torch.testing.assert_close(answer, said.mean[row, int(said.logits[row].argmax())])
    drawn = mixed.sample((20_000,))
    assert (entropy_of(said) >= -mixed.log_prob(drawn).mean(0) - 0.02).all()


def test_a_fresh_policy_begins_near_rest() -> None:
    with seeded(0, CPU):
        policy = Policy(PolicyShape(observation=7))
    said = policy(torch.randn(100, 7, generator=torch.Generator().manual_seed(1)))
    assert float(said.detach().abs().max()) < 0.1


def test_a_policy_comes_back_from_its_file_with_its_facts(tmp_path: Path, observation: torch.Tensor) -> None:
    policy = a_policy("mixture", 2).float()
    save_policy(tmp_path / "best.pt", policy, {"step": 12})
    back, meta = read_policy(tmp_path / "best.pt")
    assert torch.equal(back(observation.float()), policy(observation.float()))
    assert meta["step"] == 12
    assert same_shape(back, policy.shape, "best.pt") is back


def test_another_shape_and_a_foreign_file_are_refused_in_words(tmp_path: Path) -> None:
    save_policy(tmp_path / "best.pt", a_policy("gaussian"), {})
    back, _ = read_policy(tmp_path / "best.pt")
    with pytest.raises(TrainingError, match=r"best\.pt .* hidden is \(16, 8\), expected \(64, 64\)"):
        same_shape(back, PolicyShape(observation=7, hidden=(64, 64)), "best.pt")
    torch.save({"format": 1, "fingerprint": "", "epoch": 0, "model": {}, "meta": "{}"}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match=r"other\.pt holds no driving policy"):
        read_policy(tmp_path / "other.pt")
