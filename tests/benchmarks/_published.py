"""What the benchmarks on published data share: where it lies, and a home that is gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.settings import Home
from tests.support.homes import a_home

ROOT = Path(__file__).resolve().parents[2]


def shared_data() -> Path:
    """Return the folder of published data: `NIGHTSHIFT_SHARED_DATA`, else beside the checkout.

    Raises:
        FileNotFoundError: when it is in neither place.
    """
    folder = Path(os.environ.get("NIGHTSHIFT_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError("published data is not beside this checkout; set NIGHTSHIFT_SHARED_DATA")
    return folder


@contextmanager
def throwaway_home() -> Iterator[tuple[Home, Path]]:
    """Yield a home of one's own and the published data; the environment is put back afterwards."""
    with tempfile.TemporaryDirectory() as folder, a_home(Path(folder)) as home:
        yield home, shared_data()
