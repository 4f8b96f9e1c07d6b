from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightshift.driving.collide import Boxes, faults, overlaps, time_to_overlap
from nightshift.driving.score_geometry import Boxes as OnMap
from nightshift.driving.score_geometry import overlap

LENGTH, WIDTH = 4.6, 1.9


def box(
    x: float, y: float, turned: float = 0.0, *, length: float = 4.6, width: float = 1.9, speed: float = 9.0
) -> Boxes:
    cos, sin = np.cos(turned), np.sin(turned)
    return Boxes(*(np.array([v]) for v in (x, y, cos, sin, length, width, speed)))


def points_of(boxes: Boxes, finely: int = 60) -> np.ndarray:
    """Points spread over a box, its edges among them."""
    along, across = np.meshgrid(*(np.linspace(-0.5, 0.5, finely),) * 2)
    long, wide = along.ravel() * boxes.length, across.ravel() * boxes.width
    return np.stack([boxes.x + long * boxes.cos - wide * boxes.sin, boxes.y + long * boxes.sin + wide * boxes.cos])


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_what_points_of_the_boxes_say(seed: int) -> None:
    rng, found = np.random.default_rng(seed), []
    for _ in range(150):
        size = {"length": rng.uniform(2, 12), "width": rng.uniform(1.5, 2.6)}
        other = box(rng.uniform(-8, 8), rng.uniform(-6, 6), rng.uniform(-3.1, 3.1), **size)
        x, y = points_of(other)
        inside = bool(((np.abs(x) < LENGTH / 2) & (np.abs(y) < WIDTH / 2)).any())
        said = bool(overlaps(np, other, LENGTH, WIDTH)[0])
        # Points are sparse: what they miss touches by a hand's breadth at most.
        if inside:
            assert said
        elif said:
            assert overlaps(np, other, LENGTH - 0.25, WIDTH - 0.25)[0] <= inside
        found.append(said)
    assert 0.15 < np.mean(found) < 0.85


def test_boxes_side_by_side_and_corner_to_corner_stay_apart() -> None:
    assert not overlaps(np, box(0.0, 1.91), LENGTH, WIDTH)[0]
    assert overlaps(np, box(0.0, 1.89), LENGTH, WIDTH)[0]
    # A box turned by 45 degrees beside a corner: the axes of the first box alone would see an overlap.
    apart = box(2.3 + 2.2, 0.95 + 2.2, np.pi / 4)
    assert not overlaps(np, box(4.2, 3.0, -np.pi / 4, length=3.0), LENGTH, WIDTH)[0]
    assert not overlaps(np, apart, LENGTH, WIDTH)[0]


def test_overlap_on_the_map_is_the_same_wherever_and_however_the_boxes_lie() -> None:
    x, y = np.array([3.9, 4.1, 0.0, 0.0, 2.9]), np.array([0.0, 0.0, 1.9, 3.1, 1.9])
    turned = np.array([0.0, 0.0, 0.0, 0.5, 0.25]) * np.pi
    length, width = np.array([4.0, 4.0, 4.0, 4.0, 2.0]), np.array([2.0, 2.0, 2.0, 2.0, 1.0])
    for heading in (0.0, 0.7, -2.5):
        cos, sin = np.cos(heading), np.sin(heading)
        one = OnMap(*(np.array([v]) for v in (50.0, -80.0, heading, 4.0, 2.0)))
        there = (50.0 + x * cos - y * sin, -80.0 + x * sin + y * cos)
        others = OnMap(*there, turned + heading, length, width)
        assert overlap(one, others).tolist() == overlap(others, one).tolist() == [True, False, True, False, False]
    assert not overlap(one, replace(others, x=others.x * np.nan)).any()


@pytest.mark.parametrize(
    ("other", "speed", "straddles", "wanted"),
    [
        (box(4.4, 0.0, speed=5.0), 10.0, False, True),
        (box(4.4, 0.0, speed=5.0), 0.0, False, False),
        (box(-4.4, 0.0, speed=15.0), 10.0, False, False),
        (box(-4.4, 0.0, speed=15.0), 10.0, True, False),
        (box(0.0, 1.8, speed=9.0), 10.0, False, False),
        (box(0.0, 1.8, speed=9.0), 10.0, True, True),
        (box(-4.4, 0.0, speed=0.0), 10.0, False, True),
        (box(-4.4, 0.0, speed=0.03), 10.0, False, False),
        (box(20.0, 0.0, speed=0.0), 10.0, False, False),
    ],
    ids=[
        "into the one ahead",
        "while it stands",
        "hit from behind",
        "hit from behind on the line",
        "beside, in its lane",
        "beside, on the line",
        "one that stood",
        "one that crept",
        "nobody hit",
    ],
)
def test_fault_follows_the_rules_of_nuplan(other: Boxes, speed: float, straddles: bool, wanted: bool) -> None:
    hit = overlaps(np, other, LENGTH, WIDTH)
    assert faults(np, other, hit, LENGTH, np.array([speed]), np.array([straddles]))[0] == wanted


@pytest.mark.parametrize("seed", range(3))
def test_the_time_until_boxes_meet_is_that_of_small_steps(seed: int) -> None:
    rng, met = np.random.default_rng(seed), 0
    for n in range(100):
        other = box(rng.uniform(-12, 12), rng.uniform(-8, 8), rng.uniform(-3.1, 3.1), length=rng.uniform(2, 12))
        vx, vy = (0.0, 0.0) if n % 10 == 0 else rng.uniform(-12, 12, 2) * [1.0, n % 7 != 0]
        got = float(time_to_overlap(np, other, (np.array([vx]), np.array([vy])), LENGTH, WIDTH, 3.0)[0])
        times = np.arange(0.0, 3.0, 0.005)
        moved = replace(other, x=other.x + vx * times, y=other.y + vy * times)
        hits = np.flatnonzero(overlaps(np, moved, LENGTH, WIDTH))
        want = times[hits[0]] if len(hits) else 3.0
        # A corner that is only grazed may fall between two steps.
        assert got == pytest.approx(want, abs=0.006) or (want == 3.0 and not overlaps_longer(other, vx, vy, got))
        met += got < 3.0
    assert 10 < met < 90


def overlaps_longer(other: Boxes, vx: float, vy: float, since: float) -> bool:
    """Whether boxes still overlap a step after they have met."""
    later = since + 0.005
    return bool(overlaps(np, replace(other, x=other.x + vx * later, y=other.y + vy * later), LENGTH, WIDTH)[0])
