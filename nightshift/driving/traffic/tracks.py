"""Recorded tracks as arrays that are looked up by scenario and moment, and the paths that lie under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import STEP_M
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import STEP_S
from nightshift.driving.traffic.ways import plain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recorded:
    """Tracks of all scenarios, `(all times, columns)` flat where nothing else is said; column 0 stays empty.

    Attributes:
        columns: cars of an environment, the ego among them.
        first, count: `(scenarios,)` int64, a scenario's times.
        there: bool.
        x, y, heading, speed, accel: as recorded.
        along: m of a car's own path at that time.
        path_x, path_y, path_heading: `(points,)` of all paths, `STEP_M` apart.
        path_first, path_last, path_m: `(scenarios * columns,)` a path's first point, its last but one, its length in m.
        path_mps: `(scenarios * columns,)` greatest speed on it.
    """

    columns: int
    first: Any
    count: Any
    there: Any
    x: Any
    y: Any
    heading: Any
    speed: Any
    accel: Any
    along: Any
    path_x: Any
    path_y: Any
    path_heading: Any
    path_first: Any
    path_last: Any
    path_m: Any
    path_mps: Any

    @classmethod
    def of(cls, xp: Any, pack: Pack) -> Recorded | None:
        """Take the tracks of a pack; None where it has none."""
        if pack.tracks is None:
            return None
        tracks = {name: plain(getattr(pack.tracks, name)) for name in ("x", "y", "heading", "speed_mps", "there")}
        first, count = plain(pack.track_first), plain(pack.track_count)
        made = _Paths(tracks, first, count)
        accel = np.zeros_like(tracks["x"])
        for begin, times in zip(first.tolist(), count.tolist(), strict=True):
            if times > 1:
                here = slice(begin, begin + times)
                accel[here] = np.gradient(tracks["speed_mps"][here], STEP_S, axis=0)
        flat = {
            "first": first,
            "count": count,
            "there": tracks["there"],
            "x": tracks["x"],
            "y": tracks["y"],
            "heading": tracks["heading"],
            "speed": tracks["speed_mps"],
            "accel": accel,
            **made.arrays(),
        }
        like = pack.track_first
        moved = {
            name: value.reshape(-1) if xp is np else xp.asarray(value.reshape(-1), device=like.device)
            for name, value in flat.items()
        }
        return cls(columns=tracks["x"].shape[1], **moved)

    def rows(self, xp: Any, scenario: Any, moment: Any) -> Any:
        """Return the places, `(envs * columns,)`, of all cars at a moment; that of the last one after the end."""
        row = self.first.take(scenario) + xp.minimum(moment, xp.maximum(self.count.take(scenario) - 1, 0))
        # A scenario without tracks may stand behind all that have some.
        row = xp.minimum(row, self.there.shape[0] // self.columns - 1)
        columns = xp.arange(self.columns, dtype=row.dtype, device=row.device)
        return (row[:, None] * self.columns + columns).reshape(-1)

    def seen(self, xp: Any, scenario: Any, moment: Any, rows: Any) -> Any:
        """Return whether cars were seen then, `(envs * columns,)` bool."""
        runs = moment < self.count.take(scenario)
        return self.there.take(rows) & xp.broadcast_to(runs[:, None], (runs.shape[0], self.columns)).reshape(-1)


class _Paths:
    """Each car's way, whenever it drove it."""

    def __init__(self, tracks: dict[str, Any], first: NDArray[np.int64], count: NDArray[np.int64]) -> None:
        self.along = np.zeros(tracks["x"].shape)
        columns = tracks["x"].shape[1]
        self.points: list[tuple[Floats, Floats, Floats]] = []
        self.counts = np.full((len(first), columns), 2, np.int64)
        self.length, self.fastest = np.zeros((len(first), columns)), np.zeros((len(first), columns))
        for scenario, (begin, times) in enumerate(zip(first.tolist(), count.tolist(), strict=True)):
            for column in range(columns):
                here = (slice(begin, begin + times), column)
                seen = tracks["there"][here] if times else np.zeros(0, bool)
                if column == 0 or not seen.any():
                    self.points.append((np.zeros(2), np.zeros(2), np.zeros(2)))
                    continue
                track = (tracks["x"][here], tracks["y"][here], np.unwrap(tracks["heading"][here]))
                self.along[here], points = _path(*track, seen)
                self.points.append(points)
                self.counts[scenario, column] = len(points[0])
                self.length[scenario, column] = self.along[here].max()
                self.fastest[scenario, column] = tracks["speed_mps"][here][seen].max()

    def arrays(self) -> dict[str, Any]:
        """Return the fields of `Recorded`."""
        counts = self.counts.reshape(-1)
        x, y, heading = (np.concatenate(values) for values in zip(*self.points, strict=True))
        return {
            "along": self.along,
            "path_x": x,
            "path_y": y,
            "path_heading": heading,
            "path_first": np.cumsum(counts) - counts,
            "path_last": counts - 2,
            "path_m": self.length,
            "path_mps": self.fastest,
        }


def _path(
    x: Floats, y: Floats, heading: Floats, seen: NDArray[np.bool_]
) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
    """Return the metres driven at each time, and the way in steps of `STEP_M`."""
    # Forwards alone: a car that stands, in a noisy recording, gets nowhere.
    forwards = np.diff(x) * np.cos(heading[:-1]) + np.diff(y) * np.sin(heading[:-1])
    forwards = np.where(seen[:-1] & seen[1:], np.maximum(forwards, 0.0), 0.0)
    along = np.concatenate([[0.0], np.cumsum(forwards)])
    at = np.arange(int(along[-1] / STEP_M) + 2) * STEP_M
    moved = np.concatenate([[True], np.diff(along) > 0]) & seen
    moved[int(np.argmax(seen))] = True
    px, py, turned = (np.interp(at, along[moved], values[moved]) for values in (x, y, heading))
    # Straight on beyond the last place.
    over = np.maximum(at - along[moved][-1], 0.0)
    return along, (px + over * np.cos(turned), py + over * np.sin(turned), turned)


def play(xp: Any, recorded: Recorded, cars: Cars, scenario: Any, moment: Any, which: Any) -> None:
    """Put the cars `which`, `(envs * columns,)` bool, where they were recorded at a moment, in place."""
    rows = recorded.rows(xp, scenario, moment)
    seen = recorded.seen(xp, scenario, moment, rows)
    for name in ("x", "y", "heading", "speed", "accel"):
        field = getattr(cars, name)
        value = xp.where(which & seen, getattr(recorded, name).take(rows), field.reshape(-1))
        field[...] = value.reshape(field.shape)
    cars.there[...] = xp.where(which, seen, cars.there.reshape(-1)).reshape(cars.there.shape)
