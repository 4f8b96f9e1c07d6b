"""What the vehicle families share: their inputs, which rows windows end at, what is true of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.edge.manifest import Column
from nightshift.errors import ConfigError, DataError, nearest
from nightshift.family import FamilyConfig, RunContext
from nightshift.findings import finding

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset


class VehicleConfig(FamilyConfig):
    """What every vehicle family can be told.

    Attributes:
        columns: inputs by name; empty = all of the data's.
        leave_out: inputs not to use.
        window_rows: rows behind one answer; 60 rows of 1 Hz are 60 s.
        stride_rows: rows between the ends of neighbouring windows.
        max_quality_loss: share of its quality on val that a smaller or faster form of the model may lose.
    """

    columns: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    window_rows: int = Field(default=60, ge=1)
    stride_rows: int = Field(default=30, ge=1)
    max_quality_loss: float = Field(default=0.02, ge=0)


def inputs_of(data: Dataset, config: VehicleConfig) -> tuple[Column, ...]:
    """Return the columns that a model of this config takes, in the data's order.

    Raises:
        ConfigError: for a name that the data does not have, or when none is left.
    """
    known = data.metadata.columns
    for name in config.columns:
        if name not in known:
            raise ConfigError(f"columns: '{data.subject}' has no column '{name}'.", hint=nearest(name, known))
    chosen = [
        s for s in data.metadata.sensors if s.name in (config.columns or known) and s.name not in config.leave_out
    ]
    if not chosen:
        raise ConfigError(f"no column of '{data.subject}' is left as an input.", hint="Shorten leave_out.")
    return tuple(
        Column(name=s.name, unit=s.unit, minimum=s.minimum, maximum=s.maximum, categories=s.categories) for s in chosen
    )


def matrix_of(data: Dataset, part: str, columns: tuple[Column, ...]) -> NDArray[np.float32]:
    """Return the given inputs of a part, `(rows, n_columns)`; NaN = missing, a category as its index."""
    place = {name: i for i, name in enumerate(data.metadata.columns)}
    return np.ascontiguousarray(data.matrix(part)[:, [place[c.name] for c in columns]])


def window_ends(
    data: Dataset, part: str, *, window_rows: int, stride_rows: int, ahead_rows: int = 0
) -> NDArray[np.intp]:
    """Return the rows at which whole windows end, `(n,)`: every `stride_rows` of a trip, from its first whole window.

    Args:
        data: the dataset.
        part: `train`, `val` or `test`.
        window_rows: of one window.
        stride_rows: between neighbours.
        ahead_rows: rows of the same trip that must follow, for what is asked of the future.

    Raises:
        DataError: when no trip of the part is long enough.
    """
    run = data.runs(part)
    starts = np.flatnonzero(np.append(True, run[1:] != run[:-1])) if len(run) else np.zeros(0, np.intp)
    stops = np.append(starts[1:], len(run))
    found = [np.arange(a + window_rows - 1, b - ahead_rows, stride_rows) for a, b in zip(starts, stops, strict=True)]
    ends = np.concatenate(found).astype(np.intp) if found else np.zeros(0, np.intp)
    if not len(ends):
        raise DataError(
            f"no trip of the {part} part of '{data.subject}' has the {window_rows + ahead_rows} rows of a window.",
            hint="Land longer trips, or lower window_rows.",
        )
    return ends


def early_half(
    data: Dataset,
    ends: NDArray[np.intp],
    config: VehicleConfig,
    *,
    later: bool = False,
    ahead_rows: int = 0,
    ctx: RunContext | None = None,
) -> NDArray[np.bool_]:
    """Mark the windows of val that stop training early, or those that set thresholds; all where that half has none.

    A window that reaches into the other half, or asks of it, is in neither.

    Args:
        data: the dataset.
        ends: `(n,)` rows of val at which the windows end.
        config: of the family.
        later: the half that sets thresholds.
        ahead_rows: rows after the window that are asked of.
        ctx: of the run that is told when halves overlap.
    """
    half = data.validation_halves()[int(later)]
    chosen = half[ends + 1 - config.window_rows] & half[ends + ahead_rows]
    if chosen.any():
        return chosen
    if ctx is not None:
        which, use = ("second", "thresholds are set") if later else ("first", "training is stopped")
        what = f"no window to use lies in the {which} half of val: {use} by all {len(ends)} windows of val."
        ctx.note(finding("T014", what, remedy="Land more or longer trips."))
    return np.ones(len(ends), np.bool_)


def window_means(values: NDArray[np.float64], ends: NDArray[np.intp], window_rows: int) -> NDArray[np.float64]:
    """Return the mean over each window, `(n,)`; NaN where any of its rows is missing."""
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    gaps = np.concatenate([[0], np.cumsum(~known)])
    first = ends - window_rows + 1
    means = (sums[ends + 1] - sums[first]) / window_rows
    return np.where(gaps[ends + 1] == gaps[first], means, np.nan)


def summary_of(config: FamilyConfig, **chosen: Any) -> dict[str, Any]:
    """Return what MLflow keeps as parameters: the scalar settings, and what training chose."""
    scalars = {k: v for k, v in config.model_dump(mode="json").items() if isinstance(v, str | int | float | bool)}
    return {**scalars, **chosen}
