"""Places on polylines: one reckoning for steps of a world, one for all else."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.driving.importers.polylines import on_polyline
from nightshift.driving.lanes import on_line, spots
from nightshift.driving.roads import Pose, arc

#: A bend to the left of 60 m radius, from the origin along x.
BEND = arc(Pose(0.0, 0.0, 0.0), 60.0, 1.0)
LAST = len(BEND.x) - 2


def test_both_reckonings_give_one_place_and_nearly_one_direction() -> None:
    metre = np.linspace(0.0, LAST + 1.0, 200)
    x, y, heading = on_line(BEND, metre, 0.0)
    at = spots(np, BEND.x, BEND.y, metre, np.int64(0), np.int64(LAST))
    assert at.x == pytest.approx(x, abs=1e-12)
    assert at.y == pytest.approx(y, abs=1e-12)
    assert np.arctan2(at.left, at.ahead) == pytest.approx(heading, abs=0.01)
    s, d = on_polyline(BEND, *on_line(BEND, metre, 2.5)[:2])
    assert s == pytest.approx(metre, abs=1e-5)
    assert d == pytest.approx(2.5, abs=1e-5)


def test_beyond_an_end_a_line_goes_straight_on() -> None:
    x, y, heading = on_line(BEND, np.array([-20.0, LAST + 21.0]), np.array([0.0, 0.0]))
    assert heading == pytest.approx([BEND.heading[0], BEND.heading[-1]])
    assert np.hypot(x - BEND.x[[0, -1]], y - BEND.y[[0, -1]]) == pytest.approx(20.0, rel=1e-3)
