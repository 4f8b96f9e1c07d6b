"""Policies of driving as small networks: an observation in, actions in [-1, 1] out; three heads, one face.

`gaussian` has a spread that does not depend on the observation (PPO), `squashed` one that does, and tanh around the
draw (SAC), `mixture` several of them with weights (imitation: what drivers do has more than one answer).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nightshift.errors import TrainingError
from nightshift.nets import checkpoint

Head = Literal["gaussian", "squashed", "mixture"]

_LOG_2PI = math.log(2.0 * math.pi)
#: Limits of the logarithm of the spread; SB3's SAC has the same.
LOG_STD = (-20.0, 2.0)
#: Of a mixture: a component that collapses onto one recorded action makes the likelihood endless.
_MIXTURE_LOG_STD = (-4.0, 1.0)
#: Beyond this no observation is: entries are scaled, and cut off below it.
LIMIT = 2.0
#: How near to -1 and 1 a squashed action may come; atanh of more is endless in float32.
_EDGE = 1e-6


class PolicyShape(BaseModel):
    """What the weights' shapes follow from.

    Attributes:
        observation: numbers in an observation.
        actions: numbers in an action.
        hidden: units of each hidden layer.
        activation: between them.
        head: what the last layers answer with.
        components: of a mixture; 1 for the other heads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    observation: int = Field(ge=1)
    actions: int = Field(default=2, ge=1)
    hidden: tuple[int, ...] = (128, 128)
    activation: Literal["tanh", "relu"] = "tanh"
    head: Head = "gaussian"
    components: int = Field(default=1, ge=1)


@dataclass(frozen=True)
class Said:
    """What a policy says of each observation, before an action is drawn; `k` components.

    Attributes:
        logits: `(b, k)` of the components' weights.
        mean, log_std: `(b, k, actions)`; of a squashed head before tanh.
    """

    logits: Tensor
    mean: Tensor
    log_std: Tensor


