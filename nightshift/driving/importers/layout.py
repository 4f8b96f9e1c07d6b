"""Columns of the processed layout's tables, and how a table is written and read: bounded, finite, rightly typed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import SUCCESSORS, YIELDS
from nightshift.driving.scenario import ACROSS
from nightshift.errors import DataError

SCENARIO = "scenario.json"
FILES = {"ego": "ego.parquet", "agents": "agents.parquet", "map": "map.parquet", "route": "route.parquet"}
#: Column -> whether it holds whole numbers, and what it is.
Layout = dict[str, tuple[bool, str]]
#: A table's columns.
Columns = dict[str, NDArray[np.generic]]

_POSE = {
    "x_m": (False, "east or as the source has it"),
    "y_m": (False, "to the left of x"),
    "heading_rad": (False, "against x, to the left; never wrapped"),
}
#: The recorded driver; pose of the rear axle.
EGO: Layout = {
    "step": (True, "number of the step, 0.2 s apart, from 0"),
    **_POSE,
    "speed_mps": (False, "forwards"),
    "acceleration_mps2": (False, "that the expert asks for at this step; 0 in the last row"),
    "steering_rad": (False, "of the front wheels, likewise"),
}
#: The other cars; pose of the middle.
AGENTS: Layout = {
    "car": (True, "number of the car in scenario.json, from 1"),
    "step": (True, "as in ego.parquet"),
    **_POSE,
    "speed_mps": (False, "forwards"),
}
_LINE = {**_POSE, "curvature_1_m": (False, "1/m, positive to the left")}
#: The lanes.
MAP: Layout = {
    "lane": (True, "number of the lane, from 0; its points follow each other, 1 m apart"),
    **_LINE,
    "width_m": (False, "of the lane"),
    "limit_mps": (False, "speed limit of the lane"),
    "left": (True, "neighbour that runs the same way, -1 for none"),
    "right": (True, "likewise"),
    "left_shift_m": (False, "its metre is one's own plus this"),
    "right_shift_m": (False, "likewise"),
    **{f"successor_{i}": (True, "lane that begins where it ends, -1 for none") for i in range(SUCCESSORS)},
    **{f"yields_to_{i}": (True, "lane that goes first, -1 for none") for i in range(YIELDS)},
    **{f"yield_at_m_{i}": (False, "metre before which one waits for it") for i in range(YIELDS)},
    **{f"yield_their_m_{i}": (False, "metre of the other lane at which they meet") for i in range(YIELDS)},
}
_OFFSETS = range(-ACROSS, ACROSS + 1)
#: The route of the ego.
ROUTE: Layout = {
    **_LINE,
    "left_m": (False, "how far the drivable road reaches to the left"),
    "right_m": (False, "to the right"),
    "flow_left_m": (False, "the same of the part on which traffic runs the route's way"),
    "flow_right_m": (False, "to the right"),
    "limit_mps": (False, "speed limit"),
    "width_m": (False, "of the lane under it"),
    **{f"lane_{k:+d}": (True, f"lane under the point {k} lane widths to the left, -1 for none") for k in _OFFSETS},
    **{f"lane_s_m_{k:+d}": (False, "metre on that lane") for k in _OFFSETS},
}

#: A table longer than this is none of a scenario's; nor is a file larger than this.
MOST_ROWS, MOST_BYTES = 5_000_000, 500_000_000
#: What to do about a damaged scenario.
AGAIN = "Import it again (`nightshift import commonroad …`, `nightshift import nuplan …`)."


def table_bytes(name: str, layout: Layout, columns: Columns) -> bytes:
    """Return a table as parquet.

    Raises:
        DataError: when a value is not finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for column, (whole, _) in layout.items():
        values = np.asarray(columns[column], np.int64 if whole else np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{name}: {column} has a value that is no finite number.", hint="Mend the recording.")
        arrays[column] = pa.array(values)
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays), sink, compression="zstd")
    return sink.getvalue()


def read_table(path: Path, layout: Layout) -> Columns:
    """Read a table: the columns of a layout, no more, no fewer, finite and of the right types.

    Raises:
        DataError: when it is missing, damaged, too large or of another form.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{where} is larger than {MOST_BYTES:,} bytes.", hint=AGAIN)
        with pq.ParquetFile(path) as file:
            _check_form(file.schema_arrow, file.metadata.num_rows, layout, where)
            table = file.read()
    except FileNotFoundError as error:
        raise DataError(f"{where} is missing.", hint=AGAIN) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: it is cut short or damaged.", hint=AGAIN) from error
    found: Columns = {}
    for column in layout:
        if table[column].null_count:
            raise DataError(f"{where}: {column} has empty values.", hint=AGAIN)
        values = table[column].to_numpy()
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"{where}: {column} is {values[at]} in row {at}; expected a finite number.", hint=AGAIN)
        found[column] = values
    return found


def _check_form(schema: object, rows: int, layout: Layout, where: str) -> None:
    import pyarrow as pa

    assert isinstance(schema, pa.Schema)
    if rows > MOST_ROWS:
        raise DataError(f"{where} has {rows:,} rows; at most {MOST_ROWS:,}.", hint=AGAIN)
    strange = set(schema.names) ^ set(layout)
    if strange or len(schema.names) != len(layout):
        found = f"'{min(strange)}' is missing or too many" if strange else "one stands twice"
        raise DataError(f"{where} has other columns than it should: {found}.", hint=AGAIN)
    for column, (whole, _) in layout.items():
        if schema.field(column).type != (pa.int64() if whole else pa.float64()):
            raise DataError(f"{where}: {column} holds {schema.field(column).type}.", hint=AGAIN)
