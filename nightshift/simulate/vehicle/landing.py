"""Lands simulated trips as the subject `carla_synthetic`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import Check, Late, land_parts, refuse_blockers
from nightshift.data.importers.telemetry import SUBJECT
from nightshift.data.importers.vehicle_columns import BEHAVIOUR, CARBON, DRIVING, FUEL
from nightshift.data.schema import PARTS, RUN, TIME, VEHICLE, LabelSource, Metadata, Provenance, TimeKind
from nightshift.data.store import open_dataset
from nightshift.errors import DataError, NightshiftError
from nightshift.settings import Home
from nightshift.simulate.vehicle.columns import INSTRUMENTS, sensors, truths
from nightshift.simulate.vehicle.files import CSV, Manifest

if TYPE_CHECKING:
    import pandas as pd


def folder_of(home: Home) -> Path:
    """Return where simulated trips, or a user's own telemetry, lie."""
    return home.data / SUBJECT


def is_landed(home: Home, key: str) -> bool:
    """Whether the subject's present data are the simulation of a key."""
    try:
        return bool(open_dataset(home, SUBJECT).metadata.provenance.details.get("simulation") == key)
    except NightshiftError:
        return False


def land_simulation(
    home: Home, manifest: Manifest, *, event: bool = True, check: Check | None = refuse_blockers
) -> Dataset:
    """Land what a simulation wrote, its parts as they are.

    Args:
        home: where the files lie, and where to land.
        manifest: of the files.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when a file cannot be read.
        NightshiftError: when the disk is full or cannot be written.
    """
    files = {Path(name).stem: folder_of(home) / name for name in manifest.files}
    late = Late({part: partial(_read, files[part]) for part in PARTS})
    return land_parts(home, late, describe(manifest), event=event, check=check)


def describe(manifest: Manifest) -> Metadata:
    """Return what the columns mean, and how the rows were made; the same simulation says the same."""
    figures = {part: f.model_dump() for part, f in manifest.figures.items()}
    return Metadata(
        subject=SUBJECT,
        group="vehicle",
        title=f"{manifest.episodes:,} simulated trips of {manifest.seconds / 60:g} min",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=1.0,
        sensors=sensors(),
        truths=truths(),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(
            kind="synthetic",
            source=f"simulated trips on {manifest.source}",
            details={
                "simulation": manifest.key,
                "seed": manifest.seed,
                "episodes": manifest.episodes,
                "seconds": manifest.seconds,
                "cycles": manifest.cycles,
                "parts": figures,
            },
        ),
    )


def _frame(table: Any) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _read(file: Path) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if file.suffix != CSV:
            return _frame(parquet.read_table(file))
        types: dict[str, Any] = {
            TIME: pa.timestamp("ns", tz="UTC"),
            RUN: pa.int64(),
            VEHICLE: pa.int64(),
            **dict.fromkeys((*INSTRUMENTS, FUEL, CARBON), pa.float32()),
            **dict.fromkeys((BEHAVIOUR, DRIVING), pa.string()),
        }
        options = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        return _frame(csv.read_csv(file, convert_options=options))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file.name} cannot be read: {type(error).__name__}.", hint="Simulate again.") from error
