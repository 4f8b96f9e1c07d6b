"""The code that a run recorded, laid out beside the checkout: nothing in the user's git or work tree changes."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.errors import ServiceError
from nightshift.settings import Home

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@contextmanager
def code_of(home: Home, repository: Path, commit: str) -> Iterator[Path]:
    """Yield a folder with the repository's files as they were at a commit; it is gone afterwards.

    Raises:
        ServiceError: when the commit is not there; says how to fetch it.
    """
    if not _COMMIT.fullmatch(commit):
        raise ServiceError(f"'{commit[:80]}' is no commit.")
    packed = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", commit], capture_output=True, check=False
    )
    if packed.returncode:
        raise ServiceError(
            f"commit {commit[:12]} of the recorded code is not in this checkout's git.",
            hint="Fetch it (`git fetch --all`), or give --present-code to use the code that runs now.",
        )
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tmp, prefix="code-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)
