"""`nightshift-edge`, as a person on a device meets it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.bundles import forecast_bundle, parity, sum_check, write_bundle

from nightshift.edge.cli import main, predict
from nightshift.edge.manifest import DeviceCheck
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, EXIT_USAGE

ROWS = "run,time,speed,temperature,grade\n1,2026-01-01T00:00:00Z,1,2,L\n1,2026-01-01T00:10:00Z,9,2,H\n"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def test_run_prints_one_line_a_row(tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "v1")
    assert main(["run", str(bundle), "--input", str(rows)]) == EXIT_OK
    assert capsys.readouterr().out.splitlines() == [
        "run,time,value,label",
        "1,2026-01-01T00:00:00Z,3,0",
        "1,2026-01-01T00:10:00Z,13,1",
    ]


def test_predict_writes_a_file(tmp_path: Path, rows: Path) -> None:
    output = tmp_path / "answers.csv"
    assert predict(write_bundle(tmp_path / "v1"), rows, output) == 2
    assert len(output.read_text().splitlines()) == 3
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_forecast_is_made_from_the_last_row(tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = forecast_bundle(tmp_path / "v1", "Europe/Berlin")
    assert main(["run", str(bundle), "--input", str(rows)]) == EXIT_OK
    assert capsys.readouterr().out.splitlines() == [
        "run,time,sensor,yhat",
        "1,2026-01-01T01:20:00,speed,4200",
        "1,2026-01-01T01:30:00,speed,4800",
    ]
    assert main(["run", str(bundle), "--input", str(rows), "--every-row"]) == EXIT_OK
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_forecast_without_time_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("speed,temperature,grade\n1,2,L\n")
    assert main(["run", str(forecast_bundle(tmp_path / "v1")), "--input", str(rows)]) == EXIT_USAGE
    assert "Add a `time` column" in capsys.readouterr().err


def test_bench_and_verify_speak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(write_bundle(tmp_path / "v1", check=sum_check(), parity=parity(value=1e-5)))
    assert main(["bench", bundle, "--runs", "10"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "p99" in said
    assert re.search(r"memory +\d+ MB in memory, first answer after \d+\.\d\d s", said)
    assert main(["verify", bundle, "--runs", "10", "--architecture", "riscv64"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "pump_1.rul.pi" in said
    assert re.search(
        r"answers +as the training library's on 40 rows: 0 labels differ, value within \S+ of 1\S*e-05", said
    )
    assert "in place of riscv64" in said


def test_answers_that_do_not_agree_are_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(write_bundle(tmp_path / "v1", check=sum_check(flips=3), parity=parity(value=1e-5)))
    assert main(["verify", bundle, "--runs", "5", "--json"]) == EXIT_CELL_FAILED
    check = DeviceCheck.model_validate_json(capsys.readouterr().out)
    assert (check.parity.flips, check.parity.ok) == (3, False)
    assert check.latency.p99_ms > 0
    assert check.footprint.memory_mb > 10


def test_a_broken_bundle_is_one_line_and_no_file(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "v1")
    (bundle / "model.onnx").unlink()
    output = tmp_path / "answers.csv"
    assert main(["run", str(bundle), "--input", str(rows), "--output", str(output)]) == EXIT_USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: model.onnx")
    assert len(error.splitlines()) == 1
    assert not output.exists()


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(write_bundle(tmp_path / "v1"))
    assert main(["run", bundle, "--input", str(rows), "--output", str(tmp_path / "no" / "x.csv")]) != EXIT_OK
    assert "cannot be written" in capsys.readouterr().err


def test_a_forecast_beyond_the_calendar_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("time,speed,temperature,grade\n9999-12-31T23:59:00Z,1,2,L\n")
    assert main(["run", str(forecast_bundle(tmp_path / "v1")), "--input", str(rows)]) == EXIT_USAGE
    assert "which no calendar reaches" in capsys.readouterr().err
