"""`train-table` registers what it trains: landed, judged, exported, held against the champion, as any model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import tables
from support.homes import a_home
from support.trainer_files import write_table

from nightshift.cli.app import main
from nightshift.data.store import current, open_dataset, subjects
from nightshift.edge.cli import predict
from nightshift.errors import EXIT_BLOCKED, EXIT_CELL_FAILED, EXIT_OK, EXIT_USAGE
from nightshift.plan.table import TableJob
from nightshift.settings import Home
from nightshift.stages.estimator import train_table
from nightshift.tracking import versions
from nightshift.tracking.mlflow_store import open_store
from nightshift.trainer import load

CLASSES, VALUES = f"{tables.SUBJECT}_y", f"{tables.SUBJECT}_v"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("registered"), migrated_db) as home:
        tables.write(home.root, "y")
        tables.write(home.root, "v")
        yield home


def train(file: Path, target: str, model: str, *words: str) -> int:
    return main(["train-table", str(file), "--target", target, "--model", model, *words])


def forest(place: Home, *words: str) -> int:
    trees = ("--set", "params.n_estimators=10", *words)
    return train(place.root / f"{CLASSES}.csv", "y", "random_forest", *trees)


def champion(place: Home, name: str) -> int:
    holder = versions.champion(open_store(place), name)
    return holder.version if holder else 0


@pytest.mark.slow
def test_a_model_becomes_champion_until_a_better_one_comes(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{CLASSES}.classifier.server"
    assert forest(place, "--set", "params.max_depth=4") == EXIT_OK
    assert "classifier for server: trained, version 1 (champion)" in capsys.readouterr().out
    assert forest(place, "--set", "params.max_depth=1") == EXIT_OK
    assert "not promoted: " in capsys.readouterr().out
    assert champion(place, name) == 1
    assert forest(place) == EXIT_OK
    assert "not worse than champion v1" in capsys.readouterr().out
    assert champion(place, name) == 3
    assert forest(place) == EXIT_OK
    assert "up to date, version 3 (champion)" in capsys.readouterr().out
    _the_commands_know_it(place, capsys)
    _the_bundle_answers_raw_rows(place)


def _the_commands_know_it(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--subject", CLASSES, "--json"]) == EXIT_OK
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["family"], row["target"], row["state"], row["version"]) == ("classifier", "server", "fresh", 3)
    assert main(["rollback", CLASSES, "classifier"]) == EXIT_OK
    assert main(["promote", CLASSES, "classifier", "--version", "3"]) == EXIT_OK
    assert main(["history", CLASSES, "classifier", "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out.partition("\n{\n")[2].join(("{\n", "")))
    assert [(one["version"], one["champion"]) for one in told["versions"]] == [(3, True), (2, False), (1, False)]
    report = (place.reports / CLASSES / "training_report.html").read_text()
    assert "majority class" in report
    assert "linear model" in report
    card = (place.models / "classifier" / CLASSES / "server" / "v3" / "MODEL_CARD.md").read_text()
    assert f"Answers, for the table `{CLASSES}`: which class a row is of." in card


def _the_bundle_answers_raw_rows(place: Home) -> None:
    """The file's own spelling of flags and words, gaps too, through `nightshift predict`'s reader."""
    table = pd.read_csv(place.root / f"{CLASSES}.csv")
    lower = table.assign(open=table["open"].map(lambda one: str(one).lower()))
    rows, answers = place.root / "rows.csv", place.root / "answers.csv"
    lower.drop(columns="y").to_csv(rows, index=False)
    assert predict(place.models / "classifier" / CLASSES / "server" / "v3", rows, answers) == len(table)
    saved = sorted((place.root / "experiments" / "tables").iterdir())[-1]
    model = load(saved)
    told = np.round(model.predict_proba(table.drop(columns="y"))[:, 1], 4)
    said = pd.read_csv(answers)
    found = said[next(name for name in said.columns if "yes" in name)].to_numpy()
    np.testing.assert_allclose(found, told, atol=2e-4)


@pytest.mark.slow
def test_folds_on_parquet_with_groups_register_the_refit(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    table = tables.made().drop(columns="y").assign(car=np.arange(500) // 10)
    file = place.root / f"{VALUES}.parquet"
    table.to_parquet(file, index=False)
    words = ("--groups", "car", "--cv", "3", "--device-class", "pi", "--set", "params.n_estimators=10")
    assert train(file, "v", "lightgbm", *words) == EXIT_OK, capsys.readouterr().err
    assert "regressor for pi: trained, version 1" in capsys.readouterr().out
    data = open_dataset(place, VALUES)
    assert data.metadata.columns == ("a", "b", "n", "open", "colour")
    runs = [set(data.runs(part).tolist()) for part in ("train", "test")]
    assert not runs[0] & runs[1]
    card = (place.models / "regressor" / VALUES / "pi" / "v1" / "MODEL_CARD.md").read_text()
    assert "fitted on train and val together" in card


@pytest.mark.slow
def test_a_table_that_has_landed_is_trained_on_by_the_family_itself(
    place: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the fleet or `nightshift train` would: from the cell's config, without the file."""
    from nightshift.plan.state import make_cell
    from nightshift.stages.chain import StageContext, run_chain

    file = tables.write(place.root, "v", seed=5).rename(place.root / "alone.csv")
    assert train(file, "v", "ridge") == EXIT_OK
    params = {"model": "lightgbm", "params": {"n_estimators": 10}}
    cell = make_cell(place, "alone", "regressor", "server", params=params)
    records = run_chain(cell, StageContext(place))
    assert [record.status for record in records] == ["done"] * 7
    assert records[-2].summary["version"] == 2
    other = make_cell(place, "alone", "classifier", "server", params=params)
    (refused,) = run_chain(other, StageContext(place))
    assert refused.status == "not_applicable"
    assert "holds numbers, no classes" in refused.error


