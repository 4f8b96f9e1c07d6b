"""The training loop: the same result from the same seed, also over an interruption; early stopping; clear errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.learners import ROWS, Line, stop_after, weights
from torch import Tensor

from nightshift.errors import ConfigError, InterruptedTraining, TrainingError
from nightshift.findings import Finding
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.loop import Epoch, LoopContext, LoopPlan, Validation, train
from nightshift.nets.schedule import Schedule
from nightshift.nets.way import Way


def test_a_training_learns_and_the_same_seed_gives_the_same_weights() -> None:
    runs = [train(Line, LoopPlan(epochs=30, seed=s), LoopContext(device="cpu")) for s in (1, 1, 2)]
    assert runs[0].history[-1].loss < runs[0].history[0].loss / 3
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert runs[0].history == runs[1].history
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def test_training_on_whatever_auto_finds_learns_the_same_way() -> None:
    trained = train(Line, LoopPlan(epochs=30, seed=1), LoopContext(device="auto"))
    on_cpu = train(Line, LoopPlan(epochs=30, seed=1), LoopContext(device="cpu"))
    # On a GPU dropout draws other numbers: the same way, not the same bytes.
    assert trained.history[-1].loss == pytest.approx(on_cpu.history[-1].loss, rel=0.5)


def test_the_callers_random_state_and_threads_are_untouched() -> None:
    state, n = torch.get_rng_state(), torch.get_num_threads()
    train(Line, LoopPlan(epochs=1, seed=1), LoopContext(device="cpu", threads=n + 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n


# One epoch asks once before its first batch and once before each of the other two.
@pytest.mark.parametrize("calls", [0, 1, 7, 8, 12])
def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path: Path, calls: int) -> None:
    plan = LoopPlan(epochs=6, seed=3)
    whole = train(Line, plan, LoopContext(device="cpu"))
    path = tmp_path / "line.pt"
    with pytest.raises(InterruptedTraining, match=rf"after {calls // 3} of 6 epochs; they are kept"):
        train(Line, plan, LoopContext(device="cpu", checkpoint=path, should_stop=stop_after(calls)))
    heard: list[Epoch] = []
    begun: list[int] = []
    again = LoopContext(device="cpu", checkpoint=path, on_begin=begun.append, on_epoch=heard.append)
    resumed = train(Line, plan, again)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history
    assert begun == [calls // 3]
    assert [e.number for e in heard] == list(range(calls // 3 + 1, 7))


def test_a_checkpoint_of_a_crash_loses_at_most_the_time_since(tmp_path: Path) -> None:
    path = tmp_path / "line.pt"
    whole = train(Line, LoopPlan(epochs=5, seed=3), LoopContext(device="cpu"))

    def crashes(epoch: Epoch) -> None:
        if epoch.number == 4:
            raise KeyboardInterrupt

    context = LoopContext(device="cpu", checkpoint=path, checkpoint_every_s=0, on_epoch=crashes)
    with pytest.raises(KeyboardInterrupt):
        train(Line, LoopPlan(epochs=5, seed=3), context)
    kept = checkpoints.load(path)
    assert kept is not None
    assert kept.epoch == 3
    again = train(Line, LoopPlan(epochs=5, seed=3), LoopContext(device="cpu", checkpoint=path))
    assert torch.equal(weights(again), weights(whole))


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    context = LoopContext(device="cpu", checkpoint=tmp_path / "line.pt")
    first = train(Line, LoopPlan(epochs=3, seed=3), context)
    again = train(Line, LoopPlan(epochs=3, seed=3), context)
    assert (first.learner.steps, again.learner.steps) == (9, 0)
    assert torch.equal(weights(first), weights(again))


@pytest.mark.parametrize("other", [LoopPlan(epochs=4, seed=3), LoopPlan(epochs=3, seed=4)])
def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path, other: LoopPlan) -> None:
    context = LoopContext(device="cpu", checkpoint=tmp_path / "line.pt")
    train(Line, LoopPlan(epochs=3, seed=3), context)
    with pytest.raises(TrainingError, match="belongs to another training"):
        train(Line, other, context)


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    plan = LoopPlan(epochs=2, seed=3)
    train(Line, plan, LoopContext(device="cpu", checkpoint=tmp_path / "l.pt", fingerprint="a"))
    with pytest.raises(TrainingError, match="belongs to another training"):
        train(Line, plan, LoopContext(device="cpu", checkpoint=tmp_path / "l.pt", fingerprint="b"))


def _falls_until(best: int) -> Callable[[torch.device], Line]:
    return lambda device: Line(device, worth=lambda n: float(abs(n - best)))


def test_early_stopping_ends_after_its_patience_with_the_best_weights() -> None:
    stopped = train(_falls_until(4), LoopPlan(epochs=50, seed=3, patience=3), LoopContext(device="cpu"))
    assert len(stopped.history) == 7
    assert stopped.best_epoch == 4
    best = train(Line, LoopPlan(epochs=4, seed=3), LoopContext(device="cpu"))
    assert torch.equal(weights(stopped), weights(best))
    assert not stopped.learner.module.training


def test_early_stopping_goes_on_after_an_interruption_as_if_there_was_none(tmp_path: Path) -> None:
    # The validation figure must come from the weights: a fresh process knows no count of epochs.
    def build(device: torch.device) -> Line:
        line = Line(device)
        line.worth = lambda _: -float(line.module[0].weight.abs().sum())
        return line

    plan = LoopPlan(epochs=40, seed=3, patience=2, min_gain=0.02)
    whole = train(build, plan, LoopContext(device="cpu"))
    assert 3 < len(whole.history) < 40
    path = tmp_path / "line.pt"
    stop = stop_after(3 * (len(whole.history) - 1))
    with pytest.raises(InterruptedTraining):
        train(build, plan, LoopContext(device="cpu", checkpoint=path, should_stop=stop))
    resumed = train(build, plan, LoopContext(device="cpu", checkpoint=path))
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert torch.equal(weights(resumed), weights(whole))


def test_without_patience_the_last_weights_stay() -> None:
    trained = train(_falls_until(2), LoopPlan(epochs=5, seed=3), LoopContext(device="cpu"))
    assert (len(trained.history), trained.best_epoch) == (5, 5)


def test_a_stop_without_a_checkpoint_says_that_nothing_is_kept() -> None:
    with pytest.raises(InterruptedTraining, match="nothing is kept"):
        train(Line, LoopPlan(epochs=3, seed=3), LoopContext(device="cpu", should_stop=lambda: True))


def test_a_loss_that_is_no_number_is_an_error_with_advice() -> None:
    class Broken(Line):
        def loss(self, batch: Tensor) -> Tensor:
            return super().loss(batch) * float("nan")

    with pytest.raises(TrainingError, match=r"finite number, got nan in epoch 1\. Lower the learning rate"):
        train(Broken, LoopPlan(epochs=3, seed=3), LoopContext(device="cpu"))


def test_clipping_holds_the_gradients_norm() -> None:
    norms: list[float] = []

    class Steep(Line):
        def loss(self, batch: Tensor) -> Tensor:
            return super().loss(batch) * 1e3

        def after_step(self) -> None:
            grads = [p.grad for p in self.module.parameters() if p.grad is not None]
            norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))

    train(Steep, LoopPlan(epochs=2, seed=3, clip_norm=0.5), LoopContext(device="cpu"))
    assert len(norms) == 6
    assert max(norms) <= 0.5 + 1e-5


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": 1, "patience": -1}, {"epochs": 1, "clip_norm": -1.0}])
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="epochs must be 1 or more"):
        LoopPlan(seed=1, **wrong)


@pytest.mark.parametrize("name", ["cosine", "plateau"])
def test_a_schedule_by_name_goes_on_after_an_interruption(tmp_path: Path, name: Schedule) -> None:
    def build(device: torch.device) -> Line:
        line = Line(device)
        line.schedule = None
        line.worth = lambda _: float(line.module[0].weight.abs().sum())
        return line

    plan = LoopPlan(epochs=6, seed=3, schedule=name, rate_patience=1)
    whole = train(build, plan, LoopContext(device="cpu"))
    rates = [e.rate for e in whole.history]
    assert rates[0] == 0.02
    assert rates[-1] < rates[0]
    path = tmp_path / "line.pt"
    with pytest.raises(InterruptedTraining):
        train(build, plan, LoopContext(device="cpu", checkpoint=path, should_stop=stop_after(14)))
    resumed = train(build, plan, LoopContext(device="cpu", checkpoint=path))
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history


def test_figures_of_validation_are_told_with_the_epoch_and_kept(tmp_path: Path) -> None:
    class Judged(Line):
        def validate(self) -> Validation:
            return Validation(1.0, {"accuracy_pct": 84.1})

    context = LoopContext(device="cpu", checkpoint=tmp_path / "l.pt")
    heard: list[Epoch] = []
    train(Judged, LoopPlan(epochs=2, seed=3), replace(context, on_epoch=heard.append))
    assert [(e.number, e.validation, e.metrics) for e in heard] == [(n, 1.0, {"accuracy_pct": 84.1}) for n in (1, 2)]
    assert train(Judged, LoopPlan(epochs=2, seed=3), context).history == tuple(heard)


def test_a_time_limit_ends_a_training_with_what_it_has(tmp_path: Path) -> None:
    heard: list[Finding] = []
    context = LoopContext(device="cpu", checkpoint=tmp_path / "l.pt", time_limit_s=1e-9, note=heard.append)
    first = train(Line, LoopPlan(epochs=50, seed=3), context)
    assert len(first.history) == 1
    assert first.learner.steps == 1
    assert [f.code for f in heard] == ["T020"]
    assert "after 1 of 50 epochs" in heard[0].what
    again = train(Line, LoopPlan(epochs=50, seed=3), context)
    assert again.learner.steps == 0, "the time was spent before"
    longer = train(Line, LoopPlan(epochs=50, seed=3), replace(context, time_limit_s=3600.0))
    assert len(longer.history) == 50


def test_checkpoints_are_left_after_the_first_epoch_and_every_so_many(tmp_path: Path) -> None:
    path, found = tmp_path / "l.pt", []

    def look(_epoch: Epoch) -> None:
        kept = checkpoints.load(path)
        found.append(kept.epoch if kept else 0)

    context = LoopContext(device="cpu", checkpoint=path, checkpoint_every_epochs=3, on_epoch=look)
    train(Line, LoopPlan(epochs=6, seed=3), context)
    assert found == [0, 1, 1, 3, 3, 3]


def test_a_refused_checkpoint_says_what_differs_with_both_values(tmp_path: Path) -> None:
    context = LoopContext(device="cpu", checkpoint=tmp_path / "l.pt", facts={"rate": 0.001, "data": {"rows": 40}})
    train(Line, LoopPlan(epochs=3, seed=3), context)
    other = replace(context, facts={"rate": 0.0005, "data": {"rows": 40}})
    with pytest.raises(TrainingError, match=r"epochs is 3 there and 5 here; rate is 0\.001 there and 0\.0005 here\."):
        train(Line, LoopPlan(epochs=5, seed=3), other)


def test_bfloat16_learns_the_same_and_the_weights_stay_float32() -> None:
    low, full = (
        train(Line, LoopPlan(epochs=30, seed=1, precision=p), LoopContext(device="cpu"))
        for p in ("bfloat16", "float32")
    )
    assert low.way == Way(bfloat16=True)
    assert weights(low).dtype == torch.float32
    assert not torch.equal(weights(low), weights(full))
    assert low.history[-1].loss == pytest.approx(full.history[-1].loss, rel=0.5)


def test_timing_the_ways_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[float] = []

    def try_all(_precision: object, _compile: object, _device: object, seconds_of: Callable[[Way], float]) -> Way:
        timed.extend(seconds_of(way) for way in (Way(), Way(bfloat16=True)))
        return Way()

    class Long(Line):
        def batches(self) -> Iterator[Tensor]:
            for picked in torch.split(torch.randperm(ROWS), 4):
                yield self.x[picked]

    plan = LoopPlan(epochs=2, seed=3)
    plain = train(Long, plan, LoopContext(device="cpu"))
    monkeypatch.setattr("nightshift.nets.loop.choose", try_all)
    tried = train(Long, plan, LoopContext(device="cpu"))
    assert all(0 < seconds < 1 for seconds in timed)
    assert len(timed) == 2
    assert torch.equal(weights(plain), weights(tried))
    # An epoch that is over before the clock starts says nothing.
    assert train(Line, plan, LoopContext(device="cpu")).way == Way()
    assert timed[2:] == [math.inf, math.inf]
