"""Candidate trajectories: what an imitative mixture proposes, small departures from it, and two ways to brake.

A candidate is a first action and the plan that keeps its acceleration and its departure from the route: where on the
route, and how far aside of it, the car is after one, two and three seconds, which is what the critics judge.

Source:
    CIMRL (arXiv 2406.08878): an imitative model proposes trajectories, critics choose among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nightshift.driving.action import LATERAL_MPS2, WHEELBASE_M
from nightshift.driving.bicycle import ACCEL_MAX_MPS2, ACCEL_MIN_MPS2, STEER_MAX_RAD
from nightshift.nets.policy import Policy

#: Seconds ahead at which a plan is told.
HORIZONS_S = (1.0, 2.0, 3.0)
#: Numbers that tell a plan: the squashed action, and of each horizon metres ahead, metres to the left, and speed.
PLAN = 2 + 3 * len(HORIZONS_S)
#: Curvature of the tightest turn, 1/m.
TIGHTEST = math.tan(STEER_MAX_RAD) / WHEELBASE_M
#: Units in which a plan is told: m ahead, m aside, m/s.
AHEAD_M, ASIDE_M, SPEED_MPS = 50.0, 10.0, 20.0
#: Squashed accelerations of the candidates that brake.
BRAKES = (-1.0, -0.4)
#: Their log weight in the prior: rarely proposed, always there.
BRAKE_LOG_WEIGHT = math.log(1e-3)


class CandidateShape(BaseModel):
    """How candidates are made of modes.

    Attributes:
        accel_step, steer_step: squashed departures from each mode, both ways; 0 makes none.
        departure_log_weight: what a departure weighs less than its mode.
        speed_at: place of the ego's speed in the observation.
        speed_scale: m/s of a 1 there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accel_step: float = Field(default=0.15, ge=0)
    steer_step: float = Field(default=0.1, ge=0)
    departure_log_weight: float = -1.0
    speed_at: int = Field(ge=0)
    speed_scale: float = Field(gt=0)


@dataclass(frozen=True)
class Proposed:
    """Candidates of `n` observations.

    Attributes:
        action: `(n, candidates, 2)` squashed.
        plan: `(n, candidates, PLAN)` scaled.
        log_weight: `(n, candidates)` the mixture's, not normalised.
    """

    action: Tensor
    plan: Tensor
    log_weight: Tensor


class Candidates(nn.Module):
    """Observation -> candidates."""

    steps: Tensor
    step_log_weight: Tensor

    def __init__(self, policy: Policy, shape: CandidateShape) -> None:
        super().__init__()
        self.policy, self.shape = policy.requires_grad_(False), shape
        steps = [(0.0, 0.0)]
        steps += [(s, 0.0) for s in (shape.accel_step, -shape.accel_step) if s]
        steps += [(0.0, s) for s in (shape.steer_step, -shape.steer_step) if s]
        self.register_buffer("steps", torch.tensor(steps), persistent=False)
        weights = [0.0] + [shape.departure_log_weight] * (len(steps) - 1)
        self.register_buffer("step_log_weight", torch.tensor(weights), persistent=False)

    @property
    def count(self) -> int:
        """How many candidates each observation has."""
        return self.policy.shape.components * len(self.steps) + len(BRAKES)

    def speed(self, observation: Tensor) -> Tensor:
        """Return the ego's speed, m/s, `(n,)`."""
        return observation[:, self.shape.speed_at] * self.shape.speed_scale

    def propose(self, observation: Tensor) -> Proposed:
        """Return the candidates of `(n, inputs)` observations."""
        with torch.no_grad():
            said = self.policy.say(observation)
            n = len(said.logits)
            mean = said.mean
            action = (mean[:, :, None] + self.steps).clamp(-1.0, 1.0).reshape(n, -1, 2)
            log_weight = torch.log_softmax(said.logits, dim=1)[:, :, None] + self.step_log_weight
            heaviest = mean[torch.arange(n, device=mean.device), said.logits.argmax(dim=1)]
            brakes = torch.stack(
                [torch.stack([torch.full_like(heaviest[:, 1], a), heaviest[:, 1]], dim=1) for a in BRAKES], dim=1
            )
            action = torch.cat([action, brakes], dim=1)
            rare = torch.full_like(brakes[:, :, 0], BRAKE_LOG_WEIGHT)
            log_weight = torch.cat([log_weight.reshape(n, -1), rare], dim=1)
            return Proposed(action, self.plan(observation, action), log_weight)

    def plan(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the plans `(n, k, PLAN)` of squashed actions `(n, k, 2)`."""
        return plan_of(action, self.speed(observation)[:, None])


def plan_of(action: Tensor, speed: Tensor) -> Tensor:
    """Return where a car is that keeps accelerating and steering so, scaled, `(n, k, PLAN)`: of the route, unrolled.

    Of operators alone that a graph has in double precision: no tangent, so a share of the tightest turn counts as the
    same share of its curvature.

    Args:
        action: `(n, k, 2)` squashed.
        speed: `(n, 1)` m/s.
    """
    pedal, wheel = action[..., 0], action[..., 1]
    accel = pedal.clamp(min=0.0) * ACCEL_MAX_MPS2 - pedal.clamp(max=0.0) * ACCEL_MIN_MPS2
    curvature = wheel * (LATERAL_MPS2 / speed.clamp(min=1.0).square()).clamp(max=TIGHTEST)
    told = [action]
    for horizon_s in HORIZONS_S:
        end = (speed + accel * horizon_s).clamp(min=0.0)
        # Until it stands; a car that does not brake never does.
        stands_s = speed / (-accel).clamp(min=1e-3)
        seconds = torch.where(accel < 0.0, stands_s.clamp(max=horizon_s), torch.full_like(stands_s, horizon_s))
        metres = 0.5 * (speed + end) * seconds
        # The chord of the arc, whose direction is half of its turn.
        half = 0.5 * (curvature * metres).clamp(-math.pi, math.pi)
        ahead, aside = metres * torch.cos(half) / AHEAD_M, metres * torch.sin(half) / ASIDE_M
        told.append(torch.stack([ahead, aside, end / SPEED_MPS], dim=-1))
    return torch.cat(told, dim=-1)
