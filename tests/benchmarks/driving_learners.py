"""How fast policies learn to drive: steps a second of whole trainings, and what it takes to pass the IDM driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nightshift.driving.drivers import IdmDriver
from nightshift.driving.learn.evaluation import ClosedLoop
from nightshift.driving.learn.ppo import PpoLearner
from nightshift.driving.learn.sac import SacLearner
from nightshift.driving.learn.world_field import WorldField
from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.rollout import drive
from nightshift.driving.scenario import Scenario
from nightshift.driving.score import closed_loop
from nightshift.driving.world import World
from nightshift.families._driving import THREADS
from nightshift.families.ppo import PpoConfig, ppo_settings
from nightshift.families.sac import SacConfig, sac_settings
from nightshift.nets.device import threads
from tests.benchmarks._rows import Row, row

#: SAC's large minibatches use them; PPO's networks are small, and one thread is as fast.
_CORES = 2
_ROUNDS = 3
#: Rollout of SB3's PPO on highway-env, as its documentation has it; ten epochs in minibatches of 64 follow.
_HIGHWAY_STEPS = 256
#: Scenarios to learn on and, of other seeds, to be judged on.
_LEARNED, _JUDGED, _JUDGED_FROM = 256, 48, 100_000
_SEEDS = (1, 2, 3)
_CURVE_STEPS = 2_500_000
_CURVE_EVERY = 250_000


def ppo_speed() -> list[Row]:
    """Environment steps a second of PPO, driving and learning in turn: `fast` here, SB3's on highway-fast-v0."""
    config = PpoConfig(preset="fast")
    learner = PpoLearner(_field(config.num_envs), ppo_settings(config), seed=1)
    highway = _highway()
    ours, theirs, shares = [], [], []
    with threads(THREADS):
        learner.advance()
        for _ in range(_ROUNDS):
            drove = _took(learner.model.drive)
            took = drove + _took(learner.model.train)
            ours.append(config.rollout / took)
            shares.append(drove / took)
            theirs.append(_HIGHWAY_STEPS / _took(lambda: highway.learn(_HIGHWAY_STEPS, reset_num_timesteps=False)))
    speed, base = float(np.median(ours)), float(np.median(theirs))
    minutes = config.total_steps / speed / 60
    what = f"PPO at `fast`, {config.num_envs} environments"
    return [
        row("driving", f"{what}: steps, learner included", speed, "steps/s", 8_000, "higher"),
        row("driving", f"{what}: share of the time that is driving", float(np.median(shares)), ""),
        row("driving", f"{what}: {config.total_steps / 1e6:g} million steps", minutes, "min", 21.0),
        row("driving", "SB3 PPO on highway-fast-v0: steps, learner included", base, "steps/s"),
        row("driving", "PPO at `fast` over SB3's on highway-fast-v0", speed / base, "times", 100.0, "higher"),
    ]


def sac_speed() -> list[Row]:
    """Environment steps a second of SAC, driving and learning in turn."""
    rows = []
    for preset in ("standard", "fast"):
        config = SacConfig(preset=preset, learning_starts=0)
        learner = SacLearner(_field(config.num_envs), sac_settings(config), seed=1)
        with threads(_CORES):
            learner.advance()
            took = [_took(learner.advance) for _ in range(_ROUNDS)]
        speed = config.num_envs * config.train_freq / float(np.median(took))
        rows.append(row("driving", f"SAC at `{preset}`, {config.num_envs} environments: steps", speed, "steps/s"))
    return rows


def ppo_reaches_idm() -> list[Row]:
    """Steps and minutes until PPO scores above the IDM driver on motorways it has not seen, over three seeds."""
    idm = _idm_score()
    curves = [_curve(seed) for seed in _SEEDS]
    reached = [next((p for p in curve if p.score > idm), None) for curve in curves]
    steps = [p.step for p in reached if p] if all(reached) else []
    minutes = [p.seconds / 60 for p in reached if p] if all(reached) else []
    rows = [
        row("driving", "the IDM driver's score on motorways", idm, ""),
        row("driving", "PPO passes it in all of 3 seeds, the slowest after", max(steps, default=None), "steps"),
        row("driving", "of processor time on one core, the slowest", max(minutes, default=None), "min"),
        row("driving", "of processor time on one core, the fastest", min(minutes, default=None), "min"),
    ]
    for i in range(min(len(curve) for curve in curves)):
        scores = np.array([curve[i].score for curve in curves])
        where = f"after {curves[0][i].step / 1e6:.2f} million steps"
        rows += [
            row("driving", f"PPO's score {where}: mean of 3 seeds", float(scores.mean()), ""),
            row("driving", f"PPO's score {where}: from best to worst seed", float(np.ptp(scores)), ""),
        ]
    at_end = [curve[-1] for curve in curves]
    rows += [
        row("driving", "PPO's score at the end, the worst of 3 seeds", min(p.score for p in at_end), "", idm, "higher"),
        row("driving", "PPO's collisions at the end, the worst seed", max(p.collision for p in at_end), "", 0.05),
        row(
            "driving", "PPO's progress at the end, the worst seed", min(p.progress for p in at_end), "", 0.85, "higher"
        ),
    ]
    return rows


@dataclass(frozen=True)
class _Point:
    """One evaluation of a run; seconds of processor time for all that came before it."""

    step: int
    seconds: float
    score: float
    collision: float
    progress: float


def _curve(seed: int) -> list[_Point]:
    config = PpoConfig(preset="fast", total_steps=_CURVE_STEPS)
    judge = ClosedLoop(_judged(), traffic="idm", seed=0, pictures=False)
    learner = PpoLearner(_field(config.num_envs, seed), ppo_settings(config), seed=seed)
    points: list[_Point] = []
    spent = 0.0
    with threads(THREADS):
        while learner.steps < config.total_steps:
            began = time.process_time()
            learner.advance()
            spent += time.process_time() - began
            if learner.steps >= config.total_steps or learner.steps // _CURVE_EVERY > len(points):
                found = judge(learner.policy())
                figures = found.figures
                points.append(
                    _Point(learner.steps, spent, found.score, figures["val_collision"], figures["val_progress"])
                )
    return points


@cache
def _learned() -> Pack:
    return Pack.of([make("highway", seed) for seed in range(_LEARNED)])


@cache
def _judged() -> tuple[Scenario, ...]:
    return tuple(make("highway", _JUDGED_FROM + seed) for seed in range(_JUDGED))


def _idm_score() -> float:
    return float(np.mean([closed_loop(history).score for history in drive(IdmDriver(), _judged())]))


def _field(envs: int, seed: int = 1) -> WorldField:
    return WorldField(World(_learned(), envs, seed=seed))


def _highway() -> Any:
    import gymnasium
    import highway_env  # noqa: F401, it registers its environments
    from stable_baselines3 import PPO

    env = gymnasium.make("highway-fast-v0", config={"vehicles_count": 20})
    return PPO("MlpPolicy", env, n_steps=_HIGHWAY_STEPS, seed=1, device="cpu")


def _took(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
