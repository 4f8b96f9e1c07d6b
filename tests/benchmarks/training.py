"""How fast networks are trained: windows a second of the loop, a plain hand-written one, and PyTorch Lightning's.

All three train the same module with its family's loss from the same windows in the same batches, in one process; none
validates, and the first epoch is not timed. The clock is the process's own time on one thread, which other work on the
machine changes little. The loop is compared with the plain one in float32, a step of each in turn; and as its families
train with it, epochs in turn, with Lightning's defaults. The plain loop gathers its batches from a copied data set of
whole windows, which costs it nothing but memory. Lightning is used as its documentation does: a `Dataset` of windows
behind a `DataLoader`, a `LightningModule`, and a `Trainer` of which only the epochs and the clipping are set.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nightshift.nets.loop import LoopContext, LoopPlan, train
from nightshift.nets.way import Precision
from nightshift.nets.window_learner import WindowLearner
from nightshift.nets.windows import WindowSet
from tests.benchmarks._rows import Row, row

_COLUMNS, _ROWS, _WINDOW, _STRIDE = 15, 39_000, 60, 30
_RATE, _DECAY, _CLIP = 1e-3, 1e-2, 1.0
_ROUNDS, _EPOCHS, _IN_TURN = 5, 3, 9
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        make: builds the module.
        loss: (module, windows, targets) -> mean loss.
        table: `(rows, columns)`.
        ends: `(n,)` last rows of the windows.
        target: `(n,)`.
    """

    name: str
    make: Callable[[], nn.Module]
    loss: Callable[[Any, Tensor, Tensor], Tensor]
    batch_size: int
    table: NDArray[np.float32]
    ends: NDArray[np.intp]
    target: NDArray[np.float32]


