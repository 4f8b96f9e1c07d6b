"""Old runs of driving policies go with `nightshift prune`; those of kept models stay with their best policy."""

from __future__ import annotations

import os
import time
from pathlib import Path

from support.driving_runs import leave, stamp

from nightshift.driving.learn.beginnings import settled, start_file
from nightshift.driving.runs import RunFolder
from nightshift.plan import lock
from nightshift.plan.fleet_config import RetentionSettings
from nightshift.settings import Home
from nightshift.tracking.driving_runs import TRIAL_OF_SWEEP, list_runs
from nightshift.tracking.pruning import look, prune

LIMITS = RetentionSettings(driving_runs=1)
DAY_S = 86_400.0


def left(home: Home, run_id: str, days: float, *, cell: str = "", **more: object) -> RunFolder:
    """A run of so many days ago, with checkpoints and pictures."""
    told = {"state": "completed", "updated_at": stamp(days * DAY_S), **more}
    folder = leave(home, run_id, cell=cell, **told)
    folder.pictures.mkdir(parents=True)
    for number, name in enumerate(("best.pt", "last.pt", "step_000001000.pt", "step_000002000.pt")):
        (folder.checkpoints / name).write_bytes(b"w" * 1000)
        picture = folder.pictures / f"{number}.gif"
        picture.write_bytes(b"p" * 1000)
        os.utime(picture, (number, number))
    return folder


def test_old_runs_go_and_what_somebody_may_need_of_them_stays(home: Home, tmp_path: Path) -> None:
    newest, old, fresh = left(home, "newest", 0.1), left(home, "old", 20), left(home, "fresh", 0.5)
    kept = left(home, "kept", 30, cell="a" * 64)
    starts = {}
    for name in ("used", "unused", "young"):
        (tmp_path / name).write_bytes(name.encode())
        starts[name] = settled(home, str(tmp_path / name))
        for path in (home.machinery / "starts").glob(f"{starts[name].removeprefix('sha256:')}.*"):
            os.utime(path, (time.time() - (0 if name == "young" else 40 * DAY_S),) * 2)
    from_it = left(home, "on_bc", 32, cell="b" * 64, config={"init_from": starts["used"]})
    busy = left(home, "busy", 40, state="running", updated_at=stamp())
    locked = left(home, "locked", 33, cell="d" * 64)
    for cell in ("a" * 64, "b" * 64):
        # What stays of the work is the cells that a kept version was made by; here such as nobody can read yet.
        (home.work / cell).mkdir(parents=True)
    watched = [home.machinery / "demonstrations", home.machinery / "midway"]
    for folder, name, days in ((folder, *one) for folder in watched for one in (("a.npz", 90), ("b.npz", 1))):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"d")
        os.utime(folder / name, (time.time() - days * DAY_S,) * 2)
    assert [r.run_id for r in list_runs(home)][:2] == ["busy", "newest"]

    with lock.held(home, "d" * 64):
        done = prune(home, LIMITS)
    assert {one.removal.name for one in done.removed if one.removal.kind == "run"} == {
        "run old",
        "run kept: numbered checkpoints, pictures",
        "run on_bc: numbered checkpoints, pictures",
        "1 checkpoints to begin with",
        "1 sets of demonstrations",
        "1 sets of the IDM driver's ways",
    }
    assert "run locked is left: somebody works on it" in done.remarks
    assert not any(place.exists() for place in (old.checkpoints, old.logs, old.pictures))
    assert not start_file(home, starts["unused"]).exists()
    assert all(start_file(home, starts[name]).is_file() for name in ("used", "young"))
    for whole in (newest, fresh, busy, locked):
        assert len(list(whole.checkpoints.glob("*.pt"))) == len(list(whole.pictures.iterdir())) == 4
    for spent in (kept, from_it):
        assert {p.name for p in spent.checkpoints.iterdir()} == {"run.json", "best.pt", "last.pt"}
        assert [p.name for p in spent.pictures.iterdir()] == ["3.gif"]
        assert (spent.logs / "metrics.jsonl").is_file()
    assert [p.name for folder in watched for p in folder.iterdir()] == ["b.npz", "b.npz"]
    assert {one.removal.name for one in look(home, LIMITS).removed} == {"run locked"}


def test_a_sweep_goes_or_stays_whole(home: Home) -> None:
    for sweep, days in (("ppo_sweep", 9), ("old_sweep", 20)):
        (home.root / "experiments" / "sweeps" / sweep).mkdir(parents=True)
        for number in range(3):
            name = f"{sweep}_t{number:03d}"
            left(home, name, days + number, cell=f"{TRIAL_OF_SWEEP}{name}")
    done = prune(home, LIMITS)
    assert [one.removal.name for one in done.removed] == ["sweep old_sweep"]
    assert {r.run_id for r in list_runs(home)} == {f"ppo_sweep_t{n:03d}" for n in range(3)}
    assert [p.name for p in (home.root / "experiments" / "sweeps").iterdir()] == ["ppo_sweep"]
