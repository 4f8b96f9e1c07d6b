"""Scenarios driven once each, with what happened kept as histories, and histories judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.drivers import ConstantSpeed, Driver, IdmDriver, LogReplay
from nightshift.driving.facts import ENDINGS
from nightshift.driving.history import History
from nightshift.driving.pack import Pack
from nightshift.driving.reward import RewardSettings
from nightshift.driving.scenario import Scenario
from nightshift.driving.score import closed_loop
from nightshift.driving.world import World
from nightshift.problems.control_judge import CONSTANT_SPEED, IDM_DRIVER, LOG_REPLAY, Driven, Episode

#: Models of traffic to evaluate under: a policy has learned in the first one of each.
MADE_TRAFFIC = ("idm", "gipps")
RECORDED_TRAFFIC = ("log_reactive", "log")
#: Environments side by side: more than that gain little.
ENVS = 64
Kind = Literal["model", "baseline", "member", "reference"]
_EGO = ("x", "y", "heading", "speed", "accel", "steer")
_CARS = ("x", "y", "heading", "speed")


def traffic_for(scenarios: Sequence[Scenario]) -> tuple[str, ...]:
    """Return the traffic models under which scenarios are driven: recorded ones replay their own."""
    return RECORDED_TRAFFIC if all(s.tracks is not None for s in scenarios) else MADE_TRAFFIC


def drive(
    driver: Driver,
    scenarios: Sequence[Scenario],
    *,
    traffic: str = "idm",
    seed: int = 0,
    n_envs: int = ENVS,
    reward: RewardSettings | None = None,
    observations: bool = False,
) -> list[History]:
    """Drive every scenario once; what comes of it depends on neither `n_envs` nor the other scenarios.

    Args:
        driver: drives the ego cars.
        scenarios: to drive.
        traffic: model of the other cars.
        seed: of that model's noise.
        n_envs: environments side by side.
        reward: of the histories' rewards.
        observations: keep those too.

    Returns:
        Histories, one a scenario, in the scenarios' order.
    """
    pack, n_envs = Pack.of(scenarios), min(n_envs, len(scenarios))
    world = World(pack, n_envs, seed=seed, traffic=traffic, reward=reward, order="once")
    seen, log = world.reset(), _Log(world, observations=observations)
    placed = driver if isinstance(driver, LogReplay) else None
    while world.running.any():
        action = driver.act(world)
        log.before(action, seen)
        if placed is not None:
            placed.begin_step(world)
        gained, terminated, truncated = world.advance(action)
        if placed is not None:
            placed.end_step(world)
        log.after(gained, terminated | truncated)
        seen = world.renew()
    return log.histories(scenarios, traffic)


def judged(
    who: str,
    kind: Kind,
    histories: Sequence[History],
) -> Driven:
    """Score histories, of one traffic model or more, as a judge's tables take them."""
    return Driven(
        who=who,
        kind=kind,
        episodes=tuple(
            Episode(h.scenario.name, h.scenario.kind, h.traffic, closed_loop(h).measures()) for h in histories
        ),
    )


def measured(
    driver: Driver,
    who: str,
    kind: Kind,
    scenarios: Sequence[Scenario],
    *,
    traffic: Sequence[str] = (),
    seed: int = 0,
) -> Driven:
    """Drive scenarios under every model of traffic and score it.

    Args:
        driver: drives the ego cars.
        who: its name in tables.
        kind: as in `ScoreRow`.
        scenarios: to drive.
        traffic: models; those of `traffic_for` where none is given.
        seed: of the traffic's noise.
    """
    models = traffic or traffic_for(scenarios)
    return judged(who, kind, [h for model in models for h in drive(driver, scenarios, traffic=model, seed=seed)])


def rivals(scenarios: Sequence[Scenario], *, traffic: Sequence[str] = (), seed: int = 0) -> list[Driven]:
    """Return what the drivers by rule make of scenarios: the IDM driver, constant speed, and recordings replayed."""
    found = [
        measured(IdmDriver(), IDM_DRIVER, "baseline", scenarios, traffic=traffic, seed=seed),
        measured(ConstantSpeed(), CONSTANT_SPEED, "baseline", scenarios, traffic=traffic, seed=seed),
    ]
    if all(s.tracks is not None for s in scenarios):
        found.append(measured(LogReplay(), LOG_REPLAY, "reference", scenarios, traffic=traffic, seed=seed))
    return found