def training_speed() -> list[Row]:
    """Windows a second of TCN and LSTM autoencoder, as their families train them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*_compared(_tcn()), *_compared(_lstm_ae())]
    finally:
        torch.set_num_threads(before)


def _compared(case: Case) -> Iterator[Row]:
    own_s, plain_s = _in_turn(case)
    ways: dict[str, Callable[[Case], float]] = {"own": _own, "lightning": _lightning}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(_ROUNDS):
        for name in [*ways][:: 1 - 2 * (i % 2)]:
            found[name].append(len(case.ends) / ways[name](case))
    speed = statistics.median(found["own"])
    over = statistics.median(a / b for a, b in zip(found["own"], found["lightning"], strict=True))
    where = f"{case.name}, batches of {case.batch_size}"
    yield row("vehicle", f"{where}: trained", speed, "windows/s", None, "higher")
    yield row("vehicle", f"{where}: trained in float32", len(case.ends) / own_s, "windows/s", None, "higher")
    yield row("vehicle", f"{where}: plain loop in float32", len(case.ends) / plain_s, "windows/s", None, "higher")
    yield row("vehicle", f"{where}: times a plain loop, both in float32", plain_s / own_s, "x", 1.0, "higher")
    yield row("vehicle", f"{where}: times PyTorch Lightning's defaults", over, "x", 1.5, "higher")
    gathering = _gathering_s(case) * speed / len(case.ends)
    yield row("vehicle", f"{where}: time spent gathering windows", gathering, "share", 0.05, "lower")


def _in_turn(case: Case) -> tuple[float, float]:
    """Return the seconds of an epoch of the loop in float32 and of the plain one, a step of each in turn.

    The loop asks between its batches whether to stop: that is when the plain one has its turn.
    """
    steps, own, plain, last = _plain(case), [0.0], [0.0], [0.0]

    def turn() -> bool:
        now = time.process_time()
        own.append(now - last[0])
        next(steps)
        last[0] = time.process_time()
        plain.append(last[0] - now)
        return False

    _train(case, "float32", _IN_TURN, should_stop=turn)
    # One turn an epoch is before its first step, so a turn's share of the loop is the step before and what is between.
    per_epoch = -(-len(case.ends) // case.batch_size)
    own_s, plain_s = (sum(seconds[1 + per_epoch :]) / (_IN_TURN - 1) for seconds in (own, plain))
    return own_s, plain_s


def _own(case: Case) -> float:
    """Return the seconds of an epoch as the families train."""
    ends: list[float] = []
    _train(case, "auto", _EPOCHS, on_epoch=lambda _epoch: ends.append(time.process_time()))
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _train(case: Case, precision: Precision, epochs: int, **told: Any) -> None:
    windows = WindowSet(case.table, case.ends, _WINDOW, CPU, case.target)

    class Unjudged(WindowLearner):
        def validate(self) -> Any:
            return None

    def build(_device: torch.device) -> WindowLearner:
        return Unjudged(
            case.make(),
            case.loss,
            windows,
            windows,
            batch_size=case.batch_size,
            learning_rate=_RATE,
            weight_decay=_DECAY,
        )

    plan = LoopPlan(epochs=epochs, seed=1, clip_norm=_CLIP, precision=precision, compile="auto")
    train(build, plan, LoopContext(device="cpu", threads=torch.get_num_threads(), **told))


def _plain(case: Case) -> Iterator[None]:
    """Train step by step, for ever."""
    x, y = _copied(case)
    module = case.make()
    optimiser = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=_DECAY)
    while True:
        total = 0.0
        for picked in torch.split(torch.randperm(len(x)), case.batch_size):
            optimiser.zero_grad()
            loss = case.loss(module, x[picked], y[picked])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
            optimiser.step()
            total += loss.item()
            yield


def _lightning(case: Case) -> float:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import pytorch_lightning as lightning

        x, y = _copied(case)
        seconds: list[float] = []

        class Module(lightning.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.module = case.make()

            def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
                loss = case.loss(self.module, *batch)
                self.log("train_loss", loss)
                return loss

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.AdamW(self.parameters(), lr=_RATE, weight_decay=_DECAY)

            # Between the two, so that the checkpoint it writes after each epoch is not held against it.
            def on_train_epoch_start(self) -> None:
                self.started = time.process_time()

            def on_train_epoch_end(self) -> None:
                seconds.append(time.process_time() - self.started)

        data = torch.utils.data.TensorDataset(x, y)
        loader = torch.utils.data.DataLoader(data, batch_size=case.batch_size, shuffle=True)
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(max_epochs=_EPOCHS, default_root_dir=folder, gradient_clip_val=_CLIP)
            trainer.fit(Module(), loader)
    return statistics.mean(seconds[1:])


def _copied(case: Case) -> tuple[Tensor, Tensor]:
    """Return all windows as one tensor, `(n, window_rows, columns)`, and their targets."""
    windows = WindowSet(case.table, case.ends, _WINDOW, CPU, case.target)
    pairs = list(windows.batches(1_000, shuffle=False))
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def _gathering_s(case: Case) -> float:
    """Return the seconds of an epoch that trains nothing."""
    windows = WindowSet(case.table, case.ends, _WINDOW, CPU, case.target)
    seconds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _batch in windows.batches(case.batch_size, shuffle=True):
            pass
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def _tcn() -> Case:
    from nightshift.families.tcn import TcnConfig, _loss
    from nightshift.nets.scaling import ColumnPlan
    from nightshift.nets.tcn import Tcn, TcnShape

    config = TcnConfig()
    shape = TcnShape(
        plan=ColumnPlan(numbers=tuple(range(_COLUMNS))),
        channels=config.channels,
        inner=(config.channels,) * config.blocks,
        kernel=config.kernel,
        head=config.head,
    )

    case = _case("TCN", lambda: Tcn(shape, config.dropout), _loss, config.batch_size)
    return replace(case, target=case.table[case.ends, 0])


def _lstm_ae() -> Case:
    from nightshift.families.lstm_ae import LstmAeConfig, _loss
    from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
    from nightshift.nets.scaling import ColumnPlan

    config = LstmAeConfig()
    shape = LstmAeShape(
        plan=ColumnPlan(numbers=tuple(range(_COLUMNS))),
        hidden=config.hidden,
        latent=config.latent,
        span_rows=config.span_rows or _WINDOW,
    )

    return _case("LSTM autoencoder", lambda: LstmAe(shape), _loss, config.batch_size)


def _case(
    name: str, make: Callable[[], nn.Module], loss: Callable[[Any, Tensor, Tensor], Tensor], batch_size: int
) -> Case:
    rng = np.random.default_rng(1)
    # Slow enough to be learnt from: columns that wander.
    table = np.cumsum(rng.standard_normal((_ROWS, _COLUMNS)), axis=0)
    table = ((table - table.mean(axis=0)) / table.std(axis=0)).astype(np.float32)
    ends = np.arange(_WINDOW - 1, _ROWS, _STRIDE)
    return Case(name, make, loss, batch_size, table, ends, np.zeros(len(ends), np.float32))
