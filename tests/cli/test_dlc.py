"""`dlc` says what a converter would, mends, and never pretends to have converted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from support.sequence_graphs import tcn, tcn_model, windows

from nightshift.cli.app import main
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, EXIT_USAGE
from nightshift.graphs.dlc_fix import fix
from nightshift.graphs.quantise import a16w8


def test_dlc_says_what_is_wrong_mends_and_tells_that_nothing_was_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given, mended = tmp_path / "model.onnx", tmp_path / "mended.onnx"
    onnx.save(tcn_model(tcn()), given)
    assert main(["dlc", str(given), "--fix", str(mended)]) == EXIT_CELL_FAILED
    said = capsys.readouterr().out
    assert "static-shapes" in said
    assert "and 6 more" in said
    assert "mended.onnx: not ready: a16w8 (9)" in said
    ready = tmp_path / "dsp.onnx"
    onnx.save(a16w8(fix(tcn_model(tcn(), 1)), {"window": windows(20)}), ready)
    assert main(["dlc", str(ready)]) == EXIT_OK
    assert main(["dlc", str(ready), "--convert", str(tmp_path / "out.dlc")]) == EXIT_CELL_FAILED
    assert "not converted: converter not installed" in capsys.readouterr().out
    assert not (tmp_path / "out.dlc").exists()


def test_dlc_of_what_is_no_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model at all")
    assert main(["dlc", str(tmp_path / "text.onnx")]) == EXIT_USAGE
    assert "is no ONNX model" in capsys.readouterr().err
    assert main(["dlc", str(tmp_path / "none.onnx")]) == EXIT_USAGE
    assert "No such file" in capsys.readouterr().err


def test_dlc_writes_nothing_into_the_users_home(tmp_path: Path) -> None:
    """onnxruntime, asked for its converter, leaves a device id and a database there unless it is told not to."""
    onnx.save(tcn_model(tcn(), 1), tmp_path / "model.onnx")
    (tmp_path / "user").mkdir()
    given = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_", "NIGHTSHIFT_"))}
    given |= {"HOME": str(tmp_path / "user"), "NIGHTSHIFT_HOME": str(tmp_path / "home"), "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "nightshift.cli", "dlc", str(tmp_path / "model.onnx"), "--convert"]
    done = subprocess.run(
        [*command, str(tmp_path / "out.dlc")], env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == EXIT_CELL_FAILED, done.stderr
    assert "not converted: converter not installed" in done.stdout
    assert list((tmp_path / "user").rglob("*")) == []
    # Without the command too, whoever asks first.
    code = "import sys, pathlib; from nightshift.graphs import dlc; dlc.convert(*map(pathlib.Path, sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.onnx"), str(tmp_path / "out.dlc")],
        env=given,
        check=True,
        timeout=120,
    )
    assert list((tmp_path / "user").rglob("*")) == []
