"""The layout of reinforcement learners' configs: mapped key by key, and refused with the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nightshift.errors import ConfigError
from nightshift.plan.config import resolve
from nightshift.settings import Home

CUSTOM: dict[str, Any] = {
    "algorithm": "ppo",
    "environment": {"name": "ADPlanning-v0", "num_envs": 16},
    "ppo": {"lr": "3e-4", "gamma": 0.98, "batch_size": 1024, "n_steps": 64},
    "training": {"total_steps": "10_000_000", "seed": 7},
}


def resolved(home: Home, tmp_path: Path, content: object, family: str = "ppo") -> Any:
    file = tmp_path / "custom.yaml"
    # As people write it: 3e-4 and 10_000_000 are numbers.
    file.write_text(yaml.safe_dump(content).replace("'", ""))
    return resolve(home, "adplanning", family, "vehicle", file=file, flags={"gae_lambda": 0.9}).config


def test_every_block_becomes_settings(home: Home, tmp_path: Path) -> None:
    config = resolved(home, tmp_path, CUSTOM)
    assert (
        config.num_envs,
        config.learning_rate,
        config.gamma,
        config.total_steps,
        config.seed,
        config.gae_lambda,
    ) == (
        16,
        3e-4,
        0.98,
        10_000_000,
        7,
        0.9,
    )


def test_the_house_s_own_layout_goes_on_to_be_read(home: Home, tmp_path: Path) -> None:
    assert resolved(home, tmp_path, {"families": {"ppo": {"gamma": 0.9}, "rul": {"cap": 125}}}).gamma == 0.9


def test_blocks_of_other_algorithms_are_theirs(home: Home, tmp_path: Path) -> None:
    content = {k: v for k, v in CUSTOM.items() if k != "algorithm"} | {"sac": {"tau": 0.01}}
    assert resolved(home, tmp_path, content).gamma == 0.98


def without(**change: Any) -> dict[str, Any]:
    return {**CUSTOM, **change}


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (without(ppo={"learning_rat": 1e-3}), "unknown key 'ppo.learning_rat'", "'learning_rate'"),
        (without(environment={"name": "CarRacing-v3"}), "unknown environment 'CarRacing-v3'", "ADPlanning-v0"),
        (without(environment={"num_env": 8}), "unknown key 'environment.num_env'", "'num_envs'"),
        (without(trainin={"total_steps": 1}), "unknown block 'trainin'", "'training'"),
        (without(algorithm="sac"), "is for algorithm 'sac', 'ppo' is trained", "nightshift train sac"),
        (without(algorithm="pop"), "unknown algorithm 'pop'", "'ppo'"),
        (without(ppo=[1]), "'ppo' must be a mapping of settings", ""),
        (without(ppo={"lr": 1e-3, "learning_rate": 1e-4}), "'learning_rate' is given twice", ""),
        (without(families={"ppo": {}}), "has 'families' and blocks of one algorithm", ""),
        ({"learning_rate": 1e-3}, "unknown block 'learning_rate'", ""),
        (without(training={"total_steps": "many"}), "'total_steps'", ""),
    ],
)
def test_what_is_not_known_is_refused_and_named(
    home: Home, tmp_path: Path, content: object, says: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        resolved(home, tmp_path, content)
    assert says in refused.value.what
    assert hint in refused.value.hint


def test_another_group_s_families_have_their_own_layout_alone(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "custom.yaml"
    file.write_text("algorithm: ppo\n")
    assert resolve(home, "pump_1", "rul", "pi", file=file).sources.get("algorithm") is None
