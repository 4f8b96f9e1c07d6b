"""`simulate can` and `import can` say what is wrong before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.cli.app import main
from nightshift.data.store import subjects
from nightshift.errors import EXIT_BLOCKED, EXIT_USAGE
from nightshift.settings import Home

#: DVC's own use of pygtrie.


def write_log(path: Path) -> Path:
    path.write_text(
        "".join(f"({1000 + i / 50:.6f}) can0 {(0x44, 0x1A0)[i % 2]:03X}#{i % 256:02X}\n" for i in range(3000))
    )
    return path


def test_import_can_takes_several_logs(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(write_log(tmp_path / "drive.log"))
    assert main(["import", "can", log, "--no-event"]) == EXIT_BLOCKED
    assert "drive.log marks no frame as normal or as an attack. Give `--normal`" in capsys.readouterr().err
    assert main(["import", "can", log, "--format", "daga"]) == EXIT_BLOCKED
    assert "is not in the layout 'daga'" in capsys.readouterr().err
    assert not subjects(home)
    assert main(["import", "can", log, "--normal", "--subject", "can_my_car", "--no-event"]) == 0
    said = capsys.readouterr().out
    assert "can_my_car: CAN traffic, 1 trace," in said
    assert "10 columns: can_id, since_frame_ms" in said


def test_simulate_can_refuses_what_makes_no_sense(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "can", "--drives", "2"]) == EXIT_USAGE
    assert "--drives is 2, expected 8 to 1000" in capsys.readouterr().err
    assert main(["simulate", "boat"]) == EXIT_USAGE
    assert "invalid choice: 'boat'" in capsys.readouterr().err
    assert not subjects(home)
