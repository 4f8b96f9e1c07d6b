"""A policy judged in the middle of its run, and what is kept of that: a numbered checkpoint, the best, a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from nightshift.driving.learn import checkpointing
from nightshift.driving.learn.checkpointing import BEST, LearnerState, RunFacts, numbered
from nightshift.driving.learn.recorder import RunRecorder
from nightshift.nets.policy import Policy


@dataclass(frozen=True)
class Judged:
    """A policy on validation scenarios.

    Attributes:
        score: mean closed-loop score, 0 to 1.
        figures: others, by the name that `metrics.jsonl` has for them.
        draw: writes an animated episode to a path, and its stills beside it; None where there is nothing to draw.
    """

    score: float
    figures: Mapping[str, float]
    draw: Callable[[Path], None] | None = None


Judge = Callable[[Policy], Judged]


class Judging:
    """Judges the policies of a run.

    Attributes:
        best: score and step of `best.pt`; None before the first.
    """

    def __init__(self, judge: Judge, recorder: RunRecorder, facts: RunFacts) -> None:
        """Remember what to keep where.

        Args:
            judge: drives and scores.
            recorder: of the run.
            facts: of its checkpoints.
        """
        self._judge, self._recorder, self._facts = judge, recorder, facts
        self.best: tuple[float, int] | None = None

    def goes_on(self, best: tuple[float, int] | None) -> None:
        """Take up the score and step of `best.pt` as they were."""
        self.best = best
        if best is not None:
            self._recorder.best(*best)

    def __call__(self, policy: Policy, state: LearnerState, step: int) -> dict[str, float]:
        """Judge a policy, and return the figures of its row.

        Args:
            policy: on the CPU.
            state: of its learner; its networks go into the checkpoints.
            step: at which it stands.
        """
        with checkpointing.random_kept(torch.device("cpu")):
            found = self._judge(policy)
        folder, meta = self._recorder.folder, {"step": step, "score": found.score}
        path = folder.checkpoints / numbered(step)
        checkpointing.save_policy_of(path, self._facts, policy, state, meta)
        if self.best is None or found.score > self.best[0]:
            checkpointing.save_policy_of(folder.checkpoints / BEST, self._facts, policy, state, meta)
            self.goes_on((found.score, step))
        if found.draw is not None:
            place = folder.pictures / path.with_suffix(".gif").name
            place.parent.mkdir(parents=True, exist_ok=True)
            found.draw(place)
            self._recorder.picture(place)
        return {**found.figures, "score": found.score}
