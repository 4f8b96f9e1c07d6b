"""The search over an estimator's parameters: kept, gone on with, pruned fold by fold, shared by processes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from nightshift.errors import ConfigError, InterruptedTraining, TrainingError, UnknownNameError, UsageError
from nightshift.progress import ProgressEvent
from nightshift.trainer import SearchResult, join_search, search_model
from nightshift.trainer.kinds.named import NAMES, named, parameters_of
from nightshift.trainer.provenance import name_of
from nightshift.trainer.search import study as study_module
from nightshift.trainer.search.space import USUAL, ranges, usual_space
from nightshift.trainer.search.study import (
    ask,
    at_work,
    is_alive,
    is_one_too_many,
    open_study,
    take_back_cut_off,
    tell,
)

SPACE: Mapping[str, Any] = {"max_depth": [1, 6], "min_samples_leaf": {"low": 1, "high": 40, "log": True}}


def a_table(rows: int = 240) -> tuple[Any, Any]:
    """Two classes on a chess board: one cut answers nothing, several do."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 2, size=(rows, 2))
    return X, (X.astype(int).sum(axis=1) % 2).astype(int)


def storage_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def searched(folder: Path, trials: int, call: Callable[..., Any] = search_model, **change: Any) -> Any:
    X, y = a_table(change.pop("rows", 240))
    given = {"space": SPACE, "storage": storage_of(folder), "name": "chess", "cv": 3, "checks": "off"}
    model = change.pop("model", DecisionTreeClassifier())
    return call(model, X, y, trials=trials, save_model=False, **{"progress": False, **given, **change})


def study_of(folder: Path, name: str = "chess") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage_of(folder))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchResult]:
    folder = tmp_path_factory.mktemp("search")
    return folder, searched(folder, 6)


def test_the_best_parameters_are_found_trained_with_and_scored_on_test_once(found: tuple[Path, SearchResult]) -> None:
    _, result = found
    assert len(result.trials) == 6
    assert result.best["max_depth"] == 6
    best = next(line for line in result.trials if line.state == "complete")
    assert (best.score, dict(best.params)) == (result.score, dict(result.best))
    assert result.result.model.max_depth == 6
    assert result.result.model.min_samples_leaf == result.best["min_samples_leaf"]
    # The folds of a trial are those of the training that follows.
    assert result.result.mean[result.metric] == pytest.approx(result.score)
    assert {"held_out", "test"} <= set(result.result.scores)
    frame = result.to_frame()
    assert list(frame.columns) == ["trial", "state", "f1", "max_depth", "min_samples_leaf"]
    assert frame["f1"].iloc[0] == max(frame["f1"])


def test_what_has_ended_is_not_done_again_and_more_trials_go_on(found: tuple[Path, SearchResult]) -> None:
    folder, result = found
    assert searched(folder, 6).trials == result.trials
    more = searched(folder, 7)
    assert {line.number for line in more.trials} == set(range(7))
    with pytest.raises(ConfigError, match=r"search 'chess' exists and searches otherwise \(space\)"):
        searched(folder, 7, space={"max_depth": [1, 2]})
    with pytest.raises(ConfigError, match=r"otherwise \(training\)"):
        searched(folder, 7, seed=7)


def test_the_same_seed_draws_the_same_trials(found: tuple[Path, SearchResult], tmp_path: Path) -> None:
    _, result = found
    assert [line.params for line in searched(tmp_path, 6).trials] == [line.params for line in result.trials]


def test_a_trial_behind_the_others_ends_after_two_folds(tmp_path: Path) -> None:
    searched(tmp_path, 1, space={"max_depth": [1]})
    study = study_of(tmp_path)
    span = optuna.distributions.CategoricalDistribution([1])
    for _ in range(4):
        study.add_trial(
            optuna.trial.create_trial(
                params={"max_depth": 1},
                distributions={"max_depth": span},
                intermediate_values=dict.fromkeys((1, 2, 3), 1.1),
                value=1.1,
            )
        )
    result = searched(tmp_path, 6, space={"max_depth": [1]})
    (pruned,) = [line for line in result.trials if line.state == "pruned"]
    assert list(study_of(tmp_path).get_trials()[pruned.number].intermediate_values) == [1, 2]
    kept = searched(tmp_path, 7, space={"max_depth": [1]}, prune=False)
    assert sum(line.state == "pruned" for line in kept.trials) == 1


