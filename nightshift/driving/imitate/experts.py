"""Whom to learn from: the expert by rule in made scenarios, the recorded driver in recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.expert import Expert
from nightshift.driving.imitate.demonstrations import Demonstrations, Disturbance, joined, watch
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import Scenario
from nightshift.driving.world import World
from nightshift.errors import DataError

#: Environments side by side while an expert is watched.
_ENVS = 64


class RecordedExpert:
    """Asks for what the recorded driver asked for, step by step; see `importers.inverse`."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        """Take the actions of recorded scenarios.

        Raises:
            DataError: when one has none.
        """
        for scenario in scenarios:
            if len(scenario.details.get("actions", ())) == 0:
                raise DataError(
                    f"scenario '{scenario.name}' has no recorded actions.", hint="Import its recording again."
                )
        parts = [np.asarray(s.details["actions"], np.float64) for s in scenarios]
        self._actions = np.concatenate(parts)
        self._count = np.array([len(p) for p in parts])
        self._first = np.cumsum(self._count) - self._count

    def act(self, world: World) -> NDArray[np.float64]:
        """Return `(envs, 2)` m/s2 and rad; the last one after the recording's end."""
        at = world.ride.scenario
        step = np.minimum(world.count.step, self._count[at] - 1)
        asked: NDArray[np.float64] = self._actions[self._first[at] + step]
        return asked


def demonstrations_of(
    scenarios: Sequence[Scenario],
    *,
    disturbance: Disturbance,
    seed: int,
    should_stop: Callable[[], bool] = bool,
    on_episodes: Callable[[int], None] = lambda _done: None,
) -> Demonstrations:
    """Watch the experts drive scenarios once each; recorded drivers, who cannot answer, are not disturbed.

    Episodes in which an expert crashes or leaves the road are left out.

    Args:
        scenarios: made ones, recorded ones, or both.
        disturbance: of the expert by rule.
        seed: of the disturbance and of the traffic.
        should_stop: asked between steps; what was not seen by then is lost.
        on_episodes: hears of how many scenarios are driven, whenever one more is.

    Raises:
        DataError: when no expert drove a single step well.
        InterruptedTraining: when asked to stop.
    """
    made = [s for s in scenarios if s.tracks is None]
    recorded = [s for s in scenarios if s.tracks is not None]
    found = []
    if made:
        world = _world(made, "idm", seed)
        found.append(
            watch(
                world,
                Expert(),
                disturbance=disturbance,
                seed=seed,
                should_stop=should_stop,
                on_episodes=on_episodes,
            )
        )
    if recorded:
        world = _world(recorded, "log", seed)
        found.append(
            watch(
                world,
                RecordedExpert(recorded),
                seed=seed,
                should_stop=should_stop,
                on_episodes=lambda done: on_episodes(len(made) + done),
            )
        )
    return joined(found).checked() if found else _none()


def _world(scenarios: Sequence[Scenario], traffic: str, seed: int) -> World:
    return World(Pack.of(scenarios), min(_ENVS, len(scenarios)), seed=seed, traffic=traffic, order="once")


def _none() -> Demonstrations:
    raise DataError("there is no scenario to watch an expert in.", hint="Land a set with more scenarios.")
