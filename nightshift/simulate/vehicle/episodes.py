"""Simulates trips, many at once: who drives what where, an hour of it, and what is true of every second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.vehicle_columns import CARBON, FUEL
from nightshift.data.schema import PARTS
from nightshift.errors import UsageError
from nightshift.simulate.vehicle import columns, drivers, fleet, powertrain, telemetry
from nightshift.simulate.vehicle.columns import Floats
from nightshift.simulate.vehicle.cycles import Cycle, Cycles
from nightshift.simulate.vehicle.drive import Motion, Road, drive, make_road
from nightshift.simulate.vehicle.routes import Stretches, routes, share_out, stretches_of

_Rows = TypeVar("_Rows", Motion, drivers.Danger, powertrain.Weather)

#: Trips that are driven together; a constant, so that what comes out does not hang on the machine.
CHUNK = 250
#: Trips whose columns are computed together: what they take stays in a processor's cache.
_BLOCK = 8
#: Trips of one car.
TRIPS_OF_A_CAR = 4
_SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
#: Speed at which a dangerous stretch's row is dangerous: a car that stands is not.
_MOVES_MPS = 2.0
#: 2025-03-03, a Monday.
_FIRST_DAY_S, _DAY_S = 1_740_960_000, 86_400
_SEED_PARTS = {part: i for i, part in enumerate(PARTS)}


@dataclass(frozen=True)
class Plan:
    """What is to be simulated.

    Attributes:
        episodes: trips in all.
        seconds: of a trip.
        seed: of everything random.
        cycles: what traffic does.
    """

    episodes: int
    seconds: int
    seed: int
    cycles: Cycles

    @cached_property
    def shared(self) -> dict[str, tuple[Cycle, ...]]:
        """Return the cycles of each part."""
        return share_out(self.cycles.cycles)

    def __post_init__(self) -> None:
        if not 6 <= self.episodes <= 100_000:
            raise UsageError(f"episodes is {self.episodes}, expected 6 to 100,000.", hint="500 is the default.")
        if not 300 <= self.seconds <= 86_400:
            raise UsageError(f"an episode of {self.seconds} s is refused, expected 5 to 1,440 minutes.")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is {self.seed}, expected a whole number from 0.")


@dataclass(frozen=True)
class Trips:
    """Simulated trips of one part.

    Attributes:
        part: `train`, `val` or `test`.
        run: number of each trip over all parts, `(trips,)`.
        vehicle: number of each trip's car, `(trips,)`.
        start_s: when each trip begins, epoch seconds, `(trips,)`.
        columns: inputs and numbers of truth, each `(trips, seconds)`.
        behaviour: place in BEHAVIOURS, -1 where a stretch is dangerous and no style is told, `(trips, seconds)`.
        driving: place in KINDS, `(trips, seconds)`.
    """

    part: str
    run: NDArray[np.int64]
    vehicle: NDArray[np.int64]
    start_s: NDArray[np.int64]
    columns: dict[str, Floats]
    behaviour: NDArray[np.int8]
    driving: NDArray[np.int8]


@dataclass(frozen=True)
class _Part:
    """Who drives when in one part, each array `(trips,)`, and the cars."""

    name: str
    run: NDArray[np.int64]
    start_s: NDArray[np.int64]
    vehicle: NDArray[np.int64]
    car: NDArray[np.intp]
    cars: fleet.Cars
    drivers: drivers.Drivers
    dangerous: NDArray[np.bool_]


def simulate(plan: Plan) -> Iterator[Trips]:
    """Yield the trips of all parts, up to `CHUNK` at a time, part after part; the same plan gives the same bytes.

    Each part has cars, cycles and a road of its own.

    Raises:
        DataError: for fewer than three kins of cycles.
    """
    first_run = first_car = 0
    for name, n in parts_of(plan.episodes).items():
        part = _plan_part(name, n, plan, first_run, first_car)
        stretches = stretches_of(plan.shared[name])
        road = make_road(plan.seed, _SEED_PARTS[name])
        for number, first in enumerate(range(0, n, CHUNK)):
            chosen = slice(first, min(first + CHUNK, n))
            yield _chunk(plan, part, chosen, stretches, road, (plan.seed, _SEED_PARTS[name], 100 + number))
        first_run += n
        first_car += len(part.cars)


def parts_of(episodes: int) -> dict[str, int]:
    """Return how many trips each part has: at least two, near 70, 15 and 15 %."""
    held = {part: max(2, round(episodes * share)) for part, share in _SHARES.items()}
    return {**held, "train": episodes - held["val"] - held["test"]}


def _plan_part(name: str, n: int, plan: Plan, first_run: int, first_car: int) -> _Part:
    rng = np.random.default_rng([plan.seed, _SEED_PARTS[name]])
    n_cars = max(1, -(-n // TRIPS_OF_A_CAR))
    car = np.sort(np.arange(n) % n_cars)
    kind = drivers.balanced(n, len(columns.BEHAVIOURS), rng)
    # One trip a day, begun at some minute of it.
    day = np.arange(n) - np.searchsorted(car, car)
    start_s = _FIRST_DAY_S + day * _DAY_S * (1 + -(-plan.seconds // _DAY_S)) + 60 * rng.integers(0, 20 * 60, n)
    most = max(1, round(drivers.DANGEROUS_TRIPS * n))
    return _Part(
        name=name,
        run=first_run + np.arange(n, dtype=np.int64),
        start_s=start_s.astype(np.int64),
        vehicle=(first_car + car).astype(np.int64),
        car=car.astype(np.intp),
        cars=fleet.draw_cars(n_cars, rng),
        drivers=drivers.draw_drivers(kind, car.astype(np.int64), rng),
        dangerous=rng.permutation(np.arange(n) < most),
    )


def _chunk(plan: Plan, part: _Part, chosen: slice, stretches: Stretches, road: Road, seed: tuple[int, ...]) -> Trips:
    rng = np.random.default_rng(seed)
    cars, who = part.cars.take(part.car[chosen]), drivers.take(part.drivers, chosen)
    n = len(cars)
    route = routes(stretches, n, plan.seconds, rng)
    danger = drivers.plan_danger(part.dangerous[chosen], plan.seconds, rng)
    motion = drive(stretches.aim_mps[route], stretches.left_s[route], cars, who, danger, road, rng)
    weather = powertrain.draw_weather(n, rng)
    found: dict[str, Floats] = {}
    for first in range(0, n, _BLOCK):
        at = slice(first, min(first + _BLOCK, n))
        block = _columns(
            _cut(motion, at), cars.take(np.arange(n)[at]), drivers.take(who, at), _cut(danger, at), _cut(weather, at),
            road, rng,
        )  # fmt: skip
        for name, values in block.items():
            found.setdefault(name, np.empty((n, plan.seconds), np.float32))[at] = values
    driving = np.where(motion.speed > _MOVES_MPS, danger.kind, 0).astype(np.int8)
    behaviour = np.where(danger.kind > 0, np.int8(-1), who.kind[:, None]).astype(np.int8)
    return Trips(part.name, part.run[chosen], part.vehicle[chosen], part.start_s[chosen], found, behaviour, driving)


def _columns(
    motion: Motion,
    cars: fleet.Cars,
    who: drivers.Drivers,
    danger: drivers.Danger,
    weather: powertrain.Weather,
    road: Road,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    engine = powertrain.run_engine(motion, cars, who, weather, road)
    sideways = telemetry.lateral(motion, who, danger, road, rng)
    seen = telemetry.shown(telemetry.true_readings(motion, engine, sideways, cars, weather, road, rng), rng)
    return {**seen, FUEL: engine.fuel_l_h, CARBON: engine.co2_g_s}


def _cut(of: _Rows, at: slice) -> _Rows:
    return replace(of, **{f.name: getattr(of, f.name)[at] for f in fields(of)})
