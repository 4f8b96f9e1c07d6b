from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commonroad_xml import Car, write_file

from nightshift.driving.importers import processed
from nightshift.driving.importers.commonroad import read_commonroad
from nightshift.driving.importers.cutting import cut
from nightshift.driving.importers.layout import FILES
from nightshift.driving.importers.processed import read_scenarios, tidy, write_scenario
from nightshift.driving.scenario import Scenario
from nightshift.errors import DataError, UsageError


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, ...]:
    file = tmp_path_factory.mktemp("road") / "a.xml"
    return cut(read_commonroad(write_file(file, [Car(1, 30.0), Car(2, 60.0, steps=30), Car(3, 40.0, 3.5)]))).scenarios


def same(a: Any, b: Any, where: str = "") -> None:
    if is_dataclass(a):
        for f in fields(a):
            same(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}")
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        assert a == b, where


def test_what_is_written_is_read_bit_for_bit_and_maps_are_shared(
    tmp_path: Path, scenarios: tuple[Scenario, ...]
) -> None:
    folders = [write_scenario(tmp_path, s) for s in scenarios]
    assert sorted(tmp_path.iterdir()) == folders
    assert {p.name for p in folders[0].iterdir()} == {*FILES.values(), "scenario.json"}
    back = read_scenarios(folders)
    for made, read in zip(scenarios, back, strict=True):
        same(made, read)
    assert len({id(s.lanes) for s in back}) == 1
    assert [p.name for p in tmp_path.iterdir() if p.name[0] == "."] == []


def test_writing_again_takes_the_place_whole_and_a_failure_changes_nothing(
    tmp_path: Path, scenarios: tuple[Scenario, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_scenario(tmp_path, scenarios[0])
    write_scenario(tmp_path, replace(scenarios[0], expert_m=12.5))
    assert read_scenario(folder).expert_m == 12.5

    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processed, "write_atomic", fail)
    with pytest.raises(OSError, match="No space"):
        write_scenario(tmp_path, scenarios[0])
    assert read_scenario(folder).expert_m == 12.5
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_write_left_is_put_right(tmp_path: Path, scenarios: tuple[Scenario, ...]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    one, two = (write_scenario(tmp_path, s) for s in scenarios[:2])
    # Killed between the two renames: the old folder is aside, the new one not in its place yet.
    shutil.copytree(one, tmp_path / f".{one.name}.{gone.pid}.tmp")
    one.rename(tmp_path / f".{one.name}.{gone.pid}.old")
    shutil.copytree(two, tmp_path / f".{two.name}.{gone.pid}.old")
    at_work = tmp_path / f".{two.name}.{os.getpid()}.tmp"
    at_work.mkdir()
    tidy(tmp_path)
    assert set(tmp_path.iterdir()) == {one, two, at_work}
    same(read_scenario(one), scenarios[0])
    tidy(tmp_path / "none")


def test_made_scenarios_and_values_that_are_none_are_not_written(
    tmp_path: Path, scenarios: tuple[Scenario, ...]
) -> None:
    with pytest.raises(UsageError, match="was not recorded"):
        write_scenario(tmp_path, replace(scenarios[0], tracks=None))
    tracks = scenarios[0].tracks
    assert tracks is not None
    bad = tracks.x.copy()
    bad[3, 0] = np.nan
    with pytest.raises(DataError, match="x_m has a value that is no finite number"):
        write_scenario(tmp_path, replace(scenarios[0], tracks=replace(tracks, x=bad)))
    assert list(tmp_path.iterdir()) == []


def read_scenario(folder: Path) -> Scenario:
    return read_scenarios([folder])[0]


def changed(folder: Path, table: str, column: str, row: int, value: float) -> None:
    path = folder / FILES[table]
    whole = pq.read_table(path)
    values = whole[column].to_numpy().copy()
    values[row] = value
    at = whole.schema.names.index(column)
    pq.write_table(whole.set_column(at, column, pa.array(values)), path)


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "told"),
    [
        ("ego", "x_m", 4, np.nan, "ego.parquet: x_m is nan in row 4; expected a finite number"),
        ("agents", "heading_rad", 0, np.inf, "heading_rad is inf"),
        ("agents", "car", 0, 9, "a car or a step that the scenario does not have"),
        ("agents", "step", 0, 1, "a car twice in one step"),
        ("ego", "step", 3, 9, "steps are not 0, 1, 2"),
        ("map", "left", 0, 7, "names a lane that there is not"),
        ("map", "x_m", 10, 1e6, "neighbouring points"),
        ("map", "lane", 0, 1, "lanes are not one after the other"),
        ("map", "width_m", 0, -1, "without width or speed limit"),
        ("route", "lane_+0", 5, 7, "leaves the map"),
        ("route", "y_m", 5, 900.0, "neighbouring points"),
    ],
)
def test_tables_that_hold_what_no_scenario_has_are_refused(
    tmp_path: Path, scenarios: tuple[Scenario, ...], table: str, column: str, row: int, value: float, told: str
) -> None:
    folder = write_scenario(tmp_path, scenarios[0])
    changed(folder, table, column, row, value)
    with pytest.raises(DataError, match=told):
        read_scenario(folder)


def test_files_that_are_missing_damaged_or_of_another_form_are_refused(
    tmp_path: Path, scenarios: tuple[Scenario, ...]
) -> None:
    folder = write_scenario(tmp_path, scenarios[0])
    path, description = folder / FILES["route"], folder / "scenario.json"
    whole, table, text = path.read_bytes(), pq.read_table(path), description.read_text()
    road = (folder / FILES["map"]).read_bytes()
    cases: list[tuple[Any, str]] = [
        (lambda: path.unlink(), "route.parquet is missing"),
        (lambda: (folder / FILES["map"]).unlink(), "map.parquet cannot be read: No such file"),
        (lambda: path.write_bytes(whole[: len(whole) // 2]), "cut short or damaged"),
        (lambda: pq.write_table(table.drop_columns(["left_m"]), path), "'left_m' is missing or too many"),
        (lambda: pq.write_table(table.append_column("more", table["left_m"]), path), "'more' is missing or too many"),
        (lambda: pq.write_table(table.slice(0, 20), path), "its goal lies at"),
        (lambda: description.write_text(text.replace('"expert_m"', '"expert"')), "expert_m: Field required"),
        (lambda: description.write_text(text.replace('"format": 1', '"format": 2')), "format: Input should be less"),
        (lambda: description.write_text(text.replace('"vehicle",', "", 1)), "tells sorts of 1 cars; it has 2"),
        (lambda: description.write_text(text.replace('"vehicle"', '"ghost"', 1)), "sorts.0: Input should be"),
        (lambda: description.write_text(text[:90]), "Invalid JSON"),
        (lambda: description.unlink(), "scenario.json cannot be read"),
    ]
    for spoil, told in cases:
        path.write_bytes(whole)
        (folder / FILES["map"]).write_bytes(road)
        description.write_text(text)
        spoil()
        with pytest.raises(DataError, match=told) as caught:
            read_scenario(folder)
        assert "\n" not in str(caught.value)
