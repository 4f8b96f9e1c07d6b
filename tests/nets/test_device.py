"""Device, threads and random state: chosen by name, and put back afterwards."""

from __future__ import annotations

import pytest
import torch

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.nets.device import pick, random_state, seeded, set_random_state, threads

CPU = torch.device("cpu")


def test_the_cpu_is_taken_where_it_is_asked_for() -> None:
    assert pick("cpu") == CPU


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_cuda_is_taken_or_refused_in_words_by_what_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"cuda was asked for.*sees no GPU here.*auto or cpu"):
        pick("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick("cuda").type == pick("auto").type == "cuda"
    assert pick("cpu") == CPU


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cuda'"):
        pick("cuda0")


def test_a_seed_repeats_and_leaves_the_callers_state_alone() -> None:
    before = torch.get_rng_state()
    drawn = []
    for seed in (5, 5, 6):
        with seeded(seed, CPU):
            drawn.append(torch.rand(8))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_state_is_gone_on_from() -> None:
    with seeded(5, CPU):
        torch.rand(3)
        state = random_state(CPU)
        first = torch.rand(8)
        set_random_state(state, CPU)
        assert torch.equal(torch.rand(8), first)


def test_threads_are_set_and_put_back_even_after_an_error() -> None:
    before = torch.get_num_threads()

    def works_and_fails() -> None:
        with threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        works_and_fails()
    assert torch.get_num_threads() == before


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads must be 1 or more, got 0"), threads(0):
        pass
