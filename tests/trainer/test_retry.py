"""A fit that diverged is tried with new seeds, which are recorded."""

from __future__ import annotations

import pytest

from nightshift.errors import TrainingError
from nightshift.progress import ProgressEvent
from nightshift.trainer.retry import DivergedError, seeds, with_new_seeds


def diverging(times: int, tried: list[int]) -> object:
    """A fit that diverges so many times."""

    def fit(seed: int) -> str:
        tried.append(seed)
        if len(tried) <= times:
            raise DivergedError("the loss became NaN.")
        return f"model of {seed}"

    return fit


def test_a_fit_that_holds_is_not_tried_again() -> None:
    tried: list[int] = []
    done = with_new_seeds(diverging(0, tried), 42, 2, lambda _event: None)  # type: ignore[arg-type]
    assert (done.outcome, done.seed, done.tried, done.findings) == ("model of 42", 42, (), ())


def test_a_new_seed_is_taken_recorded_and_told() -> None:
    tried: list[int] = []
    told: list[ProgressEvent] = []
    done = with_new_seeds(diverging(1, tried), 42, 2, told.append, "fold 1/5")  # type: ignore[arg-type]
    assert done.tried == (42,)
    assert done.seed == tried[1] != 42
    assert [each.code for each in done.findings] == ["T031"]
    assert f"seed 42; seed {done.seed} was taken" in done.findings[0].what
    assert [(event.stage, event.message) for event in told] == [("fold 1/5", "Seed 42: the loss became NaN.")]
    assert tried == list(seeds(42, 2))[:2], "another call would try others"


def test_a_fit_that_diverges_with_every_seed_is_an_error_that_names_them() -> None:
    tried: list[int] = []
    with pytest.raises(TrainingError, match=r"the loss became NaN, with the seeds 42, .* Lower the learning rate"):
        with_new_seeds(diverging(9, tried), 42, 2, lambda _event: None)  # type: ignore[arg-type]
    assert len(set(tried)) == 3


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def fit(seed: int) -> None:
        calls.append(seed)
        raise TrainingError("no.")

    with pytest.raises(TrainingError, match=r"^no\.$"):
        with_new_seeds(fit, 1, 2, lambda _event: None)
    assert calls == [1]


def test_seeds_differ_and_fit_into_what_every_library_takes() -> None:
    drawn = [seed for first in range(50) for seed in seeds(first, 3)]
    assert all(0 <= seed < 2**31 for seed in drawn)
    assert len(set(drawn)) == len(drawn)
