"""Adversarial imitation as a family: its figures, exact resumption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from support.driven import small_roads
from support.homes import a_home
from support.imitated import answers, curve, interrupted, trained

from nightshift import families
from nightshift.settings import Home


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("gail")) as home:
        yield home


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(place: Home, tmp_path: Path) -> None:
    roads = small_roads(place)
    whole, _ = trained(place, roads, "gail", tmp_path / "whole", run_id="whole")
    rows = curve(place, "whole")
    assert [row["step"] for row in rows] == [0, 256, 512]
    assert {"discriminator_loss", "expert_right", "learner_right", "imitation_reward"} <= set(rows[-1]["more"])
    assert all(row["score"] is not None for row in rows)
    # Asked between the batches of the clone, and between rollouts: the second stop lies between the two of these.
    questions = [0]

    def count() -> bool:
        questions[0] += 1
        return False

    trained(place, roads, "gail", tmp_path / "counted", run_id="counted", stop=count)
    again = interrupted(place, roads, "gail", tmp_path / "again", 3, questions[0] - 1, run_id="again")
    assert curve(place, "again") == rows
    assert np.array_equal(answers(again), answers(whole))


def test_a_discount_of_one_would_make_the_absorbing_state_all_that_counts() -> None:
    with pytest.raises(ValidationError, match="gamma"):
        families.get("gail").config.model_validate({"gamma": 1.0})
