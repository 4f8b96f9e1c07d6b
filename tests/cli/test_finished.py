"""What the command says of cells that are done: the closing block, `status`, and a second run that does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from nightshift.cli import main
from nightshift.cli.closing import print_closing
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.records import write_record
from nightshift.plan.state import make_cell
from nightshift.settings import Home
from tests.tracking.cells import a_cell, a_manifest, an_evaluation, land_finished, record


def finished(home: Home, cell: Cell, f1: float = 0.81, size_bytes: int = 2_400_000) -> None:
    land_finished(home, cell, an_evaluation(f1=f1), a_manifest(cell, size_bytes=size_bytes))


@pytest.fixture
def anomaly_cell(home: Home) -> Cell:
    """An up-to-date cell of a family that exists, as the command itself would make it."""
    write_atomic(home.data / "current" / "pump_1", b"f" * 64)
    cell = make_cell(home, "pump_1", "anomaly")
    finished(home, cell)
    return cell


def test_the_closing_block_says_it_all(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell = a_cell()
    finished(home, cell)
    facts = {"version": 3, "run_id": "r" * 32, "tracking_uri": "sqlite:///x", "dvc": "m.dvc", "champion": True}
    write_record(home, record(cell, "register", summary=facts))
    (home.root / "m.dvc").touch()
    print_closing(home, cell, "trained")
    shown = capsys.readouterr().out
    for said in (
        "classification for pi: trained, version 3 (champion)",
        "train 0.9300  val 0.8400  test 0.8100  best baseline 0.4100 (threshold rule)  target ≥ 0.7",
        "2.4 MB, target ≤ 50 MB",
        f"run {'r' * 32} in sqlite:///x",
        "models/classification/pump_1/pi/v3/model.onnx",
        "m.dvc",
        "T003 warning",
    ):
        assert said in shown
    assert "missed" not in shown


def test_missed_targets_are_red(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.cli.show.styled", lambda _stream: True)
    cell = a_cell()
    finished(home, cell, f1=0.5, size_bytes=90_000_000)
    print_closing(home, cell, "trained")
    red = [line for line in capsys.readouterr().out.splitlines() if "\x1b[31;1m" in line]
    assert any("target ≥ 0.7 missed" in line for line in red)
    assert any("90 MB, target ≤ 50 MB missed" in line for line in red)
    assert len(red) == 2


def test_a_stopped_cell_says_why(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cell = a_cell("rul")
    write_record(home, record(cell, "validate", status="blocked", error="D011 rul is negative.", hint="Regenerate it."))
    print_closing(home, cell, "blocked")
    assert "D011 rul is negative. Regenerate it." in capsys.readouterr().out


def test_status_lists_cells_and_machines_without_any(
    home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    write_atomic(home.data / "current" / "valve_2", b"e" * 64)
    assert main(["status", "--json"]) == 0
    rows = {row["subject"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["pump_1"]["state"] == "fresh"
    assert rows["pump_1"]["version"] == 3
    assert rows["valve_2"]["why"] == "never trained"
    write_atomic(home.data / "current" / "pump_1", b"a" * 64)
    assert main(["status", "--machine", "pump_1"]) == 0
    shown = capsys.readouterr().out
    assert "new data" in shown
    assert "valve_2" not in shown


def test_an_up_to_date_cell_is_not_trained_and_nothing_heavy_is_imported(home: Home, anomaly_cell: Cell) -> None:
    code = """
import sys
from nightshift.cli import main
code = main(["train", "anomaly", "--machine", "pump_1"])
print("HEAVY", sorted(set(sys.modules) & {"prefect", "mlflow", "pandas", "sklearn", "torch", "matplotlib"}))
sys.exit(code)
"""
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(home.root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do: data, config and code are unchanged." in done.stdout
    assert "HEAVY []" in done.stdout
    assert "version 3" in done.stdout


def test_other_settings_are_another_cell(home: Home, anomaly_cell: Cell) -> None:
    assert make_cell(home, "pump_1", "anomaly", params={"contamination": 0.07}).key != anomaly_cell.key
    assert make_cell(home, "pump_1", "anomaly", params={}).key == anomaly_cell.key


def test_report_says_where_it_lies(home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "pump_1"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert "training_report" in line
        assert os.path.getsize(line) > 1000
