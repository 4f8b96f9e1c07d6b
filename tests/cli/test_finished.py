"""What the command says of cells that are done: the closing block, `status`, and a second run that does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.machine import land_demo

from nightshift.cli import main
from nightshift.cli.closing import print_closing
from nightshift.cli.running import Asked, _close, _nothing_to_do
from nightshift.data.store import current
from nightshift.errors import EXIT_BLOCKED, DataError
from nightshift.files import write_atomic
from nightshift.findings import finding
from nightshift.plan.cell import Cell
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import outcome_of
from nightshift.plan.records import write_record
from nightshift.plan.state import make_cell, remember
from nightshift.settings import Home
from nightshift.tracking.report import write_report
from nightshift.tracking.unversioned import dvc_file, keep_failure, outstanding
from tests.tracking.cells import a_cell, a_manifest, an_evaluation, land_finished, record


def finished(home: Home, cell: Cell, f1: float = 0.81, size_bytes: int = 2_400_000) -> None:
    land_finished(home, cell, an_evaluation(f1=f1), a_manifest(cell, size_bytes=size_bytes))


@pytest.fixture
def anomaly_cell(home: Home) -> Cell:
    """An up-to-date cell of a family that exists, as the command itself would make it."""
    write_atomic(home.data / "current" / "pump_1", b"f" * 64)
    cell = make_cell(home, "pump_1", "anomaly")
    finished(home, cell)
    for wanted in outstanding(home, "pump_1"):
        write_atomic(dvc_file(home, wanted.kind, wanted.fingerprint), b"")
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


def test_the_closing_block_shows_what_the_device_will_ask(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.cli.show.styled", lambda _stream: True)
    cell, limits = a_cell(), {"size_mb": 50.0, "latency_ms": 10.0, "memory_mb": 250.0}
    cell = cell.model_copy(update={"config": {**cell.config, "limits": limits}})
    manifest, evaluation = a_manifest(cell), an_evaluation()

    def lines() -> dict[str, str]:
        print_closing(home, cell, "trained")
        words = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.strip()]
        return {key: rest[0] for key, *rest in words if key in ("size", "memory", "latency", "parity")}

    land_finished(home, cell, evaluation, manifest)
    assert lines() == {
        "size": "2.4 MB, target ≤ 50 MB",
        "memory": "88 MB, target ≤ 250 MB; first answer 0.71 s after its start",
        "latency": "0.4 ms p99, target ≤ 10 ms",
        "parity": "5,000 rows against the library: 0 labels differ, scores by 6e-07 at most",
    }
    footprint = manifest.footprint.model_copy(update={"memory_mb": 300.0}) if manifest.footprint else None
    latency = manifest.latency.model_copy(update={"p99_ms": 12.0})
    parity = manifest.parity.model_copy(update={"flips": 3, "ok": False})
    worse = {"footprint": footprint, "latency": latency, "parity": parity}
    land_finished(home, cell, evaluation, manifest.model_copy(update=worse))
    missed = {key: line for key, line in lines().items() if "\x1b[31;1m" in line}
    assert missed.keys() == worse.keys() - {"footprint"} | {"memory"}
    assert "300 MB, target ≤ 250 MB missed" in missed["memory"]
    assert "12 ms p99, target ≤ 10 ms missed" in missed["latency"]
    assert "3 labels differ" in missed["parity"]


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
print("HEAVY", sorted(set(sys.modules) & {"prefect", "mlflow", "pandas", "sklearn", "torch", "matplotlib", "dvc"}))
sys.exit(code)
"""
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(home.root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do: data, config and code are unchanged." in done.stdout
    assert "HEAVY []" in done.stdout
    assert "version 3" in done.stdout


def test_an_up_to_date_cell_that_is_not_versioned_is_not_done(home: Home, anomaly_cell: Cell) -> None:
    asked = Asked(home, "pump_1", "pi", ("anomaly",), TrainOptions())
    assert _nothing_to_do(asked, [anomaly_cell])
    dvc_file(home, "datasets", anomaly_cell.dataset).unlink()
    assert not _nothing_to_do(asked, [anomaly_cell])


def test_why_nothing_is_versioned_stands_in_the_block_and_the_report(
    home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_failure(home, "pump_1", finding("R002", "The .dvc folder is missing.", remedy="Mend it with `dvc init`."))
    print_closing(home, anomaly_cell, "trained")
    assert "R002 warning: The .dvc folder is missing. Mend it with `dvc init`." in capsys.readouterr().out
    report = write_report(home, "pump_1")
    for path in (report.html, report.markdown):
        assert "The .dvc folder is missing. Mend it with `dvc init`." in path.read_text(encoding="utf-8")
    keep_failure(home, "pump_1", None)
    print_closing(home, anomaly_cell, "trained")
    assert "R002" not in capsys.readouterr().out


def test_data_checkout_names_the_nearest_version(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = land_demo(home, seed=5, runs=12), land_demo(home, seed=6, runs=12)
    assert main(["data", "checkout", old.subject, old.fingerprint[:6]]) == 0
    assert old.fingerprint[:12] in capsys.readouterr().out
    assert current(home, old.subject) == old.fingerprint
    wrong = new.fingerprint[:10] + ("00" if new.fingerprint[10:12] != "00" else "11")
    assert main(["data", "checkout", old.subject, wrong]) == 2
    assert f"Did you mean '{new.fingerprint[:12]}'?" in capsys.readouterr().err
    assert current(home, old.subject) == old.fingerprint


def test_other_settings_are_another_cell(home: Home, anomaly_cell: Cell) -> None:
    assert make_cell(home, "pump_1", "anomaly", params={"contamination": 0.07}).key != anomaly_cell.key
    assert make_cell(home, "pump_1", "anomaly", params={}).key == anomaly_cell.key


def test_report_says_where_it_lies(home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "pump_1"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert "training_report" in line
        assert os.path.getsize(line) > 1000


def anomaly_status(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert main(["status", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    return row["state"], row["why"]


def test_status_sees_an_edited_config_file(home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    assert anomaly_status(capsys)[0] == "fresh"
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {anomaly: {contamination: 0.07}}")
    assert anomaly_status(capsys) == ("stale", "config change (contamination)")


def test_status_keeps_what_flags_set_and_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_atomic(home.data / "current" / "pump_1", b"f" * 64)
    finished(home, make_cell(home, "pump_1", "anomaly", params={"contamination": 0.07}))
    where, why = anomaly_status(capsys)
    assert where == "fresh"
    assert why.endswith("(with its last settings)")
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {anomaly: {contamination: 0.06, seed: 7}}")
    assert anomaly_status(capsys) == ("stale", "config change (seed) (with its last settings)")


def test_what_a_killed_write_left_is_no_machine_and_no_cell(
    home: Home, anomaly_cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    write_atomic(home.data / "current" / ".pump_2.41.tmp", b"f" * 64)
    write_atomic(home.work / "newest" / f".{anomaly_cell.name}.41.tmp", anomaly_cell.key.encode())
    assert anomaly_status(capsys)[0] == "fresh"
    assert main(["status", "--machine", "pump_2"]) == 2
    assert ".tmp" not in capsys.readouterr().err


def test_a_damaged_pointer_is_said_and_not_trained_on(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_atomic(home.data / "current" / "pump_1", b"f" * 20)
    with pytest.raises(DataError, match="damaged"):
        make_cell(home, "pump_1", "anomaly")
    assert main(["status", "--machine", "pump_1"]) == EXIT_BLOCKED
    assert "the pointer to the dataset of 'pump_1' is damaged" in capsys.readouterr().err


def test_why_a_family_does_not_apply_is_said_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_atomic(home.data / "current" / "pump_1", b"f" * 64)
    cell = make_cell(home, "pump_1", "rul")
    remember(home, cell)
    write_record(home, record(cell, "load", status="not_applicable", error="It never fails.", hint="Leave it out."))
    asked = Asked(home, "pump_1", "pi", ("rul",), TrainOptions())
    outcome = outcome_of(home, cell, "not applicable", reason="It never fails.", hint="Leave it out.")
    assert _close(asked, [cell], [outcome]) == 0
    assert capsys.readouterr().out.count("It never fails. Leave it out.") == 1


def test_two_runs_at_once_each_end_with_their_own_figures(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = a_cell(seed=1), a_cell(seed=2)
    for cell, f1 in ((ours, 0.81), (theirs, 0.33)):
        finished(home, cell, f1=f1)
        remember(home, cell)
    asked = Asked(home, "pump_1", "pi", ("classification",), TrainOptions())
    assert _close(asked, [ours], [outcome_of(home, ours, "trained")]) == 0
    assert "test 0.8100" in capsys.readouterr().out
