"""Places along an expert's way as starts: a learner is in a junction from its first episodes on, not some day.

Without them it learns to stop before what it has never been through: who stands does no wrong.

Source:
    Peng et al., "DeepMimic: example-guided deep reinforcement learning of physics-based character skills", 2018,
    arXiv 1804.02717: reference state initialization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.drivers import Driver
from nightshift.driving.facts import ENDINGS, Ended
from nightshift.driving.keeping import kept
from nightshift.driving.scenario import STEP_S
from nightshift.driving.starts import Starts, put, taken
from nightshift.driving.world import World
from nightshift.errors import DataError

#: Nobody begins in the last so many s before a crash of the expert: it may be lost already.
_BEFORE_CRASH_S = 3.0
_CRASHES = tuple(ENDINGS.index(name) for name in ("collision", "off_road"))


def along_the_way(
    world: World, expert: Driver, *, each: int, seed: int, on_episodes: Callable[[int], None] = lambda n: None
) -> Starts:
    """Return the world's starts, and behind them places along the expert's way through every scenario.

    Args:
        world: that drives each scenario once (`order="once"`), on NumPy.
        expert: who drives it.
        each: places of a scenario, drawn evenly over its time; place k of scenario i is row i + scenarios * (1 + k).
            Where the expert crashes at once it is the scenario's own start.
        seed: of the draw.
        on_episodes: hears of how many have been driven, whenever one more has.
    """
    rng, first = np.random.default_rng(seed), world.starts
    world.reset()
    found: Starts = taken(first, np.tile(np.arange(world.pack.scenarios), 1 + each))
    done = 0
    while world.running.any():
        runs = world.running.copy()
        observation, _, _, _, ended = world.step(expert.act(world))
        _forget(found, first, ended, runs, each)
        _draw(found, world, observation, each, rng)
        if (ended.done & runs).any():
            done += int((ended.done & runs).sum())
            on_episodes(done)
    return found


def kept_along(folder: Path, facts: Mapping[str, Any], first: Starts, each: int, drive: Callable[[], Starts]) -> Starts:
    """Return what `drive` says by `along_the_way`, read where it was kept for these facts by this code.

    Args:
        folder: to keep it in.
        facts: all that it follows from: scenarios, traffic, expert, environments and seed.
        first: the starts of the scenarios.
        each: places of a scenario.
        drive: asked where nothing was kept.
    """
    n = len(first.step)
    whole: Starts = taken(first, np.tile(np.arange(n), 1 + each))
    begun = {name: array[n:].copy() for name, array in _arrays(whole)}

    def make() -> dict[str, NDArray[Any]]:
        # What is as at the start, such as most of a driver, is known.
        return {name: array[n:] for name, array in _arrays(drive()) if (array[n:] != begun[name]).any()}

    def of(arrays: Mapping[str, NDArray[Any]]) -> Starts:
        if not arrays.keys() <= begun.keys():
            raise DataError("places along an expert's way have other fields than starts.")
        for name, array in _arrays(whole):
            places = arrays.get(name, begun[name])
            if places.shape != begun[name].shape or places.dtype != array.dtype or not np.isfinite(places).all():
                raise DataError(f"places along an expert's way have no sound {name}.")
            array[n:] = places
        return whole

    return kept(folder, {**facts, "each": each}, __name__, make, of)


def _arrays(part: Any, before: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and array of all fields of a dataclass and of those in it."""
    for field in fields(part):
        value = getattr(part, field.name)
        yield from _arrays(value, f"{before}{field.name}.") if is_dataclass(value) else [(before + field.name, value)]


def _draw(found: Starts, world: World, observation: Any, each: int, rng: np.random.Generator) -> None:
    """Take the present moment for each place by one in as many as there were: in the end every moment is as likely."""
    step, scenarios = world.count.step, world.pack.scenarios
    drawn = rng.random((each, world.n_envs)) * np.maximum(step, 1) < 1.0
    place, env = np.nonzero(drawn & (step > 0) & world.running)
    if len(env):
        now = Starts(world.ride, world.ego, world.cars, world.sight, observation, step)
        put(found, world.ride.scenario[env] + scenarios * (1 + place), taken(now, env))


def _forget(found: Starts, first: Starts, ended: Ended, runs: Any, each: int) -> None:
    """Put the scenario's own start where a place lies shortly before a crash."""
    crashed = ended.done & runs & np.isin(ended.ending, _CRASHES)
    scenario, latest = ended.scenario[crashed], ended.steps[crashed] - _BEFORE_CRASH_S / STEP_S
    for place in range(each):
        rows = scenario + len(first.step) * (1 + place)
        late = found.step[rows] > latest
        put(found, rows[late], taken(first, scenario[late]))
