"""`nightshift driving evaluate`: any policy on any scenarios, beside the drivers by rule."""

from __future__ import annotations

import json

import pytest
import torch

from nightshift.cli import main
from nightshift.driving.landing import MadeSet, land_made
from nightshift.driving.learn.checkpointing import LearnerState, RunFacts, save_policy_of
from nightshift.driving.observe import N_OBS, fingerprint
from nightshift.driving.runs import RunFolder
from nightshift.nets.device import seeded
from nightshift.nets.policy import Policy, PolicyShape
from nightshift.settings import Home


@pytest.fixture
def place(home: Home) -> Home:
    """A home with a set of curves, and run `ppo_v1` whose policy adds nothing to following the route."""
    land_made(home, MadeSet(("curve",), 3, 3), "bends")
    with seeded(1, torch.device("cpu")):
        policy = Policy(PolicyShape(observation=N_OBS, hidden=(8,)))
    with torch.no_grad():
        for weights in policy.mean.parameters():
            weights.zero_()
    folder = RunFolder(home, "ppo_v1").checkpoints
    folder.mkdir(parents=True)
    facts = RunFacts("ppo", fingerprint(), "f", {})
    save_policy_of(folder / "best.pt", facts, policy, LearnerState({}), {"step": 1, "score": 0.5})
    return home


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["driving", "evaluate", *words]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_a_run_stands_beside_the_drivers_by_rule(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(told(capsys, "ppo_v1", "--data", "bends", "--json"))
    assert {row["who"] for row in rows} == {"ppo_v1", "IDM driver", "constant speed"}
    assert {row["part"] for row in rows} == {"all", "all_idm", "all_gipps"}
    assert {row["metrics"]["episodes"] for row in rows} == {3, 6}
    own, rule = (
        {r["part"]: r["metrics"]["score"] for r in rows if r["who"] == who} for who in ("ppo_v1", "constant speed")
    )
    # A policy that adds nothing keeps its speed and follows the route.
    assert own == pytest.approx(rule, abs=1e-3)
    best = RunFolder(place, "ppo_v1").checkpoints / "best.pt"
    shown = told(capsys, str(best), "--data", "bends", "--part", "test").splitlines()
    assert " ".join(shown[0].split()) == "driver traffic score collision no fault on road progress ttc comfort"
    assert len(shown) == 1 + 3 * 3
    assert shown[4].startswith("IDM driver")


def test_what_cannot_be_driven_is_said(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ppo_v2: there is no such file and no such run" in told(capsys, "ppo_v2", "--data", "bends", code=2)
    assert "'ppo_v1'" in told(capsys, "ppo_v2", "--data", "bends", code=2)
    assert "nowhere" in told(capsys, "ppo_v1", "--data", "nowhere", code=2)
    assert "part" in told(capsys, "ppo_v1", "--data", "bends", "--part", "tset", code=2)
