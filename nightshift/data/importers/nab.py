"""One series of the Numenta Anomaly Benchmark, with its labelled windows.

Source: Lavin, Ahmad, "Evaluating real-time anomaly detection algorithms - the Numenta Anomaly Benchmark", ICMLA 2015.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.importers.clock import mend_order, read_times, sampling_of
from nightshift.data.importers.landing import Check, default_embargo_h, refuse_blockers, split_and_land
from nightshift.data.importers.mapping import Mapping, SensorColumn, TimeColumn
from nightshift.data.importers.text import read_text_table
from nightshift.data.normalise import numbers
from nightshift.data.schema import LABEL, RUN, TIME, LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.errors import DataError, UnknownNameError
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = "combined_windows.json"
DEFAULT_SERIES = "machine_temperature_system_failure"


def import_nab(
    home: Home,
    path: Path,
    subject: str | None = None,
    *,
    windows: Path | None = None,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land a NAB series: `failure_status` is 1 inside its labelled windows.

    The series is one run, cut by time near 70 and 85 %, a little aside where a cut would fall into a window. NAB's
    times are naive and taken as UTC; where the clock goes back, the first row of each moment is kept.

    Args:
        home: where to land.
        path: the series, or the folder that holds the machine temperature.
        subject: id to land under; `nab_` and the file's name without `_system_failure` by default.
        windows: `combined_windows.json`; looked for beside the series by default.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when a file is missing or does not have NAB's form.
        UnknownNameError: when the windows name no such series.
    """
    file = path / f"{DEFAULT_SERIES}.csv" if path.is_dir() else path
    table = read_text_table(file)
    if list(table.frame.columns) != ["timestamp", "value"]:
        raise DataError(
            f"{file.name} has the columns {', '.join(table.frame.columns)}, a NAB series has timestamp and value.",
            hint="Import other files with `nightshift import csv` and a mapping.",
        )
    name = file.stem.removesuffix("_system_failure")
    rules = Mapping(
        time=TimeColumn(column="timestamp"), sensors={"value": SensorColumn(name=name)}, duplicates="first", sort=True
    )
    details: dict[str, object] = {"importer": "nab"}
    run = np.zeros(len(table.frame), dtype=np.int64)
    columns = {
        TIME: read_times(table.frame["timestamp"], rules.time, run),
        RUN: run,
        name: numbers(table.frame["value"], np.float64),
    }
    frame = mend_order(_frame(columns), rules, details)
    spans = _windows(windows or file.parent / WINDOWS, file.name)
    frame[LABEL] = _inside(frame[TIME], spans)
    details["windows"] = [[str(a), str(b)] for a, b in spans]
    sampling_s = sampling_of(frame, TimeKind.CALENDAR)
    metadata = Metadata(
        subject=subject or f"nab_{name}",
        title=f"NAB {name.replace('_', ' ')}",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=sampling_s,
        embargo=default_embargo_h(sampling_s, None),
        sensors=(Sensor(name=name, critical=True),),
        label_source=LabelSource.GIVEN,
        has_rul=False,
        provenance=Provenance(
            kind="import",
            source=f"{file.name}, {WINDOWS} (Numenta Anomaly Benchmark, MIT)",
            mapping={"timestamp": TIME, "value": name},
            details=details,
        ),
    )
    return split_and_land(home, frame, metadata, event=event, check=check)


def _frame(columns: dict[str, object]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)


def _windows(path: Path, series: str) -> list[tuple[str, str]]:
    """Return the labelled windows of a series, naive times as text."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        by_name = {str(key).rpartition("/")[2]: value for key, value in content.items()}
    except FileNotFoundError as error:
        raise DataError(
            f"{path.name} is missing.", hint="Give it with `--windows`; NAB keeps it in labels/."
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path.name} is not NAB's windows file.", hint="Fetch it again.") from error
    if series not in by_name:
        raise UnknownNameError("series", series, by_name, hint=f"({path.name} has no windows for it.)")
    try:
        return [(str(first), str(last)) for first, last in by_name[series]]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path.name}: the windows of {series} are no pairs of times.", hint="Fetch it again."
        ) from error


def _inside(time: pd.Series[pd.Timestamp], spans: list[tuple[str, str]]) -> NDArray[np.int8]:
    import pandas as pd

    label = np.zeros(len(time), dtype=np.int8)
    for first, last in spans:
        label |= time.between(pd.Timestamp(first, tz="UTC"), pd.Timestamp(last, tz="UTC")).to_numpy(np.int8)
    return label
