"""The loop that every learner on the world shares: rows, evaluations at fixed steps, checkpoints, and being stopped.

A run that was killed goes on from `last.pt` and ends, on the CPU, with the curve and the weights of one that was not:
nothing that a step follows from depends on when a checkpoint was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from nightshift.driving.learn import checkpointing
from nightshift.driving.learn.checkpointing import BEST, REPLAY, LearnerState, RunFacts
from nightshift.driving.learn.judging import Judge, Judging
from nightshift.driving.learn.recorder import RunRecorder
from nightshift.driving.runs import RunFolder
from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.nets.policy import Policy

#: Rows of `metrics.jsonl` that a run has, about.
ROWS = 200
#: A checkpoint follows the last one after this many times what that took, at the least: a replay buffer is large.
_SAVE_SHARE = 50.0


class Learner(Protocol):
    """A learner on the world.

    Attributes:
        begun: whether it begins from a policy, which is judged before the first step: what a run keeps is never worse.
    """

    begun: bool

    @property
    def steps(self) -> int:
        """Environment steps so far."""

    def advance(self) -> None:
        """Drive some steps, and learn from them; it can be stopped between two calls alone."""

    def figures(self) -> Mapping[str, float]:
        """Return the figures since the last call: `mean_reward`, `collision`, `progress`, `loss`, and others."""

    def policy(self) -> Policy:
        """Return the policy as it is now, a copy on the CPU."""

    def state_dict(self) -> LearnerState:
        """Return what the next calls follow from."""

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there."""


@dataclass(frozen=True)
class LoopPlan:
    """How long, and how often.

    Attributes:
        total_steps: of the environments.
        eval_every_steps: between evaluations; one stands at the end too.
        row_steps: between rows of `metrics.jsonl`.
        checkpoint_every_s: between checkpoints, where they are quickly written; each evaluation leaves one too.
        time_limit_s: of the loop, all its processes together; what is left for it of the training's.
    """

    total_steps: int
    eval_every_steps: int
    row_steps: int
    checkpoint_every_s: float = 30.0
    time_limit_s: float = float("inf")


@dataclass(frozen=True)
class Learned:
    """What a run ended with.

    Attributes:
        policy: the best by closed-loop score.
        score, step: of it.
        steps: driven.
        seconds: spent, all processes together.
        over_time: whether the time limit ended it.
    """

    policy: Policy
    score: float
    step: int
    steps: int
    seconds: float
    over_time: bool


def row_steps(total_steps: int, at_a_time: int) -> int:
    """Return the steps between rows: whole calls of `advance`, about `ROWS` of them in all."""
    return at_a_time * max(1, round(total_steps / (ROWS * at_a_time)))


def learn(
    learner: Learner,
    plan: LoopPlan,
    judge: Judge,
    recorder: RunRecorder,
    facts: RunFacts,
    should_stop: Callable[[], bool] = lambda: False,
) -> Learned:
    """Train until the steps are driven; goes on from `last.pt` where there is one.

    Raises:
        InterruptedTraining: when asked to stop; the next call goes on.
        TrainingError: for figures that are no numbers, or a checkpoint that cannot be used.
    """
    run = _Run(learner, plan, judge, recorder, facts)
    run.go_on()
    run.begin()
    while learner.steps < plan.total_steps and not run.over_time():
        if should_stop():
            run.save()
            raise InterruptedTraining(
                f"training was stopped after {learner.steps:,} of {plan.total_steps:,} steps; they are kept.",
                hint="Start it again to go on.",
            )
        learner.advance()
        run.after()
    return run.ended()


