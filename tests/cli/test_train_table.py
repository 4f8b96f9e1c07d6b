"""`train-table`: a file in, a saved model and a logged run out; each fault one line and an exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.trainer_files import write_table

from nightshift.cli.app import main
from nightshift.errors import EXIT_BLOCKED, EXIT_CELL_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from nightshift.settings import Home
from nightshift.tracking.mlflow_store import open_store
from nightshift.trainer import load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("tables"), migrated_db) as home:
        write_table(home.root)
        yield home


def run(place: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["train-table", str(place.root / "data.csv"), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_folds_are_trained_saved_and_logged(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(place.root / "experiments", ignore_errors=True)
    words = ("--target", "label", "--model", "logistic", "--cv", "3", "--balance", "smote", "--id", "shop")
    code, out, err = run(place, capsys, *words, "--no-register")
    assert code == EXIT_OK, err
    assert "3 folds of the train rows" in out
    assert "mean ± spread" in out
    assert "smote; SMOTE made rows" in out
    assert "4/4" in err
    (saved,) = (place.root / "experiments" / "tables").iterdir()
    assert f"Saved in {saved}" in out
    assert load(saved).manifest.classes == ("no", "yes")
    store = open_store(place)
    (logged,) = store.client.search_runs([store.experiment("estimators")], "tags.`mlflow.runName` = 'shop'")
    assert logged.info.run_id in out
    assert logged.info.status == "FINISHED"
    assert logged.data.params["balance.method"] == "smote"
    assert 0.5 < logged.data.metrics["mean/f1"] <= 1
    names = {item.path for item in store.client.list_artifacts(logged.info.run_id, "model")}
    assert "model/manifest.json" in names


def test_a_file_of_settings_gives_way_to_options_and_these_to_set(
    place: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(
        "model: ridge\nparams: {alpha: 5.0}\ntest_size: 0.3\ncross_validation: {folds: 4, strategy: random}\n"
        f"save_path: {tmp_path / 'models'}\ntrack: false\n"
    )
    words = ("--config", str(config), "--target", "fuel", "--cv", "2", "--set", "params.alpha=2.0", "--groups", "car")
    code, out, err = run(place, capsys, *words, "--set", "checks.mute=[T021]")
    assert code == EXIT_OK, err
    assert "Ridge on 240 rows × 5 columns, fuel: regression" in out
    assert "2 folds of the train rows" in out
    assert "MLflow" not in out
    (saved,) = (tmp_path / "models").iterdir()
    assert load(saved).model.steps[-1][1].alpha == 2.0


def test_parquet_is_trained_on_by_later_rows(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train-table", str(place.root / "data.parquet"), "--target", "fuel", "--model", "ridge", "--no-track"]
    assert main([*words, "--times", "day", "--set", "params.alpha=2.0", "--set", "save_model=false"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "strategy time" in out
    assert "Ridge on 240 rows × 5 columns" in out
    assert "Not saved" in out


def test_a_search_goes_on_and_its_best_is_trained_and_logged(
    place: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("alpha: [0.001, 1000000.0]\n")
    words = ("--target", "fuel", "--model", "ridge", "--search", "4", "--space", str(space), "--cv", "3")
    storage = (
        "--storage",
        f"sqlite:///{tmp_path / 'study.db'}",
        "--set",
        "scoring=rmse",
        "--id",
        "found",
        "--no-register",
    )
    code, out, err = run(place, capsys, *words, *storage)
    assert code == EXIT_OK, err
    assert "search found.fuel.Ridge: 4 trials" in out
    assert "trial 3: rmse" in err
    code, out, err = run(place, capsys, *words, *storage, "--set", "save_model=false")
    assert "trial 0" not in err
    store = open_store(place)
    (_, logged) = store.client.search_runs([store.experiment("estimators")], "tags.`mlflow.runName` = 'found'")
    assert logged.data.params["model.alpha"] == "0.001"
    assert logged.data.metrics["search/trials"] == 4
    assert logged.data.metrics["mean/rmse"] == pytest.approx(logged.data.metrics["search/rmse"])
    assert "trials.csv" in {item.path for item in store.client.list_artifacts(logged.info.run_id)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("--target", "lable", "--model", "ridge"),
            EXIT_USAGE,
            "unknown --target column 'lable'. Did you mean 'label'?",
        ),
        (("--target", "fuel"), EXIT_USAGE, "no model: expected a name such as lightgbm, got none"),
        (("--target", "fuel", "--model", "lightbgm"), EXIT_USAGE, "unknown model 'lightbgm'. Did you mean 'lightgbm'?"),
        (("--target", "fuel", "--model", "ridge", "--set", "alpha=3"), EXIT_USAGE, "given as --set params.alpha=VALUE"),
        (("--target", "fuel", "--model", "ridge", "--set", "params.alfa=3"), EXIT_USAGE, "Did you mean 'alpha'?"),
        (("--target", "fuel", "--model", "ridge", "--cv", "1"), EXIT_USAGE, "expected 2 folds or more, got 1"),
        (("--target", "fuel", "--model", "ridge", "--balance", "smote"), EXIT_USAGE, "y holds numbers"),
        (("--target", "fuel", "--model", "ridge", "--resume"), EXIT_USAGE, "expected the run_dir"),
        (("--target", "fuel", "--model", "ridge", "--search", "-1"), EXIT_USAGE, "--search is -1"),
        (
            ("--target", "fuel", "--model", "ridge", "--pool", "gpu-pool"),
            EXIT_USAGE,
            "none is asked for. Give --search",
        ),
        (("--target", "fuel", "--model", "ridge", "--workers", "2"), EXIT_USAGE, "expected 1 or more, with --pool"),
        (("--target", "holes", "--model", "ridge"), EXIT_BLOCKED, "Input y contains NaN"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_trained(
    place: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    head, *lines = (place.root / "data.csv").read_text().splitlines()
    file = tmp_path / "holes.csv"
    file.write_text("\n".join([f"{head},holes", *(f"{line},{n or ''}" for n, line in enumerate(lines))]))
    assert main(["train-table", str(file), *words]) == code
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert said in shown


def test_a_file_that_is_not_there_blocks(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    for name in ("none.csv", "none.parquet"):
        assert main(["train-table", name, "--target", "y", "--model", "ridge"]) == EXIT_BLOCKED
        assert name in capsys.readouterr().err


def test_what_fails_after_the_fit_costs_no_result(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(home.root)
    words = ("--target", "fuel", "--model", "ridge")
    code, out, err = run(home, capsys, *words, "--no-track", "--set", "save_path=/proc/nowhere")
    assert code == EXIT_CELL_FAILED
    assert "Scores" in out
    assert "error: the model was not saved: " in err
    home.mlflow_db.parent.mkdir(parents=True, exist_ok=True)
    home.mlflow_db.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    code, out, err = run(home, capsys, *words)
    assert code == EXIT_UNREACHABLE
    assert "Saved in" in out
    assert "error: the run was not logged: MLflow's database mlflow.db is damaged" in err


def test_help_takes_less_than_half_a_second() -> None:
    words = [sys.executable, "-c", "from nightshift.cli.app import main; main(['train-table', '--help'])"]
    took = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
    assert "--target COLUMN" in done.stdout
    assert min(took) < 0.5
