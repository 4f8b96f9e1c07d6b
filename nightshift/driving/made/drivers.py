"""Cars of made scenarios: their drivers, their places at the start, and how far an expert would get among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nightshift.driving.lanes import Lanes
from nightshift.driving.roads import Floats
from nightshift.driving.scenario import ACROSS, STEP_S, EgoStart, Route, Traffic

_FIELDS = (
    "s_m", "d_m", "speed_mps", "length_m", "width_m", "desired_mps", "headway_s", "gap_m", "accel_mps2", "decel_mps2",
    "politeness",
)  # fmt: skip


@dataclass
class Crowd:
    """Cars as they are placed, one after the other; `traffic` gives the arrays.

    Attributes:
        rng: of everything random about them.
        trucks: share of them.
        truck_m: how long they are, least and most.
    """

    rng: np.random.Generator
    trucks: float = 0.12
    truck_m: tuple[float, float] = (8.0, 14.0)
    _cars: list[dict[str, float]] = field(default_factory=list)
    _lanes: list[int] = field(default_factory=list)
    _turns: list[int] = field(default_factory=list)

    def driver(self, limit_mps: float, *, slow: float = 1.0) -> dict[str, float]:
        """Draw a car and its driver; `slow` scales the speed that is wanted."""
        rng = self.rng
        truck = rng.random() < self.trucks
        keen = rng.uniform(0.75, 0.9) if truck else rng.normal(1.0, 0.09)
        return {
            "length_m": rng.uniform(*self.truck_m) if truck else rng.uniform(4.0, 5.2),
            "width_m": 2.4 if truck else rng.uniform(1.75, 2.0),
            "desired_mps": limit_mps * slow * float(np.clip(keen, 0.7, 1.2)),
            "headway_s": rng.uniform(1.5, 2.2) if truck else rng.uniform(0.9, 1.8),
            "gap_m": rng.uniform(1.5, 3.0),
            "accel_mps2": rng.uniform(0.6, 0.9) if truck else rng.uniform(0.9, 2.0),
            "decel_mps2": rng.uniform(1.5, 3.0),
            "politeness": rng.uniform(0.0, 0.6),
        }

    def place(self, lane: int, s_m: float, speed_mps: float, driver: dict[str, float], turn: int = 0) -> None:
        """Put a car on a lane; `s_m` is that of its middle."""
        self._cars.append({**driver, "s_m": s_m, "d_m": 0.0, "speed_mps": speed_mps})
        self._lanes.append(lane)
        self._turns.append(turn)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._cars)

    def traffic(self) -> Traffic:
        """Return them as arrays."""
        return Traffic(
            lane=np.array(self._lanes, dtype=np.int64),
            turn=np.array(self._turns, dtype=np.int64),
            **{name: np.array([car[name] for car in self._cars], dtype=np.float64) for name in _FIELDS},
        )


def safe_gap_m(behind_mps: float, ahead_mps: float, headway_s: float, gap_m: float = 2.0) -> float:
    """Return a gap, bumper to bumper, from which the one behind need not brake hard (2 m/s2)."""
    closing = max(0.0, behind_mps**2 - ahead_mps**2) / (2 * 2.0)
    return gap_m + headway_s * behind_mps + closing


@dataclass(frozen=True)
class Strip:
    """Lanes that follow each other, and how long each of them is, m: one metre counts along all of them."""

    lanes: tuple[int, ...]
    lengths_m: tuple[float, ...]

    @staticmethod
    def of(lanes: Lanes, numbers: Sequence[int]) -> Strip:
        """Return the strip of some lanes of a map."""
        return Strip(tuple(numbers), tuple(float(lanes.length_m[n]) for n in numbers))

    def at(self, metre: float) -> tuple[int, float]:
        """Return the lane, and the metre on it, of a metre of the strip."""
        for lane, length in zip(self.lanes[:-1], self.lengths_m[:-1], strict=True):
            if metre < length:
                return lane, metre
            metre -= length
        return self.lanes[-1], metre


@dataclass(frozen=True)
class Flow:
    """How cars stand on a strip.

    Attributes:
        limit_mps: what they want to drive, about.
        spare_m: mean of what a gap has beyond the safe one.
        slow: scales the speeds that are wanted.
        turns: the ways that they may take at forks; each car draws one.
        ego: where it starts on this strip: gaps to it are safe too.
        at_most_mps: that they drive at the start.
    """

    limit_mps: float
    spare_m: float
    slow: float = 1.0
    turns: tuple[int, ...] = (0,)
    ego: EgoStart | None = None
    at_most_mps: float = np.inf

    def clear_m(self, speed_mps: float) -> float:
        """Return how far ahead of the ego's middle the rear bumper of a car of this speed has to be."""
        assert self.ego is not None
        return safe_gap_m(self.ego.speed_mps, speed_mps, 1.2) + 0.5 * self.ego.length_m


