"""The settings page: every value and where it comes from, what was done, and no secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from support.dashboards import OPERATOR, VIEWER, asking, with_tokens

from nightshift import families
from nightshift.dashboard.audit import Audit
from nightshift.settings import Home

Opened = Callable[..., TestClient]


@pytest.fixture
def opened(home: Home) -> Iterator[Opened]:
    with asking(home) as found:
        yield found


def test_values_are_shown_with_where_they_come_from(
    home: Home, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configs.mkdir()
    (home.configs / "dashboard.yaml").write_text("max_body_mb: 7\nrates: {actions: 9/minute}")
    (home.configs / "fleet.yaml").write_text("champion_max_age_days: 12")
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_PORT", "8711")
    page = opened().get("/settings")
    assert page.status_code == 200
    rows = cells(page.text)
    yours = "$NIGHTSHIFT_HOME/configs/dashboard.yaml"
    assert ["max_body_mb", "7", yours] in rows
    assert ["rates.actions", "9/minute", yours] in rows
    assert ["port", "8711", "NIGHTSHIFT_DASHBOARD_PORT"] in rows
    assert ["host", "127.0.0.1", "default"] in rows
    assert ["champion_max_age_days", "12", "$NIGHTSHIFT_HOME/configs/fleet.yaml"] in rows
    assert ["Home", str(home.root)] in rows, "whoever may act on it may know where it is"
    assert any(row[:1] == ["prefect"] for row in rows)


def test_each_family_s_settings_are_shown_as_a_training_has_them(home: Home, opened: Opened) -> None:
    (home.configs / "families").mkdir(parents=True)
    (home.configs / "families" / "tcn.yaml").write_text("epochs: 7\nwanted: {accuracy_pct: 91}\n")
    page = opened().get("/settings").text
    blocks = {block.split(" ", 1)[0]: block for block in page.split("<details><summary>")[1:]}
    assert set(families.names()) <= set(blocks)
    assert "$NIGHTSHIFT_HOME/configs/families/tcn.yaml" in blocks["tcn"]
    assert ["epochs", "7", "file"] in cells(blocks["tcn"])
    assert ["wanted", "accuracy_pct: 91", "file"] in cells(blocks["tcn"])
    assert ["batch_size", "64", "default"] in cells(blocks["tcn"]), "a file of yours replaces the shipped one"
    assert ["time_limit_s", "fast: 900; standard: 1,800; high: 3,600", "preset"] in cells(blocks["anomaly"])
    assert "shipped configs/families/ppo.yaml" in blocks["ppo"]
    steps = next(row for row in cells(blocks["ppo"]) if row[0] == "total_steps")
    assert steps == ["total_steps", "quick: 2,000,000; fast: 10,000,000; standard: 3,000,000", "preset"]


def test_a_family_s_file_with_a_fault_takes_no_other_settings_away(home: Home, opened: Opened) -> None:
    (home.configs / "families").mkdir(parents=True)
    (home.configs / "families" / "tcn.yaml").write_text("epochss: 7\n")
    (home.configs / "families" / "rul.yaml").write_text("preset: [\n")
    page = opened().get("/settings")
    assert page.status_code == 200
    blocks = {block.split(" ", 1)[0]: block for block in page.text.split("<summary>")[1:]}
    assert "epochss" in blocks["tcn"]
    assert "rul.yaml is not valid YAML" in blocks["rul"]
    assert cells(blocks["anomaly"])


def cells(page: str) -> list[list[str]]:
    """The rows of all tables of a page, as text."""
    from html import unescape
    from re import DOTALL, findall, sub

    rows = findall("<tr[^>]*>(.*?)</tr>", page, DOTALL)
    return [
        [unescape(sub("<[^>]*>", "", c)) for c in findall("<t[dh][^>]*>(.*?)</t[dh]>", row, DOTALL)] for row in rows
    ]


def test_no_secret_is_shown_only_whether_it_is_set(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_DB", "postgresql://me:hidden-word@host/mlflow")
    monkeypatch.setenv("NIGHTSHIFT_STORE_URL", "s3://me:hidden-word@bucket/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-word")
    page = opened().get("/settings", headers={"Authorization": f"Bearer {VIEWER}"})
    assert page.status_code == 200
    for secret in (OPERATOR, VIEWER, "hidden-word"):
        assert secret not in page.text
    rows = cells(page.text)
    assert ["AWS_SECRET_ACCESS_KEY", "set"] in rows
    assert ["AWS_SESSION_TOKEN", "not set"] in rows
    assert ["NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN", "set", "secret"] in rows


def test_what_was_done_is_listed_and_escaped(home: Home, opened: Opened) -> None:
    assert "Nothing yet" in opened().get("/settings").text
    Audit(home).note("<b>ada</b>", "promoted", "press-1/anomaly", version=3)
    page = opened().get("/settings").text
    assert ["<b>ada</b>", "promoted", "press-1/anomaly", "version: 3"] in [row[1:] for row in cells(page)]
    assert "<b>ada" not in page


def test_that_prefect_is_down_is_one_line_and_keeps_nothing_else_back(opened: Opened) -> None:
    page = opened().get("/settings").text
    assert "Prefect does not answer at http://127.0.0.1:9/api" in page
    assert "Targets and their limits" in page


def test_a_file_that_cannot_be_used_says_which(home: Home, opened: Opened) -> None:
    client = opened()
    home.configs.mkdir()
    (home.configs / "fleet.yaml").write_text("nigthly: x")
    told = client.get("/settings")
    assert told.status_code == 422
    assert "unknown key &#39;nigthly&#39;." in told.text
    assert "Did you mean &#39;nightly&#39;?" in told.text
