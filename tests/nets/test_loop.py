"""The training loop: the same result from the same seed, also over an interruption; early stopping; clear errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nightshift.errors import ConfigError, InterruptedTraining, TrainingError
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.loop import Epoch, Learner, LoopContext, LoopPlan, Trained, train

ROWS = 40


class Line(Learner[Tensor]):
    """A small net with dropout, so that its training draws random numbers at every step, and a schedule."""

    def __init__(self, device: torch.device, worth: Callable[[int], float | None] = lambda _: None) -> None:
        self.x = torch.linspace(-1, 1, ROWS, device=device)[:, None]
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)).to(device)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=0.02)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.97)
        self.worth = worth
        self.validated = 0
        self.steps = 0

    def batches(self) -> Iterator[Tensor]:
        for picked in torch.split(torch.randperm(ROWS), 16):
            yield self.x[picked.to(self.x.device)]

    def loss(self, batch: Tensor) -> Tensor:
        return ((self.module(batch) - 2 * batch) ** 2).mean()

    def after_step(self) -> None:
        self.steps += 1

    def validate(self) -> float | None:
        assert not self.module.training
        self.validated += 1
        return self.worth(self.validated)


def weights(trained: Trained[Line]) -> Tensor:
    return torch.cat([p.detach().cpu().flatten() for p in trained.learner.module.parameters()])


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


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
    resumed = train(Line, plan, LoopContext(device="cpu", checkpoint=path, on_epoch=heard.append))
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history
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
