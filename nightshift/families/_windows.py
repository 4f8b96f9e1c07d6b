"""What `classification`, `rul` and `anomaly` share: metadata to window features, and to the columns going in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from nightshift.data.schema import TimeKind
from nightshift.edge.manifest import Column
from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.graphs.features import DerivedColumn, FeatureSpec, Statistic
from nightshift.graphs.fit import fit_features

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset


class WindowSettings(Protocol):
    """The part of a family's config that says how windows become features."""

    @property
    def window_rows(self) -> int:
        """Rows of history; independent rows always have 1."""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What is taken of every column over the window."""

    @property
    def seed(self) -> int:
        """Of the search for regimes."""


def feature_spec(
    data: Dataset, config: WindowSettings, ctx: RunContext, *, ages: Literal["instant", "ignored"]
) -> FeatureSpec:
    """Fit the feature graph on the train part; regimes that are found are noted.

    Args:
        data: the dataset.
        config: the family's.
        ctx: takes the finding.
        ages: hour meters count at the decision's instant, or not at all.
    """
    meta = data.metadata
    meters = [s.name for s in meta.sensors if s.role == "age"]
    spec = fit_features(
        data.matrix("train"),
        meta.columns,
        window_rows=1 if meta.time_kind is TimeKind.NONE else config.window_rows,
        statistics=config.statistics,
        derived=[DerivedColumn(name=d.name, kind=d.kind, left=d.left, right=d.right) for d in meta.derived],
        categorical=[s.name for s in meta.sensors if s.role == "category"],
        instant=meters if ages == "instant" else (),
        ignored=meters if ages == "ignored" else (),
        settings=[s.name for s in meta.sensors if s.role == "setting"],
        seed=config.seed,
    )
    if spec.regimes is not None:
        ctx.note(finding("T011", f"{len(spec.regimes.centres)} operating regimes; sensors are normalised in each."))
    return spec


def interface_columns(data: Dataset) -> tuple[Column, ...]:
    """Describe the window's columns."""
    return tuple(
        Column(name=s.name, unit=s.unit, minimum=s.minimum, maximum=s.maximum, categories=s.categories)
        for s in data.metadata.sensors
    )
