"""Writes simulated trips to `data/carla_synthetic`, a chunk at a time, and knows its own files from a user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.data.importers.vehicle_columns import BEHAVIOUR, CARBON, DRIVING, FUEL
from nightshift.data.schema import PARTS, RUN, TIME, VEHICLE
from nightshift.errors import NightshiftError, UsageError
from nightshift.files import disk_full, fsync, sha256_file, write_atomic
from nightshift.simulate.vehicle.columns import BEHAVIOURS, INSTRUMENTS, KINDS
from nightshift.simulate.vehicle.cycles import Cycles
from nightshift.simulate.vehicle.episodes import Plan, Trips, simulate
from nightshift.simulate.vehicle.routes import named

MANIFEST = "simulation.json"
PARQUET, CSV = ".parquet", ".csv"
#: Trips of a row group: what a reader must hold at once.
_GROUP_TRIPS = 100
#: Called with trips written, and trips in all.
Progress = Callable[[int, int], None]


class PartFigures(BaseModel):
    """What a part holds: rows, trips, cars, and the share of rows that are dangerous."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = 0
    trips: int = 0
    vehicles: int = 0
    dangerous_share: float = 0.0


class Manifest(BaseModel):
    """What a simulation has written, kept beside its files.

    Attributes:
        key: hash of all that decides the rows.
        seed, episodes, seconds: as asked.
        source: of the cycles.
        cycles: part -> names of its cycles.
        figures: part -> what it holds.
        files: name -> SHA-256.
        before: files of an earlier simulation that may still be there: their replacement was cut off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    key: str
    seed: int
    episodes: int
    seconds: int
    source: str
    cycles: dict[str, list[str]]
    figures: dict[str, PartFigures]
    files: dict[str, str]
    before: dict[str, str] = Field(default_factory=dict)


def key_of(plan: Plan, code: str) -> str:
    """Return the hash of what decides the rows: options, the cycles themselves, and the simulator's code."""
    digest = hashlib.sha256(json.dumps([plan.episodes, plan.seconds, plan.seed, code]).encode())
    digest.update(_cycles_digest(plan.cycles))
    return digest.hexdigest()


def _cycles_digest(cycles: Cycles) -> bytes:
    digest = hashlib.sha256(cycles.source.encode())
    for cycle in cycles.cycles:
        digest.update(f"\n{cycle.name} {cycle.kin} {len(cycle.speed_mps)}\n".encode())
        digest.update(np.ascontiguousarray(cycle.speed_mps, "<f4").tobytes())
    return digest.digest()


def read_manifest(folder: Path) -> Manifest | None:
    """Return what a simulation wrote to a folder, None where there is no such note."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def is_fresh(folder: Path, key: str, *, csv: bool = False) -> bool:
    """Whether the files of a key lie in a folder, byte for byte."""
    manifest = read_manifest(folder)
    return (
        manifest is not None
        and manifest.key == key
        and set(manifest.files) == set(_names(csv))
        and all(_is(folder / name, digest) for name, digest in manifest.files.items())
    )


def hold_foreign(folder: Path, *, force: bool) -> None:
    """Refuse to write over, or among, tables that no simulation wrote: what is landed from there must be of one kind.

    Raises:
        UsageError: names one.
    """
    manifest = read_manifest(folder)
    known = [{}] if manifest is None else [manifest.files, manifest.before]
    there = sorted(p.name for p in folder.iterdir() if p.suffix in (PARQUET, CSV)) if folder.is_dir() else []
    there = [name for name in there if not name.startswith(".")]
    foreign = [n for n in there if not any(_is(folder / n, files.get(n)) for files in known)]
    if foreign and not force:
        does = "replaces it" if foreign[0] in _NAMES else "writes beside it"
        raise UsageError(
            f"{folder.name}/{foreign[0]} was not written by a simulation, or was changed since; it stays as it is.",
            hint=f"Move it elsewhere, or land it by `nightshift import telemetry`; --force {does}.",
        )


def _names(csv: bool) -> tuple[str, ...]:
    return tuple(part + (CSV if csv else PARQUET) for part in PARTS)


_NAMES = (*_names(csv=False), *_names(csv=True))


def _is(file: Path, digest: str | None) -> bool:
    return digest is not None and file.is_file() and sha256_file(file) == digest


def write(
    folder: Path,
    plan: Plan,
    *,
    csv: bool = False,
    code: str = "",
    force: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Simulate and write `train`, `val` and `test`; all of them, or nothing. One process at a time writes to a folder.

    Args:
        folder: where the files go; made where it is missing.
        plan: what to simulate.
        csv: write CSV instead of parquet.
        code: fingerprint of the simulator's code.
        force: replace files that no simulation wrote.
        progress: is told of trips that are written.

    Raises:
        UsageError: when a user's own file is in the way.
        DataError: for too few cycles.
        NightshiftError: when the disk is full or cannot be written.
    """
    hold_foreign(folder, force=force)
    with _clear_disk_errors(folder), ExitStack() as leftovers:
        folder.mkdir(parents=True, exist_ok=True)
        made = {name: folder / f".{name}.tmp" for name in _names(csv)}
        for name in _NAMES:
            # A simulation that was killed leaves them too.
            (folder / f".{name}.tmp").unlink(missing_ok=True)
            leftovers.callback((folder / f".{name}.tmp").unlink, missing_ok=True)
        figures = _write_parts(plan, dict(zip(PARTS, made.values(), strict=True)), csv, progress or _silent)
        before = read_manifest(folder)
        manifest = Manifest(
            key=key_of(plan, code),
            seed=plan.seed,
            episodes=plan.episodes,
            seconds=plan.seconds,
            source=plan.cycles.source,
            cycles=named(plan.shared),
            figures=figures,
            files={name: sha256_file(file) for name, file in made.items()},
            before=before.files if before else {},
        )
        _put_in_place(folder, manifest, made)
    return manifest


