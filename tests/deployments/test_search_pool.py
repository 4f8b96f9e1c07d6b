"""Runs that share a search's trials, as a server tells of them: begun again, given up, called off."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.away import Answer, Loss, answering
from support.homes import a_home
from support.trainer_files import write_table

from deployments import search_pool
from deployments.search_pool import SearchPool, hands_of
from deployments.workers import NobodyTakesError
from nightshift.data.shared_tables import table_here
from nightshift.errors import InterruptedTraining, ServiceError, TrainingError, UsageError
from nightshift.plan.table import TableJob, TableOptions
from nightshift.settings import STORE_VARIABLE, Home
from nightshift.stages.estimator import file_of, join_table_search, train_table
from tasks.estimator import job_of


class Server:
    """A server with a worker; each run that is asked for has the states given for it, one at each look.

    Attributes:
        states: of each run, in the order in which they are asked for; the last one stays.
        called_off: flow runs, in order.
        there: runs that others have asked for; as `flow_runs/filter` tells of them.
    """

    def __init__(self, *states: list[str], polled: str = "", there: Sequence[dict[str, Any]] = ()) -> None:
        self.states, self.called_off, self.asked = list(states), list[str](), 0
        self.there = there
        self.polled = polled or datetime.now(UTC).isoformat()

    def __call__(self, path: str) -> Answer:
        if path == "deployments/filter":
            return 200, [{"id": "d", "work_pool_name": "local-pool", "work_queue_name": "default"}]
        if path.endswith("/create_flow_run"):
            self.asked += 1
            return 201, {"id": str(self.asked - 1)}
        if path == "flow_runs/filter":
            return 200, [self._run(number) for number in range(self.asked)] or self.there
        if path.endswith("/set_state"):
            self.called_off.append(path.split("/")[1])
            return 201, {}
        return 200, {"type": "process", "is_paused": False, "last_polled": self.polled}

    def _run(self, number: int) -> dict[str, Any]:
        states = self.states[number]
        kind = states.pop(0) if len(states) > 1 else states[0]
        message = "Flow run encountered an exception: ConfigError: nothing here.\nTraceback"
        return {"id": str(number), "state": {"type": kind, "message": message if kind == "FAILED" else ""}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_pool, "_POLL_S", 0.01)
    monkeypatch.setattr(search_pool, "_LOOK_S", 0.0)


def job(home: Home, **change: Any) -> TableJob:
    given = {"file": str(write_table(home.tmp)), "target": "fuel", "settings": {"model": "ridge"}, "search": 4}
    return TableJob.model_validate({**given, "pool": "local-pool", **change})


def looks(left: list[int], said: list[str]) -> Callable[[str], int]:
    """What a search tells at each look: how many trials are left; the last one stays."""

    def look(note: str) -> int:
        said.extend([note] if note else [])
        return left.pop(0) if len(left) > 1 else left[0]

    return look


def given(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    told: Server,
    look: Callable[[str], int],
    losses: list[Loss] | None = None,
) -> None:
    hands = hands_of(home, job(home))
    assert hands is not None
    with answering(told, losses) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        hands(look)


def test_a_run_that_crashed_is_begun_again_and_what_nobody_took_is_called_off_at_the_end(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    told = Server(["RUNNING", "RUNNING", "CRASHED"], ["SCHEDULED"], ["RUNNING"])
    given(home, monkeypatch, told, looks([4, 3, 2, 2, 2, 0], said))
    assert said == [
        "2 runs of search-estimator on local-pool share the trials",
        "data search 1 of 2 crashed. It is begun again.",
    ]
    assert (told.asked, told.called_off) == (3, ["1"])


def test_runs_that_all_have_failed_end_the_wait_with_the_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with pytest.raises(
        TrainingError, match=r"local-pool have ended before .* 2 failed: ConfigError: nothing here"
    ) as why:
        given(home, monkeypatch, Server(["RUNNING", "FAILED"], ["FAILED"]), looks([4], said))
    assert "the same command goes on" in str(why.value)
    assert said[1:] == [f"data search {i} of 2 failed: ConfigError: nothing here." for i in (2, 1)]


def test_who_stops_to_wait_calls_its_runs_off(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_note: str) -> int:
        if told.asked:
            raise InterruptedTraining("Stopped.")
        return 4

    told = Server(["RUNNING"], ["SCHEDULED"])
    with pytest.raises(InterruptedTraining):
        given(home, monkeypatch, told, look)
    assert told.called_off == ["0", "1"]


def test_runs_of_a_killed_command_are_called_off_and_others_are_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["true"]) as gone:
        began = int(time.time())
    here, asked = socket.gethostname(), SearchPool(home, job(home)).parameters()

    def run(name: str, *tags: str, **parameters: Any) -> dict[str, Any]:
        return {"id": name, "parameters": {**asked, **parameters}, "tags": ["nightshift", *tags]}

    killed = f"waiter:{here}:{gone.pid}:{began}"
    there = [
        run("left", killed),
        run("of another search", killed, target="label"),
        run("waited for", f"waiter:{here}:{os.getpid()}:{began}"),
        run("of another machine", f"waiter:{here}.else:{gone.pid}:{began}"),
        run("by hand"),
    ]
    told = Server(["RUNNING"], ["RUNNING"], there=there)
    given(home, monkeypatch, told, looks([4, 0], []))
    assert (told.asked, told.called_off) == (2, ["left"])


def test_runs_that_nobody_takes_any_more_are_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.configs.mkdir(parents=True)
    (home.configs / "fleet.yaml").write_text("dead: {pending_s: 0.05}")
    told = Server(["SCHEDULED"], ["SCHEDULED"])

    def look(note: str) -> int:
        told.polled = "2020-01-01T00:00:00Z"
        return 4

    with pytest.raises(NobodyTakesError, match=r"no worker takes runs from 'local-pool'\. Start one: .* goes on"):
        given(home, monkeypatch, told, look)
    assert told.called_off == ["0", "1"]


def test_a_server_that_is_away_for_a_moment_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[Loss] = []
    told = Server(["RUNNING"], ["RUNNING"])

    def look(_note: str) -> int:
        if len(counts) == 3:
            losses.append("half")
        return counts.pop(0)

    counts = [4, 4, 4, 3, 0]
    given(home, monkeypatch, told, look, losses)
    assert losses == []
    monkeypatch.setattr(search_pool, "OUTAGE_S", -1.0)
    counts = [4, 4, 4, 3, 0]
    with pytest.raises(ServiceError, match="does not answer"):
        given(home, monkeypatch, Server(["RUNNING"], ["RUNNING"]), look, losses)


def test_what_cannot_be_asked_for_is_refused_before_anything(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hands_of(home, job(home, pool="")) is None
    with pytest.raises(UsageError, match=r"none is asked for\. Give --search 40"):
        hands_of(home, job(home, search=0))
    for storage in ("postgresql://me:hidden@host/studies", "postgresql:///studies?host=h&user=me&password=hidden"):
        with pytest.raises(UsageError, match="Put the address into NIGHTSHIFT_STUDY_DB") as refused:
            hands_of(home, job(home, storage=storage))
        assert "hidden" not in str(refused.value)
    hands = hands_of(home, job(home, storage="postgresql://host/studies"))
    assert hands is not None
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ServiceError, match="no Prefect server runs"):
        hands(lambda _note: 4)


@pytest.mark.slow
def test_a_machine_with_another_home_and_without_the_file_does_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
    with a_home(tmp_path / "own") as own:
        settings = {"model": "ridge", "cross_validation": 3, "save_model": False}
        asked = job(own, settings=settings, search=3, storage=f"sqlite:///{tmp_path / 'study.db'}", track=False)

        def hands(look: Callable[[str], int]) -> None:
            told = SearchPool(own, asked).parameters()
            assert not Path(told["file"]).is_absolute()
            key = told.pop("store_key")
            with a_home(tmp_path / "other") as other:
                there = job_of(**{**told, "options": TableOptions.model_validate(told["options"])})
                with table_here(other, file_of(other, there), key) as file:
                    assert join_table_search(other, there.model_copy(update={"file": str(file)}), False) == 3
            assert look("") == 0

        run = train_table(own, asked, False, hands)
    assert run.found is not None
    assert len(run.found.trials) == 3