@dataclass
class _Ended:
    """An episode that has ended: its environment, its last step, and the moment at which it ended."""

    env: int
    step: int
    scenario: int
    ending: int
    moment: dict[str, NDArray[Any]]


class _Log:
    """Keeps the moments of all environments, and cuts them into episodes at the end."""

    def __init__(self, world: World, *, observations: bool) -> None:
        self._world, self._observations = world, observations
        self._moments: dict[str, list[NDArray[Any]]] = {}
        self._ended: list[_Ended] = []

    def before(self, action: NDArray[np.float64], seen: NDArray[np.float32]) -> None:
        """Keep the moment before a step, and what is asked for in it."""
        kept = self._moment() | {"action": np.array(action)}
        if self._observations:
            kept["observation"] = np.array(seen)
        for name, array in kept.items():
            self._moments.setdefault(name, []).append(array)

    def after(self, gained: NDArray[np.float32], done: NDArray[np.bool_]) -> None:
        """Keep what a step has brought, and the last moments of the episodes that it ended."""
        self._moments.setdefault("reward", []).append(np.array(gained, dtype=np.float64))
        rows = np.flatnonzero(done)
        if not len(rows):
            return
        moment, facts, step = self._moment(), self._world.facts, len(self._moments["reward"])
        for row in rows:
            last = {name: array[row] for name, array in moment.items()}
            self._ended.append(_Ended(int(row), step, int(facts.scenario[row]), int(facts.ending[row]), last))

    def _moment(self) -> dict[str, NDArray[Any]]:
        world = self._world
        kept = {f"ego_{name}": getattr(world.ego, name) + 0.0 for name in _EGO}
        kept |= {"s": world.sight.s_m + 0.0, "d": world.sight.d_m + 0.0}
        there = world.cars.there[:, 1:]
        return kept | {f"cars_{name}": np.where(there, getattr(world.cars, name)[:, 1:], np.nan) for name in _CARS}

    def histories(self, scenarios: Sequence[Scenario], traffic: str) -> list[History]:
        """Return the episodes in the scenarios' order."""
        stacked = {name: np.stack(arrays) for name, arrays in self._moments.items()}
        begun: dict[int, int] = {}
        made: list[History | None] = [None] * len(scenarios)
        for ended in self._ended:
            first = begun.get(ended.env, 0)
            begun[ended.env] = ended.step
            of_it = {name: array[first : ended.step, ended.env] for name, array in stacked.items()}
            made[ended.scenario] = _history(scenarios[ended.scenario], traffic, ended, of_it)
        return [history for history in made if history is not None]


def _history(scenario: Scenario, traffic: str, ended: _Ended, of_it: dict[str, NDArray[Any]]) -> History:
    whole = {name: np.concatenate([of_it[name], last[None]]) for name, last in ended.moment.items()}
    n = len(scenario.traffic.lane)
    return History(
        scenario=scenario,
        traffic=traffic,
        x=whole["ego_x"],
        y=whole["ego_y"],
        heading=whole["ego_heading"],
        speed_mps=whole["ego_speed"],
        accel_mps2=whole["ego_accel"],
        steer_rad=whole["ego_steer"],
        s_m=whole["s"],
        d_m=whole["d"],
        action=of_it["action"],
        observation=of_it.get("observation", np.zeros((0, 0), np.float32)),
        cars_x=whole["cars_x"][:, :n],
        cars_y=whole["cars_y"][:, :n],
        cars_heading=whole["cars_heading"][:, :n],
        cars_speed_mps=whole["cars_speed"][:, :n],
        cars_length_m=np.asarray(scenario.traffic.length_m, dtype=np.float64),
        cars_width_m=np.asarray(scenario.traffic.width_m, dtype=np.float64),
        reward=of_it["reward"],
        ending=ENDINGS[ended.ending],
    )
