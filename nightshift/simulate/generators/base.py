"""Generators: what learns the units of a machine and draws new ones; the learnt one and its two baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, Field

from nightshift.errors import DataError, UnknownNameError
from nightshift.simulate.units import UnitColumn

if TYPE_CHECKING:
    import pandas as pd

GENERATORS = ("tvae", "copula", "resample")
#: Fewer units hold no distribution that could be learnt.
MIN_UNITS = 50

Columns = tuple[UnitColumn, ...]


def _unheard(step: int, total: int, message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class FitContext:
    """Where a generator is fitted and whom it tells.

    Attributes:
        seed: of everything random in the fit.
        checkpoints: folder for what an interrupted fit goes on from; None keeps nothing.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads.
        progress: hears (step, steps in all, one line for a person).
        should_stop: asked again and again; true ends the fit with `InterruptedTraining`.
    """

    seed: int
    checkpoints: Path | None = None
    device: str = "auto"
    threads: int = 2
    progress: Callable[[int, int, str], None] = _unheard
    should_stop: Callable[[], bool] = bool


class TvaeConfig(BaseModel):
    """How the TVAE learns. Where a default is not the paper's, its reason stands in `tvae.py`.

    Attributes:
        embedding: size of the latent space.
        hidden: widths of the encoder's layers; the decoder has them backwards.
        epochs, batch_size, learning_rate, weight_decay: of Adam.
        loss_factor: weight of the reconstruction against the Kullback-Leibler divergence.
        max_modes, min_weight: of the mixture that normalises a continuous column; lighter modes are dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding: int = Field(default=32, ge=1, le=1024)
    hidden: tuple[int, ...] = Field(default=(128, 128), min_length=1, max_length=6)
    epochs: int = Field(default=300, ge=1, le=100_000)
    batch_size: int = Field(default=500, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    weight_decay: float = Field(default=1e-5, ge=0, lt=1)
    loss_factor: float = Field(default=2.0, gt=0, le=100)
    max_modes: int = Field(default=10, ge=1, le=50)
    min_weight: float = Field(default=0.005, ge=0, lt=0.5)


class Generator(Protocol):
    """A fitted generator of units."""

    @property
    def name(self) -> str:
        """Out of `GENERATORS`."""

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw `n` units, columns and dtypes as `units.draw_units`, continuous ones within their limits."""


def fit(
    name: str, units: pd.DataFrame, columns: Columns, ctx: FitContext, config: TvaeConfig | None = None
) -> Generator:
    """Fit a generator on seed units.

    Args:
        name: out of `GENERATORS`.
        units: `(n, columns)`, a table of `units.draw_units`; the training part alone.
        columns: of `units.unit_columns`, in table order.
        ctx: seed, device and so on.
        config: of the TVAE; the others have none.

    Raises:
        UnknownNameError: for a name that is not in `GENERATORS`.
        DataError: for a table that has other columns, missing values or too few rows.
        InterruptedTraining: when asked to stop.
        TrainingError: when the TVAE's loss is no number, or its checkpoint cannot be used.
    """
    if name not in GENERATORS:
        raise UnknownNameError("generator", name, GENERATORS)
    check_units(units, columns)
    if name == "tvae":
        # Here, since this module is read for its names too, and torch takes seconds.
        from nightshift.simulate.generators.tvae import fit_tvae

        return fit_tvae(units, columns, ctx, config or TvaeConfig())
    from nightshift.simulate.generators.copula import fit_copula
    from nightshift.simulate.generators.resample import Resample

    return fit_copula(units, columns) if name == "copula" else Resample(units.reset_index(drop=True))


def check_units(units: pd.DataFrame, columns: Columns) -> None:
    """Refuse a table that no generator can learn from.

    Raises:
        DataError: says which column, and what is wrong with it.
    """
    expected = [c.name for c in columns]
    if list(units.columns) != expected:
        raise DataError(
            f"units must have the columns {', '.join(expected)}, got {', '.join(map(str, units.columns))}.",
            hint="Draw them from the same profile.",
        )
    if len(units) < MIN_UNITS:
        raise DataError(f"a generator needs {MIN_UNITS} units or more, got {len(units)}.", hint="Draw more seed units.")
    for column in columns:
        values = units[column.name]
        if column.discrete:
            wrong = sorted(set(map(str, values)) - set(column.categories))
            if wrong:
                raise DataError(f"units: {column.name} must be one of {', '.join(column.categories)}, got {wrong[0]}.")
        elif not bool(values.between(column.low, column.high).all()):
            limits = f"[{column.low:g}, {column.high:g}]"
            raise DataError(f"units: {column.name} must be a number within {limits}, got others.")
