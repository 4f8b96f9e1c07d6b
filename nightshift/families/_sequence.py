"""What `tcn` and `lstm_ae` share: their settings, scaled tables, training through the one loop, answers, files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.data.schema import TimeKind
from nightshift.edge.manifest import Column, Interface
from nightshift.errors import DataError
from nightshift.families._vehicle import VehicleConfig, matrix_of
from nightshift.family import RunContext

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nightshift.data.dataset import Dataset
    from nightshift.nets.scaling import ColumnPlan
    from nightshift.nets.windows import WindowSet

#: Windows that are answered at once.
_AT_ONCE = 1_000
WEIGHTS, INTERFACE, TRAINING = "weights.pt", "interface.json", "training.json"

Windows = NDArray[np.float32]
Net = TypeVar("Net", bound="nn.Module")


class SequenceConfig(VehicleConfig):
    """What every sequence family can be told.

    Attributes:
        epochs: at most.
        batch_size: windows behind one step.
        learning_rate: of the first step.
        schedule: of the rate: `constant`, `cosine` over all epochs, or `plateau`: halved when validation stands still.
        patience: epochs without a better figure on validation after which training ends; 0 trains all of them.
        weight_decay: of AdamW.
        clip_norm: limit of the gradient's norm; 0 sets none.
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the processor has it.
        compile: `off`, `on`, or `auto`: compiled by torch on a GPU where that is faster.
        checkpoint_epochs: epochs between checkpoints, at most; one is left every half a minute too.
    """

    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    patience: int = Field(default=15, ge=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    checkpoint_epochs: int = Field(default=10, ge=0)


@dataclass(frozen=True)
class SequenceModel:
    """A trained network.

    Attributes:
        interface: what goes in and comes out.
        net: on the CPU, in eval mode; answers raw windows.
        settings: the config's scalars, and what training chose.
    """

    interface: Interface
    net: Any
    settings: dict[str, Any]

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        return self.settings

    def answer(self, windows: Windows) -> NDArray[np.float32]:
        """Answer raw windows `(n, window_rows, columns)`, some at a time."""
        import torch

        parts = [torch.from_numpy(windows[i : i + _AT_ONCE]) for i in range(0, max(len(windows), 1), _AT_ONCE)]
        return self._answered(parts)

    def answer_rows(self, data: Dataset, part: str, ends: NDArray[np.intp]) -> NDArray[np.float32]:
        """Answer the windows of a part that end at the given rows."""
        import torch

        from nightshift.nets.windows import WindowSet

        table = matrix_of(data, part, self.interface.columns)
        windows = WindowSet(table, ends, self.interface.window_rows, torch.device("cpu"))
        return self._answered(x for x, _ in windows.batches(_AT_ONCE, shuffle=False))

    def _answered(self, parts: Iterator[Tensor] | list[Tensor]) -> NDArray[np.float32]:
        import torch

        with torch.no_grad():
            said = [self.net(part).numpy() for part in parts]
        answers: NDArray[np.float32] = np.concatenate(said)
        return answers


def plan_of(columns: tuple[Column, ...], *, keyed: bool) -> ColumnPlan:
    """Return how the columns become inputs of a network.

    Args:
        columns: of the window.
        keyed: a category chooses the mean and spread of the numbers (an identifier of messages, say); else it is
            an input for each of its classes.
    """
    from nightshift.nets.scaling import ColumnPlan

    categories = tuple((i, len(c.categories)) for i, c in enumerate(columns) if c.categories)
    numbers = tuple(i for i, c in enumerate(columns) if not c.categories)
    if keyed and categories:
        return ColumnPlan(numbers=numbers, unseen=categories, key=categories[0])
    return ColumnPlan(numbers=numbers, classes=categories)


@dataclass(frozen=True)
class Held:
    """Windows of one part, scaled.

    Attributes:
        table: `(rows, width)`.
        ends: `(n,)` the rows at which they end.
        target: `(n,)` what is asked of them; None asks for the window itself.
    """

    table: NDArray[np.float32]
    ends: NDArray[np.intp]
    target: NDArray[np.float32] | None = None

    def windows(self, window_rows: int, device: torch.device) -> WindowSet:
        """Put them on a device."""
        from nightshift.nets.windows import WindowSet

        return WindowSet(self.table, self.ends, window_rows, device, self.target)


def raw_train(data: Dataset, columns: tuple[Column, ...]) -> NDArray[np.float32]:
    """Return the inputs of train.

    Raises:
        DataError: when every value is missing.
    """
    values = matrix_of(data, "train", columns)
    numbers = [i for i, c in enumerate(columns) if not c.categories]
    if not np.isfinite(values[:, numbers]).any():
        raise DataError(
            f"no input of the train part of '{data.subject}' has a value.", hint="Land data with readings in them."
        )
    return values


def more_training(config: SequenceConfig, settings: Mapping[str, Any]) -> str:
    """Return the options to try next: half the rate, half as many epochs again, more patience where that ended it.

    Args:
        config: of the family.
        settings: of the trained model.
    """
    more = f"--learning-rate {config.learning_rate / 2:g} --epochs {math.ceil(config.epochs * 1.5)}"
    trained, best = (int(settings.get(name, config.epochs)) for name in ("epochs_trained", "best_epoch"))
    ended = 0 < config.patience <= trained - best and trained < config.epochs
    return f"{more} --patience {2 * config.patience}" if ended else more


def train_net(
    make: Callable[[], Net],
    loss_of: Callable[[Net, Tensor, Tensor], Tensor],
    held: tuple[Held, Held],
    config: SequenceConfig,
    ctx: RunContext,
    data: Dataset,
    tell: Callable[[float], dict[str, float]] = lambda _loss: {},
) -> tuple[Net, dict[str, Any]]:
    """Train a network on windows of train, stopped early by windows of val.

    Args:
        make: builds the network, on the CPU; its first weights come from torch's generator.
        loss_of: (network, scaled windows, targets) -> mean loss.
        held: windows of train, and of the half of val that stops.
        config: of the family.
        ctx: of the run.
        data: what the windows are of.
        tell: mean loss of the windows held back -> figures to tell after each epoch.

    Returns:
        The network on the CPU in eval mode, and what training chose.

    Raises:
        InterruptedTraining: when asked to stop; the next call goes on.
        TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
    """
    from nightshift.nets.loop import Epoch, LoopContext, LoopPlan, train
    from nightshift.nets.window_learner import WindowLearner

    def build(device: torch.device) -> WindowLearner:
        # Built on the CPU, so that a GPU starts from the same weights.
        return WindowLearner(
            make().to(device),
            loss_of,
            *(part.windows(config.window_rows, device) for part in held),
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            tell=tell,
        )

    def begun(done: int) -> None:
        if done:
            ctx.say(done, config.epochs, f"Goes on from the checkpoint after epoch {done}/{config.epochs}")

    def told(epoch: Epoch) -> None:
        ctx.epoch(epoch.number, config.epochs, epoch.line(config.epochs), epoch.figures())

    plan = config.model_dump(include={"epochs", "patience", "clip_norm", "schedule", "precision", "compile"})
    context = LoopContext(
        device=ctx.device,
        threads=ctx.threads,
        checkpoint=ctx.checkpoints / "training.pt",
        facts={"config": config.model_dump(mode="json"), "dataset": data.fingerprint},
        checkpoint_every_epochs=config.checkpoint_epochs,
        time_limit_s=ctx.time_limit_s,
        on_begin=begun,
        on_epoch=told,
        should_stop=ctx.should_stop,
        note=ctx.note,
    )
    trained = train(build, LoopPlan(seed=ctx.seed, **plan), context)
    best = trained.history[trained.best_epoch - 1]
    chose = {
        "epochs_trained": len(trained.history),
        "best_epoch": best.number,
        "best_val_loss": best.watched,
        "trained_in_bfloat16": trained.way.bfloat16,
        "trained_compiled": trained.way.compiled,
    }
    net: Any = trained.learner.module.cpu().requires_grad_(False)
    return net, chose


def save_sequence(fitted: SequenceModel, folder: Path) -> None:
    """Write weights, shape, interface and settings."""
    from nightshift.nets.checkpoint import Checkpoint, save

    folder.mkdir(parents=True, exist_ok=True)
    net = fitted.net
    shape = net.shape.model_dump(mode="json")
    save(folder / WEIGHTS, Checkpoint("", 0, model=net.state_dict(), meta={"shape": shape}))
    (folder / INTERFACE).write_text(fitted.interface.model_dump_json(indent=1), encoding="utf-8")
    (folder / TRAINING).write_text(json.dumps(fitted.settings, indent=1), encoding="utf-8")


def load_sequence(folder: Path, build: Callable[[Any], Any]) -> SequenceModel:
    """Read what `save_sequence` wrote.

    Args:
        folder: where it lies.
        build: shape as JSON values -> network.

    Raises:
        TrainingError: for weights that cannot be read.
    """
    from nightshift.errors import TrainingError
    from nightshift.nets.checkpoint import load

    found = load(folder / WEIGHTS)
    if found is None:
        raise TrainingError(f"{WEIGHTS} is missing among the model's files.", hint="Train again.")
    net = build(found.meta["shape"])
    net.load_state_dict(found.model)
    return SequenceModel(
        interface=Interface.model_validate_json((folder / INTERFACE).read_bytes()),
        net=net.eval().requires_grad_(False),
        settings=json.loads((folder / TRAINING).read_text(encoding="utf-8")),
    )


def hard_windows(data: Dataset, interface: Interface, ends: NDArray[np.intp], at_most: int) -> dict[str, NDArray[Any]]:
    """Return real windows of val, and the same with readings that are missing, infinite or extreme."""
    from nightshift.edge.window import build_windows
    from nightshift.graphs.parity import adversarial_windows

    chosen = ends[:: max(1, len(ends) // at_most)]
    values = matrix_of(data, "val", interface.columns)
    real = build_windows(values, data.runs("val"), interface.window_rows, chosen)
    return adversarial_windows(real, {})


def clock(data: Dataset, part: str, ends: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the time of each window's newest row in seconds, NaN without a clock, `(n,)`."""
    if data.metadata.time_kind is not TimeKind.CALENDAR:
        return np.full(len(ends), np.nan)
    return data.times_s(part)[ends]
