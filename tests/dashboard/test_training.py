"""What a request for a training means: the run that answers it, or why there is none."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from support import tables
from support.machine import SUBJECT
from support.tables import small_table

from nightshift.dashboard.training import TrainRequest, Wanted, plan_training
from nightshift.errors import ConfigError, NightshiftError, UnknownNameError, UsageError
from nightshift.settings import Home


def planned(home: Home, kind: str, **asked: Any) -> Wanted:
    return plan_training(home, kind, TrainRequest.model_validate({"machine_id": SUBJECT, **asked}))


def refusal(home: Home, kind: str, **asked: Any) -> str:
    with pytest.raises(NightshiftError) as refused:
        planned(home, kind, **asked)
    return str(refused.value)


def test_one_family_is_a_run_of_train_with_the_fields_under_our_names(trained: Home) -> None:
    wanted = planned(
        trained, "anomaly", time_limit=60, contamination_rate=0.08, seed=3, settings={"n_trees": 20}, force=True
    )
    assert (wanted.deployment, wanted.name) == ("train/local", f"{SUBJECT}.anomaly.pi")
    assert wanted.parameters == {
        **{"subject": SUBJECT, "family": "anomaly", "target": "pi", "force": True},
        "options": {"time_limit_s": 60, "contamination": 0.08, "seed": 3, "settings": {"n_trees": 20}},
    }
    assert (wanted.estimated_from, wanted.estimated_s > 0) == ("past_runs", True)


def test_names_that_users_know_are_those_of_families(trained: Home) -> None:
    assert planned(trained, "regression").parameters["family"] == "rul"
    assert planned(trained, "timeseries", forecast_hours=12).parameters["options"] == {"forecast_h": 12}


def test_without_past_runs_the_time_limit_is_told(trained: Home) -> None:
    wanted = planned(trained, "regression", time_limit=77)
    assert (wanted.estimated_s, wanted.estimated_from) == (77, "time_limit")


def test_what_is_up_to_date_takes_seconds(trained: Home) -> None:
    assert planned(trained, "anomaly").estimated_s == 5


def test_a_target_of_the_gpu_pool_goes_there(trained: Home) -> None:
    assert planned(trained, "anomaly", target="server").deployment == "train/gpu"


def test_all_means_every_family_that_fits_the_machine(trained: Home) -> None:
    wanted = planned(trained, "batch", model_types="all", excluded_model_types=["timeseries"], force=True)
    assert wanted.deployment == "train-batch/pi"
    assert [c["family"] for c in wanted.parameters["cells"]] == ["classification", "rul", "anomaly"]
    assert {c["forced"] for c in wanted.parameters["cells"]} == {"asked for (force)"}
    assert planned(trained, "batch", model_types=["anomaly"]).deployment == "train/local"


def test_members_of_ensemble_and_vote_can_be_chosen_and_left_out(trained: Home) -> None:
    families = planned(trained, "classification", model_types=["gbm", "RF"]).parameters["options"]["families"]
    assert families == {"classification": {"model_types": ["GBM", "RF"]}}
    families = planned(trained, "anomaly", excluded_model_types=["ocsvm"]).parameters["options"]["families"]
    assert families == {"anomaly": {"members": ["iforest", "lof", "zscore", "pca"]}}
    batch = planned(trained, "batch", excluded_model_types=["CAT"]).parameters["options"]["train"]["families"]
    assert {name: one["model_types"] for name, one in batch.items() if "model_types" in one} == {
        family: ["GBM", "RF", "XGB"] for family in ("classification", "rul")
    }


def test_folds_of_the_cross_validation_are_those_of_the_bagging(trained: Home) -> None:
    assert planned(trained, "classification", cv_folds=3).parameters["options"]["settings"] == {"num_bag_folds": 3}
    assert "they are one" in refusal(trained, "classification", cv_folds=3, num_bag_folds=2)


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        ("classification", {"num_bag_folds": 8}, "above the limit of target 'pi': 3"),
        ("classification", {"cv_folds": 5}, "above the limit of target 'pi': 3"),
        ("classification", {"model_types": ["NN_TORCH"]}, "beyond the limit of target 'pi'"),
        ("classification", {"excluded_model_types": ["GBM", "RF", "XGB", "CAT", "XT"]}, "is excluded"),
        ("classification", {"contamination_rate": 0.1}, "unknown setting 'contamination'"),
        ("timeseries", {"model_types": ["GBM"]}, "no model types to choose from"),
        ("anomaly", {"settings": {"reference_row": 3}}, "Did you mean 'reference_rows'"),
        ("anomaly", {"quality_preset": "quick"}, "unknown preset 'quick'"),
        ("tcn", {}, "is for data of a vehicle"),
        ("batch", {"model_types": ["tcn"]}, "not for data of a machine"),
        ("batch", {"excluded_model_types": ["classification", "rul", "anomaly", "forecast"]}, "is excluded"),
        ("anomaly", {"machine_id": ""}, "machine_id is missing"),
        ("anomaly", {"machine_id": "../etc"}, "../etc"),
        ("ppo", {"machine_id": "adplanning", "settings": {"init_from": "/etc/passwd"}}, "adplanning"),
        ("estimator", {"machine_id": "", "file": "../../etc/passwd", "target_column": "y"}, "no CSV or Parquet"),
        ("estimator", {"machine_id": "", "file": "/etc/passwd.csv", "target_column": "y"}, "no CSV or Parquet"),
        ("estimator", {"machine_id": "", "file": "data/x\0.csv", "target_column": "y"}, "no CSV or Parquet"),
        ("estimator", {"machine_id": "", "file": "ä" * 200 + ".csv", "target_column": "y"}, "no CSV or Parquet"),
        ("estimator", {"machine_id": ""}, "file is missing"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(trained: Home, kind: str, asked: dict[str, Any], words: str) -> None:
    assert words in refusal(trained, kind, **asked)


@pytest.mark.parametrize("kind", ["anomalies", "../x", "estimators"])
def test_an_unknown_kind_is_told_with_the_nearest(trained: Home, kind: str) -> None:
    with pytest.raises(UnknownNameError):
        planned(trained, kind)


def test_files_of_the_server_are_no_start_of_a_policy(trained: Home) -> None:
    with pytest.raises(UsageError, match="init_from names a file"):
        planned(trained, "anomaly", settings={"init_from": "/etc/passwd"})


@pytest.mark.parametrize("kind", ["classification", "regression", "batch"])
def test_members_of_an_ensemble_name_no_places_on_the_server(trained: Home, kind: str) -> None:
    for given in (
        {"CAT": {"train_dir": "x"}},
        {"GBM": {"forcedsplits_filename": "x"}},
        {"GBM": {"machines": "x"}},
        {"GBM": {"nodes": "x"}},
        {"GBM": {"fs": "x"}},
    ):
        assert "is about files" in refusal(trained, kind, settings={"hyperparameters": given})
    for text in ("/tmp/x", "db:5432", "db 5432"):
        assert "may hold words" in refusal(trained, kind, settings={"hyperparameters": {"GBM": {"x": text}}})
    harmless = {"GBM": {"num_leaves": 7, "boosting_type": "goss"}}
    assert planned(trained, kind, settings={"hyperparameters": harmless}, force=True)


@pytest.mark.parametrize("kind", ["classifier", "regressor", "batch"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"settings": {"save_path": "/tmp/x"}}, "unknown setting 'save_path'"),
        ({"settings": {"params": {"train_dir": "x"}}}, "'train_dir' is about files"),
        ({"params": {"train_dir": "/tmp/x"}}, "'train_dir' is about files"),
        ({"params": {"snapshot_file": "x"}}, "'snapshot_file' is about files"),
        ({"params": {"allow_writing_files": True}}, "'allow_writing_files' is about files"),
        ({"params": {"input_borders": "x"}}, "'input_borders' is about files"),
        ({"params": {"estimator__train_dir": "x"}}, "'estimator__train_dir' is about files"),
        ({"params": {"machine_list": "x"}}, "'machine_list' is about files"),
        ({"params": {"metric": ["auc", "/tmp/x"]}}, "'metric' may hold words, got '/tmp/x'"),
        ({"params": {"x": {"y": "10.0.0.5:8786"}}}, "'y' may hold words"),
        ({"settings": {"limits": {"address": "tcp://10.0.0.5:8786"}}}, "unknown setting 'address' of its limits"),
        ({"settings": {"limits": {"backend": "ray", "address": "auto"}}}, "unknown setting 'address' of its limits"),
    ],
)
def test_settings_of_estimators_name_no_places_on_the_server(
    home: Home, kind: str, settings: dict[str, Any], words: str
) -> None:
    small_table(home)
    assert words in refusal(home, kind, machine_id=tables.SUBJECT, settings=settings)
    params = {"max_depth": 3, "loss_function": "Logloss", "class_weights": [1, 2]}
    harmless = {"model": "catboost", "params": params, "settings": {"limits": {"threads": 1}, "scale": False}}
    assert planned(home, kind, machine_id=tables.SUBJECT, settings=harmless)


def test_a_table_in_the_home_is_a_run_of_train_estimator(trained: Home) -> None:
    file = trained.data / "tables" / "shop.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x,y\n1,2\n")
    given = {"machine_id": "", "file": "data/tables/shop.csv", "target_column": "y", "model": "ridge", "cv_folds": 4}
    wanted = planned(trained, "estimator", **given)
    assert wanted.deployment == "train-estimator/local"
    assert wanted.parameters == {
        **{"file": "data/tables/shop.csv", "target": "y", "model": "ridge"},
        "options": {"subject": "shop", "settings": {"cross_validation": 4}},
    }
    with pytest.raises(ConfigError, match="unknown setting 'save_path'"):
        planned(trained, "estimator", **given, settings={"save_path": "/tmp/x"})
    with pytest.raises(ConfigError, match="unknown setting 'address' of its limits"):
        planned(trained, "estimator", **given, settings={"limits": {"address": "10.0.0.5:8786"}})
    with pytest.raises(ConfigError, match="'train_dir' is about files"):
        planned(trained, "estimator", **given, settings={"params": {"train_dir": "/tmp/x"}})
    assert planned(trained, "estimator", **given, settings={"params": {"max_depth": 3, "max_leaf_nodes": 9}})
    with pytest.raises(UsageError, match="takes no time_limit"):
        planned(trained, "estimator", **given, time_limit=5)


def test_settings_are_no_deeper_than_a_config_can_be(client: TestClient) -> None:
    def told(levels: int) -> str:
        body = f'{{"machine_id": "{SUBJECT}", "settings": {{"a": {"[" * levels}{"]" * levels}}}}}'
        answer = client.post("/api/ml/train/anomaly", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), levels
        return str(answer.json()["detail"])

    assert "unknown setting 'a'" in told(15)
    assert all("nested deeper than 20 levels" in told(levels) for levels in (25, 400, 900))


@pytest.mark.parametrize(
    "settings",
    [{"a": {"__prefect_kind": "jinja", "template": "{{ 1 }}"}}, {"a": float("nan")}, {"a": "x" * 30_000}],
)
def test_settings_are_plain_json_and_no_template_of_prefect(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainRequest(machine_id="a", settings=settings)


def test_the_api_refuses_as_problem_json_before_prefect_is_asked(client: TestClient) -> None:
    told = client.post("/api/ml/train/classification", json={"machine_id": SUBJECT, "num_bag_folds": 8})
    assert (told.status_code, told.headers["content-type"]) == (422, "application/problem+json")
    assert "limit of target 'pi': 3" in told.json()["detail"]
    assert client.post("/api/ml/train/anomaly", json={"machine_id": "nobody"}).status_code == 404
    assert client.post("/api/ml/train/anomaly", json={"machine": SUBJECT}).status_code == 422


def test_without_prefect_a_start_says_so(client: TestClient) -> None:
    told = client.post("/api/ml/train/anomaly", json={"machine_id": SUBJECT})
    assert told.status_code == 503
    assert "nightshift up" in told.json()["hint"]
