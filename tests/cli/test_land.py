"""`land` and `import` end alike: what has landed, whether it is new, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.elsewhere import write_pump

from nightshift.cli.app import main
from nightshift.data import outbox
from nightshift.data.store import subjects
from nightshift.errors import EXIT_BLOCKED, EXIT_OK, EXIT_USAGE
from nightshift.settings import Home

MAPPING = """
machine: pump_7
time: {kind: none}
sensors: {temperature_c: {critical: true}, vibration_mm_s: {}}
label: failure_status
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pump(tmp_path / "made")


def test_land_says_what_has_landed_and_what_comes_next(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["land", str(folder)]) == EXIT_OK
    said = capsys.readouterr().out
    assert "pump_1: a test bench, data" in said
    assert "next: nightshift train-machine --machine pump_1" in said
    assert [n.subject for n in outbox.pending(home)] == ["pump_1"]


def test_land_under_another_id_and_without_event(home: Home, folder: Path) -> None:
    assert main(["land", str(folder), "--machine", "pump_9", "--no-event"]) == EXIT_OK
    assert subjects(home) == ("pump_9",)
    assert outbox.pending(home) == ()


def test_the_same_bytes_again_are_nothing_new(home: Home, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["land", str(folder), "--no-event"])
    assert "nothing new" not in capsys.readouterr().out
    assert main(["land", str(folder)]) == EXIT_OK
    assert "nothing new" in capsys.readouterr().out
    assert outbox.pending(home) == ()


def test_an_import_ends_in_the_same_landing(
    home: Home, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = tmp_path / "pump.yaml"
    mapping.write_text(MAPPING)
    words = ["import", "csv", str(folder / "data.csv"), "--mapping", str(mapping)]
    assert main([*words, "--machine", "quiet_pump", "--no-event"]) == EXIT_OK
    assert outbox.pending(home) == ()
    assert main(words) == EXIT_OK
    assert [n.subject for n in outbox.pending(home)] == ["pump_7"]
    capsys.readouterr()
    assert main(words) == EXIT_OK
    assert "nothing new" in capsys.readouterr().out
    assert len(outbox.pending(home)) == 1


def test_a_refusal_is_one_line_and_an_exit_code(
    home: Home, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "data.csv").write_text("temperature_c\n1\n")
    assert main(["land", str(folder)]) == EXIT_BLOCKED
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: D001: data.csv lacks the column 'vibration_mm_s', 'failure_status'")
    assert main(["land", str(folder), "--machine", "No Id"]) == EXIT_USAGE
    assert main(["land", str(tmp_path / "nowhere")]) == EXIT_BLOCKED
    assert subjects(home) == ()
