"""`profile list|check|new` on the command line: what people read, and what is left on the disk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightshift.cli import main
from nightshift.files import read_yaml
from nightshift.settings import Home, packaged_configs
from nightshift.simulate.profile import load_profile

MOTOR = "motor_siemens_1la7_001"
PUMP = {"machine": "pump_7", "machine_type": "centrifugal_pump"}
WHOLE = read_yaml(packaged_configs() / "machines" / f"{MOTOR}.yaml")


def run(*words: str) -> int:
    return main(["profile", *words])


def machines(home: Home) -> list[str]:
    folder = home.configs / "machines"
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What stands on stdin."""

    def say(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return say


def test_every_shipped_machine_is_listed(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert run("list") == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 11
    assert any(line.startswith(MOTOR) and "induction_motor" in line and "15%" in line for line in shown)


def test_a_refused_profile_does_not_hide_the_others_in_the_list(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    (home.configs / "machines").mkdir(parents=True)
    (home.configs / "machines" / "odd.yaml").write_text("machine_type: fan\n")
    assert run("list") == 0
    shown = capsys.readouterr().out
    assert "refused: nightshift profile check odd" in shown
    assert MOTOR in shown


def test_a_good_profile_is_summed_up(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert run("check", MOTOR) == 0
    shown = capsys.readouterr().out
    for words in (
        "good: an induction motor of 11 kW, clock Europe/Berlin",
        "load_torque_nm",
        "0 to 120",
        "> 4.5",
        "parcels",
        "bearing_wear",
        "mean life 720 h, horizon 108 h: about 15% of the rows are failing",
        "at least 23,760 rows of 3600 s for 30 runs",
    ):
        assert words in shown
    assert "remark" not in shown


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"failure_status": False}, "without failure_status: rul, anomaly, forecast can be trained"),
        ({"failure_status": False, "rul": False}, "without failure_status and rul: anomaly, forecast can be trained"),
    ],
)
def test_without_labels_it_is_said_which_families_can_be_trained(
    labels: dict[str, bool], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    from nightshift.simulate.wizard import to_yaml

    path = tmp_path / "plain.yaml"
    path.write_text(to_yaml({**WHOLE, "labels": {"horizon_h": 108, **labels}}))
    assert run("check", str(path)) == 0
    shown = capsys.readouterr().out
    assert said in shown
    assert "of the rows are failing" not in shown


def test_what_is_allowed_and_hardly_meant_is_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    from nightshift.simulate.wizard import to_yaml

    sensors = [{k: v for k, v in s.items() if not k.startswith(("alarm", "critical"))} for s in WHOLE["sensors"]]
    sensors[0]["range"] = [0, 70]
    path = tmp_path / "small.yaml"
    path.write_text(to_yaml({**WHOLE, "sensors": sensors}))
    assert run("check", str(path)) == 0
    shown = capsys.readouterr().out
    assert "remark: sensors.0.range ends at 70, and the rated torque is 71.95" in shown
    assert "remark: no sensor has an alarm limit" in shown
    assert "remark: no sensor is critical" in shown


def test_every_problem_of_a_file_stands_on_its_own_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    path = tmp_path / "my.yaml"
    text = (packaged_configs() / "machines" / f"{MOTOR}.yaml").read_text()
    path.write_text(
        text.replace("sampling_s: 3600", "sampling_s: 0")
        .replace("range: [0, 120]", "range: [120, 0]")
        .replace("horizon_h: 108", "horizon_h: 108, rul: false")
        .replace("mode: bearing_wear", "mode: baring_wear")
    )
    assert run("check", str(path)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.splitlines()
    assert said[0] == "error: my.yaml is refused: 4 problems."
    assert [line.split(":")[0].strip() for line in said[1:]] == [
        "sampling_s",
        "sensors.0.range",
        "failure_modes.0.mode",
        "labels.rul",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "motor_siemens_1la7_01"], f"Did you mean '{MOTOR}'?"),
        (["check", "cmapss_fd001"], "unknown machine profile 'cmapss_fd001'"),
        (["check", "nope.yaml"], "nope.yaml cannot be read: No such file or directory."),
        (["new", "--machine", "../x"], "'../x' is not a machine id."),
        (["new", "--machine", MOTOR], f"machines/{MOTOR}.yaml exists already."),
        (["new", "--from-json", "/"], "/ cannot be read: Is a directory."),
        (["nwe"], "invalid choice: 'nwe'"),
    ],
)
def test_wrong_words_are_refused_on_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert machines(home) == []


