"""A training whose memory runs out: a smaller batch, a finding, and the same result as if it had been asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.learners import ROWS, Line, stop_after, weights
from torch import Tensor

from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.findings import Finding
from nightshift.nets import memory
from nightshift.nets.loop import LoopContext, LoopPlan, train


class Windowed(Line):
    """Learns from windows, in batches that can be halved."""

    def __init__(self, device: torch.device, room: int = 1000) -> None:
        super().__init__(device)
        self.batch_size, self.room = 16, room
        self.sizes: list[int] = []

    def batches(self) -> Iterator[Tensor]:
        for picked in torch.split(torch.randperm(ROWS), self.batch_size):
            yield self.x[picked.to(self.x.device)]

    def loss(self, batch: Tensor) -> Tensor:
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.sizes.append(len(batch))
        return super().loss(batch)


def test_out_of_memory_halves_the_batch_until_it_fits_and_says_so() -> None:
    heard: list[Finding] = []
    plan = LoopPlan(epochs=3, seed=3)
    trained = train(lambda d: Windowed(d, room=5), plan, LoopContext(device="cpu", note=heard.append))
    assert trained.learner.batch_size == 4
    assert set(trained.learner.sizes) == {4}
    assert [f.code for f in heard] == ["T019", "T019"]
    assert heard[1].what.startswith("A batch of 16 did not fit into the memory of this machine; the training goes on w")

    def small(device: torch.device) -> Windowed:
        learner = Windowed(device)
        learner.batch_size = 4
        return learner

    # What was tried has left no trace: the same as if it had been asked for.
    asked = train(small, plan, LoopContext(device="cpu"))
    assert torch.equal(weights(trained), weights(asked))


def test_a_halved_batch_stays_halved_over_an_interruption(tmp_path: Path) -> None:
    plan, path = LoopPlan(epochs=4, seed=3), tmp_path / "line.pt"
    whole = train(lambda d: Windowed(d, room=8), plan, LoopContext(device="cpu"))
    heard: list[Finding] = []
    with pytest.raises(InterruptedTraining):
        train(
            lambda d: Windowed(d, room=8), plan, LoopContext(device="cpu", checkpoint=path, should_stop=stop_after(12))
        )
    # More memory is free now: it goes on as it was.
    resumed = train(Windowed, plan, LoopContext(device="cpu", checkpoint=path, note=heard.append))
    assert torch.equal(weights(resumed), weights(whole))
    assert [f.code for f in heard] == ["T019"]


def test_a_memory_that_does_not_hold_one_window_is_an_error_with_advice() -> None:
    with pytest.raises(TrainingError, match=r"does not fit into the memory: CUDA out of memory.* Free memory, or"):
        train(lambda d: Windowed(d, room=0), LoopPlan(epochs=1, seed=3), LoopContext(device="cpu"))

    def too_large(_device: torch.device) -> Line:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(TrainingError, match="network and data do not fit"):
        train(too_large, LoopPlan(epochs=1, seed=3), LoopContext(device="cpu"))


def test_an_error_that_is_not_about_memory_is_not_tried_again() -> None:
    class Broken(Windowed):
        def loss(self, batch: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(Broken, LoopPlan(epochs=1, seed=3), LoopContext(device="cpu"))


def test_a_gpu_is_told_of_the_allocators_setting() -> None:
    told = memory.halved(64, 32, torch.device("cuda"))
    assert "the memory of the GPU" in told.what
    assert "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True" in told.remedy