def fill(crowd: Crowd, strip: Strip, reach: tuple[float, float], flow: Flow) -> None:
    """Put cars on a strip from the end of a stretch (first and last metre) to its beginning, each at a safe gap."""
    rng, ego = crowd.rng, flow.ego
    ego_m = ego.s_m + 0.5 * ego.length_m - ego.rear_m if ego else -np.inf
    # Rear bumper and speed of the one ahead.
    rear, ahead_mps = reach[1], np.inf
    while True:
        driver = crowd.driver(flow.limit_mps, slow=flow.slow)
        speed = min(driver["desired_mps"] * rng.uniform(0.85, 1.0), 1.05 * ahead_mps, flow.at_most_mps)
        half = 0.5 * driver["length_m"]
        gap = safe_gap_m(speed, ahead_mps, driver["headway_s"], driver["gap_m"]) if np.isfinite(ahead_mps) else 0.0
        s_m = rear - gap - rng.exponential(flow.spare_m) - half
        if ego is not None and s_m - half < ego_m + flow.clear_m(speed):
            # The next one is the ego; who was to stand here stands behind it.
            rear, ahead_mps, ego = ego_m - 0.5 * ego.length_m, ego.speed_mps, None
            continue
        if s_m - half < reach[0]:
            return
        crowd.place(*strip.at(s_m), speed, driver, int(rng.choice(flow.turns)))
        rear, ahead_mps = s_m - half, speed


def surround(
    rng: np.random.Generator,
    strips: Sequence[tuple[Strip, tuple[float, float], Flow]],
    *,
    least: int,
    truck_m: tuple[float, float] = (8.0, 14.0),
) -> Crowd:
    """Fill strips, each from its first to its last metre; closer, where the cars would be fewer than `least`."""
    while True:
        crowd = Crowd(rng, truck_m=truck_m)
        for strip, reach, flow in strips:
            fill(crowd, strip, reach, flow)
        if len(crowd) >= least:
            return crowd
        strips = [(strip, reach, replace(flow, spare_m=0.6 * flow.spare_m)) for strip, reach, flow in strips]


def expert_metres(lanes: Lanes, route: Route, ego: EgoStart, traffic: Traffic, duration_s: float) -> float:
    """Return about how far along its route an IDM driver gets, kept behind those ahead of it on the route.

    The others keep their speed; one that crosses is no leader. Good enough to measure progress against until a driver
    has been through the scenario (see `bank.with_expert`).

    Source: Treiber, Hennecke, Helbing, "Congested traffic states", 2000 (IDM); 1.5 m/s2 and 1.2 s of headway.
    """
    # Plain numbers: a step is a dozen of them, and arrays of so few cost ten times as much.
    metre, ahead = _on_route(route, traffic, len(lanes.count))
    begins = [float(m) for m in metre]
    leaders = [(m, float(traffic.speed_mps[i]), float(traffic.length_m[i])) for m, i in zip(begins, ahead, strict=True)]
    front = ego.s_m + ego.length_m - ego.rear_m
    s_m, speed, curve = ego.s_m, ego.speed_mps, _speed_in_bends(route).tolist()
    for step in range(round(duration_s / STEP_S)):
        wanted = min(curve[int(s_m) : int(s_m) + 20], default=40.0)
        free = 1.0 - (speed / max(min(wanted, 40.0), 1.0)) ** 4
        at = front + s_m - ego.s_m
        gaps = [(m + v * step * STEP_S - 0.5 * length - at, v) for m, v, length in leaders]
        gap, ahead_mps = min((g for g in gaps if g[0] > -4.0), default=(math.inf, 0.0))
        if gap < math.inf:
            want = 2.0 + max(0.0, 1.2 * speed + speed * (speed - ahead_mps) / (2 * math.sqrt(1.5 * 2.0)))
            free -= (want / max(gap, 0.5)) ** 2
        before = speed
        speed = max(0.0, speed + max(1.5 * free, -5.0) * STEP_S)
        s_m = min(s_m + 0.5 * (before + speed) * STEP_S, route.length_m)
    return float(max(s_m - ego.s_m, 1.0))


def _on_route(route: Route, traffic: Traffic, n_lanes: int) -> tuple[Floats, Floats]:
    """Return metre along the route and index of the cars that stand on lanes of its reference line."""
    under, under_s = route.lane[:, ACROSS], route.lane_s_m[:, ACROSS]
    metres, which = [], []
    for i, lane in enumerate(traffic.lane):
        on = np.flatnonzero(under == lane)
        if len(on):
            k = on[np.argmin(np.abs(under_s[on] - traffic.s_m[i]))]
            if abs(under_s[k] - traffic.s_m[i]) < 2.0:
                metres.append(float(k))
                which.append(i)
    return np.array(metres), np.array(which, dtype=np.int64)


def _speed_in_bends(route: Route) -> Floats:
    """Return the speed, `(points,)` m/s, that keeps the limit and 2.5 m/s2 sideways."""
    bends = np.sqrt(2.5 / np.maximum(np.abs(route.curvature), 1e-4))
    return np.asarray(np.minimum(route.limit_mps, bends))