def test_the_wizard_writes_a_profile_that_is_found_and_good(
    capsys: pytest.CaptureFixture[str], home: Home, says: Callable[[str], None]
) -> None:
    says("fan_7\nfan\n30\n" + "\n" * 30)
    assert run("new") == 0
    profile = load_profile(home, "fan_7")
    assert profile.nameplate.rated_power_kw == 30
    assert "Rated power, kW [37]: " in capsys.readouterr().out
    assert run("check", "fan_7") == 0


@pytest.mark.parametrize("answered", ["", "fan_7\n", "fan_7\nfan\n30\n\n\n"])
def test_answers_that_end_early_leave_nothing(
    answered: str, capsys: pytest.CaptureFixture[str], home: Home, says: Callable[[str], None]
) -> None:
    says(answered)
    assert run("new") == 2
    assert "nothing was written" in capsys.readouterr().err
    assert machines(home) == []


def test_control_c_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert run("new") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert machines(home) == []


def test_json_answers_ask_nothing(tmp_path: Path, home: Home, says: Callable[[str], None]) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({**PUMP, "rated_power_kw": 30, "timezone": "Asia/Tokyo"}))
    assert run("new", "--from-json", str(path)) == 0
    profile = load_profile(home, "pump_7")
    assert (profile.nameplate.rated_power_kw, profile.timezone) == (30, "Asia/Tokyo")
    assert machines(home) == ["pump_7.yaml"]


def test_a_whole_profile_as_json_is_written_as_it_is(home: Home, says: Callable[[str], None]) -> None:
    says(json.dumps({**WHOLE, "families": {"rul": {"cap": 300}}}))
    assert run("new", "--machine", "motor_9", "--from-json", "-") == 0
    assert read_yaml(home.configs / "machines" / "motor_9.yaml") == {**WHOLE, "families": {"rul": {"cap": 300}}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**PUMP, "rated_power_kw": 0}, "rated_power_kw: got 0; allowed: a number from 0.05 up to 50000"),
        ({**WHOLE, "machine": "m_1", "sampling_s": 0}, "sampling_s: got 0; allowed: a number from 1 up to 86400"),
        ({**WHOLE}, "the JSON names no machine."),
        ({**WHOLE, "machine": "../x"}, "'../x' is not a machine id."),
        ({}, "machine: the field is required"),
        ([], "must be an object"),
    ],
)
def test_bad_json_is_refused_and_leaves_nothing(
    content: Any, said: str, capsys: pytest.CaptureFixture[str], home: Home, says: Callable[[str], None]
) -> None:
    says(json.dumps(content))
    assert run("new", "--from-json", "-") == 2
    assert said in capsys.readouterr().err
    assert machines(home) == []


def test_a_profile_is_replaced_only_by_force(
    capsys: pytest.CaptureFixture[str], home: Home, says: Callable[[str], None]
) -> None:
    for power, force, code in ((30, [], 0), (45, [], 2), (45, ["--force"], 0)):
        says(json.dumps({**PUMP, "rated_power_kw": power}))
        assert run("new", "--from-json", "-", *force) == code
    assert "exists already" in capsys.readouterr().err
    assert load_profile(home, "pump_7").nameplate.rated_power_kw == 45


def test_a_full_disk_leaves_the_old_profile(
    monkeypatch: pytest.MonkeyPatch, home: Home, says: Callable[[str], None]
) -> None:
    says(json.dumps(PUMP))
    assert run("new", "--from-json", "-") == 0
    before = (home.configs / "machines" / "pump_7.yaml").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    says(json.dumps({**PUMP, "rated_power_kw": 45}))
    assert run("new", "--from-json", "-", "--force") == 1
    assert (home.configs / "machines" / "pump_7.yaml").read_bytes() == before
    assert machines(home) == ["pump_7.yaml"]