def _put_in_place(folder: Path, manifest: Manifest, made: dict[str, Path]) -> None:
    """Rename the files to their names; the note comes first, so that files are known as ours whenever it is cut off."""
    for file in made.values():
        fsync(file)
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    for name, file in made.items():
        file.replace(folder / name)
    for name in set(_NAMES) - set(made):
        (folder / name).unlink(missing_ok=True)
    done = manifest.model_copy(update={"before": {}})
    write_atomic(folder / MANIFEST, done.model_dump_json(indent=1).encode())


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def _write_parts(plan: Plan, files: dict[str, Path], csv: bool, progress: Progress) -> dict[str, PartFigures]:
    writers: dict[str, Any] = {}
    figures = {part: PartFigures() for part in PARTS}
    cars: dict[str, set[int]] = {part: set() for part in PARTS}
    done = 0
    with ExitStack() as opened:
        for trips in simulate(plan):
            if trips.part not in writers:
                writers[trips.part] = opened.enter_context(_writer(files[trips.part], csv))
            figures[trips.part] = _added(figures[trips.part], trips, cars[trips.part])
            for first in range(0, len(trips.run), _GROUP_TRIPS):
                chosen = slice(first, first + _GROUP_TRIPS)
                writers[trips.part].write_table(table_of(trips, chosen, coarse_time=csv))
                done += len(trips.run[chosen])
                progress(done, plan.episodes)
    return figures


def _added(before: PartFigures, trips: Trips, cars: set[int]) -> PartFigures:
    rows = before.rows + trips.driving.size
    dangerous = before.dangerous_share * before.rows + np.count_nonzero(trips.driving)
    cars.update(trips.vehicle.tolist())
    return PartFigures(
        rows=rows,
        trips=before.trips + len(trips.run),
        vehicles=len(cars),
        dangerous_share=round(float(dangerous / rows), 6),
    )


def table_of(trips: Trips, chosen: slice, *, coarse_time: bool = False) -> Any:
    """Return some trips' rows as an arrow table, in the order of the columns that are stored.

    Args:
        trips: of one part.
        chosen: which of them.
        coarse_time: times in seconds, as CSV shows them, rather than nanoseconds.
    """
    import pyarrow as pa

    seconds = trips.driving.shape[1]
    stamps = (trips.start_s[chosen, None] + np.arange(seconds)).reshape(-1)
    times = pa.array(stamps).cast(pa.timestamp("s", tz="UTC"))
    columns: dict[str, Any] = {
        TIME: times if coarse_time else times.cast(pa.timestamp("ns", tz="UTC")),
        RUN: np.repeat(trips.run[chosen], seconds),
        VEHICLE: np.repeat(trips.vehicle[chosen], seconds),
        **{name: trips.columns[name][chosen].reshape(-1) for name in INSTRUMENTS},
        FUEL: trips.columns[FUEL][chosen].reshape(-1),
        CARBON: trips.columns[CARBON][chosen].reshape(-1),
        BEHAVIOUR: _words(trips.behaviour[chosen], BEHAVIOURS),
        DRIVING: _words(trips.driving[chosen], KINDS),
    }
    return pa.table(columns)


def _words(codes: Any, words: tuple[str, ...]) -> Any:
    """Return codes as text, -1 as missing."""
    import pyarrow as pa

    flat = codes.reshape(-1)
    return pa.DictionaryArray.from_arrays(pa.array(flat, mask=flat < 0), pa.array(words)).cast(pa.string())


@contextmanager
def _writer(file: Path, csv: bool) -> Iterator[_Late]:
    late = _Late(file, csv)
    try:
        yield late
    finally:
        late.close()


@dataclass
class _Late:
    """A writer that opens its file with the first table, whose columns it takes."""

    file: Path
    csv: bool
    opened: Any = None

    def write_table(self, table: Any) -> None:
        """Append a table."""
        if self.opened is None:
            self.opened = self._open(table.schema)
        self.opened.write_table(table)

    def _open(self, schema: Any) -> Any:
        import pyarrow as pa
        from pyarrow import csv as pa_csv
        from pyarrow import parquet

        if self.csv:
            return pa_csv.CSVWriter(self.file, schema)
        floats = [field.name for field in schema if pa.types.is_floating(field.type)]
        kinds = [name for name in schema.names if name not in floats]
        # Neighbouring numbers share their leading bytes: split by byte they pack a third smaller, and faster.
        return parquet.ParquetWriter(
            self.file, schema, compression="zstd", use_dictionary=kinds, use_byte_stream_split=floats
        )

    def close(self) -> None:
        """Close the file, if anything was written."""
        if self.opened is not None:
            self.opened.close()


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = disk_full(error) or error.strerror or str(error)
        with suppress(OSError):
            folder.rmdir()
        raise NightshiftError(
            f"the trips could not be written to {folder.name}/: {why}.",
            hint="What lay there is unchanged. Free some space, or ask for fewer episodes.",
        ) from error