def begin(study: optuna.Study, pid: int, host: str) -> optuna.Trial:
    """A trial that another process has begun."""
    trial = ask(study)
    trial.set_user_attr("pid", pid)
    trial.set_user_attr("host", host)
    trial.suggest_categorical("max_depth", [1, 6])
    trial.suggest_int("min_samples_leaf", 1, 40, log=True)
    return trial


def test_a_trial_that_was_cut_off_begins_again_with_its_parameters(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    cut_off = begin(study_of(tmp_path), gone.pid, socket.gethostname())
    result = searched(tmp_path, 2)
    states = [trial.state.name for trial in study_of(tmp_path).get_trials()]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
    again = next(line for line in result.trials if line.number == 2)
    assert dict(again.params) == dict(cut_off.params)


def test_a_trial_that_ends_each_of_its_processes_is_given_up(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    study = study_of(tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    waiting = []
    for _ in range(3):
        begin(study, gone.pid, socket.gethostname())
        take_back_cut_off(study, is_alive)
        waiting.append(len(study.get_trials(states=(optuna.trial.TrialState.WAITING,))))
    assert waiting == [1, 1, 0]


def test_a_trial_of_another_machine_is_waited_for_while_it_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "_SILENT_S", 2)
    searched(tmp_path, 1)
    study = open_study("chess", storage_of(tmp_path), study_of(tmp_path).user_attrs["asked"], 0)
    silent = begin(study, 1, "another-machine")
    with at_work(study, silent):
        silent.set_user_attr("host", "another-machine")
    assert take_back_cut_off(study, is_alive) == 1
    began = time.monotonic()
    result = searched(tmp_path, 2)
    assert 1 < time.monotonic() - began < 20
    trials = study_of(tmp_path).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[2].params == silent.params
    assert len(result.trials) == 2
    # It lives after all, and hears that its trial was done again.
    assert not tell(study, silent, 0.5)


def test_a_trial_that_is_stopped_on_request_begins_again_at_once(tmp_path: Path) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.stage == "trial":
            raise InterruptedTraining("Stopped.")

    with pytest.raises(InterruptedTraining):
        searched(tmp_path, 2, progress=stop)
    stopped, again = study_of(tmp_path).get_trials()
    assert (stopped.state.name, again.state.name) == ("FAIL", "WAITING")
    result = searched(tmp_path, 2)
    assert sorted(line.number for line in result.trials) == [1, 2]
    assert next(dict(line.params) for line in result.trials if line.number == 1) == stopped.params


_SHARE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from trainer.search.test_search import searched
print(len(searched(Path(sys.argv[2]), 12).trials))
"""


def test_processes_share_a_study(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _SHARE, str(Path(__file__).parents[2]), str(tmp_path)]
    workers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    trials = study_of(tmp_path).get_trials()
    # Two that ask for the last trial in the same moment do not both do it.
    assert [int(text) for text in said] == [12, 12]
    assert sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in trials) == 12
    assert {trial.user_attrs["pid"] for trial in trials} <= {worker.pid for worker in workers}


def test_others_do_the_trials_while_one_waits_and_fits_the_best(tmp_path: Path) -> None:
    heard: list[ProgressEvent] = []
    own: list[int] = []

    def hands(look: Callable[[str], int]) -> None:
        assert look("two are asked") == 6
        for trials in (4, 6):
            own.append(searched(tmp_path, trials, call=join_search))
            assert look("") == 6 - trials

    result = searched(tmp_path, 6, hands=hands, progress=heard.append)
    assert own == [4, 2]
    assert len(result.trials) == 6
    assert result.result.model.max_depth == result.best["max_depth"] == 6
    said = [event.message for event in heard if event.line]
    assert "two are asked" in said
    assert any(re.fullmatch(r"4 of 6 trials, best so far 0\.\d{4}, about 0:00:\d\d left", line) for line in said)
    # What has ended needs nobody.
    assert searched(tmp_path, 6, hands=lambda look: pytest.fail("nothing is left")).best == result.best


def test_who_joins_finds_the_study_or_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search 'chess' is not in sqlite:///.*study\.db, as this machine sees it"):
        searched(tmp_path, 2, call=join_search)
    assert not (tmp_path / "study.db").exists()
    searched(tmp_path, 1)
    with pytest.raises(ConfigError, match="NIGHTSHIFT_STUDY_DB to the same postgresql:// address"):
        searched(tmp_path, 2, call=join_search, name="other")
    with pytest.raises(ConfigError, match=r"exists and searches otherwise \(data\)"):
        searched(tmp_path, 2, call=join_search, rows=200)


def test_of_trials_begun_in_one_moment_those_too_many_are_not_done(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    study = study_of(tmp_path)
    first, second = study.ask(), study.ask()
    assert [is_one_too_many(study, trial, 2) for trial in (first, second)] == [False, True]
    study.tell(first, state=optuna.trial.TrialState.FAIL)
    assert not is_one_too_many(study, second, 2)


def test_an_error_is_searched_downwards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = X @ np.array([1.0, 2.0, 3.0])
    found = search_model(
        Ridge(),
        X,
        y,
        {"alpha": [1e-3, 1e6]},
        trials=4,
        storage=storage_of(tmp_path),
        scoring="rmse",
        checks="off",
        save_model=False,
        progress=False,
    )
    assert (found.metric, found.best) == ("rmse", {"alpha": 1e-3})
    assert found.name == "ridge_y"


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"space": {"max_dept": [1]}}, ConfigError, "Did you mean 'max_depth'"),
        ({"space": {"max_depth": 3}}, ConfigError, "max_depth: expected {low, high} or a list of values, got 3"),
        ({"space": {"max_depth": {"low": 3, "high": 1}}}, ConfigError, "expected low < high"),
        ({"space": None, "model": GaussianNB()}, ConfigError, "nothing to search over is known for GaussianNB"),
        ({"storage": "mysq://nowhere/x"}, ConfigError, "storage 'mysq://nowhere/x' cannot be used"),
        ({"storage": "sqlite:////proc/nowhere/x.db"}, OSError, "/proc/nowhere"),
        ({"trials": 0}, UsageError, "trials: expected 1 or more, got 0"),
        ({"run_dir": "x"}, UsageError, "its study keeps it"),
        ({"cvv": 3}, UnknownNameError, "unknown keyword 'cvv'"),
        ({"space": {"max_depth": [-1, -2]}}, TrainingError, "max_depth"),
    ],
)
def test_what_cannot_be_searched_is_one_error(
    tmp_path: Path, change: dict[str, Any], kind: type[Exception], says: str
) -> None:
    told = {"trials": 6, **change}
    with pytest.raises(kind) as raised:
        searched(tmp_path, told.pop("trials"), **told)
    assert says in str(raised.value)


def test_what_is_usual_is_a_parameter_of_its_estimator() -> None:
    without = []
    for name in NAMES:
        for task in ("binary", "regression"):
            try:
                model = named(name, task)  # type: ignore[arg-type]
            except UsageError:
                continue
            usual = usual_space(name_of(model))
            ranges(usual, parameters_of(model), name)
            without += [] if usual else [name_of(model)]
    assert set(without) == {"DummyClassifier", "DummyRegressor", "GaussianNB", "LinearRegression"}
    assert usual_space("GradientBoostingClassifier") == USUAL["GradientBoosting"]


def test_a_search_leaves_the_callers_estimator_as_it_was(tmp_path: Path) -> None:
    model = DecisionTreeClassifier(max_depth=3)
    searched(tmp_path, 1, model=model)
    assert model.max_depth == 3
    assert not hasattr(model, "tree_")
    assert os.path.exists(tmp_path / "study.db")
