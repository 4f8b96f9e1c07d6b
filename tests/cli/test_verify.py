"""`nightshift verify`: what it takes, that one model's trouble is not another's, and what an interrupt leaves."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.away import Answer, answering
from support.bundles import parity, sum_check, write_bundle
from support.homes import a_home

from nightshift.cli import main
from nightshift.cli.verify import _on_boards
from nightshift.edge.manifest import MANIFEST_FILE
from nightshift.errors import EXIT_CELL_FAILED, EXIT_USAGE
from nightshift.files import sha256_file
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, write_record
from nightshift.plan.state import AWAITS, DEVICE, remember
from nightshift.settings import Home
from nightshift.tracking.device import Wanted

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "words",
    [("pump_7", "--all"), ("pump_7", "rul", "--all"), ("--all", "--version", "0"), ("pump_7",), ()],
    ids=" ".join,
)
def test_it_takes_one_model_or_all_and_not_a_part_of_one(
    home: Home, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *words]) == EXIT_USAGE
    assert "nightshift verify: " in capsys.readouterr().err


def waits(home: Home, subject: str, target: str, architecture: str) -> Wanted:
    """A model whose register record says that it waits, and of which MLflow has never heard."""
    targets = home.configs / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    device = {"architecture": architecture, "require_device_check": True}
    (targets / f"{target}.yaml").write_text(json.dumps({"device": device}))
    cell = Cell(subject=subject, family="rul", target=target, dataset="d" * 64, config={}, code="c" * 64)
    folder = write_bundle(home.models / "rul" / subject / target / "v1", check=sum_check(), parity=parity(value=1e-5))
    remember(home, cell)
    own = Wanted(
        cell.name, 1, sha256_file(folder / MANIFEST_FILE), folder.relative_to(home.root).as_posix(), architecture
    )
    summary = {DEVICE: AWAITS, "version": 1, "bundle_sha256": own.bundle_id, "bundle": own.folder}
    record = {"stage": "register", "cell_key": cell.key, "status": "done", "started_at": "2026-01-01T00:00:00Z"}
    write_record(home, StageRecord.model_validate({**record, "seconds": 0.1, "summary": summary}))
    return own


def test_a_model_whose_check_cannot_be_recorded_does_not_keep_the_others_from_theirs(
    tmp_path: Path, migrated_db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_home(tmp_path / "home", migrated_db) as home:
        both = [waits(home, "fan_1", "old", "riscv64"), waits(home, "pump_1", "new", "s390x")]
        assert main(["verify", "--all", "--here", "--json"]) == EXIT_CELL_FAILED
        found = json.loads(capsys.readouterr().out)
        assert [one["name"] for one in found] == [one.name for one in both]
        for one in found:
            assert one["error"].startswith(f"unknown version of {one['name']} '1'")
            assert not one["passed"]
            assert one["check"]["parity"]["ok"], "what was found is told"
        assert main(["verify", "--all", "--here"]) == EXIT_CELL_FAILED
        shown = capsys.readouterr().out
        (place,) = [line for line in shown.splitlines() if line.startswith("Checking on this machine")]
        assert "in place of riscv64; " in place
        assert "in place of s390x)" in place
        assert shown.count("checked, but not recorded.") == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("at", ["while it waits", "while one is recorded"])
def test_an_interrupt_calls_off_what_the_boards_were_asked_for(home: Home, at: str) -> None:
    wanted = [Wanted(f"{subject}.rul.pi", 1, digit * 64, "") for subject, digit in (("a", "0"), ("b", "1"))]
    called_off: list[str] = []
    made = iter(("a", "b"))

    def answer(path: str) -> Answer:
        if path.endswith("/set_state"):
            called_off.append(path.split("/")[1])
        values: dict[str, Callable[[], Any]] = {
            "flow_runs/filter": lambda: [
                {"id": "a", "state": {"type": "FAILED" if "recorded" in at else "RUNNING"}},
                {"id": "b", "state": {"type": "SCHEDULED"}},
            ],
            "artifacts/filter": list,
            "deployments/d/create_flow_run": lambda: {"id": next(made)},
        }
        return 200, values.get(path, lambda: {"id": "d", "type": "process", "is_paused": False})()

    with answering(answer) as url:
        checks = _on_boards(home, wanted, url)
        if "recorded" in at:
            assert next(checks) == (wanted[0], "the check failed")
            checks.close()
        else:
            threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                next(checks)
    assert called_off == (["b"] if "recorded" in at else ["a", "b"])
