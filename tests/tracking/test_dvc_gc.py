"""Giving versions up in a real DVC repository: what the others share with them stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.settings import Home
from nightshift.tracking import dvc_gc, versioning
from nightshift.tracking.unversioned import dvc_file

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two versions with a file in common and one of their own."""
    made = [tmp_path / name for name in ("one", "two")]
    for folder in made:
        folder.mkdir()
        (folder / "same.txt").write_text("the same in both " * 100, encoding="utf-8")
        (folder / "own.txt").write_text(f"only in {folder.name} " * 1_000, encoding="utf-8")
    return made


def keep(home: Home, folders: list[Path]) -> None:
    for fingerprint, folder in zip((ONE, TWO), folders, strict=True):
        versioning.version_folder(home, "models", fingerprint, folder)


def holds(place: Path, text: str) -> int:
    """How many files begin with a text."""
    return sum(p.read_bytes().startswith(text.encode()) for p in place.rglob("*") if p.is_file())


def test_what_other_versions_share_stays_and_the_bytes_are_those_that_go(
    home: Home, folders: list[Path], tmp_path: Path
) -> None:
    keep(home, folders)
    remote = home.machinery / "dvc-remote"
    assert dvc_gc.size_of(home, "models", ONE) == sum(p.stat().st_size for p in folders[0].iterdir())
    freed, remark = dvc_gc.forget(home, [("models", ONE), ("models", "3" * 64)])
    assert remark == ""
    assert freed >= (folders[0] / "own.txt").stat().st_size
    assert versioning.versions(home, "models") == (TWO,)
    assert [holds(remote, text) for text in ("only in one", "only in two", "the same")] == [0, 1, 1]
    back = versioning.checkout(home, "models", TWO, tmp_path / "back")
    assert (back / "same.txt").read_bytes() == (folders[1] / "same.txt").read_bytes()
    assert not dvc_gc.is_due(home, [("models", ONE)])


def test_a_remote_that_other_homes_may_use_keeps_its_files(
    home: Home, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote"
    monkeypatch.setenv(versioning.REMOTE_VARIABLE, str(remote))
    keep(home, folders)
    assert dvc_gc.forget(home, [("models", ONE)]) == (0, "")
    assert str(remote) in dvc_gc.kept_there(home)
    assert holds(remote, "only in one") == 1
    cache = home.dvc / ".dvc" / "cache"
    assert [holds(cache, text) for text in ("only in one", "only in two")] == [0, 1]


def test_files_wait_for_a_push_that_did_not_end(home: Home, folders: list[Path]) -> None:
    keep(home, folders)
    remote = home.machinery / "dvc-remote"
    beside = dvc_file(home, "models", TWO).with_suffix("")
    beside.mkdir()
    freed, remark = dvc_gc.forget(home, [("models", ONE)])
    assert freed == 0
    assert "half pushed" in remark
    assert holds(remote, "only in one") == 1
    beside.rmdir()
    assert dvc_gc.is_due(home, [])
    assert dvc_gc.forget(home, [])[0] > 0
    assert holds(remote, "only in one") == 0
