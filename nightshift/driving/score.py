"""nuPlan's closed-loop score of a driven episode, every part of it by name.

Score = no at-fault collision x drivable area x making progress x driving direction x the weighted mean of progress (5),
time to collision (5), speed limit (4) and comfort (2); 0 to 1, where nuPlan's tables say 0 to 100.

What differs from the devkit: moments are 0.2 s apart, not 0.1 s. An episode ends with a collision or beside the road,
where nuPlan drives on: what is then not driven counts as progress not made, whoever was at fault. The lane under a
corner is told by lane widths from the route's reference line, the drivable area by the route's edges; crossings are
where lanes overlap. Windows of the comfort filters: see `score_comfort.py`.

Source:
    Karnchanachari et al., "Towards learning-based planning: the nuPlan benchmark for real-world autonomous driving",
    ICRA 2024; motional/nuplan-devkit 1.2 (see `score_parts.py`), `docs/metrics_description.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nightshift.driving import score_parts as parts
from nightshift.driving.history import Ending, History
from nightshift.driving.score_comfort import comfort

#: What the score is zero or halved by.
MULTIPLIERS = ("no_at_fault_collision", "drivable_area", "making_progress", "driving_direction")
#: What is averaged, and how much each counts.
WEIGHTS = {"progress": 5.0, "ttc": 5.0, "speed_limit": 4.0, "comfort": 2.0}
SUB_SCORES = (*MULTIPLIERS, *WEIGHTS)
#: Less than this share of the expert's metres is no progress.
MAKING_PROGRESS = 0.2


@dataclass(frozen=True)
class Score:
    """How well an episode was driven.

    Attributes:
        score: 0 to 1, more is better.
        no_at_fault_collision: 1, 0.5 (one with an object) or 0.
        drivable_area: 1 or 0.
        making_progress: 1 or 0.
        driving_direction: 1, 0.5 or 0.
        progress: share of the expert's metres, 0 to 1.
        ttc: 1 or 0.
        speed_limit: 0 to 1.
        comfort: 1 or 0.
        collision: whether the ego car overlapped another one, whoever was at fault.
        min_ttc_s: smallest time to collision; infinite where there was none within the horizon.
        uncomfortable: names of what was beyond its limits (see `score_comfort.LIMITS`).
        ending: how the episode ended.
    """

    score: float
    no_at_fault_collision: float
    drivable_area: float
    making_progress: float
    driving_direction: float
    progress: float
    ttc: float
    speed_limit: float
    comfort: float
    collision: bool
    min_ttc_s: float
    uncomfortable: tuple[str, ...]
    ending: Ending

    def measures(self) -> dict[str, float]:
        """Return score, collision (0 or 1) and every sub-score by name, as the judge's tables have them."""
        names = ("score", *SUB_SCORES)
        return {"collision": float(self.collision)} | {name: float(getattr(self, name)) for name in names}


def closed_loop(history: History) -> Score:
    """Score an episode."""
    at = parts.place(history)
    found = parts.collisions(history, at)
    ttc = parts.times_to_collision(history, at, found)
    share = parts.progress(history, at)
    comfortable, beyond = comfort(history)
    given = {
        "no_at_fault_collision": parts.no_at_fault_collisions(history, found),
        "drivable_area": parts.drivable_area(history, at),
        "making_progress": float(share >= MAKING_PROGRESS),
        "driving_direction": parts.driving_direction(history, at),
        "progress": share,
        "ttc": parts.within_ttc(ttc),
        "speed_limit": parts.speed_limit(history, at),
        "comfort": comfortable,
    }
    return Score(
        score=combined(given),
        **given,
        collision=len(found.car) > 0,
        min_ttc_s=float(ttc.min()),
        uncomfortable=beyond,
        ending=history.ending,
    )


def combined(sub_scores: dict[str, float]) -> float:
    """Return the score that sub-scores make together.

    Args:
        sub_scores: one of each of `SUB_SCORES`, 0 to 1.
    """
    factor = float(np.prod([sub_scores[name] for name in MULTIPLIERS]))
    mean = sum(weight * sub_scores[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values())
    return factor * mean


def mean_measures(scores: Iterable[Score]) -> dict[str, float]:
    """Return the means of `Score.measures` over episodes; empty where there are none."""
    rows = [score.measures() for score in scores]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}
