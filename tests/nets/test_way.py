"""How steps are computed: by the processor alone on a CPU, by the clock on a GPU."""

from __future__ import annotations

import math

import pytest
import torch

from nightshift.nets.way import Compile, Precision, Way, choose, fastest, has_bfloat16

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def never(way: Way) -> float:
    raise AssertionError(f"{way} was timed")


@pytest.mark.parametrize(
    ("precision", "compiled", "way"),
    [
        ("float32", "auto", Way()),
        ("bfloat16", "off", Way(bfloat16=True)),
        ("float32", "on", Way(compiled=True)),
        ("auto", "auto", Way(bfloat16=has_bfloat16(CPU))),
    ],
)
def test_a_cpu_is_never_timed(precision: Precision, compiled: Compile, way: Way) -> None:
    assert choose(precision, compiled, CPU, never) == way


def test_a_gpu_takes_the_fastest_of_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.nets.way.has_bfloat16", lambda _device: True)
    seconds = {Way(): 4.0, Way(True): 3.0, Way(False, True): 2.0, Way(True, True): 1.0}
    assert choose("auto", "auto", GPU, seconds.__getitem__) == Way(True, True)
    assert choose("auto", "off", GPU, seconds.__getitem__) == Way(True)
    assert choose("float32", "auto", GPU, seconds.__getitem__) == Way(False, True)
    assert choose("float32", "off", GPU, never) == Way()


def test_the_simple_way_stays_unless_another_is_faster_by_a_tenth() -> None:
    plain, low, compiled = Way(), Way(True), Way(False, True)
    assert fastest([plain, low], {plain: 1.0, low: 0.95}.__getitem__) == plain
    assert fastest([plain, low], {plain: 1.0, low: 0.85}.__getitem__) == low
    assert fastest([plain, low], lambda _: math.inf) == plain

    def broken(way: Way) -> float:
        if way.compiled:
            raise RuntimeError("no compiler here")
        return 1.0

    assert fastest([plain, compiled], broken) == plain
