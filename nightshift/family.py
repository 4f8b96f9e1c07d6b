"""The contract that every family keeps, and what it is given.

A family is one file in `nightshift/families/` that offers one object `FAMILY`, and one YAML in `configs/families/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightshift.findings import Finding
from nightshift.progress import ProgressEvent

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.edge.manifest import Interface
    from nightshift.problems.evaluation import Evaluation
    from nightshift.problems.problem import Samples

#: name -> array; the same names as the bundle's inputs or outputs.
Arrays = Mapping[str, NDArray[Any]]

Need = Literal["labels", "rul", "runs", "clock", "scenarios", "fuel", "carbon", "behaviour", "odd", "class", "value"]


class FamilyConfig(BaseModel):
    """What every family's config has. A field's `json_schema_extra={"flag": "--x"}` names its command-line flag.

    Attributes:
        seed: of everything random.
        presets: names that `preset` may have.
        preset: `fast`, `standard` or `high` (15, 30, 60 minutes), or the library's own preset.
        time_limit_s: ceiling of the training time; None = the preset's.
        max_gap: relative gap between train and test metric beyond which a finding is made.
        margin: a challenger may be this much worse than the champion in the primary metric and count as not worse;
            absolute for scores (F1), a share of the champion's figure for errors (RMSE), which have a unit.
        wanted: metric name -> value to reach on test; a missed one is printed in red.
        mute: finding codes not to show (blockers cannot be muted).
        device: `cpu` or `cuda`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    presets: ClassVar[tuple[str, ...]] = ("fast", "standard", "high")

    seed: int = 42
    preset: str = "fast"
    time_limit_s: float | None = Field(default=None, gt=0, json_schema_extra={"flag": "--time-limit"})
    max_gap: float = Field(default=0.25, ge=0)
    margin: float = Field(default=0.02, ge=0)
    wanted: dict[str, float] = Field(default_factory=dict)
    mute: tuple[str, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"


#: preset -> seconds; AutoGluon's own preset names get the `standard` time.
PRESET_TIME_S = {"fast": 900.0, "standard": 1800.0, "high": 3600.0}


class Limits(BaseModel):
    """What a target allows for one family.

    Attributes:
        size_mb: wanted upper size of `model.onnx`.
        size_hard_mb: a larger graph is a blocker.
        latency_ms: wanted p99 of one row on one thread.
        memory_mb: wanted resident memory of a process that has loaded the graph and answered.
        model_types: AutoGluon model keys allowed (GBM, RF, XGB, CAT, XT, NN_TORCH), or () for the family's own.
        ceilings: config key -> greatest value; above is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_mb: float = 250.0
    size_hard_mb: float = 500.0
    latency_ms: float = 50.0
    memory_mb: float | None = None
    model_types: tuple[str, ...] = ()
    ceilings: dict[str, float] = Field(default_factory=dict)


@dataclass
class RunContext:
    """What a family may use while it works.

    Attributes:
        cell: the cell key (progress events carry it).
        seed: of everything random; the config's.
        limits: of the target.
        work: folder for the family's own files while it works.
        checkpoints: folder kept when training is interrupted.
        time_limit_s: ceiling of this training.
        device: `cpu` or `cuda`.
        threads: processor threads it may use.
        progress: takes progress events.
        should_stop: true when training should record its checkpoint and stop.
        findings: what the family remarked; add by `note`.
    """

    cell: str
    seed: int
    limits: Limits
    work: Path
    checkpoints: Path
    time_limit_s: float
    device: str = "cpu"
    threads: int = 2
    progress: Callable[[ProgressEvent], None] = lambda _event: None
    should_stop: Callable[[], bool] = lambda: False
    stage: str = "train"
    findings: list[Finding] = field(default_factory=list)

    def note(self, *found: Finding) -> None:
        """Add findings to this stage's."""
        self.findings.extend(found)

    def step(self, step: float, total: float, message: str = "", **metrics: float) -> None:
        """Report progress of this cell's present stage."""
        self.progress(
            ProgressEvent(cell=self.cell, stage=self.stage, step=step, total=total, message=message, metrics=metrics)
        )

    def say(self, step: float, total: float, line: str) -> None:
        """Tell people something as a line of its own."""
        self.progress(ProgressEvent(cell=self.cell, stage=self.stage, step=step, total=total, message=line, line=True))

    def epoch(self, number: int, epochs: int, line: str, figures: Mapping[str, float]) -> None:
        """Report an epoch of training that has ended: a line for people, and figures that MLflow shows at once."""
        self.progress(
            ProgressEvent(
                cell=self.cell,
                stage=self.stage,
                step=number,
                total=epochs,
                message=line,
                metrics=dict(figures),
                epoch=number,
            )
        )


@runtime_checkable
class Fitted(Protocol):
    """A trained model in memory."""

    @property
    def interface(self) -> Interface:
        """What goes in and comes out."""

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters: hyperparameters and what training chose."""


@dataclass(frozen=True)
class GraphVariant:
    """Another form of a model's graph, to be judged beside it; see `stages/optimise.py`.

    Attributes:
        name: as in the bundle's `variants`.
        how: it was made, in words, or why it was not.
        model: None where the form helps this kind of model nothing.
        fill: `(columns,)` what takes the place of missing readings in front of it; None: it takes them as they are.
    """

    name: str
    how: str
    model: onnx.ModelProto | None
    fill: NDArray[np.float32] | None = None

    @property
    def dsp(self) -> bool:
        """Whether it is meant for a DSP, after conversion, and not for onnxruntime."""
        return self.name == "a16w8"


@runtime_checkable
class Optimisable(Protocol):
    """A family whose models have other forms than their graph: smaller, faster, or for a DSP."""

    def variants(self, fitted: Any, data: Dataset, config: Any, ctx: RunContext) -> Iterable[GraphVariant]:
        """Yield the forms of a fitted model; whatever is chosen by data is chosen by train and val's first half."""


@runtime_checkable
class Family(Protocol):
    """One family. It holds no state: everything is in its arguments.

    Attributes:
        name: the family's name, equal to the file's.
        problem: `classification`, `regression`, `anomaly`, `forecast`, `control`.
        group: `machine`, `vehicle`, `driving`, `estimator`.
        needs: what the dataset must offer.
        libraries: distributions whose versions are part of the code fingerprint.
        checkpoints: whether an interrupted training goes on where it stopped.
    """

    name: str
    config: type[FamilyConfig]
    problem: str
    group: str
    needs: frozenset[str]
    libraries: tuple[str, ...]
    checkpoints: bool

    def train(self, data: Dataset, config: Any, ctx: RunContext) -> Any:
        """Fit on the train part (and the halves of validation); never read test."""

    def predict(self, fitted: Any, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with the training library itself; names and dtypes of the outputs as in the bundle."""

    def evaluate(self, fitted: Any, data: Dataset, config: Any, ctx: RunContext) -> Evaluation:
        """Judge on train, val and test, beside the problem's baselines. The only place that reads test."""

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return a part's rows as a model of this interface takes them, with the truth; the gate asks this too."""

    def save(self, fitted: Any, folder: Path) -> None:
        """Write the training library's own files."""

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote, from our own work folder."""

    def export(self, fitted: Any, ctx: RunContext) -> onnx.ModelProto:
        """Return the one graph, raw window in, answer out."""

    def parity_inputs(self, fitted: Any, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return inputs for the parity check: real rows of val, plus the adversarial ones that matter here."""

    def tolerances(self, fitted: Any) -> Mapping[str, float]:
        """Largest accepted |graph - library| per float output; integer outputs must be equal."""


def time_limit_s(config: FamilyConfig) -> float:
    """Return the ceiling of the training time in seconds."""
    return config.time_limit_s or PRESET_TIME_S.get(config.preset, PRESET_TIME_S["standard"])


def rng_of(ctx: RunContext) -> np.random.Generator:
    """Return a generator for this run's seed."""
    return np.random.default_rng(ctx.seed)
