"""One bundle of every family that machines have, and rows for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift import families
from nightshift.plan.records import STAGES
from nightshift.plan.state import make_cell
from nightshift.settings import Home, packaged_configs
from nightshift.stages.chain import StageContext, run_stage


@dataclass(frozen=True)
class Made:
    """Bundles by family, and rows for them as CSV."""

    folders: dict[str, Path]
    rows: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Train and export the four machine families on this machine, with the demo's budgets."""
    with a_home(tmp_path_factory.mktemp("arm64")) as home:
        data = land_demo(home, seed=3)
        names = [name for name in families.names() if families.get(name).group == "machine"]
        folders = {family: _export(home, data.subject, family) for family in names}
        rows = home.root / "rows.csv"
        frame = data.frame("test").drop(columns=["failure_status", "rul"]).iloc[:400]
        # Missing and infinite readings take their own ways through a graph.
        sensors = frame.columns.difference(["time", "run"])
        frame.loc[frame.index[50:60], sensors[0]] = float("nan")
        frame.loc[frame.index[70:72], sensors[1]] = float("inf")
        frame.to_csv(rows, index=False)
        yield Made(folders, rows)


def _export(home: Home, subject: str, family: str) -> Path:
    cell = make_cell(home, subject, family, file=packaged_configs() / "demo.yaml")
    for stage in STAGES[: STAGES.index("register")]:
        run_stage(stage, cell, StageContext(home))
    return home.models / ".staging" / cell.key
