"""The hash of the code that demonstrations follow from, for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nightshift.driving.sources import PACKAGE, code_of

EXPERTS = "nightshift.driving.imitate.experts"


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("driving/drivers.py", True),
        ("driving/world.py", True),
        ("driving/bicycle.py", True),
        ("driving/traffic/idm_mobil.py", True),
        ("driving/imitate/demonstrations.py", True),
        ("driving/learn/sac.py", False),
        ("driving/landing.py", False),
    ],
)
def test_it_changes_with_what_moves_experts_and_traffic_alone(tmp_path: Path, changed: str, matters: bool) -> None:
    copy = tmp_path / "nightshift"
    shutil.copytree(PACKAGE / "driving", copy / "driving", ignore=shutil.ignore_patterns("__pycache__"))
    for path in PACKAGE.glob("*.py"):
        shutil.copy(path, copy)
    before = code_of(EXPERTS, copy)
    path = copy / changed
    path.write_bytes(path.read_bytes() + b"# otherwise\n")
    code_of.cache_clear()
    assert (code_of(EXPERTS, copy) != before) == matters
