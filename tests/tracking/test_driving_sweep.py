"""The search over a policy's settings: real trials of a real family; kept, pruned, gone on with after a kill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from support.homes import a_home

from nightshift import families
from nightshift.cli import main
from nightshift.data.store import current
from nightshift.driving.landing import MadeSet, land_made
from nightshift.errors import ConfigError, InterruptedTraining, UsageError
from nightshift.plan.config import resolve
from nightshift.settings import Home
from nightshift.tracking import driving_runs
from nightshift.tracking.driving_runs import read_run
from nightshift.tracking.driving_sweep import Range, Sweep, _study, _take_back_cut_off, lines, run_sweep, space_of

SETTINGS: dict[str, Any] = {
    **{"num_envs": 4, "n_steps": 32, "batch_size": 64, "n_epochs": 1, "total_steps": 256},
    **{"eval_every_steps": 128, "eval_scenarios": 1, "pictures": False, "hidden": [8]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("sweep")) as home:
        land_made(home, MadeSet(("highway",), 3, 3), event=False)
        yield home


def a_sweep(home: Home, name: str, **change: Any) -> Sweep:
    given: dict[str, Any] = {
        "home": home,
        "name": name,
        "algorithm": "ppo",
        "subject": "adplanning",
        "dataset": current(home, "adplanning"),
        "settings": SETTINGS,
        "space": space_of("ppo", {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "n_epochs": [1, 2]}),
    }
    return Sweep(**{**given, **change})


def test_trials_are_runs_and_the_best_is_a_config(place: Home, tmp_path: Path) -> None:
    said: list[str] = []
    found = run_sweep(a_sweep(place, "small"), 2, say=said.append)
    assert sorted(line.run_id for line in found) == ["small_t000", "small_t001"]
    assert found[0].score is not None
    assert found[0].score >= (found[1].score or 0.0)
    assert all(read_run(place, line.run_id).standing == "completed" for line in found)
    assert [line.split()[0] for line in said] == ["trial"] * 4
    best = a_sweep(place, "small").folder / "best.yaml"
    config = resolve(place, "adplanning", "ppo", "vehicle", file=best).config
    assert (config.total_steps, config.n_epochs) == (256, found[0].params["n_epochs"])
    assert config.run_id == ""
    # What has ended is not driven again; more are asked for, one more is.
    assert run_sweep(a_sweep(place, "small"), 2) == found
    assert len(run_sweep(a_sweep(place, "small"), 3)) == 3
    with pytest.raises(ConfigError, match=r"sweep 'small' exists and searches otherwise \(settings\)"):
        run_sweep(a_sweep(place, "small", settings={**SETTINGS, "gamma": 0.9}), 2)


def test_a_sweep_that_is_stopped_goes_on_with_the_run_that_it_was_in(place: Home) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(InterruptedTraining):
        run_sweep(a_sweep(place, "cut"), 1, should_stop=stop)
    begun = read_run(place, "cut_t000")
    assert begun.standing == "stopped"
    params = _study(a_sweep(place, "cut")).get_trials()[0].params
    (line,) = run_sweep(a_sweep(place, "cut"), 1)
    assert (line.run_id, dict(line.params)) == ("cut_t000", params)
    assert read_run(place, "cut_t000").rows[-1].step == 256
    assert "goes on from the checkpoint" in (place.root / "experiments/logs/cut_t000/train.log").read_text()


def test_a_trial_behind_the_others_ends_early(place: Home) -> None:
    """Four trials of a study have ended above every score that a policy can reach."""
    sweep = a_sweep(place, "behind", settings={**SETTINGS, "total_steps": 1024})
    study = _study(sweep)
    spans = {"learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)}
    for _ in range(4):
        study.add_trial(
            optuna.trial.create_trial(
                params={"learning_rate": 1e-3},
                distributions=spans,
                intermediate_values=dict.fromkeys(range(1, 9), 1.1),
                value=1.1,
                user_attrs={"run": "made_up"},
            )
        )
    found = run_sweep(sweep, 5)
    (pruned,) = [line for line in found if line.state == "pruned"]
    run = read_run(place, pruned.run_id)
    assert run.standing == "stopped"
    assert run.rows[-1].step < 1024


def test_a_trial_of_a_process_that_is_at_work_is_left_to_it(place: Home) -> None:
    sweep = a_sweep(place, "shared")
    study = _study(sweep)
    trial = study.ask()
    trial.set_user_attr("host", os.uname().nodename)
    trial.set_user_attr("pid", os.getppid())
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    found = run_sweep(sweep, 1)
    assert [line.number for line in found] == [1]
    assert study.get_trials()[0].state == optuna.trial.TrialState.RUNNING
    assert len(lines(study)) == 1


def test_a_trial_is_taken_back_where_another_process_has_its_number_by_now(
    place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(a_sweep(place, "reused"))
    trial = study.ask()
    trial.set_user_attr("host", os.uname().nodename)
    with subprocess.Popen(["sleep", "60"]) as later:
        trial.set_user_attr("pid", later.pid)
        _take_back_cut_off(study)
        assert study.get_trials()[0].state == optuna.trial.TrialState.RUNNING
        # As if that process had begun an hour after the trial.
        monkeypatch.setattr(driving_runs, "_SLACK_S", -3600.0)
        _take_back_cut_off(study)
        later.kill()
    assert study.get_trials()[0].state == optuna.trial.TrialState.FAIL


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"learning_rat": [1]}, "ppo has no setting 'learning_rat'"),
        ({"gamma": {"low": 1.0, "high": 0.9}}, "expected low < high"),
        ({"gamma": {"low": 0.0, "high": 0.9, "log": True}}, "low > 0 with log"),
        ({"gamma": {}}, "or a list of choices"),
        ({"gamma": 0.9}, "gamma"),
    ],
)
def test_a_space_that_is_none_is_refused(space: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        space_of("ppo", space)


def test_the_space_that_nobody_names_is_of_settings_that_the_family_has() -> None:
    assert {"learning_rate", "gamma", "ent_coef"} <= set(space_of("ppo", {}))
    assert "tau" not in space_of("ppo", {})
    assert isinstance(space_of("sac", {})["learning_rate"], Range)
    # A clone has no learning rate of PPO's: every trial would be the same training.
    cloning = space_of("bc", {})
    assert {"clone_learning_rate", "entropy_weight"} <= set(cloning) <= set(families.get("bc").config.model_fields)
    assert not {"learning_rate", "gamma"} & set(cloning)
    study = optuna.create_study()
    trial = study.ask()
    assert isinstance(Range(low=1, high=8).suggest(trial, "n_epochs"), int)
    assert isinstance(Range(low=0.9, high=0.99).suggest(trial, "gamma"), float)


def test_the_command_searches_and_names_what_to_train_with(
    place: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: [0.001, 0.0003]\n")
    sets = [
        word
        for name, value in SETTINGS.items()
        for word in ("--set", f"{name}={yaml.safe_dump(value).split(chr(10))[0]}")
    ]
    words = ["driving", "sweep", "ppo", "--trials", "1", "--name", "by_hand", "--space", str(space), "--threads", "1"]
    assert main([*words, *sets]) == 0
    said = capsys.readouterr().out
    assert "by_hand: ppo on adplanning, over learning_rate" in said
    assert "by_hand_t000  done" in said
    assert "nightshift train ppo --config" in said
    assert main(["driving", "sweep", "rul", "--trials", "1"]) == 2
    assert "'rul' trains no driving policy" in capsys.readouterr().err
    assert main(["driving", "sweep", "ppo", "--trials", "0"]) == 2
    with pytest.raises(UsageError):
        a_sweep(place, "no name")
