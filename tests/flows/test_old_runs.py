"""Old runs of Nightshift's flows are deleted from a real server, whoever started them; other people's are not."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.old_runs import delete, old_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Everything that has ended is older than that.
NOW = 1e-9


@pytest.fixture
def runs(served: Any) -> dict[str, str]:
    """Runs that have ended: of a flow of ours, with our tag, and of somebody else; and one that has not."""
    ours = served.ask("flows/", name="prune-ours")["id"]
    theirs = served.ask("flows/", name="prune-theirs")["id"]
    served.ask("deployments/", name="local", flow_id=ours, tags=["nightshift"])
    wanted: dict[str, dict[str, Any]] = {
        "by command": {"flow_id": ours},
        "with our tag": {"flow_id": theirs, "tags": ["nightshift", "hall_1"]},
        "theirs": {"flow_id": theirs, "tags": ["hall_1"]},
    }
    made = {name: served.ask("flow_runs/", **given)["id"] for name, given in wanted.items()}
    for run in made.values():
        served.ask(f"flow_runs/{run}/set_state", state={"type": "COMPLETED"}, force=True)
    made["running"] = served.ask("flow_runs/", flow_id=ours)["id"]
    served.ask(f"flow_runs/{made['running']}/set_state", state={"type": "RUNNING"}, force=True)
    return made


def test_old_runs_of_ours_go_and_the_others_stay(served: Any, runs: dict[str, str]) -> None:
    url = served.variables["PREFECT_API_URL"]
    assert not old_runs(url, days=1) & set(runs.values())
    found = old_runs(url, NOW)
    assert {name for name, run in runs.items() if run in found} == {"by command", "with our tag"}
    # Runs of other tests lie on this server too.
    mine = found & set(runs.values())
    assert delete(url, mine) == 2
    left = served.ask("flow_runs/filter", flow_runs={"id": {"any_": list(runs.values())}})
    assert {run["id"] for run in left} == {runs["theirs"], runs["running"]}
    assert not old_runs(url, NOW) & set(runs.values())
    assert delete(url, mine) == 0
