"""The command line: what a newcomer sees, and what a script can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.cli import main
from nightshift.errors import BlockedError
from nightshift.files import write_atomic
from nightshift.settings import Home


def run(*words: str) -> int:
    return main(list(words))


def in_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_command_and_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for word in (
        "import",
        "train-machine",
        "status",
        "report",
        "predict",
        "reproduce",
        "down",
        "first steps",
        "exit codes",
    ):
        assert word in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "unknown command 'trian'. Did you mean 'train'?"),
        (["status", "--jsn"], "unknown option '--jsn'. Did you mean '--json'?"),
        (["train", "anomly", "--machine", "x"], "unknown family 'anomly'. Did you mean 'anomaly'?"),
        (["train", "anomaly", "--machine", "../x"], "'../x' is not a machine id."),
        (["import", "cmaps", "x"], "invalid choice: 'cmaps'"),
        (["report", "pump", "pumps"], "'pumps' is one word too many."),
        (
            ["train", "anomaly", "--machine", "x", "--seed", "ten"],
            "argument --seed: expected a whole number, got 'ten'",
        ),
        (["train", "anomaly", "--machine", "x", "--threads", "0"], "--threads is 0, expected 1 or more."),
        (["train", "anomaly", "--machine", "x", "--set", "seed"], "--set 'seed' is not key=value."),
    ],
)
def test_wrong_words_name_the_right_ones_on_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_an_unknown_machine_names_the_nearest(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    write_atomic(home.data / "current" / "pump_7", b"f" * 64)
    for words in (["train", "anomaly", "--machine", "pmp_7"], ["status", "--machine", "pmp_7"], ["report", "pmp_7"]):
        assert run(*words) == 2
        assert "unknown machine 'pmp_7'. Did you mean 'pump_7'?" in capsys.readouterr().err


def test_an_unknown_setting_names_the_nearest(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    write_atomic(home.data / "current" / "pump_7", b"f" * 64)
    assert run("train", "anomaly", "--machine", "pump_7", "--set", "contaminaton=0.1") == 2
    assert "Did you mean 'contamination'?" in capsys.readouterr().err


def test_no_command_shows_the_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "first steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BlockedError("D009 one class only.", hint="Land more."), 3, "error: D009 one class only. Land more."),
        (KeyboardInterrupt(), 130, "interrupted. Stages that had ended are kept"),
        (OSError(28, "No space left on device", "/x"), 1, "The disk is full"),
    ],
)
def test_exit_codes_and_one_readable_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_arguments: object) -> int:
        raise error

    monkeypatch.setattr("nightshift.cli.look._status", fails)
    assert run("status") == code
    assert said in capsys.readouterr().err


def test_debug_shows_where_an_error_happened(home: Home) -> None:
    with pytest.raises(Exception, match="unknown machine"):
        run("--debug", "status", "--machine", "nobody")


def test_an_empty_home_says_how_to_begin(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert run("status") == 0
    assert "nightshift demo" in capsys.readouterr().out
    assert run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_importing_the_command_loads_no_heavy_library() -> None:
    heavy = "{'numpy', 'pydantic', 'pandas', 'prefect', 'mlflow', 'yaml', 'rich', 'onnxruntime'}"
    done = in_python(f"import sys, nightshift.cli; print(sorted(set(sys.modules) & {heavy}))")
    assert done.stdout.strip() == "[]", done.stderr


def test_on_the_base_install_other_commands_name_the_extra(tmp_path: Path) -> None:
    absent = "('yaml', 'pandas', 'pyarrow', 'autogluon', 'mlflow', 'onnx', 'jinja2', 'prefect', 'rich', 'matplotlib')"
    start = "from nightshift.cli import main; sys.exit(main(sys.argv[1:]))"
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); {start}"
    for words, extra in ((["status"], "train"), (["train", "anomaly", "--machine", "x"], "train"), (["up"], "worker")):
        done = in_python(code, *words)
        assert done.returncode == 2
        assert f"pip install 'nightshift[{extra}]'" in done.stderr, done.stderr
    done = in_python(code, "predict", "--bundle", str(tmp_path), "--input", str(tmp_path / "rows.csv"))
    assert done.returncode == 2
    assert "extra" not in done.stderr
    assert "bundle.json" in done.stderr, done.stderr
