"""`land` and `import` end alike: what has landed, whether it is new, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.elsewhere import write_pump

from nightshift.cli.app import main
from nightshift.data import outbox
from nightshift.data.store import current, subjects
from nightshift.errors import EXIT_BLOCKED, EXIT_OK, EXIT_USAGE
from nightshift.settings import Home

#: DVC's own use of pygtrie.

MAPPING = """
machine: pump_7
time: {kind: none}
sensors: {temperature_c: {critical: true}, vibration_mm_s: {}}
label: failure_status
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pump(tmp_path / "made")


def leak(folder: Path) -> None:
    """Let one sensor tell the classes apart by itself."""
    head, *rows = (folder / "data.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    lines = [f"{a},{3 + 2 * int(c) + 0.001 * i:.4f},{c}" for i, (a, _, c) in enumerate(cells)]
    (folder / "data.csv").write_text("\n".join([head, *lines]))


def test_land_says_what_has_landed_and_what_comes_next(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["land", str(folder)]) == EXIT_OK
    said = capsys.readouterr().out
    assert "pump_1: a test bench, data" in said
    assert "next: nightshift train-machine --machine pump_1" in said
    assert [n.subject for n in outbox.pending(home)] == ["pump_1"]


def test_a_machine_outside_the_fleet_is_said_to_stay_untrained(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.configs.mkdir(exist_ok=True)
    (home.configs / "fleet.yaml").write_text("machines: [pump_2]\ntags: {hall_1: [pump_2]}\n")
    assert main(["land", str(folder)]) == EXIT_OK
    assert "pump_1 is not among the machines of configs/fleet.yaml" in capsys.readouterr().out
    assert main(["land", str(folder), "--machine", "pump_2"]) == EXIT_OK
    assert "the landing waits for `nightshift up`" in capsys.readouterr().out
    (home.configs / "fleet.yaml").write_text("machine: all\n")
    assert main(["land", str(folder), "--machine", "pump_3"]) == EXIT_OK
    assert "nothing trains by itself: fleet.yaml: unknown key 'machine'" in capsys.readouterr().out


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


def test_what_is_remarked_is_printed_and_the_version_is_kept(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak(folder)
    assert main(["land", str(folder)]) == EXIT_OK
    said = capsys.readouterr().out
    assert "D015 warning: vibration_mm_s (AUC 1.000) alone tells the classes apart." in said
    assert "adding this version to DVC" in said
    assert (home.dvc / "datasets" / f"{current(home, 'pump_1')}.dvc").is_file()
    assert main(["land", str(folder)]) == EXIT_OK
    assert "adding this version" not in capsys.readouterr().out


def test_trouble_with_dvc_is_a_warning_and_an_import_tells_it_too(
    home: Home, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak(folder)
    home.dvc.mkdir(parents=True)
    (home.dvc / "mine.txt").write_text("no repository of Nightshift's")
    mapping = tmp_path / "pump.yaml"
    mapping.write_text(MAPPING)
    assert main(["import", "csv", str(folder / "data.csv"), "--mapping", str(mapping), "--no-event"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "R002 warning: " in said
    assert "D015 warning: " in said
    assert subjects(home) == ("pump_7",)


def test_an_import_is_refused_as_a_landing_is(
    home: Home, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.split(",") for line in (folder / "data.csv").read_text().splitlines()]
    (folder / "data.csv").write_text("\n".join(",".join(["" if i else a, b, c]) for i, (a, b, c) in enumerate(rows)))
    mapping = tmp_path / "pump.yaml"
    mapping.write_text(MAPPING)
    assert main(["import", "csv", str(folder / "data.csv"), "--mapping", str(mapping)]) == EXIT_BLOCKED
    assert "the data of 'pump_7' were not landed. D002:" in capsys.readouterr().err
    assert subjects(home) == ()


@pytest.mark.parametrize("words", [["land"], ["import", "csv"], ["synthesize"]])
def test_no_event_means_the_same_everywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "send no event; the next night finds the data all the same" in said
