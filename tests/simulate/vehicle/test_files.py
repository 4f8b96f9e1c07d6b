"""The files: the same rows as parquet and CSV, a user's own never replaced, all or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulate.vehicle.made import driven, plan

from nightshift.errors import NightshiftError, UsageError
from nightshift.files import write_atomic
from nightshift.settings import Home
from nightshift.simulate.vehicle import files
from nightshift.simulate.vehicle.files import MANIFEST, is_fresh, key_of, read_manifest, table_of, write
from nightshift.simulate.vehicle.landing import folder_of, is_landed, land_simulation


def small(**changes: int) -> files.Plan:
    return plan(**{"episodes": 8, "seconds": 300, **changes})


def test_csv_and_parquet_land_as_the_same_data(home: Home) -> None:
    folder = folder_of(home)
    told: list[tuple[int, int]] = []
    first = land_simulation(home, write(folder, small(), progress=lambda done, of: told.append((done, of))), check=None)
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST, "test.parquet", "train.parquet", "val.parquet"]
    assert told[-1] == (8, 8)
    again = land_simulation(home, write(folder, small(), csv=True), check=None)
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST, "test.csv", "train.csv", "val.csv"]
    assert first.new
    assert again.fingerprint == first.fingerprint
    assert first.metadata.offers >= {"fuel", "carbon", "behaviour", "odd", "runs", "clock"}
    assert {p: s.runs for p, s in first.metadata.parts.items()} == {"train": 4, "val": 2, "test": 2}
    assert not set(first.vehicles("train")) & set(first.vehicles("test"))
    behaviour, odd = first.truth("train", "behaviour"), first.truth("train", "odd")
    assert np.isnan(behaviour[odd > 0]).all()
    assert is_landed(home, key_of(small(), ""))
    assert not is_landed(home, key_of(small(seed=8), ""))


def test_rows_stand_in_the_table_as_they_were_driven() -> None:
    trips = driven()[1]
    table = table_of(trips, slice(0, 2)).to_pandas()
    assert len(table) == 2 * 900
    assert (table["time"].diff().dt.total_seconds()[1:900] == 1).all()
    np.testing.assert_array_equal(table["velocity"][:900], trips.columns["velocity"][0])
    assert table["behaviour"].isna().sum() == (trips.behaviour[:2] < 0).sum()


def test_files_of_one_simulation_are_known_as_fresh_until_something_changes(tmp_path: Path) -> None:
    key = write(tmp_path, small()).key
    assert is_fresh(tmp_path, key)
    assert not is_fresh(tmp_path, key, csv=True)
    assert not is_fresh(tmp_path, key_of(small(seed=8), ""))
    assert not is_fresh(tmp_path, key_of(small(), "other code"))
    (tmp_path / "val.parquet").unlink()
    assert not is_fresh(tmp_path, key)


def test_a_users_own_file_stays_without_force(tmp_path: Path) -> None:
    mine = tmp_path / "train.csv"
    mine.write_text("time,velocity\n0,1\n")
    with pytest.raises(UsageError, match=r"train\.csv was not written by a simulation"):
        write(tmp_path, small())
    assert mine.read_text() == "time,velocity\n0,1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["train.csv"]
    write(tmp_path, small(), force=True)
    assert not mine.exists(), "both would be read"
    changed = tmp_path / "test.parquet"
    pd.DataFrame({"time": [0.0], "velocity": [1.0]}).to_parquet(changed)
    (tmp_path / "mine.csv").write_text("time,velocity\n0,1\n")
    with pytest.raises(UsageError, match=r"mine\.csv was not written by a simulation.*--force writes beside it"):
        write(tmp_path, small(seed=8))
    (tmp_path / "mine.csv").unlink()
    with pytest.raises(UsageError, match=r"test\.parquet was not written by a simulation, or was changed since"):
        write(tmp_path, small(seed=8))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = write(tmp_path, small()).key

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "fsync", full)
    with pytest.raises(NightshiftError, match="the disk is full"):
        write(tmp_path, small(seed=8))
    assert is_fresh(tmp_path, key)
    assert not list(tmp_path.glob(".*.tmp"))


def test_files_of_a_replacement_that_was_cut_off_are_still_known_as_ours(tmp_path: Path) -> None:
    before = write(tmp_path, small())
    after = before.model_copy(update={"files": dict.fromkeys(before.files, "0" * 64), "before": before.files})
    write_atomic(tmp_path / MANIFEST, after.model_dump_json().encode())
    write(tmp_path, small(seed=8))
    found = read_manifest(tmp_path)
    assert found is not None
    assert found.seed == 8
    assert found.before == {}
