"""The score of a driver follows from sums per scenario, as the gate's bootstrap needs."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems import problem
from nightshift.problems.control import PROBLEM
from nightshift.problems.problem import Samples


def test_the_problem_is_found_by_its_name() -> None:
    assert problem.get("control") is PROBLEM


def test_drives_of_one_scenario_are_one_unit() -> None:
    unit = np.array(["b", "a", "b", "a", "c"])
    score = np.array([0.5, 1.0, 0.7, 0.0, 0.9])
    found = PROBLEM.statistics({"score": score}, Samples({}, {}, unit, np.full(5, np.nan)))
    assert found.units == ["a", "b", "c"]
    assert found.runs == 3
    assert np.array(found.values) == pytest.approx(np.array([[1.0, 2], [1.2, 2], [0.9, 1]]))
    sums = np.array([[1, 1, 1], [0, 0, 2], [0, 0, 0]]) @ np.array(found.values)
    assert PROBLEM.from_sums(sums) == pytest.approx([score.mean(), 0.9, np.nan], nan_ok=True)
