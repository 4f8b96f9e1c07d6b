from __future__ import annotations

import numpy as np
import pytest

from nightshift.trainer.split.allot import allot, members


@pytest.mark.parametrize(
    ("shares", "seats"),
    [([0.53, 0.24, 0.23], [3, 2, 2]), ([0.7, 0.1, 0.2], [5, 1, 1]), ([0.5, 0.5], [4, 3])],
)
def test_equal_groups_are_dealt_out_as_seats_are(shares: list[float], seats: list[int]) -> None:
    """By Sainte-Laguë; d'Hondt's method, which favours the largest part, gives 4, 2, 1 of the first."""
    part = allot(np.ones((7, 1)), np.array(shares), np.random.default_rng(0))

    assert np.bincount(part).tolist() == seats


def test_groups_of_one_class_are_dealt_out_by_class() -> None:
    counts = np.array([[9.0, 0.0]] * 10 + [[0.0, 2.0]] * 10)

    part = allot(counts, np.full(5, 0.2), np.random.default_rng(0))

    assert np.bincount(part[:10]).tolist() == np.bincount(part[10:]).tolist() == [2] * 5


def test_members_count_rows_by_group_and_class() -> None:
    of, counts = members(np.array([7, -1, 7, 7]), np.array([0, 2, 2, 0]))

    assert of.tolist() == [1, 0, 1, 1]
    assert counts.tolist() == [[0, 0, 1], [2, 0, 1]]
    assert members(np.array([7, -1, 7, 7]), None)[1].tolist() == [[1], [3]]
