"""Reward of a step: metres of the route, as a share of the expert's, made less by what is done badly.

Little faults multiply what the step's metres are worth, and those that the score takes for the whole of an episode,
what all later ones are worth; grave ones end the episode, which costs the metres that would have followed. Nothing is
added for style: sums of shaped terms have local optima in which PPO stays as batches grow.

Source:
    Jaeger et al., "CaRL: Learning Scalable Planning Policies with Simple Rewards", arXiv 2504.17838.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nightshift.driving.facts import Facts
from nightshift.driving.score_comfort import LIMITS
from nightshift.driving.score_parts import OVERSPEED_MPS, TTC_S


class RewardSettings(BaseModel):
    """What a step is worth.

    Attributes:
        completion: reward of all the expert's metres together.
        beyond_expert: what a metre counts after those, as a share of one before; 0 to 1.
        speeding: how fast a step's worth falls to nothing as the speed limit is passed, m/s.
        close: factor where the time to collision (see `facts.Facts`) is at most `ttc_s`, 0 to 1.
        was_close, was_uncomfortable: factors of every later step of an episode in which that has happened, 0 to 1: the
            score takes either once and for all of it.
        ttc_s: that time, s.
        uncomfortable: factor where acceleration, jerk or turning is beyond nuPlan's limits of comfort, 0 to 1.
        straddling: factor where a corner lies in another lane, 0 to 1: a change of lanes is short.
        wrong_way: factor where traffic comes towards it, 0 to 1.
        crash: what a collision that is its fault, and a corner beside the road, cost besides the end of the episode.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    completion: float = Field(default=10.0, gt=0.0)
    beyond_expert: float = Field(default=0.25, ge=0.0, le=1.0)
    speeding: float = Field(default=OVERSPEED_MPS, gt=0.0)
    close: float = Field(default=0.0, ge=0.0, le=1.0)
    ttc_s: float = Field(default=TTC_S, ge=0.0)
    uncomfortable: float = Field(default=0.5, ge=0.0, le=1.0)
    was_close: float = Field(default=0.5, ge=0.0, le=1.0)
    was_uncomfortable: float = Field(default=0.6, ge=0.0, le=1.0)
    straddling: float = Field(default=0.9, ge=0.0, le=1.0)
    wrong_way: float = Field(default=0.0, ge=0.0, le=1.0)
    crash: float = Field(default=6.0, ge=0.0)


@dataclass
class Marks:
    """What has happened so far in episodes, `(envs,)` bool each; a part of the world's state.

    Attributes:
        close, uncomfortable: see `RewardSettings`.
    """

    close: Any
    uncomfortable: Any


def reward(xp: Any, facts: Facts, marks: Marks, settings: RewardSettings) -> tuple[Any, Any]:
    """Return `(envs,)` reward of the step, and `(envs,)` bool whether an infraction ends the episode.

    Args:
        xp: NumPy or torch, whichever the facts are arrays of.
        facts: of the step.
        marks: of the episodes; brought up to now.
        settings: what things are worth.
    """
    # Metres after the expert's: those of this step that lie beyond where the expert would have ended.
    beyond = xp.clip(facts.s_m - facts.start_m - facts.expert_m, 0.0, None)
    beyond = xp.minimum(beyond, facts.progress_m)
    metres = facts.progress_m - (1.0 - settings.beyond_expert) * beyond
    worth = settings.completion * metres / xp.clip(facts.expert_m, 1.0, None)
    worth = worth * xp.clip(1.0 - (facts.speed_mps - facts.limit_mps) / settings.speeding, 0.0, 1.0)
    close, uncomfortable = facts.ttc_s <= settings.ttc_s, _uncomfortable(xp, facts)
    marks.close, marks.uncomfortable = marks.close | close, marks.uncomfortable | uncomfortable
    for fault, factor in (
        (close, settings.close),
        (uncomfortable, settings.uncomfortable),
        (marks.close, settings.was_close),
        (marks.uncomfortable, settings.was_uncomfortable),
        (facts.straddles, settings.straddling),
        (facts.wrong_way, settings.wrong_way),
    ):
        worth = xp.where(fault, factor * worth, worth)
    ended = facts.collided | facts.off_road
    lost = (facts.collided & facts.at_fault) | facts.off_road
    worth = xp.where(ended, 0.0 * worth, worth)
    return xp.where(lost, worth - settings.crash, worth), ended


def _uncomfortable(xp: Any, facts: Facts) -> Any:
    low, high = LIMITS["acceleration_mps2"]
    return (
        (facts.accel_mps2 < low)
        | (facts.accel_mps2 > high)
        | (xp.abs(facts.lateral_mps2) > LIMITS["sideways_mps2"][1])
        | (xp.abs(facts.yaw_rate_radps) > LIMITS["yaw_rate_radps"][1])
        | (xp.abs(facts.yaw_accel_radps2) > LIMITS["yaw_acceleration_radps2"][1])
        | (xp.abs(facts.jerk_mps3) > LIMITS["jerk_along_mps3"][1])
    )
