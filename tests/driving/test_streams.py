from __future__ import annotations

import numpy as np
from array_api_compat import torch as xp_torch

from nightshift.driving.streams import joined, mixed, uniform


def test_numbers_are_those_of_splitmix64() -> None:
    # The first outputs of the published generator for seed 1234567: its state moves by the golden ratio each time.
    wanted = np.array([6457827717110365317, 3203168211198807973, -8629252141511181193], np.int64)
    state = (np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.int64)
    assert np.array_equal(mixed(state), wanted)


def test_torch_draws_the_same_bits() -> None:
    keys = joined(np.arange(50)[:, None], np.arange(7))
    there = joined(xp_torch.arange(50)[:, None], xp_torch.arange(7))
    assert np.array_equal(keys, there.numpy())
    assert np.array_equal(uniform(np, keys), uniform(xp_torch, there).numpy())


def test_an_int_and_an_array_of_it_give_one_key() -> None:
    keys = np.array([3, -5, 2**62])
    assert np.array_equal(joined(keys, 7), joined(keys, np.array([7, 7, 7])))


def test_draws_fill_the_range_evenly_and_do_not_follow_each_other() -> None:
    drawn = uniform(np, joined(joined(np.array([[1]]), np.arange(400)[:, None]), np.arange(100)))
    assert 0.0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1.0
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] / drawn.size - 0.1).max() < 0.005
    for other in (drawn[1:], drawn[:-1, ::-1]):
        assert abs(np.corrcoef(drawn[: len(other)].ravel(), other.ravel())[0, 1]) < 0.02
