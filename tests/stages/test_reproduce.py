"""A run is trained again from what MLflow recorded: data, config and seed, whatever lies in the home now."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift import families
from nightshift.cli import main
from nightshift.data.dataset import Dataset
from nightshift.errors import ServiceError, UnknownNameError
from nightshift.family import Limits
from nightshift.plan.cell import Cell
from nightshift.plan.code import code_fingerprint
from nightshift.plan.records import STAGES
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, begin, run_stage
from nightshift.stages.reproduce import Reproduction, commit_to_use, read_recorded, reproduce
from nightshift.tracking import mlflow_store
from nightshift.tracking.mlflow_store import Store, open_store
from nightshift.tracking.versioning import version_subject
from tests.tracking.bundles import a_cell, finish

SMALL = {"reference_rows": 200, "n_trees": 10, "window_rows": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("reproduce"), migrated_db) as home:
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_demo(place, seed=5)


@pytest.fixture(scope="module")
def trained(place: Home, data: Dataset) -> Cell:
    config = families.get("anomaly").config.model_validate(SMALL)
    cell = Cell(
        subject=data.subject,
        family="anomaly",
        target="pi",
        dataset=data.fingerprint,
        config={"config": config.model_dump(mode="json"), "limits": Limits().model_dump(mode="json")},
        code=code_fingerprint("anomaly"),
    )
    begin(cell, StageContext(place))
    for stage in STAGES[: STAGES.index("report")]:
        assert run_stage(stage, cell, StageContext(place)).status == "done"
    return cell


def run_of(home: Home, cell: Cell) -> str:
    return str(run_stage("register", cell, StageContext(home)).summary["run_id"])


def again_of(home: Home, run_id: str) -> Reproduction:
    store = open_store(home)
    return reproduce(store, read_recorded(store, run_id))


def test_the_same_code_gives_the_same_figures_and_answers(place: Home, data: Dataset, trained: Cell) -> None:
    before = {p: p.stat().st_mtime_ns for p in (place.work / trained.key).rglob("*")}
    again = again_of(place, run_of(place, trained))
    assert [line for line in again.changed if "not committed" not in line] == []  # a checkout under work has changes
    assert again.same, str(again)
    assert {f.part for f in again.figures} == {"train", "val", "test"}
    assert {a.output: a.rows for a in again.answers} == dict.fromkeys(
        ("score", "vote"), data.metadata.parts["test"].rows
    )
    assert "reproduced in" in str(again)
    assert {p: p.stat().st_mtime_ns for p in (place.work / trained.key).rglob("*")} == before
    assert not list(place.tmp.glob("reproduce-*"))


def test_data_that_has_left_the_store_comes_back_from_dvc_and_mlflow_is_opened_once(
    place: Home, data: Dataset, trained: Cell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version_subject(place, data.subject)
    run_id, opened = run_of(place, trained), []

    def counted(home: Home) -> Store:
        opened.append(home)
        return open_store(home)

    monkeypatch.setattr(mlflow_store, "open_store", counted)
    away = data.folder.with_name("away")
    data.folder.rename(away)
    try:
        assert main(["reproduce", run_id]) == 0
    finally:
        away.rename(data.folder)
    assert f"run {run_id}: reproduced in" in capsys.readouterr().out
    assert opened == [place]


def test_a_model_that_training_does_not_give_is_told_from_one_that_it_does(place: Home, data: Dataset) -> None:
    """This bundle holds one threshold on vibration, and its record claims another code: neither is what runs here."""
    cell = a_cell(data, 9, target="server", **SMALL)
    finish(place, cell, data, 3.0, window_rows=2)
    again = again_of(place, run_of(place, cell))
    assert not again.same
    assert again.changed[0].startswith("code cccccccccccc -> ")
    assert [a.output for a in again.answers if not a.same] == ["score", "vote"]
    assert "NOT reproduced" in str(again)


def test_the_recorded_commit_is_used_where_the_code_is_another(place: Home, trained: Cell) -> None:
    recorded = replace(read_recorded(open_store(place), run_of(place, trained)), environment={"commit": "c" * 40})
    assert commit_to_use(recorded) is None
    other = recorded.cell.model_copy(update={"code": "0" * 64})
    assert commit_to_use(replace(recorded, cell=other)) == "c" * 40
    assert commit_to_use(replace(recorded, cell=other, environment={})) is None


def test_an_unknown_run_names_the_nearest(place: Home, trained: Cell) -> None:
    run_id = run_of(place, trained)
    with pytest.raises(UnknownNameError, match=f"Did you mean '{run_id}'"):
        again_of(place, run_id[:-1])


def test_an_old_run_behind_a_thousand_others_is_found(home: Home, migrated_db: Path) -> None:
    shutil.copyfile(migrated_db, home.mlflow_db)
    store = open_store(home)
    experiment = store.experiment("pump_1")
    old = store.client.create_run(experiment).info.run_id
    with sqlite3.connect(home.mlflow_db) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(runs)")}
        names = ", ".join(sorted(columns - {"run_uuid", "start_time"}))
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
            f"INSERT INTO runs (run_uuid, start_time, {names}) "
            f"SELECT printf('%032x', i), start_time + i, {names} FROM runs, n WHERE run_uuid = ?",
            (old,),
        )
    database.close()
    with pytest.raises(ServiceError, match="no whole cell"):  # found: it is no cell of ours
        read_recorded(store, old)
    with pytest.raises(UnknownNameError, match="MLflow run"):
        read_recorded(store, "no such run")
