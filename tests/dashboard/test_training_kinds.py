"""The training page for driving policies and for tables: what it offers, what it asks for, what is wrong where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import QueryParams
from support import tables
from support.dashboards import ADDRESS
from support.forms import Fields, error_of

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.dashboard.runs import Run
from nightshift.dashboard.tables import columns_of, table_files
from nightshift.dashboard.training import plan_training
from nightshift.dashboard.training_form import again, filled, request_of
from nightshift.data.groups import NAMES
from nightshift.errors import DataError
from nightshift.settings import Home

NO_SERVER = "http://127.0.0.1:9/api"
FILE = "small_table_y.csv"


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The dashboard of a home of its own."""
    with TestClient(create_app(home, load_config(home), NO_SERVER), base_url=ADDRESS) as found:
        yield found


def with_table(home: Home) -> None:
    folder = home.data / "tables"
    folder.mkdir(parents=True)
    tables.write(folder)


def send(client: TestClient, **values: Any) -> Any:
    return client.post("/train", data={"of": "estimator", "key": "a-key", **values}, follow_redirects=False)


def wanted(home: Home, asked: str) -> Any:
    """What a form means, as the flow run that answers it."""
    found = request_of(home, filled(QueryParams(asked), sent=True))
    assert found is not None
    return plan_training(home, *found)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("machine", 'href="/machines/new"'),
        ("vehicle", "nightshift simulate vehicle"),
        ("driving", "nightshift simulate driving"),
        ("estimator", "<code>data/tables</code>"),
        ("everything", 'href="/machines/new"'),
    ],
)
def test_each_group_has_a_view_that_says_what_to_do_without_data(client: TestClient, of: str, said: str) -> None:
    html = client.get("/train", params={"of": of}).text
    assert said in html
    assert "<form method" not in html
    for name, called in NAMES.items():
        assert f'<a href="/train?of={name}"' in html
        assert f">{called}</a>" in html
    assert html.count('aria-current="page">') == 2  # of the menu, and of the views


def test_scenarios_that_have_not_landed_are_told_with_their_command(client: TestClient) -> None:
    told = client.post("/api/ml/train/ppo", json={})
    assert told.status_code == 404
    assert "nightshift simulate driving" in told.json()["hint"]


def test_policies_are_trained_on_scenarios_one_family_as_a_beginning(home: Home, client: TestClient) -> None:
    tables.named_scenarios(home)
    html = client.get("/train?of=driving").text
    fields = Fields(html)
    assert [one["value"] for one in fields.found["families"]] == ["ppo", "sac", "bc", "gail", "cimrl"]
    assert (fields.ticked("families"), fields.ticked("all")) == ({"ppo"}, set())
    assert Fields(client.get("/train?machine=adplanning&all=1").text).ticked("all") == {"1"}
    assert (fields["minutes"]["value"], fields["steps"]["value"]) == ("", "")
    assert "<option selected>quick</option>" in html
    assert "at most 15 min" in html
    assert "Limits of vehicle" in html
    assert "bag_folds" not in fields.found
    quick = wanted(home, "machine=adplanning&families=ppo&preset=quick&steps=50000&seed=3")
    assert quick.parameters["family"] == "ppo"
    assert quick.parameters["options"] == {"preset": "quick", "seed": 3, "settings": {"total_steps": 50_000}}
    assert quick.estimated_s == 900
    every = wanted(home, "machine=adplanning&all=1&preset=quick&steps=50000")
    assert [cell["family"] for cell in every.parameters["cells"]] == ["ppo", "sac", "bc", "gail", "cimrl"]
    for steps, said in (("many", "Expected a whole number; got “many”."), ("0", "total_steps")):
        told = send(client, of="driving", machine="adplanning", families="ppo", steps=steps)
        assert (told.status_code, said in error_of(told.text, "steps")) == (422, True), told.text
    parameters = {"subject": "adplanning", "family": "ppo", "target": "vehicle", "options": quick.parameters["options"]}
    repeated = Fields(client.get(again(home, Run("1", "r", "train", "COMPLETED", parameters=parameters))).text)
    assert (repeated["steps"]["value"], repeated["of"]["value"]) == ("50000", "driving")
    as_configured = Run("1", "r", "train", "COMPLETED", parameters={**parameters, "options": {}})
    assert "<option>quick</option>" in client.get(again(home, as_configured)).text


