"""Unity ML-Agents as a program: what it is started with, what it leaves, and what is said where it is not installed.

The program here is a stand-in that takes the same words and leaves the same files: real TensorBoard events, real ONNX.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.bundles import sum_graph
from support.homes import a_home

from nightshift.cli import main
from nightshift.driving.runs import RunFolder
from nightshift.errors import UsageError
from nightshift.settings import Home
from nightshift.tracking import mlagents
from nightshift.tracking.driving_runs import read_run
from nightshift.tracking.mlagents import VARIABLE, Asked, _begin, command_of, trainer_config

#: Takes what mlagents-learn takes, and writes where it writes.
TRAINER = """#!{python} -S
import shutil, signal, sys, time
from pathlib import Path
words = dict(w[2:].partition("=")[::2] for w in sys.argv[2:] if w.startswith("--"))
place = Path(words["results-dir"]) / words["run-id"]
def stop(*_):
    shutil.copy("{onnx}", place / "Drive.onnx")
    print("Exported " + str(place / "Drive.onnx"), flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
if Path(words["env"]).read_text() == "broken":
    print("UnityEnvironmentException: the environment did not answer", flush=True)
    sys.exit(3)
shutil.copytree("{events}", place / "Drive", dirs_exist_ok=True)
print("[INFO] Drive. Step: 30000. Mean Reward: 3.000. resume " + str("resume" in words), flush=True)
if Path(words["env"]).read_text() == "deaf":
    import os
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    time.sleep(60)
if Path(words["env"]).read_text() == "endless":
    time.sleep(60)
stop()
"""


@pytest.fixture
def place(tmp_path: Path, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path / "home", migrated_db) as home:
        yield home


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training leaves: curves and a graph."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path_factory.mktemp("left")
    (folder / "Drive.onnx").write_bytes(sum_graph())
    with SummaryWriter(str(folder / "events")) as writer:
        for step in (10000, 20000, 30000):
            writer.add_scalar("Environment/Cumulative Reward", step / 1e4, step)
            writer.add_scalar("Policy/Entropy", 1.0, step)
            writer.add_scalar("Losses/Policy Loss", 0.1, step)
    return folder


@pytest.fixture
def trainer(tmp_path: Path, left: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "mlagents-learn"
    files = {"{python}": sys.executable, "{onnx}": str(left / "Drive.onnx"), "{events}": str(left / "events")}
    text = TRAINER
    for name, value in files.items():
        text = text.replace(name, value)
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    return program


@pytest.fixture
def unity(tmp_path: Path) -> Path:
    build = tmp_path / "Drive.x86_64"
    build.write_text("well")
    return build


def test_where_it_is_not_installed_one_line_says_how(
    home: Home, unity: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["train", "mlagents", "--env", str(unity)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Unity ML-Agents is not installed: 'mlagents-learn' is not on the PATH." in said
    assert "pip install mlagents" in said
    assert not (home.root / "experiments").exists()
    monkeypatch.setenv(VARIABLE, "/nowhere/mlagents-learn")
    assert main(["train", "mlagents", "--env", str(unity)]) == 2
    assert "names '/nowhere/mlagents-learn', which is no program" in capsys.readouterr().err


def test_its_curves_and_its_graph_come_home(
    place: Home, unity: Path, trainer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "mlagents", "--env", str(unity), "--run-id", "unity_v1", "--total-steps", "30000"]) == 0
    said = capsys.readouterr().out
    assert "Mean Reward: 3.000" in said
    assert "run unity_v1: completed, 3 rows of figures, 1 ONNX" in said
    run = read_run(place, "unity_v1")
    assert [(row.step, row.mean_reward, row.loss) for row in run.rows] == [
        (step, pytest.approx(step / 1e4), pytest.approx(0.1)) for step in (10000, 20000, 30000)
    ]
    assert (run.standing, run.algorithm, run.rows[0].more) == ("completed", "mlagents", {"entropy": 1.0})
    assert "Mean Reward" in (RunFolder(place, "unity_v1").logs / "train.log").read_text()
    written = yaml.safe_load((RunFolder(place, "unity_v1").checkpoints / "trainer_config.yaml").read_text())
    assert written == trainer_config(30000)
    _is_in_mlflow(place, said)


def _is_in_mlflow(place: Home, said: str) -> None:
    from nightshift.tracking.mlflow_store import open_store

    client = open_store(place).client
    (run_id,) = [line.split()[-1] for line in said.splitlines() if "MLflow run" in line]
    assert [m.step for m in client.get_metric_history(run_id, "mean_reward")] == [10000, 20000, 30000]
    assert {a.path for a in client.list_artifacts(run_id)} == {"Drive.onnx", "trainer_config.yaml"}
    assert client.get_run(run_id).data.params["default_settings.max_steps"] == "30000"


def test_the_user_s_own_config_is_used_as_it_is(
    place: Home, unity: Path, trainer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "trainer_config.yaml"
    own.write_text("behaviors: {Drive: {trainer_type: sac, max_steps: 5e5}}\n")
    words = ["train", "mlagents", "--env", str(unity), "--run-id", "unity_v2", "--config", str(own)]
    assert main(words) == 0
    kept = RunFolder(place, "unity_v2").checkpoints / "trainer_config.yaml"
    assert kept.read_bytes() == own.read_bytes()
    capsys.readouterr()
    # A run of that id exists: nothing is overwritten unless it is to go on.
    assert main(words) == 2
    assert "run 'unity_v2' exists" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "resume True" in capsys.readouterr().out
    own.write_text("learning_rate: 3e-4\n")
    assert main([*words[:-3], "unity_v3", "--config", str(own)]) == 2
    assert "is no config of ML-Agents" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--env", "/nowhere/Drive"], "--env /nowhere/Drive is not there"),
        (["--resume", "--run-id", "never"], "'never'"),
        (["--num-envs", "0"], "--num-envs is 0"),
        (["--total-steps", "1", "--config", "x.yaml"], "say both how long"),
    ],
)
def test_what_cannot_be_begun_is_one_line(
    home: Home, unity: Path, trainer: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "mlagents", "--env", str(unity), *more]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_trainer_that_fails_leaves_a_run_that_says_so(
    home: Home, unity: Path, trainer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unity.write_text("broken")
    assert main(["train", "mlagents", "--env", str(unity), "--run-id", "unity_v1"]) == 1
    assert "mlagents-learn ended with exit code 3" in capsys.readouterr().err
    run = read_run(home, "unity_v1")
    assert (run.standing, run.status.error if run.status else "") == ("failed", "mlagents-learn ended with exit code 3")


def test_a_trainer_that_closes_its_output_and_stays_is_killed(
    home: Home, unity: Path, trainer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unity.write_text("deaf")
    monkeypatch.setattr(mlagents, "_STOP_S", 0.3)
    assert main(["train", "mlagents", "--env", str(unity), "--run-id", "unity_v1"]) == 1
    said = capsys.readouterr()
    assert "mlagents-learn has closed its output and not ended within 0.3 s: it is killed" in said.out
    assert "mlagents-learn ended with exit code -9" in said.err


def test_of_two_that_take_one_id_at_once_one_is_refused(home: Home, unity: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("default_settings: {max_steps: 5}")
    _begin(Asked(home, unity, "u1"), config)
    before = (RunFolder(home, "u1").checkpoints / "run.json").read_bytes()
    with pytest.raises(UsageError, match="run 'u1' exists"):
        _begin(Asked(home, unity, "u1", seed=7), config)
    assert _begin(Asked(home, unity, "u1", resume=True), config).total_steps == 5
    assert (RunFolder(home, "u1").checkpoints / "run.json").read_bytes() == before


def test_a_stop_is_passed_on_and_what_it_has_is_kept(place: Home, unity: Path, trainer: Path) -> None:
    unity.write_text("endless")
    command = [sys.executable, "-m", "nightshift.cli", "train", "mlagents", "--env", str(unity), "--run-id", "unity_v1"]
    with subprocess.Popen(command, env={**os.environ, "NIGHTSHIFT_HOME": str(place.root)}) as process:
        status = RunFolder(place, "unity_v1").logs / "train.log"
        deadline = time.monotonic() + 60
        while not (status.is_file() and "Step: 30000" in status.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    run = read_run(place, "unity_v1")
    assert (run.standing, len(run.rows)) == ("stopped", 3)
    assert (place.root / "experiments" / "mlagents" / "unity_v1" / "Drive.onnx").is_file()


def test_the_command_line_is_the_trainer_s(home: Home, unity: Path) -> None:
    asked = Asked(home, unity, "u1", num_envs=4, seed=7, resume=True)
    assert command_of(asked, "mlagents-learn", Path("c.yaml")) == [
        "mlagents-learn",
        "c.yaml",
        "--run-id=u1",
        f"--env={unity}",
        f"--results-dir={home.root / 'experiments' / 'mlagents'}",
        "--num-envs=4",
        "--seed=7",
        "--no-graphics",
        "--resume",
    ]
    assert json.loads(json.dumps(trainer_config(5)))["default_settings"]["max_steps"] == 5
