"""What happened in one step, and in an episode that ended with it: arrays of one number an environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nightshift.driving.history import Ending

#: `Ended.ending` is the place of a name in it; -1 where the episode goes on.
ENDINGS: tuple[Ending, ...] = ("arrived", "collision", "off_road", "timed_out")
#: Where nobody drives ahead: `Sight.lead_gap_m` and `Facts.ttc_s`.
NOBODY_M = 200.0
NEVER_S = 100.0


@dataclass(frozen=True)
class Facts:
    """One step of every environment, after it: `(envs,)` each, float64 where nothing else is said.

    The world makes it; `reward.reward` reads it.

    Attributes:
        step: int64, steps since the scenario's start, this one among them.
        progress_m: metres of the route reached in this step that had not been reached before, never negative.
        s_m: metre of the route.
        start_m: metre of the route at which the scenario starts.
        expert_m: metres that the expert covers in the scenario's duration; where none is known, those to the goal.
        speed_mps, limit_mps: of the ego, and the limit there.
        accel_mps2, lateral_mps2: forwards and to the left.
        jerk_mps3: of the acceleration forwards.
        yaw_rate_radps, yaw_accel_radps2: of the heading.
        ttc_s: until the car ahead would be reached at these speeds, or a car that nuPlan's score minds (see
            `collide.may_be_met`) would be met if both went straight on, 0 to `NEVER_S`.
        collided: bool; overlaps a car now.
        at_fault: bool; of a collision: the other one stood, was hit with the front, or was hit beside while the ego
            was not fully in one lane; never while the ego stands.
        off_road: bool; a corner is more than 0.3 m beyond the drivable road.
        wrong_way: bool; its middle is on the part of the road on which traffic comes towards it.
        straddles: bool; a corner lies in another lane than its middle.
        arrived: bool; the goal is reached.
        timed_out: bool; the scenario's time is over.
    """

    step: Any
    progress_m: Any
    s_m: Any
    start_m: Any
    expert_m: Any
    speed_mps: Any
    limit_mps: Any
    accel_mps2: Any
    lateral_mps2: Any
    jerk_mps3: Any
    yaw_rate_radps: Any
    yaw_accel_radps2: Any
    ttc_s: Any
    collided: Any
    at_fault: Any
    off_road: Any
    wrong_way: Any
    straddles: Any
    arrived: Any
    timed_out: Any


@dataclass(frozen=True)
class Ended:
    """Episodes that ended in the last step, `(envs,)` each; what stands where `done` is False has no meaning.

    Attributes:
        done: bool.
        scenario: int64, its number in the pack.
        returned: sum of the rewards.
        steps: int64.
        ending: int64, place in `ENDINGS`.
        progress: share of the expert's metres that were covered, 0 to 1.
        collided: bool; at any step.
    """

    done: Any
    scenario: Any
    returned: Any
    steps: Any
    ending: Any
    progress: Any
    collided: Any
