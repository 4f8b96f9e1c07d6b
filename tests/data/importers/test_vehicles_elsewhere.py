"""Trips of vehicles that were made elsewhere: held to their description like a machine's rows."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from support.vehicles import metadata, trips

from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.data.importers.landing import land_parts
from nightshift.errors import DataError
from nightshift.settings import Home


def write(folder: Path, rows: pd.DataFrame, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    described = json.loads(metadata().model_dump_json())
    (folder / "metadata.json").write_text(json.dumps(described | changes))
    rows.to_csv(folder / "data.csv", index=False)
    return folder


def test_the_files_of_stored_trips_land_as_what_they_are(home: Home) -> None:
    data = land_parts(home, trips(rows=120), metadata(sampling_s=None))
    again = land_folder(home, data.folder, check=None)
    assert (again.fingerprint, again.new) == (data.fingerprint, False)
    assert again.metadata.sampling_s is None, "frames of a bus have no step"


def test_one_csv_of_trips_is_cut_by_vehicle(home: Home, tmp_path: Path) -> None:
    whole = pd.concat(trips(rows=120).values(), ignore_index=True)
    data = land_folder(home, write(tmp_path / "made", whole))
    cars = [set(data.vehicles(part)) for part in data.parts]
    assert sum(map(len, cars)) == len(set.union(*cars)) == 11
    for part in data.parts:
        assert data.frame(part)["behaviour"].isin(["calm", "normal", "aggressive"]).all()


def test_trips_without_what_is_described_are_refused(home: Home, tmp_path: Path) -> None:
    whole = pd.concat(trips(rows=120).values(), ignore_index=True)
    with pytest.raises(DataError, match=r"lacks the column 'vehicle', 'co2' that metadata.json describes"):
        land_folder(home, write(tmp_path / "made", whole.drop(columns=["vehicle", "co2"])))
    with pytest.raises(DataError, match=r"D020: column 'behaviour' holds 'brisk' \(row 1\), which is none of calm"):
        land_folder(home, write(tmp_path / "made", whole.assign(behaviour="brisk")))
    with pytest.raises(DataError, match=r"trips of vehicles need time_kind 'calendar'"):
        land_folder(home, write(tmp_path / "made", whole, time_kind="cycles", time_unit="cycles"))
