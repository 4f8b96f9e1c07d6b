"""Models of the traffic around the ego car, by name: what a world asks to move the other cars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nightshift.driving.cars import Cars
from nightshift.driving.pack import Pack
from nightshift.driving.traffic import gipps, idm_mobil
from nightshift.driving.traffic.heeding import Heeding
from nightshift.driving.traffic.laws import Egos
from nightshift.driving.traffic.replay import Log, LogReactive
from nightshift.driving.traffic.tracks import Recorded, play
from nightshift.driving.traffic.ways import Ways
from nightshift.errors import UsageError


class Model(Protocol):
    """A traffic model that knows its map; made once for a world."""

    def step(self, cars: Cars, dt: float, noise: Any, scenario: Any, moment: Any) -> None:
        """Move the cars in columns 1 and up, in place.

        Args:
            cars: of all environments; column 0, the ego, is seen and never moved.
            dt: s.
            noise: `(envs, n)` uniform numbers from 0 to 1.
            scenario: `(envs,)` int64, number of the scenario that each environment drives.
            moment: `(envs,)` int64, steps of `STEP_S` since its start, this one among them: 1 in the first step.
        """


class Following:
    """Drivers on lanes, recorded cars beside them on their tracks; `law` is the `step` of one of the models.

    Attributes:
        ways, heeding: the map, and the routes of the egos on it.
    """

    def __init__(self, law: Callable[..., None], xp: Any, pack: Pack) -> None:
        self._law, self._xp, self._recorded = law, xp, Recorded.of(xp, pack)
        self.ways = Ways.of(xp, pack.lanes)
        self.heeding = Heeding.of(xp, pack, self.ways)

    def step(self, cars: Cars, dt: float, noise: Any, scenario: Any, moment: Any) -> None:
        """Move them, see `Model`."""
        self._law(self._xp, self.ways, cars, dt, noise, Egos(self.heeding, scenario))
        if self._recorded is not None:
            play(self._xp, self._recorded, cars, scenario, moment, cars.on_track.reshape(-1))


#: Makers of the models: library of arrays and scenarios (with its arrays) to model.
MODELS: dict[str, Callable[[Any, Pack], Model]] = {
    "idm": lambda xp, pack: Following(idm_mobil.step, xp, pack),
    "gipps": lambda xp, pack: Following(gipps.step, xp, pack),
    "log": Log,
    "log_reactive": LogReactive,
}


def make(name: str, xp: Any, pack: Pack) -> Model:
    """Make a traffic model for a world.

    Args:
        name: of `MODELS`.
        xp: `numpy` or `array_api_compat.torch`, as `pack` has its arrays.
        pack: the scenarios.

    Raises:
        UsageError: there is no such model.
    """
    if name not in MODELS:
        raise UsageError(f"there is no traffic model '{name[:80]}'.", hint=f"One of {', '.join(MODELS)}.")
    return MODELS[name](xp, pack)


__all__ = ["MODELS", "Model", "make"]
