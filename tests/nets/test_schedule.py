"""Learning-rate schedules by name."""

from __future__ import annotations

import pytest
import torch

from nightshift.nets import schedule
from nightshift.nets.schedule import Schedule


def rates(name: Schedule, watched: list[float], patience: int = 2) -> list[float]:
    """Return the rate that each epoch is trained with, and the one after the last."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    made = schedule.make(name, optimiser, len(watched), patience)
    found = [0.1]
    for figure in watched:
        optimiser.step()
        schedule.step(made, figure)
        found.append(float(optimiser.param_groups[0]["lr"]))
    return found


def test_a_cosine_falls_to_a_hundredth_over_all_epochs() -> None:
    found = rates("cosine", [1.0] * 10)
    assert found == sorted(found, reverse=True)
    assert found[5] == pytest.approx(0.1 * 1.01 / 2)
    assert found[-1] == pytest.approx(0.001)


def test_a_plateau_halves_the_rate_when_nothing_is_gained() -> None:
    assert rates("plateau", [5.0, 4.0, 3.0, 2.0]) == [0.1] * 5
    assert rates("plateau", [5.0, 5.0, 5.0, 5.0, 5.0])[-1] == 0.05


def test_a_constant_rate_has_no_schedule() -> None:
    assert rates("constant", [1.0, 2.0]) == [0.1] * 3
