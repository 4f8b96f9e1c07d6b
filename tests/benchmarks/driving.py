"""How fast the driving world steps, against highway-env in the same run; processor time of one process on one core."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from nightshift.driving.action import physical
from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import STEP_S
from nightshift.driving.world import World
from tests.benchmarks._rows import Row, row


@dataclass(frozen=True)
class _Size:
    """Environments, decisions in a round, and how many times highway-env's speed the issue asks for."""

    envs: int
    steps: int
    times: float


_ROUNDS = 5
#: Motorways bend and have several lanes; each has at least 20 other cars round the ego, who change lanes by MOBIL.
_SCENARIOS = 24
_SIZES = (_Size(8, 300, 100.0), _Size(1024, 40, 800.0))


def environment() -> list[Row]:
    """Decisions a second: observation, reward, ends and resets included, all in turn, the middle of five rounds.

    A decision of `highway-fast-v0` is of a second, in five steps of physics; one here is of a fifth, in one.
    """
    highway, worlds = _Highway(), {size.envs: _world(_highways(), size.envs) for size in _SIZES}
    taken: dict[int, list[float]] = {0: [], **{envs: [] for envs in worlds}}
    for _ in range(_ROUNDS):
        taken[0].append(highway.step_s(150))
        for size in _SIZES:
            taken[size.envs].append(_step_s(worlds[size.envs], size.steps))
    base = 1.0 / _middle(taken[0])
    rows = [row("driving", "highway-fast-v0, 20 other cars", base, "steps/s")]
    for size in _SIZES:
        speed = size.envs / _middle(taken[size.envs])
        cars = float(worlds[size.envs].cars.there[:, 1:].sum(axis=1).mean())
        assert cars >= 20.0
        what = f"ADPlanning-v0, {size.envs:,} environments"
        rows += [
            row("driving", f"{what}: steps over highway-fast-v0's", speed / base, "times", size.times, "higher"),
            row("driving", f"{what}: steps", speed, "steps/s"),
            row("driving", f"{what}: other cars in each", cars, "cars"),
            row("driving", f"{what}: simulated time", speed * STEP_S, "s/s"),
            row("driving", f"{what}: vehicle updates", speed * (cars + 1), "1/s"),
        ]
    return rows


def growth() -> list[Row]:
    """How the time of a step grows with environments and with cars, over growth in line with them: 1 is linear."""
    some = {envs: _world(_highways(), envs) for envs in (512, 2048)}
    crowds = {cars: _world(_with_cars(cars), 512) for cars in (20, 80)}
    took: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for what, worlds in (("environments", some), ("cars", crowds)):
            few, many = (_step_s(world, 10) for world in worlds.values())
            took.setdefault(what, []).append(many / few / 4)
    return [
        row("driving", f"time of a step as {what} become four times as many, over 4", _middle(t), "times", 1.3)
        for what, t in took.items()
    ]


def _highways() -> Pack:
    return Pack.of([make("highway", seed) for seed in range(_SCENARIOS)])


def _with_cars(cars: int) -> Pack:
    """The motorways with `cars` cars each, every 30 m on all lanes, instead of their own."""
    made = []
    for seed in range(_SCENARIOS):
        of = make("highway", seed)
        lanes = len(of.lanes.first)
        place = np.arange(cars)
        traffic = {f.name: np.resize(getattr(of.traffic, f.name), cars) for f in fields(of.traffic)}
        # Not in the ego's place, 240 m along: the first row is ahead of it.
        traffic |= {"lane": place % lanes, "s_m": 270.0 + 30.0 * (place // lanes), "d_m": np.zeros(cars)}
        made.append(replace(of, traffic=replace(of.traffic, **traffic)))
    return Pack.of(made)


def _world(pack: Pack, envs: int) -> World:
    world = World(pack, envs, seed=1)
    world.reset()
    for _ in range(30):
        _drive(world)
    return world


def _drive(world: World) -> None:
    """A decision that follows the route with some gas, so that episodes are about as long as learners'."""
    asked = np.broadcast_to(np.array([0.2, 0.0]), (world.n_envs, 2))
    world.step(physical(np, asked, world.ego.speed, world.along()))


def _step_s(world: World, steps: int) -> float:
    began = time.process_time()
    for _ in range(steps):
        _drive(world)
    return (time.process_time() - began) / steps


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values))


class _Highway:
    """highway-env's fast environment with 20 other cars, driven at random."""

    def __init__(self) -> None:
        import gymnasium
        import highway_env  # noqa: F401, it registers its environments

        self._env = gymnasium.make("highway-fast-v0", config={"vehicles_count": 20})
        self._env.reset(seed=0)
        self._env.action_space.seed(0)
        self.step_s(30)

    def step_s(self, steps: int) -> float:
        """Seconds of processor time a step, resets included."""
        began = time.process_time()
        for _ in range(steps):
            *_, terminated, truncated, _ = self._env.step(self._env.action_space.sample())
            if terminated or truncated:
                self._env.reset()
        return (time.process_time() - began) / steps
