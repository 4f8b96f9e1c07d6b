"""Trips and driving scenarios for the commands that train on them where nobody names others.

Trips have landed, lie there, or are still to be made; scenarios are made on the spot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home

_TABLES = (".csv", ".parquet")


def bring(home: Home, subject: str, scenarios: int = 0) -> None:
    """Land the tables in `data/carla_synthetic` where that is the subject and nothing of it has landed; so scenarios.

    Args:
        home: to land in.
        subject: whose data are asked for.
        scenarios: to make, where driving scenarios are; 0 for as many as `simulate driving` makes.

    Raises:
        DataError: when there is nothing, or it cannot be landed.
    """
    from nightshift.data.groups import DRIVING, SUBJECTS, VEHICLE
    from nightshift.data.store import current

    if subject not in (SUBJECTS[VEHICLE], SUBJECTS[DRIVING]):
        return
    try:
        current(home, subject)
    except UnknownNameError as error:
        if subject == SUBJECTS[DRIVING]:
            _make_scenarios(home, scenarios)
            return
        if not _tables(home, subject):
            raise DataError(
                f"there are no trips of vehicles: '{subject}' has no data, and data/{subject} holds no table.",
                hint="`nightshift simulate vehicle` makes them; train.parquet, val.parquet and test.parquet of your "
                f"own (or .csv) belong in {home.data / subject}; --subject names other data that have landed.",
            ) from error
        landed = _landed(home)
        trips = sum(part.runs for part in landed.metadata.parts.values())
        where = home.data / subject
        print(f"{subject}: {trips:,} trips in {where} had not landed; they have now, data {landed.fingerprint[:12]}")


def _make_scenarios(home: Home, scenarios: int) -> None:
    """Land the scenarios that `simulate driving` makes when it is asked for nothing else, or so many of them."""
    from nightshift.cli.simulate_driving import lines
    from nightshift.driving.landing import MadeSet, land_made

    wanted = MadeSet(scenarios=scenarios) if scenarios else MadeSet()
    print(f"no scenarios have landed yet: making {wanted.scenarios:,} ({', '.join(wanted.kinds)}) ...", flush=True)
    data = land_made(home, wanted, event=False, progress=lines())
    print(f"{data.subject}: {wanted.scenarios:,} scenarios landed, data {data.fingerprint[:12]}", flush=True)


def _tables(home: Home, subject: str) -> bool:
    folder = home.data / subject
    return folder.is_dir() and any(p.suffix in _TABLES and p.name[0] != "." for p in folder.iterdir())


def _landed(home: Home) -> Dataset:
    """Land what lies there: a simulation's files as what they are, others as telemetry; the training is the answer."""
    from nightshift.data.importers.telemetry import import_telemetry
    from nightshift.simulate.vehicle.files import is_fresh, read_manifest
    from nightshift.simulate.vehicle.landing import folder_of, land_simulation

    folder = folder_of(home)
    manifest = read_manifest(folder)
    if manifest is not None and any(is_fresh(folder, manifest.key, csv=csv) for csv in (False, True)):
        return land_simulation(home, manifest, event=False)
    return import_telemetry(home, event=False)
