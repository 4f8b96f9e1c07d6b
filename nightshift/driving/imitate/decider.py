"""The whole decision of the recovery method: candidates, two critics, a limit of risk, a way out.

A task policy over the candidates is renormalised over those whose risk is within the limit; where none is, the recovery
policy takes the one of least risk.

Source:
    CIMRL (arXiv 2406.08878); Recovery RL (arXiv 2010.15920).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nightshift.driving.imitate.candidates import PLAN, Candidates, CandidateShape, Proposed
from nightshift.driving.imitate.critics import Twin
from nightshift.nets.policy import Policy, PolicyShape, known

#: About which unsafe candidates stand in the order of their risks, below every score of a safe one.
UNSAFE = -1e6


class DeciderShape(BaseModel):
    """What a decider's weights fit, and how it weighs.

    Attributes:
        policy: the imitative mixture's.
        candidates: made of its modes.
        hidden: units of each critic's layers.
        risk_limit: epsilon; a candidate whose risk is above it is not taken while another one is below.
        temperature: of the task policy, in units of the task critic.
        prior_weight: of the mixture's own log weights in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: PolicyShape
    candidates: CandidateShape
    hidden: tuple[int, ...] = (128, 64)
    risk_limit: float = Field(default=0.1, gt=0, lt=1)
    temperature: float = Field(default=0.05, gt=0)
    prior_weight: float = Field(default=0.3, ge=0)

    @property
    def risk_limit_logit(self) -> float:
        """The limit as a logit."""
        return math.log(self.risk_limit / (1.0 - self.risk_limit))


@dataclass(frozen=True)
class Weighed:
    """Candidates and what both critics say of them.

    Attributes:
        proposed: the candidates.
        score: `(n, k)` logits of the task policy.
        risk: `(n, k)` the higher one of the twins.
    """

    proposed: Proposed
    score: Tensor
    risk: Tensor


class Decider(nn.Module):
    """Observation -> squashed action."""

    def __init__(self, shape: DeciderShape) -> None:
        super().__init__()
        self.shape = shape
        self.candidates = Candidates(Policy(shape.policy), shape.candidates)
        inputs = shape.policy.observation
        self.task = Twin(inputs, PLAN, shape.hidden, sigmoid=False)
        self.risk = Twin(inputs, PLAN, shape.hidden, sigmoid=True)

    def weigh(self, observation: Tensor) -> Weighed:
        """Return candidates, the task policy's logits, and risks."""
        proposed = self.candidates.propose(observation)
        with torch.no_grad():
            task = self.task(observation, proposed.plan).amin(0)
            risk = self.risk(observation, proposed.plan).amax(0)
        return Weighed(proposed, self.score(task, proposed), risk)

    def score(self, task: Tensor, proposed: Proposed) -> Tensor:
        """Return the logits of the task policy, `(n, k)`."""
        return task / self.shape.temperature + self.shape.prior_weight * proposed.log_weight

    def safely(self, score: Tensor, risk_logit: Tensor) -> Tensor:
        """Return scores among which the highest one is to be taken: of safe candidates their own.

        Args:
            score: `(n, k)`.
            risk_logit: `(n, k)`; risks themselves are all alike where they are near 1.
        """
        return torch.where(risk_logit <= self.shape.risk_limit_logit, score, UNSAFE - risk_logit)

    def composite(self, score: Tensor, risk: Tensor) -> Tensor:
        """Return the probabilities `(n, k)` with which the method acts."""
        safe = risk <= self.shape.risk_limit
        left = torch.softmax(torch.where(safe, score, torch.full_like(score, UNSAFE)), dim=1) * safe
        out = nn.functional.one_hot(risk.argmin(dim=1), risk.shape[1]).to(score.dtype)
        return torch.where(safe.any(dim=1, keepdim=True), left / left.sum(dim=1, keepdim=True).clamp(min=1e-12), out)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the squashed action `(n, 2)`: the best safe candidate, else the one of least risk.

        In the weights' own precision: in double one critic's noise does not make another implementation choose
        otherwise.
        """
        seen = known(observation).to(next(self.task.parameters()).dtype)
        proposed = self.candidates.propose(seen)
        with torch.no_grad():
            score = self.score(self.task(seen, proposed.plan).amin(0), proposed)
            at = self.safely(score, self.risk.logits(seen, proposed.plan).amax(0)).argmax(dim=1)
        return taken(proposed.action, at).to(observation.dtype)


class DecidingPolicy(Policy):
    """The imitative policy of a decider, which drives as the whole of it does; its weights are that policy's alone."""

    def __init__(self, decider: Decider) -> None:
        super().__init__(decider.shape.policy)
        self.load_state_dict(decider.candidates.policy.state_dict())
        # Beside the modules that a state dict is made of.
        self.__dict__["decider"] = copy.deepcopy(decider).cpu().double().eval()

    def forward(self, observation: Tensor) -> Tensor:
        """Return the squashed action `(n, 2)` of the decider."""
        action: Tensor = self.__dict__["decider"](observation)
        return action


def taken(values: Tensor, at: Tensor) -> Tensor:
    """Return row `at[i]` of each `values[i]`, `(n, k, m)` to `(n, m)`."""
    return values[torch.arange(len(at), device=at.device), at]
