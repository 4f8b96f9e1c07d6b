"""A search over an estimator's parameters whose study lies in Postgres, as machines of a fleet share it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from tests.scale.conftest import Postgres

pytestmark = pytest.mark.scale

SEARCH = """
import socket
import sys
import numpy as np
from nightshift.trainer import search_model

socket.gethostname = lambda: sys.argv[2]
rng = np.random.default_rng(0)
X = rng.uniform(0, 2, size=(240, 2))
y = X.astype(int).sum(axis=1) % 2
space = {"max_depth": [1, 6], "min_samples_leaf": {"low": 1, "high": 40, "log": True}}
told = {"cv": 3, "checks": "off", "save_model": False, "progress": False}
found = search_model("decision_tree", X, y, space, trials=12, storage=sys.argv[1], name="chess", **told)
print(len(found.trials), found.best["max_depth"], found.storage)
"""


def test_processes_of_two_machines_share_a_study_in_postgres(postgres: Postgres, tmp_path: Path) -> None:
    address = f"postgresql://{postgres.database('studies')}"
    words = [sys.executable, "-c", SEARCH, address]
    workers = [
        subprocess.Popen([*words, host], stdout=subprocess.PIPE, text=True, cwd=tmp_path) for host in ("box1", "box2")
    ]
    said = [worker.communicate(timeout=180)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    trials = optuna.load_study(study_name="chess", storage=address).get_trials()
    assert sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials) == 12
    assert {trial.user_attrs["host"] for trial in trials} <= {"box1", "box2"}
    assert {depth for _, depth, _ in said} == {"6"}
    assert not any(postgres.password in place for _, _, place in said)
    assert {trial.user_attrs["pid"] for trial in trials} <= {worker.pid for worker in workers}
