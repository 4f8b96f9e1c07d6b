"""What a training begins with is known by its content, wherever the file lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nightshift.driving.learn.beginnings import settled, start_file, start_name
from nightshift.driving.runs import RunFolder
from nightshift.errors import ConfigError
from nightshift.plan.config import resolve
from nightshift.settings import Home


@pytest.fixture
def best(home: Home) -> Path:
    """The best checkpoint of run `bc_v1`."""
    path = RunFolder(home, "bc_v1").checkpoints / "best.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def test_the_same_content_is_the_same_start_and_stays_when_the_file_is_gone(
    home: Home, best: Path, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copy(best, tmp_path / "bc_best.pt"))
    start = settled(home, "bc_v1")
    assert start == settled(home, str(best)) == settled(home, str(elsewhere)) == settled(home, start)
    best.write_bytes(b"better weights")
    assert settled(home, "bc_v1") != start
    elsewhere.unlink()
    assert start_file(home, start).read_bytes() == b"weights"
    assert start_name(home, start) == "bc_v1"
    assert start_file(home, "/a/path.pt") == Path("/a/path.pt")


def test_a_run_is_found_wherever_a_config_names_it_and_keys_the_training_by_content(
    home: Home, best: Path, tmp_path: Path
) -> None:
    file = tmp_path / "custom.yaml"
    file.write_text("algorithm: cimrl\ntraining: {init_from: bc_v1}\n")
    by_file = resolve(home, "roads", "cimrl", "vehicle", file=file)
    by_option = resolve(home, "roads", "cimrl", "vehicle", params={"init_from": str(best)})
    assert by_file.as_json() == by_option.as_json()
    best.write_bytes(b"better weights")
    assert resolve(home, "roads", "cimrl", "vehicle", file=file).as_json() != by_file.as_json()
    file.write_text("algorithm: cimrl\ntraining: {init_from: bc_v2}\n")
    with pytest.raises(ConfigError, match=r"bc_v2: there is no such file and no such run\. .*'bc_v1'"):
        resolve(home, "roads", "cimrl", "vehicle", file=file)
    best.unlink()
    with pytest.raises(ConfigError, match=r"run 'bc_v1' has no best\.pt yet"):
        settled(home, "bc_v1")
