"""What families of window features share: metadata to features and columns, windows for parity, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from nightshift.data.schema import TimeKind
from nightshift.edge.manifest import Column, Interface
from nightshift.edge.window import build_windows
from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.graphs.features import DerivedColumn, FeatureSpec, Statistic
from nightshift.graphs.fit import fit_features
from nightshift.graphs.parity import CasedInputs, adversarial_windows, split_thresholds, thresholds_by_column
from nightshift.trainer.samples import column_order

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset


_PARITY_ROWS = 1_500
_SPLITS_PER_COLUMN = 40
_FEATURES, _INTERFACE, _SETTINGS = "features.json", "interface.json", "settings.json"


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


def hard_windows(spec: FeatureSpec, interface: Interface, model: onnx.ModelProto, data: Dataset) -> CasedInputs:
    """Return windows of val, and windows that sit on splits of the trees, a step beside them, missing, and extreme."""
    run = data.runs("val")
    rows = np.arange(len(run))[:: max(1, len(run) // _PARITY_ROWS)]
    values = data.matrix("val")[:, column_order(data, interface)]
    real = build_windows(values, run, spec.window_rows, rows)
    splits = thresholds_by_column(split_thresholds(model), spec.feature_names, spec.columns)
    return adversarial_windows(real, splits, per_column=_SPLITS_PER_COLUMN)


def save_frame(folder: Path, spec: FeatureSpec, interface: Interface, settings: Mapping[str, Any]) -> None:
    """Write what stands around a model's trees: features, interface and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FEATURES).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
    (folder / _INTERFACE).write_text(interface.model_dump_json(indent=1), encoding="utf-8")
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")


def load_frame(folder: Path) -> tuple[FeatureSpec, Interface, dict[str, Any]]:
    """Read what `save_frame` wrote, from our own work folder."""
    spec = FeatureSpec.model_validate_json((folder / _FEATURES).read_bytes())
    interface = Interface.model_validate_json((folder / _INTERFACE).read_bytes())
    return spec, interface, json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))


def interface_columns(data: Dataset) -> tuple[Column, ...]:
    """Describe the window's columns."""
    return tuple(
        Column(name=s.name, unit=s.unit, minimum=s.minimum, maximum=s.maximum, categories=s.categories)
        for s in data.metadata.sensors
    )
