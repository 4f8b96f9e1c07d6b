"""The whole path in a browser, on what `nightshift up` brings up: a machine, a training, its results, its model, tried.

Its pictures are kept in `build/pages` of the checkout, beside what `make bench` leaves.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browser import DESK, PHONE, browser, page_of
from support.homes import a_home
from support.machine import SUBJECT, land_demo
from support.servers import EmptyDatabase

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "pages"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, empty_prefect: EmptyDatabase) -> Iterator[str]:
    """Where the dashboard of a home with one machine's data is; everything was started by `nightshift up`."""
    with a_home(tmp_path_factory.mktemp("pages"), migrated_db) as home:
        empty_prefect.into(home)
        land_demo(home)
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

        def nightshift(command: str) -> str:
            line = [sys.executable, "-m", "nightshift.cli", command]
            done = subprocess.run(line, env=variables, cwd=home.root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
            return done.stdout

        try:
            told = nightshift("up")
            found = re.search(r"^Dashboard:\s+(http://\S+)", told, re.MULTILINE)
            assert found, told
            yield found[1]
        finally:
            nightshift("down")


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with browser() as opened, page_of(opened) as found:
        yield found
