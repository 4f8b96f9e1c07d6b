from __future__ import annotations

from pathlib import Path

import pytest
from support.commonroad_xml import Car, write_file
from support.nuplan_log import write_log

from nightshift.driving.importers import nuplan
from nightshift.driving.importers.converting import convert
from nightshift.driving.importers.processed import processed_folder, read_scenarios
from nightshift.errors import DataError
from nightshift.settings import Home

ONE = (Car(1, 30.0, steps=35),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    for i in range(1, 4):
        write_file(made / f"{i}.xml", ONE, benchmark=f"TST_Road-{i}_1_T-1")
    return made


def test_a_folder_becomes_processed_scenarios_of_three_parts(home: Home, folder: Path) -> None:
    write_file(folder / "4.xml", (), benchmark="TST_Empty-1_1_T-1")
    told: list[str] = []
    made = convert(home, "commonroad", [folder], told.append)
    assert told == ["1.xml", "2.xml", "3.xml", "4.xml"]
    assert {part: len(names) for part, names in made.parts.items()} == {"train": 1, "val": 1, "test": 1}
    assert list(made.folders) == sorted(processed_folder(home).iterdir())
    assert [s.name for s in read_scenarios(made.folders)] == [s.name for s in made.scenarios]
    assert made.remarks == ("left out: TST_Empty-1_1_T-1: none of its 0 cars can be the ego.",)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (("</commonRoad>", ""), "4.xml is no whole XML file"),
        (("<x>30.0000</x>", "<x>nan</x>"), "x of car 1 is nan at moment 0"),
        (("TST_Bad", "TST_Road-1_1_T-1_TST_Bad"), ""),
    ],
)
def test_one_bad_file_leaves_everything_as_it_was(home: Home, folder: Path, spoil: tuple[str, str], told: str) -> None:
    convert(home, "commonroad", [folder])
    before = {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")}
    if told:
        write_file(folder / "4.xml", ONE, benchmark="TST_Bad-1_1_T-1", spoil=spoil)
    else:
        write_file(folder / "4.xml", ONE, benchmark="TST_Road-1_1_T-1")
        told = "4.xml: the scenario 'TST_Road-1_1_T-1_1' stands twice"
    with pytest.raises(DataError, match=told):
        convert(home, "commonroad", [folder])
    assert {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")} == before


@pytest.mark.parametrize("odd", ["1 b", "../1", "a\nb", "1" * 150])
def test_an_id_that_makes_no_name_is_told_in_one_line_before_anything_is_written(
    home: Home, folder: Path, odd: str
) -> None:
    convert(home, "commonroad", [folder])
    before = {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")}
    written = odd.replace("\n", "&#10;")
    # Its name comes last in order: the scenarios before it must stay as they were.
    write_file(
        folder / "4.xml", ONE, benchmark="TST_Zoo-1_1_T-1", spoil=('Obstacle id="1"', f'Obstacle id="{written}"')
    )
    with pytest.raises(DataError, match=r"4\.xml: made for a test: a scenario would be named 'TST_Zoo-1_1") as caught:
        convert(home, "commonroad", [folder])
    assert "\n" not in caught.value.what
    assert {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")} == before


def test_a_scenario_of_another_file_keeps_its_place_and_one_of_the_same_is_mended(home: Home, folder: Path) -> None:
    before = convert(home, "commonroad", [folder])
    write_file(folder / "3.xml", (Car(1, 30.0, speed_mps=11.0, steps=35),), benchmark="TST_Road-3_1_T-1")
    mended = convert(home, "commonroad", [folder])
    assert mended.folders == before.folders
    (now,) = read_scenarios(mended.folders[-1:])
    assert now.expert_m > before.scenarios[-1].expert_m + 1.0
    written = {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")}
    (folder / "3.xml").rename(folder / "9.xml")
    told = r"9\.xml: made for a test: its scenario 'TST_Road-3_1_T-1_1' is here already, from 3\.xml: made for a test\."
    with pytest.raises(DataError, match=told) as caught:
        convert(home, "commonroad", [folder])
    assert str(before.folders[-1]) in caught.value.hint
    assert {p: p.stat().st_mtime_ns for p in processed_folder(home).rglob("*")} == written


def test_a_file_of_its_own_that_holds_no_car_is_an_error(home: Home, folder: Path) -> None:
    with pytest.raises(DataError, match="none of its 0 cars"):
        convert(home, "commonroad", [folder, write_file(folder.parent / "e.xml", ())])
    with pytest.raises(DataError, match="cannot be split"):
        convert(home, "commonroad", [folder / "1.xml"])
    with pytest.raises(DataError, match=r"holds no \.db file"):
        convert(home, "nuplan", [folder])
    with pytest.raises(DataError, match="does not exist"):
        convert(home, "commonroad", [folder / "none.xml"])
    assert not processed_folder(home).exists()


def test_a_long_log_is_split_by_time(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nuplan, "SCENARIO_S", 5.0)
    tags = tuple((5.1 * i, "any") for i in range(4))
    made = convert(home, "nuplan", [write_log(tmp_path / "a.db", seconds=21.0, tags=tags)])
    # The second one ends as the third begins, which is another part's: it is in none.
    assert [names[0] for names in made.parts.values()] == [s.name for s in made.scenarios]
    assert len(sorted(processed_folder(home).iterdir())) == 3
    assert "is left out: another part's begins less than 5 s later" in made.remarks[-1]