def test_a_file_is_trained_on_by_its_name_with_a_column_and_a_model(home: Home, client: TestClient) -> None:
    with_table(home)
    html = client.get("/train?of=estimator").text
    for column in ("a", "b", "n", "open", "colour", "y"):
        assert f"<option>{column}</option>" in html
    assert "<option selected>lightgbm</option>" in html
    assert "<option selected>server</option>" in html
    assert not {"minutes", "preset", "families"} & Fields(html).found.keys()
    asked = f"machine={FILE}&column=y&model=ridge&cv_folds=4&seed=5&called=shop&target=pi"
    meant = wanted(home, asked)
    assert meant.deployment == "train-estimator/local"
    assert meant.parameters == {
        **{"file": f"data/tables/{FILE}", "target": "y", "model": "ridge"},
        "options": {
            **{"subject": "shop", "device_class": "pi"},
            "settings": {"cross_validation": 4, "random_state": 5},
        },
    }
    assert "no time limit" in client.get(f"/train/estimate?{asked}").text
    run = Run("1", "r", "train-estimator", "COMPLETED", parameters=meant.parameters)
    repeated = client.get(again(home, run)).text
    assert "<option selected>ridge</option>" in repeated
    assert "<option selected>y</option>" in repeated
    assert [Fields(repeated)[name]["value"] for name in ("cv_folds", "seed", "called")] == ["4", "5", "shop"]
    elsewhere = {**meant.parameters, "options": {"settings": {"test_size": 0.4}}}
    assert again(home, Run("1", "r", "train-estimator", "COMPLETED", parameters=elsewhere)) == ""


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"column": ""}, "column", "Choose the column to be answered."),
        ({"column": "yy"}, "column", "Did you mean 'y'?"),
        ({"model": "lightgbn"}, "model", "Did you mean 'lightgbm'?"),
        ({"cv_folds": "1"}, "cv_folds", "greater than or equal to 2"),
        ({"seed": "many"}, "seed", "many"),
        ({"target": "pie"}, "target", "pi"),
        ({"called": "My shop"}, "called", "Use 1-64 lower-case letters"),
        ({"called": "small_table"}, "called", "unknown target of the table"),
        ({"machine": "../tables/small_table_y.csv"}, "machine", "Choose one of the list"),
        ({"machine": "data/tables/small_table_y.csv"}, "machine", "Choose one of the list"),
        ({"machine": "other.csv"}, "machine", "Choose one of the list"),
    ],
)
def test_what_cannot_be_trained_on_a_table_is_said_beside_its_field(
    home: Home, client: TestClient, values: dict[str, str], field: str, said: str
) -> None:
    with_table(home)
    tables.small_table(home)  # has a target besides `a`
    told = send(client, **{"machine": FILE, "column": "a", "model": "lightgbm", **values})
    assert told.status_code == 422
    assert said in error_of(told.text, field).replace("&#39;", "'")


def test_a_table_that_has_landed_is_trained_on_by_the_families_that_its_target_is_for(
    home: Home, client: TestClient
) -> None:
    tables.small_table(home)
    html = client.get("/train?of=estimator").text
    assert Fields(html).ticked("families") == {"classifier", "regressor"}
    assert "no time limit" in html
    meant = wanted(home, f"machine={tables.SUBJECT}&families=classifier&model=random_forest")
    assert (meant.deployment, meant.parameters["family"]) == ("train/gpu", "classifier")
    assert meant.parameters["options"] == {"settings": {"model": "random_forest"}}


def test_only_tables_within_the_folder_are_offered(home: Home) -> None:
    with_table(home)
    folder = home.data / "tables"
    (folder / "notes.txt").write_text("a,b\n1,2\n")
    (folder / ".hidden.csv").write_text("a,b\n1,2\n")
    (folder / "passwd.csv").symlink_to("/etc/passwd")
    pd.DataFrame({"a": [1], "b": [2]}, index=[7]).to_parquet(folder / "p.parquet")
    assert table_files(home) == {name: f"data/tables/{name}" for name in ("p.parquet", FILE)}
    assert columns_of(folder / "p.parquet") == ("a", "b")


def test_a_file_that_cannot_be_read_is_told(home: Home, client: TestClient) -> None:
    with_table(home)
    (home.data / "tables" / "zip.csv").write_bytes(b"PK\x03\x04 ")
    (home.data / "tables" / "p.parquet").write_bytes(b"PAR1")
    for name in ("zip.csv", "p.parquet"):
        with pytest.raises(DataError):
            columns_of(home.data / "tables" / name)
        html = client.get("/train", params={"machine": name}).text
        assert '<section class="notice bad"><p>' in html
        assert 'id="start"' not in html