def test_what_has_no_bundle_stays_saved_and_logged(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(place.root)
    assert train(place.root / "data.csv", "label", "logistic") == EXIT_BLOCKED
    said = capsys.readouterr()
    assert "Saved in" in said.out
    assert "MLflow run" in said.out
    assert "error: the model was not registered: column 'day' holds datetime64" in said.err
    assert "--no-register" in said.err
    assert "data" not in subjects(place)


def test_an_estimator_without_a_graph_says_so(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = tables.write(place.root, "v").rename(place.root / "hist.csv")
    assert train(file, "v", "hist_gradient_boosting", "--set", "params.max_iter=5") == EXIT_CELL_FAILED
    said = capsys.readouterr()
    assert "HistGradientBoostingRegressor has no ONNX form here" in said.err
    assert "MLflow run" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--device-class", "server_"), "unknown target 'server_'. Did you mean 'server'?"),
        (("--id", "No Id"), "'No Id' is not a machine id"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_training(
    place: Home, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert forest(place, *words) == EXIT_USAGE
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Scores" not in shown.out


def test_rows_that_the_split_held_together_stay_together(home: Home) -> None:
    """Nobody named the groups: they were found by the column's name."""
    patients = np.repeat(np.arange(30), 10)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient_id": [f"p{one}" for one in patients], "a": rng.normal(size=300)})
    file = home.root / "visits.csv"
    table.assign(v=table["a"] + rng.normal(size=300)).to_csv(file, index=False)
    job = TableJob(file=str(file), target="v", settings={"model": "ridge", "test_size": 0.2, "validation_size": 0.0})
    run = train_table(home, job, False)
    assert run.result.split.strategy == "grouped", run.result.split
    assert not run.faults
    assert (home.root / run.outcome.saved / "manifest.json").is_file()
    assert not Path(run.outcome.saved).is_absolute()
    data = open_dataset(home, "visits", current(home, "visits"))
    parts = {part: set(data.frame(part)["patient_id"]) for part in ("train", "val", "test")}
    assert all(parts.values())
    assert sum(map(len, parts.values())) == 30
    assert [len(np.unique(data.runs(part))) for part in parts] == [len(found) for found in parts.values()]


def test_a_file_that_changes_under_the_training_is_not_landed(home: Home) -> None:
    file = tables.write(home.root, "v")
    job = TableJob(file=str(file), target="v", settings={"model": "ridge"})
    run = train_table(home, job, lambda event: os.utime(file, ns=(1, 1)))
    (fault,) = run.faults
    assert "not registered: " in str(fault)
    assert "has changed since the model was trained" in str(fault)
    assert (subjects(home), run.outcome.version) == ((), 0)


def test_no_register_leaves_nothing_behind(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = tables.write(home.root, "v")
    assert train(file, "v", "ridge", "--no-track", "--device-class", "nowhere") == EXIT_OK
    assert subjects(home) == ()
    assert not home.models.exists() or not any(home.models.iterdir())
    assert "for server" not in capsys.readouterr().out
