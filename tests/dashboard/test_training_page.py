"""The training page: what it offers, how it is filled in, what it says of values that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboards import ADDRESS, OPERATOR, VIEWER, with_tokens
from support.forms import Fields, error_of
from support.machine import SUBJECT
from support.vehicles import SUBJECT as VEHICLES
from support.vehicles import small_vehicles

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.dashboard.runs import Run
from nightshift.dashboard.training_form import again, filled, request_of
from nightshift.settings import Home

NO_SERVER = "http://127.0.0.1:9/api"


@pytest.fixture
def empty(home: Home) -> Iterator[TestClient]:
    """The dashboard of a home of its own."""
    with TestClient(create_app(home, load_config(home), NO_SERVER), base_url=ADDRESS) as found:
        yield found


def send(client: TestClient, **values: Any) -> Any:
    given = {"machine": SUBJECT, "all": "1", "minutes": "15", "key": "a-key"} | values
    return client.post("/train", data={k: v for k, v in given.items() if v is not None}, follow_redirects=False)


def test_a_home_without_data_says_what_to_do(empty: TestClient) -> None:
    html = empty.get("/train").text
    assert "No machine has data yet." in html
    assert 'href="/machines/new"' in html
    assert "<form" not in html


def test_the_only_machine_is_chosen_with_all_that_fits_it_and_a_quarter_of_an_hour(client: TestClient) -> None:
    html = client.get("/train").text
    fields = Fields(html)
    assert fields.ticked("families") == {"classification", "rul", "anomaly", "forecast"}
    assert fields.ticked("all") == {"1"}
    assert fields["minutes"]["value"] == "15"
    assert "Limits of pi" in html
    assert "num_bag_folds 3" in html
    assert "Estimated time:" in html
    # AutoGluon's own presets stand apart.
    assert html.index("<option>high</option>") < html.index("AutoGluon") < html.index("<option>best_quality</option>")


def test_an_address_fills_the_form_in(client: TestClient) -> None:
    html = client.get(
        "/train",
        params={
            "machine": SUBJECT,
            "families": "anomaly",
            "minutes": "5",
            "seed": "7",
            "excluded": ["lof"],
            "force": 1,
        },
    ).text
    fields = Fields(html)
    assert fields.ticked("families") == {"anomaly"}
    assert fields.ticked("all") == set()
    assert fields.ticked("excluded") == {"lof"}
    assert fields.ticked("force") == {"1"}
    assert (fields["minutes"]["value"], fields["seed"]["value"]) == ("5", "7")
    assert "<details open><summary>Advanced" in html


def test_what_was_trained_here_is_estimated_by_past_runs(client: TestClient) -> None:
    known = client.get("/train/estimate", params={"machine": SUBJECT, "families": "anomaly", "force": 1}).text
    assert "by past runs" in known
    new = client.get("/train/estimate", params={"machine": SUBJECT, "families": "forecast", "minutes": "5"}).text
    assert "at most 5 min" in new


def test_a_detector_is_left_out_where_ensembles_are_trained_beside_it(client: TestClient) -> None:
    told = client.get("/train/estimate", params={"machine": SUBJECT, "all": 1, "excluded": ["iforest", "CAT"]}).text
    assert "Estimated time" in told
    wrong = client.get("/train/estimate", params={"machine": SUBJECT, "all": 1, "excluded": "iforst"}).text
    assert "model type 'iforst'" in wrong.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"minutes": "soon"}, "minutes", "Expected minutes, such as 15; got “soon”."),
        ({"minutes": "-1"}, "minutes", "greater than 0"),
        ({"contamination": "3"}, "contamination", "less than 0.5"),
        ({"all": None}, "families", "Choose at least one."),
        ({"all": None, "families": "classification", "bag_folds": "9"}, "bag_folds", "above the limit of target"),
        ({"all": None, "families": "classification", "preset": "fats"}, "preset", "fast"),
        ({"target": "pie"}, "target", "pi"),
        ({"machine": "motor_bench_002"}, "machine", SUBJECT),
        ({"machine": "../etc"}, "machine", "../etc"),
        ({"machine": ""}, "machine", "Choose one."),
        ({"seed": "many"}, "seed", "many"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    client: TestClient, values: dict[str, Any], field: str, said: str
) -> None:
    told = send(client, stack_levels="0", **values)
    assert told.status_code == 422
    assert said in error_of(told.text, field).replace("&#39;", "'")
    fields = Fields(told.text)
    if field in fields.found and field != "families":
        assert fields[field]["aria-invalid"] == "true"
        assert f"{field}-error" in str(fields[field]["aria-describedby"])
    # What was filled in is kept, and sending it again is the same request.
    assert fields["key"]["value"] == "a-key"
    if "minutes" in fields.found and field != "minutes":
        assert (fields["minutes"]["value"], fields["stack_levels"]["value"]) == ("15", "0")


def test_prefect_down_is_said_and_what_was_filled_in_stays(client: TestClient) -> None:
    told = send(client, minutes="7")
    assert told.status_code == 503
    assert "Prefect does not answer" in told.text
    assert Fields(told.text)["minutes"]["value"] == "7"


def test_a_viewer_sees_why_start_is_not_for_them(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    with TestClient(create_app(trained, load_config(trained), NO_SERVER), base_url=ADDRESS) as client:
        client.headers["Authorization"] = f"Bearer {VIEWER}"
        html = client.get("/train").text
        assert 'id="start" disabled aria-describedby="refusal"' in html
        assert "You are a viewer: operators start trainings." in html
        assert send(client).status_code == 403
        client.headers["Authorization"] = f"Bearer {OPERATOR}"
        assert "disabled" not in client.get("/train").text


def test_vehicles_are_offered_their_own_families_for_their_own_device(home: Home, empty: TestClient) -> None:
    small_vehicles(home)
    html = empty.get("/train").text
    fields = Fields(html)
    assert fields.ticked("families") == {"tcn", "lstm_ae", "behaviour", "carbon"}
    assert "Limits of vehicle" in html
    assert "bag_folds" not in fields.found
    # Presets of vehicles take hours; the quarter of an hour and the device class of a motor's form are not theirs.
    assert fields["minutes"]["value"] == ""
    changed = Fields(
        empty.get("/train", params={"of": "machine", "machine": VEHICLES, "minutes": "15", "target": "pi"}).text
    )
    assert (changed["minutes"]["value"], changed["of"]["value"]) == ("", "vehicle")
    assert (
        "Limits of vehicle" in empty.get("/train", params={"of": "machine", "machine": VEHICLES, "target": "pi"}).text
    )
    meant = Fields(empty.get("/train", params={"of": "vehicle", "minutes": "15"}).text)
    assert meant["minutes"]["value"] == "15"
    assert '<a href="/train?of=vehicle" aria-current="page">Vehicles</a>' in html
    # Families of the machine that was chosen before are forgotten.
    moved = Fields(empty.get("/train", params={"families": ["anomaly", "rul"]}).text)
    assert moved.ticked("families") == {"tcn", "lstm_ae", "behaviour", "carbon"}


def test_of_many_machines_one_is_searched_for(home: Home, empty: TestClient) -> None:
    small_vehicles(home)
    (pointer,) = (home.data / "current").iterdir()
    for number in range(61):
        (pointer.parent / f"pump_{number}").write_bytes(pointer.read_bytes())
    html = empty.get("/train").text
    assert '<datalist id="machines">' in html
    assert "Type to search 61" in html
    assert "Choose one of the list" in empty.get("/train?machine=pump_99").text


def test_the_form_means_what_the_api_takes(home: Home) -> None:
    from starlette.datastructures import QueryParams

    asked = "machine=m&families=anomaly&minutes=2,5&contamination=0.1&excluded=lof&seed=3&force=1&target=pi"
    found = request_of(home, filled(QueryParams(asked)))
    assert found is not None
    kind, request = found
    assert kind == "anomaly"
    assert request.model_dump(exclude_defaults=True) == {
        **{"machine_id": "m", "time_limit": 150.0, "contamination_rate": 0.1, "excluded_model_types": ("lof",)},
        **{"seed": 3, "force": True, "target": "pi"},
    }
    several = request_of(home, filled(QueryParams("machine=m&families=anomaly&families=rul")))
    assert several is not None
    assert (several[0], several[1].model_types) == ("batch", ("anomaly", "rul"))
    whole = request_of(home, filled(QueryParams("machine=m")))
    assert whole is not None
    assert (whole[0], whole[1].model_types, whole[1].time_limit) == ("batch", "all", 900.0)


def test_a_run_is_asked_for_again_with_its_values(client: TestClient, trained: Home) -> None:
    options = {"time_limit_s": 150.0, "contamination": 0.1, "families": {"anomaly": {"members": ["iforest", "pca"]}}}
    run = Run(
        id="1",
        name="r",
        flow="train",
        state="COMPLETED",
        parameters={"subject": SUBJECT, "family": "anomaly", "target": "pi", "force": True, "options": options},
    )
    fields = Fields(client.get(again(trained, run)).text)
    assert fields.ticked("families") == {"anomaly"}
    assert (fields["minutes"]["value"], fields["contamination"]["value"]) == ("2.5", "0.1")
    assert fields.ticked("excluded") == {"ocsvm", "lof", "zscore"}
    assert fields.ticked("force") == {"1"}
    assert again(trained, Run(id="1", name="r", flow="train-fleet", state="COMPLETED")) == ""