def mlp(inputs: int, hidden: tuple[int, ...], activation: str) -> nn.Sequential:
    """Return linear layers with an activation behind each, orthogonal at the start as PPO's are (gain sqrt 2)."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [_linear(inputs, width, math.sqrt(2.0)), nn.Tanh() if activation == "tanh" else nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Policy(nn.Module):
    """An observation `(b, observation)` to an action `(b, actions)` in [-1, 1].

    Attributes:
        shape: of the weights.
        trunk: the hidden layers.
        mean: the last layer; of a mixture `components` means behind each other.
        log_std: a parameter `(actions,)` of a Gaussian, a layer of the other heads.
        logits: of a mixture.
    """

    def __init__(self, shape: PolicyShape, log_std: float = -0.5) -> None:
        super().__init__()
        self.shape = shape
        k, n = shape.components, shape.actions
        width = shape.hidden[-1] if shape.hidden else shape.observation
        self.trunk = mlp(shape.observation, shape.hidden, shape.activation)
        # Components that begin equal would learn the same.
        self.mean = _linear(width, k * n, 0.01 if k == 1 else 1.0)
        if shape.head == "gaussian":
            self.log_std: Any = nn.Parameter(torch.full((n,), log_std))
        else:
            self.log_std = _linear(width, k * n, 0.01)
            nn.init.constant_(self.log_std.bias, log_std)
        if shape.head == "mixture":
            self.logits = _linear(width, k, 0.01)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the action without chance: the mean, squashed or clipped, of a mixture's heaviest component.

        What is missing or endless in the observation counts as 0.
        """
        said = self.say(known(observation))
        if self.shape.head == "mixture":
            heaviest = said.logits.argmax(dim=1)
            return said.mean[torch.arange(len(heaviest), device=heaviest.device), heaviest]
        mean = said.mean[:, 0]
        return torch.tanh(mean) if self.shape.head == "squashed" else mean.clamp(-1.0, 1.0)

    def say(self, observation: Tensor) -> Said:
        """Return the distribution of the action."""
        k, n = self.shape.components, self.shape.actions
        hidden = self.trunk(observation)
        mean = self.mean(hidden).reshape(-1, k, n)
        if self.shape.head == "gaussian":
            return Said(mean.new_zeros(len(mean), 1), mean, self.log_std.clamp(*LOG_STD).expand_as(mean))
        log_std = self.log_std(hidden).reshape(-1, k, n)
        if self.shape.head == "squashed":
            return Said(mean.new_zeros(len(mean), 1), mean, log_std.clamp(*LOG_STD))
        # Within the actions' range from the first step on: a mean outside of it has no gradient when it is clipped.
        return Said(self.logits(hidden), torch.tanh(mean), log_std.clamp(*_MIXTURE_LOG_STD))

    def log_prob(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the log-likelihood of actions `(b, actions)`, `(b,)`; of a Gaussian before it is clipped."""
        return self.log_prob_of(self.say(observation), action)

    def log_prob_of(self, said: Said, action: Tensor) -> Tensor:
        """Return the log-likelihood under what was said, `(b,)`."""
        if self.shape.head == "squashed":
            inside = action.clamp(-1.0 + _EDGE, 1.0 - _EDGE)
            squeezed = torch.log1p(-inside.square()).sum(dim=1)
            return _log_normal(torch.atanh(inside)[:, None], said).squeeze(1) - squeezed
        each = _log_normal(action[:, None], said)
        return torch.logsumexp(torch.log_softmax(said.logits, dim=1) + each, dim=1)


def entropy_of(said: Said) -> Tensor:
    """Return the entropy of what was said, before squashing and clipping, `(b,)`; of a mixture an upper bound.

    Source of the bound: Huber et al., "On entropy approximation for Gaussian mixture random vectors", 2008, eq. 8.
    """
    each = (said.log_std + 0.5 * (1.0 + _LOG_2PI)).sum(dim=2)
    weights, logs = said.logits.softmax(dim=1), torch.log_softmax(said.logits, dim=1)
    return (weights * (each - logs)).sum(dim=1)


def _log_normal(action: Tensor, said: Said) -> Tensor:
    """Return the log-density of `(b, 1, actions)` under each component, `(b, k)`."""
    away = (action - said.mean) * torch.exp(-said.log_std)
    return (-0.5 * (away.square() + _LOG_2PI) - said.log_std).sum(dim=2)


def known(observation: Tensor) -> Tensor:
    """Return observations in which what is missing or endless is 0, and what is beyond `LIMIT` is cut off."""
    return torch.where(observation.isfinite(), observation, 0.0).clamp(-LIMIT, LIMIT)


def same_shape(policy: Policy, wanted: PolicyShape, name: str) -> Policy:
    """Return the policy when it has the wanted shape.

    Raises:
        TrainingError: when it has another one; says in what they differ.
    """
    found, asked = policy.shape.model_dump(), wanted.model_dump()
    differing = [f"{key} is {found[key]}, expected {asked[key]}" for key in asked if found[key] != asked[key]]
    if differing:
        raise TrainingError(
            f"{name} holds a policy of another shape: {'; '.join(differing)}.",
            hint=_as_shaped(found, asked),
        )
    return policy


def _as_shaped(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """Return what to do about a policy of another shape."""
    if all(found[key] == asked[key] for key in asked if key != "hidden"):
        return f"Train with `--set hidden=[{','.join(str(n) for n in found['hidden'])}]`."
    return "Begin with a run of the same family, hidden layers and modes."


def save_policy(path: Path, policy: Policy, meta: dict[str, Any]) -> None:
    """Write the weights with their shape, and JSON-able facts beside them."""
    checkpoint.save(path, checkpoint.Checkpoint("", 0, model=policy.state_dict(), meta={**meta, **shape_meta(policy)}))


def shape_meta(policy: Policy) -> dict[str, Any]:
    """Return the entry of a checkpoint's `meta` from which `policy_of` builds the network."""
    return {"shape": policy.shape.model_dump(mode="json")}


def policy_of(found: checkpoint.Checkpoint, name: str) -> Policy:
    """Return the policy in a checkpoint, on the CPU and in eval mode.

    Raises:
        TrainingError: when it holds none.
    """
    try:
        policy = Policy(PolicyShape.model_validate(found.meta["shape"]))
        policy.load_state_dict(found.model)
    except (KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{name} holds no driving policy: {str(error).splitlines()[0]}.", hint="Name a checkpoint of a driving run."
        ) from error
    return policy.eval()
