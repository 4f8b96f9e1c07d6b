"""`nightshift train ppo` and its like: what is refused before anything starts, and a policy from start to registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.driving_runs import leave
from support.homes import a_home

from deployments.server import down
from nightshift.cli import main
from nightshift.cli.train_driving import after, hold_output, subject_of, with_start
from nightshift.cli.vehicle_data import bring
from nightshift.data.store import open_dataset
from nightshift.driving.landing import MadeSet, land_made
from nightshift.driving.runs import RunFolder
from nightshift.errors import UsageError
from nightshift.nets.checkpoint import Checkpoint, save
from nightshift.plan.batch import CapacityError
from nightshift.plan.state import make_cell
from nightshift.settings import Home
from nightshift.tracking.driving_need import need_mb, require_gpu
from nightshift.tracking.driving_runs import read_run
from nightshift.tracking.resources import Gpu, GpuHolder

pytestmark = pytest.mark.slow

SUBJECT = "adplanning"
CUSTOM = """
algorithm: ppo
environment: {name: ADPlanning-v0, num_envs: 8}
ppo: {lr: 3e-4, n_steps: 32, batch_size: 64, n_epochs: 1}
training: {total_steps: 512, eval_every_steps: 256, eval_scenarios: 2}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    """A home with a few scenarios."""
    with a_home(tmp_path_factory.mktemp("policies"), migrated_db) as home:
        land_made(home, MadeSet(("highway",), 10, 3), event=False)
        yield home
        down(home)


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    file = tmp_path / "custom.yaml"
    file.write_text(CUSTOM)
    return file


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert main(["train", *words]) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_run_id_that_exists_is_refused_and_nothing_of_it_is_touched(
    place: Home, custom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = leave(place, "taken", state="stopped")
    before = {p: p.read_bytes() for root in (folder.checkpoints, folder.logs) for p in root.iterdir()}
    for force in ([], ["--force"]):
        said = refused(capsys, "ppo", "--run-id", "taken", "--config", str(custom), *force)
        assert "run 'taken' exists (ppo on adplanning, stopped at step 6,000 of 10,000)" in said
        assert "nightshift driving resume taken" in said
    assert {p: p.read_bytes() for root in (folder.checkpoints, folder.logs) for p in root.iterdir()} == before
    assert "no run id" in refused(capsys, "ppo", "--run-id", "a/b")


def test_a_config_of_another_layout_or_key_is_refused(
    place: Home, custom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is for algorithm 'ppo', 'sac' is trained" in refused(capsys, "sac", "--config", str(custom))
    said = refused(capsys, "bc", "--set", "learning_rate=1e-4")
    assert "unknown setting 'learning_rate' for bc" in said
    assert "clone_learning_rate" in said
    custom.write_text(CUSTOM.replace("n_epochs", "n_epoch"))
    assert "Did you mean 'n_epochs'?" in refused(capsys, "ppo", "--config", str(custom))


def test_a_folder_is_no_scenario_set(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "bc", "--data", "datasets/processed/nuplan")
    assert "`nightshift import nuplan datasets/processed/nuplan" in said
    assert subject_of("ngsim") == "ngsim"


def test_a_start_is_a_file_or_a_run_s_best(place: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(place, "bc_v1", algorithm="bc", state="completed")
    assert "run 'bc_v1' has no best.pt yet" in refused(capsys, "cimrl", "--init-from", "bc_v1")
    assert "there is no such file and no such run" in refused(capsys, "hybrid", "--init-from", "bc_v7.pt")
    save(folder.checkpoints / "best.pt", Checkpoint(fingerprint="f", epoch=1, model={}))
    found = with_start(place, {"init_from": "bc_v1", "seed": 1})
    own = tmp_path / "own.pt"
    own.write_bytes((folder.checkpoints / "best.pt").read_bytes())
    assert found == {**with_start(place, {"init_from": str(own)}), "seed": 1}
    assert found["init_from"].startswith("sha256:")
    assert with_start(place, {"seed": 1}) == {"seed": 1}


def test_an_output_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    for free in (None, str(tmp_path), str(tmp_path / "new.pt"), str(tmp_path / "a" / "b")):
        hold_output(free)
    hold_output(str(tmp_path), ["bc", "ppo"])
    with pytest.raises(UsageError, match="is one file for 2 families"):
        hold_output(str(tmp_path / "new.pt"), ["bc", "ppo"])
    # A model that somebody has put there is as good as a checkpoint.
    for taken in ("best.pt", "model.onnx", "bundle.json"):
        (tmp_path / taken).touch()
        with pytest.raises(UsageError, match=rf"{taken} exists; nothing is overwritten"):
            hold_output(str(tmp_path))
        (tmp_path / taken).unlink()
    (tmp_path / "file").touch()
    for wrong in ("file", "file/below", "file/x.pt"):
        with pytest.raises(UsageError, match="--output"):
            hold_output(str(tmp_path / wrong))


def test_what_came_there_while_it_trained_is_left_as_it_is(place: Home, tmp_path: Path) -> None:
    cells = [make_cell(place, SUBJECT, family, "vehicle", params={"seed": 5}) for family in ("bc", "sac")]
    for cell in cells:
        folder = leave(place, f"put_{cell.family}", algorithm=cell.family, cell=cell.key, state="completed")
        (folder.checkpoints / "best.pt").write_bytes(cell.family.encode())
    mine = tmp_path / "x.pt"
    mine.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"x\.pt exists by now; it is left as it is\. Copy .*put_bc/best\.pt"):
        after(place, cells[:1], str(mine))
    assert mine.read_bytes() == b"mine"
    after(place, cells, str(tmp_path / "both"))
    assert (tmp_path / "both" / "bc" / "best.pt").read_bytes() == b"bc"
    assert (tmp_path / "both" / "sac" / "best.pt").read_bytes() == b"sac"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bc", "best.pt", "best.pt", "both", "sac", "x.pt"]


def test_a_gpu_without_room_is_told_with_who_holds_it(place: Home, custom: Path) -> None:
    cell = make_cell(place, SUBJECT, "ppo", "vehicle", file=custom, params={"device": "cuda", "num_envs": 1024})
    needed = need_mb(cell.config["config"])
    assert 900 < needed < 3_000
    holder = GpuHolder(pid=99, memory_mb=15_900)
    small = Gpu(name="T4", used_mb=15_900, total_mb=16_000, use_pct=90.0, holders=(holder,))
    with pytest.raises(CapacityError, match=r"T4 has 0\.1 GB free of 16\.0 GB, held by process 99 \(15\.9 GB\)"):
        require_gpu(place, cell, (small,))
    leave(place, "holds")
    mine = small.model_copy(update={"holders": (GpuHolder(pid=os.getpid(), memory_mb=15_900),)})
    with pytest.raises(CapacityError, match="held by run 'holds'") as told:
        require_gpu(place, cell, (mine,))
    assert "nightshift driving stop holds" in told.value.hint
    require_gpu(place, cell, (small.model_copy(update={"used_mb": 100.0}),))
    require_gpu(place, make_cell(place, SUBJECT, "ppo", "vehicle", file=custom), (small,))
    leave(place, "holds", state="completed")


def test_a_need_is_of_what_a_family_holds_on_the_gpu(place: Home) -> None:
    def needed(family: str, scenarios: int = 0, **params: object) -> float:
        return need_mb(make_cell(place, SUBJECT, family, "vehicle", params=params).config["config"], scenarios)

    # 100,000 decisions of two observations each; SAC's are the processor's.
    both, tuned = (needed("cimrl", compare=also) for also in (True, False))
    assert 100 < both - tuned < 200
    assert needed("sac", buffer_size=10_000_000) == needed("sac")
    # Experts are watched in all scenarios, or in as many as are asked for; a discriminator holds them once more.
    assert needed("bc", 3_000) - needed("bc", 3_000, demo_scenarios=300) > 300
    assert needed("gail", 3_000) - needed("gail") == pytest.approx(2 * (needed("bc", 3_000) - needed("bc")))


def test_help_names_what_policies_have(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for family in ("ppo", "hybrid", "driving"):
        with pytest.raises(SystemExit):
            main(["train", family, "--help"])
        shown = capsys.readouterr().out
        for option in ("--run-id", "--data", "--expert-data", "--output", "--init-from", "--num-envs", "--config"):
            assert option in shown
        assert "--machine" not in shown
    with pytest.raises(SystemExit):
        main(["train", "mlagents", "--help"])
    assert "trainer_config.yaml" in capsys.readouterr().out


def test_without_scenarios_some_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_home(tmp_path / "home") as home:
        bring(home, SUBJECT, 15)
        said = capsys.readouterr().out
        assert "no scenarios have landed yet: making 15 (highway, merge" in said
        assert open_dataset(home, SUBJECT).metadata.group == "driving"
        bring(home, SUBJECT)
        assert capsys.readouterr().out == ""


def in_a_process(home: Home, *words: str) -> str:
    """Run a command as a user does: what it opens ends with it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NIGHTSHIFT_"))}
    command = [sys.executable, "-m", "nightshift.cli", *words]
    environment = {**kept, "NIGHTSHIFT_HOME": str(home.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_policy_from_a_config_to_the_registry(
    place: Home, custom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "ppo", "--run-id", "ppo_v1", "--config", str(custom), "--threads", "1"]
    said = in_a_process(place, *words, "--output", str(tmp_path / "out"))
    assert "nightshift driving logs ppo_v1" in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"best.pt", "model.onnx", "bundle.json"}
    run = read_run(place, "ppo_v1")
    assert (run.standing, run.status.step if run.status else 0) == ("completed", 512)
    assert run.rows[-1].score is not None
    # The same again is up to date; another training of that id is not begun.
    assert main(words) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert "run 'ppo_v1' exists" in refused(capsys, *words[1:], "--seed", "7")
    assert main(["driving", "resume", "ppo_v1"]) == 0
    assert "is finished" in capsys.readouterr().out
    copy = tmp_path / "copy.pt"
    again = ["ppo", "--resume", run.file.cell[:12] if run.file else "", "--output", str(copy)]
    assert main(["train", *again]) == 0
    assert copy.read_bytes() == (tmp_path / "out" / "best.pt").read_bytes()
    assert "copy.pt exists" in refused(capsys, *again)
    _is_told_in_report_and_mlflow(place, capsys)


def _is_told_in_report_and_mlflow(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from nightshift.tracking.mlflow_store import open_store

    page = (place.reports / SUBJECT / "training_report.html").read_text()
    assert "data:image/gif;base64," in page
    assert '{"observation": observation}' in page
    assert "IDM driver" in page
    assert main(["status", "--subject", SUBJECT, "--json"]) == 0
    (row,) = [r for r in json.loads(capsys.readouterr().out) if r["family"] == "ppo"]
    assert (row["state"], row["metric"], row["version"]) == ("fresh", "score", 1)
    client = open_store(place).client
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (logged,) = [r for r in runs if r.data.tags.get("nightshift.family") == "ppo"]
    told = client.get_metric_history(logged.info.run_id, "mean_reward")
    assert sorted(m.step for m in told) == [
        row.step for row in read_run(place, "ppo_v1").rows if row.mean_reward is not None
    ]
    assert {"collision", "progress", "loss", "score"} <= set(logged.data.metrics)


def test_what_a_run_without_checkpoint_has_to_copy_is_an_error(place: Home, custom: Path, tmp_path: Path) -> None:
    cell = make_cell(place, SUBJECT, "sac", "vehicle")
    after(place, [cell], str(tmp_path / "x.pt"))  # no run, nothing to say
    folder = leave(place, "sac_v0", algorithm="sac", cell=cell.key)
    (folder.checkpoints / "best.pt").unlink(missing_ok=True)
    with pytest.raises(UsageError, match=r"no best\.pt to copy"):
        after(place, [cell], str(tmp_path / "x.pt"))
    assert RunFolder(place, "sac_v0").checkpoints == folder.checkpoints
