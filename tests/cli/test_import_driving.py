"""`import commonroad` and `import nuplan` land sets of scenarios, or say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commonroad_xml import Car, write_file

from nightshift.cli.app import main
from nightshift.data.store import open_dataset, subjects
from nightshift.driving.bank import ScenarioBank
from nightshift.errors import EXIT_BLOCKED, EXIT_USAGE
from nightshift.settings import Home

#: DVC's own use of pygtrie.


def files(folder: Path) -> list[str]:
    cars = (Car(1, 30.0, steps=35), Car(2, 60.0, steps=20))
    return [str(write_file(folder / f"{i}.xml", cars, benchmark=f"TST_Road-{i}_1_T-1")) for i in range(3)]


def test_recorded_scenarios_land_as_a_set_and_a_bad_file_changes_nothing(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = files(tmp_path)
    assert main(["import", "commonroad", *given, "--id", "roads", "--no-event"]) == 0
    said = capsys.readouterr().out
    assert "reading 0.xml" in said
    assert "0.xml: car 2 is seen for 2.0 s, and is no ego" in said
    assert "3 scenarios. Expert actions, driven open loop, miss the smoothed tracks by 0.00" in said
    assert "nightshift train ppo --subject roads" in said
    data = open_dataset(home, "roads")
    assert data.metadata.provenance.kind == "import"
    assert "2.xml: made for a test" in data.metadata.provenance.source
    assert [len(ScenarioBank.open(data).scenarios(part)) for part in data.parts] == [1, 1, 1]

    Path(given[1]).write_text("<commonRoad>", encoding="utf-8")
    assert main(["import", "commonroad", *given, "--id", "roads", "--no-event"]) == EXIT_BLOCKED
    assert "1.xml is no whole XML file" in capsys.readouterr().err
    assert open_dataset(home, "roads").fingerprint == data.fingerprint


def test_an_id_that_is_none_is_told_before_anything_is_written(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "nuplan", str(tmp_path), "--id", "../x"]) == EXIT_USAGE
    assert main(["import", "nuplan", str(tmp_path)]) == EXIT_BLOCKED
    assert "holds no .db file" in capsys.readouterr().err
    assert subjects(home) == ()
    assert not (home.root / "datasets").exists()