class _Run:
    """The loop's state: what is in `last.pt` beside the learner's own."""

    def __init__(self, learner: Learner, plan: LoopPlan, judge: Judge, recorder: RunRecorder, facts: RunFacts) -> None:
        self.learner, self.plan, self.recorder, self.facts = learner, plan, recorder, facts
        self.judging = Judging(judge, recorder, facts)
        self.folder: RunFolder = recorder.folder
        self.rows = self.row_at = self.eval_at = 0
        self.spent_s, self.began = 0.0, time.monotonic()
        self.saved_at = self.saved_step = -1.0
        self.save_took_s = 0.0

    def go_on(self) -> None:
        found = checkpointing.load_last(self.folder, self.facts, torch.device("cpu"))
        if found is None:
            self.recorder.go_on(0, 0)
            return
        state, content = found
        self.learner.load_state_dict(state)
        meta = content.meta
        self.rows, self.row_at, self.eval_at = content.epoch, meta["row_at"], meta["eval_at"]
        self.spent_s = meta["spent_s"]
        self.recorder.go_on(self.row_at, self.rows)
        best = meta["best"]
        self.judging.goes_on(None if best is None else (float(best[0]), int(best[1])))
        self.saved_at, self.saved_step = time.monotonic(), self.learner.steps

    def begin(self) -> None:
        """Judge what it begins from, once."""
        if self.learner.begun and not self.learner.steps and self.judging.best is None:
            self._row(0, self._judged(0))
            self.save()

    def over_time(self) -> bool:
        # Not before it has driven, nor before what it has come to is judged.
        return self.seconds() > self.plan.time_limit_s and self.learner.steps == self.eval_at > 0

    def seconds(self) -> float:
        return self.spent_s + time.monotonic() - self.began

    def after(self) -> None:
        """Write the row, the evaluation and the checkpoint that are due."""
        plan, step = self.plan, self.learner.steps
        # A call may learn and drive nothing: what it has learnt is not saved yet either.
        self.saved_step = -1.0
        last = step >= plan.total_steps or self.seconds() > plan.time_limit_s
        judge = last or step // plan.eval_every_steps > self.eval_at // plan.eval_every_steps
        if judge or step // plan.row_steps > self.row_at // plan.row_steps:
            figures = dict(self.learner.figures())
            if not all(torch.isfinite(torch.tensor(figures.get(name, 0.0))) for name in ("loss", "mean_reward")):
                raise TrainingError(
                    f"the loss must be a finite number, got {figures.get('loss')} at step {step:,}.",
                    hint="Lower the learning rate.",
                )
            if judge:
                figures |= self._judged(step)
            self._row(step, figures)
        every_s = max(plan.checkpoint_every_s, _SAVE_SHARE * self.save_took_s)
        if judge or self.saved_at < 0 or time.monotonic() - self.saved_at >= every_s:
            self.save()

    def _row(self, step: int, figures: Mapping[str, float]) -> None:
        self.recorder.row(step, figures)
        self.rows, self.row_at = self.rows + 1, step

    def _judged(self, step: int) -> dict[str, float]:
        self.eval_at = step
        return self.judging(self.learner.policy(), self.learner.state_dict(), step)

    def save(self) -> None:
        if self.saved_step == self.learner.steps:
            return
        meta: dict[str, Any] = {
            "step": self.learner.steps,
            "row_at": self.row_at,
            "eval_at": self.eval_at,
            "best": self.judging.best,
            "spent_s": self.seconds(),
        }
        began, state = time.monotonic(), self.learner.state_dict()
        if self.learner.steps >= self.plan.total_steps:
            # Nothing is learnt from it any more, and it would be kept with every run.
            state = replace(state, more={name: held for name, held in state.more.items() if name != REPLAY})
        checkpointing.save_last(self.folder, self.facts, self.learner.policy(), state, self.rows, meta)
        self.saved_at, self.saved_step = time.monotonic(), self.learner.steps
        self.save_took_s = self.saved_at - began

    def ended(self) -> Learned:
        """Return the best policy, of a run that was judged at its end."""
        path = self.folder.checkpoints / BEST
        policy, _ = checkpointing.load_for(path, self.facts.layout, proposing=True)
        score, step = self.judging.best or (float("nan"), self.learner.steps)
        over = self.learner.steps < self.plan.total_steps
        return Learned(policy, score, step, self.learner.steps, self.seconds(), over)
