"""Lands CAN traces: a row for each frame, made by the reader that the device has too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.importers.can.parts import EMBARGO_S, Block, cut, described
from nightshift.data.importers.can.sources import Layout, read_traces
from nightshift.data.importers.can.trace import KINDS, NORMAL, Trace, tells_normal
from nightshift.data.importers.landing import SECONDS_PER_HOUR, Check, land_parts, refuse_blockers
from nightshift.data.schema import (
    PARTS,
    RUN,
    TIME,
    VEHICLE,
    LabelSource,
    Metadata,
    Provenance,
    Sensor,
    TimeKind,
    TruthColumn,
)
from nightshift.edge.can import CAN_ID, COLUMNS, id_text, read_frames
from nightshift.errors import DataError
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

#: The column that says what kind of attack a frame belongs to.
ATTACK = "attack"
_UNITS = {"since_frame_ms": "ms", "dlc": "byte", "changed_bits": "bit"}


def import_can(
    home: Home,
    paths: Sequence[Path],
    subject: str | None = None,
    *,
    layout: Layout = "auto",
    normal: bool = False,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land logs of one vehicle's bus; see `parts` for how they are cut.

    Args:
        home: where to land.
        paths: logs, folders of logs, zip archives.
        subject: id to land under; `can_` and the first path's name by default.
        layout: of the logs; told by their first lines by default.
        normal: take logs that mark nothing as normal traffic.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        DataError: when a log cannot be read, marks nothing and is not said to be normal, or a part would be empty.
        BlockedError: when the checks find a blocker.
    """
    traces, notes = read_traces(paths, layout)
    traces = [_marked(trace, normal) for trace in traces]
    parts = cut(traces)
    origin = Provenance(
        kind="import",
        source=", ".join(sorted({t.name for t in traces})[:8]) + (f" and {len(traces) - 8} more" * (len(traces) > 8)),
        mapping={"time": TIME, "frame": "a row"},
        details={"importer": "can", "embargo_s": EMBARGO_S, "blocks": described(parts), "notes": notes},
    )
    frames = frames_of_parts({part: [(block, 0) for block in blocks] for part, blocks in parts.items()})
    there = set().union(*(trace.kinds() for trace in traces))
    kinds = [kind for kind in KINDS if kind in there]
    metadata = can_metadata(
        subject or _subject(paths[0]), kinds, origin, f"CAN traffic, {len(traces)} trace{'s' * (len(traces) != 1)}"
    )
    return land_parts(home, frames, metadata, event=event, check=check)


def _marked(trace: Trace, normal: bool) -> Trace:
    """Return a trace that says of every frame what it is."""
    if trace.attack is not None:
        return trace
    if not (normal or tells_normal(trace.name)):
        raise DataError(
            f"{trace.name} marks no frame as normal or as an attack.",
            hint="Give `--normal` if such logs were recorded without an attack; leave attacked ones without marks out.",
        )
    return replace(trace, attack=np.zeros(len(trace.frames), bool))


def can_rows(block: Block, rows: NDArray[np.float32], *, run: int, vehicle: int) -> pd.DataFrame:
    """Return a block's rows as a dataset has them.

    Args:
        block: which frames.
        rows: `(n, 9)` of the whole trace, see `edge.can.read_frames`.
        run: number of the run.
        vehicle: its vehicle.
    """
    import pandas as pd

    here = slice(block.first, block.last)
    frames = block.trace.frames
    ids, place = np.unique(frames.can_id[here], return_inverse=True)
    names = np.array([id_text(int(i)) for i in ids], object)
    return pd.DataFrame(
        {
            TIME: pd.to_datetime(np.round(frames.time_s[here] * 1e6).astype(np.int64), unit="us", utc=True),
            RUN: run,
            VEHICLE: vehicle,
            CAN_ID: names[place],
            **{name: rows[here, i] for i, name in enumerate(COLUMNS)},
            ATTACK: block.trace.labels()[here],
        }
    )


def can_metadata(subject: str, kinds: Sequence[str], origin: Provenance, title: str) -> Metadata:
    """Return what CAN rows mean. Frames come when they come: there is no sampling interval.

    Args:
        subject: id to land under.
        kinds: of attack, in the order of their codes.
        origin: where the frames come from.
        title: of the dataset.
    """
    numbers = tuple(Sensor(name=name, unit=_UNITS.get(name, ""), minimum=0) for name in COLUMNS)
    return Metadata(
        subject=subject,
        group="vehicle",
        title=title,
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        embargo=EMBARGO_S / SECONDS_PER_HOUR,
        sensors=(Sensor(name=CAN_ID, role="category"), *numbers),
        truths=(TruthColumn(name=ATTACK, role="odd", classes=(NORMAL, *kinds)),),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=origin,
    )


def frames_of_parts(parts: Mapping[str, Sequence[tuple[Block, int]]]) -> dict[str, pd.DataFrame]:
    """Return the rows of each part: a run for each block, given with the number of its vehicle.

    A trace is read as a whole: a later block's reader knows what came before, as a car's does.
    """
    import pandas as pd

    read: dict[int, NDArray[np.float32]] = {}
    frames, run = {}, 0
    for part in PARTS:
        pieces = []
        for block, vehicle in parts[part]:
            if id(block.trace) not in read:
                read[id(block.trace)] = read_frames(block.trace.frames)
            pieces.append(can_rows(block, read[id(block.trace)], run=run, vehicle=vehicle))
            run += 1
        frames[part] = pd.concat(pieces, ignore_index=True)
    return frames


def _subject(path: Path) -> str:
    stem = path.name.split(".")[0] if path.is_file() else path.name
    name = re.sub(r"[^a-z0-9_-]+", "_", stem.lower()).strip("_-") or "bus"
    return (name if name.startswith("can_") else f"can_{name}")[:64]
