"""Code of an earlier commit is laid out beside the checkout, and nothing of the user's git changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nightshift.errors import ServiceError
from nightshift.settings import Home
from nightshift.tracking.recorded_code import code_of


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    for text in ("first", "second"):
        (folder / "module.py").write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", text)
    return folder


def test_an_older_commit_is_laid_out_and_gone_afterwards(home: Home, repository: Path) -> None:
    (repository / "module.py").write_text("not committed")
    with code_of(home, repository, git(repository, "rev-parse", "HEAD~1")) as code:
        assert (code / "module.py").read_text() == "first"
    assert not code.exists()
    assert (repository / "module.py").read_text() == "not committed"
    assert git(repository, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("commit", ["0" * 40, "HEAD", "--output=elsewhere", ""])
def test_what_is_no_commit_here_is_one_clear_error(home: Home, repository: Path, commit: str) -> None:
    with pytest.raises(ServiceError), code_of(home, repository, commit):
        pass
