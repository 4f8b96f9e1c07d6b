"""Which lanes a recorded car meant to follow: the chain of lanes that lies along its track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.network import Network
from nightshift.driving.importers.polylines import heading_at, on_polyline
from nightshift.driving.roads import Line, chained, line_of

Floats = NDArray[np.float64]
#: A chain of lanes is looked for no further than this beyond the track, m, and among no more chains than these.
_BEYOND_M, _MOST_CHAINS = 30.0, 200
#: So much road is wanted behind the lane of the start and beyond that of the track's end, m; less where the map ends.
#: Ahead it is more than an observation shows (150 m), so that the route's end does not tell where the driver ended up.
BEHIND_M, AHEAD_M = 20.0, 160.0
#: A place is on a lane within its edge and so much, m, driving within 60 degrees of its direction.
_EDGE_M, _SAME_WAY = 0.3, 0.5
#: A track that lies further from its chain belongs to no chain, m.
_FARTHEST_M = 9.0
#: Metres that a track may begin before or end after its chain.
_SLACK_M = 0.5


@dataclass(frozen=True)
class Chain:
    """Lanes one after the other, with a track's places on them.

    Attributes:
        lanes: their numbers.
        s_m, d_m: `(t,)` of the track along and to the left of them.
    """

    lanes: tuple[int, ...]
    s_m: Floats
    d_m: Floats


def lane_under(network: Network, x: float, y: float, heading: float) -> tuple[int, float, float] | None:
    """Return the lane under a car, with metre and distance to the left of its middle; None beside the road."""
    found = on_lanes(network, x, y, heading)
    return found[0] if found else None


def on_lanes(network: Network, x: float, y: float, heading: float) -> list[tuple[int, float, float]]:
    """Return all lanes under a place, the one whose middle is nearest first."""
    lanes = network.lanes
    near = np.flatnonzero((lanes.x - x) ** 2 + (lanes.y - y) ** 2 < 8.0**2)
    candidates = np.unique(np.searchsorted(lanes.first, near, side="right") - 1)
    found = []
    for lane in candidates.tolist():
        line = line_of(lanes, lane)
        s, d = on_polyline(line, np.array([x]), np.array([y]))
        inside = -_SLACK_M <= s[0] <= len(line.x) - 1 + _SLACK_M
        same_way = np.cos(heading_at(line.heading, s)[0] - heading) > _SAME_WAY
        if inside and same_way and abs(d[0]) <= 0.5 * lanes.width_m[lane] + _EDGE_M:
            found.append((lane, float(np.clip(s[0], 0.0, len(line.x) - 1.0)), float(d[0])))
    return sorted(found, key=lambda f: abs(f[2]))


def chains_along(network: Network, x: Floats, y: Floats, heading: Floats) -> list[Chain]:
    """Return the chains of lanes along a track, at most two, the better one first.

    That is the nearest chain that the track ends on, since a car that changes lanes is led by the lane that it wanted,
    and the nearest one that it begins on.
    """
    length = float(np.hypot(np.diff(x), np.diff(y)).sum()) + _BEYOND_M
    back = [
        tuple(reversed(chain))
        for lane, s, _ in on_lanes(network, float(x[-1]), float(y[-1]), float(heading[-1]))
        for chain in _walks(network, network.before, lane, s, length)
    ]
    onward = [
        chain
        for lane, s, _ in on_lanes(network, float(x[0]), float(y[0]), float(heading[0]))
        for chain in _walks(network, network.after, lane, float(network.lanes.length_m[lane]) - s, length)
    ]
    best = [chain for chains in (back, onward) if (chain := _best(network, chains, x, y)) is not None]
    return [_placed(network, _prolonged(network, chain), x, y) for chain in dict.fromkeys(best)]


def line_along(network: Network, lanes: tuple[int, ...]) -> Line:
    """Return the lanes' line."""
    return chained([line_of(network.lanes, lane) for lane in lanes])


def _walks(
    network: Network, onwards: tuple[tuple[int, ...], ...], lane: int, reached_m: float, wanted_m: float
) -> list[tuple[int, ...]]:
    """Return all ways from a lane that reach so far, or as far as the map goes."""
    whole: list[tuple[int, ...]] = []
    open_ways: list[tuple[tuple[int, ...], float]] = [((lane,), reached_m)]
    while open_ways and len(whole) + len(open_ways) < _MOST_CHAINS:
        way, reached = open_ways.pop(0)
        nexts = [n for n in onwards[way[-1]] if n not in way]
        if reached >= wanted_m or not nexts:
            whole.append(way)
            continue
        open_ways += [((*way, n), reached + float(network.lanes.length_m[n])) for n in nexts]
    return whole + [way for way, _ in open_ways]


def _best(network: Network, chains: list[tuple[int, ...]], x: Floats, y: Floats) -> tuple[int, ...] | None:
    fits = []
    for lanes in chains:
        chain = _placed(network, lanes, x, y)
        end = line_along(network, lanes).length_m
        if chain.s_m[0] < -_SLACK_M or chain.s_m[-1] > end + _SLACK_M or np.abs(chain.d_m).max() > _FARTHEST_M:
            continue
        fits.append((float(np.abs(chain.d_m).mean()), lanes))
    return min(fits)[1] if fits else None


def _placed(network: Network, lanes: tuple[int, ...], x: Floats, y: Floats) -> Chain:
    line = line_along(network, lanes)
    return Chain(lanes, *on_polyline(line, x, y))


def _prolonged(network: Network, lanes: tuple[int, ...]) -> tuple[int, ...]:
    """Go on straight behind and ahead as far as the map does."""
    chain, reached = list(lanes), 0.0
    while reached < AHEAD_M and (nexts := [n for n in network.after[chain[-1]] if n not in chain]):
        chain.append(min(nexts, key=lambda n: _bend(network, n)))
        reached += float(network.lanes.length_m[chain[-1]])
    reached = 0.0
    while reached < BEHIND_M and (nexts := [n for n in network.before[chain[0]] if n not in chain]):
        chain.insert(0, min(nexts, key=lambda n: _bend(network, n)))
        reached += float(network.lanes.length_m[chain[0]])
    return tuple(chain)


def _bend(network: Network, lane: int) -> float:
    heading = line_of(network.lanes, lane).heading
    return abs(float(heading[-1] - heading[0]))
