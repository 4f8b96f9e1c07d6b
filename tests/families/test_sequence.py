"""The sequence families: what they learn and never see, how thresholds are chosen, and what stops and goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.family_runs import small_context
from support.vehicles import ODD, metadata, trips

from nightshift.data.dataset import Dataset
from nightshift.data.schema import Sensor, TruthColumn
from nightshift.data.store import land
from nightshift.edge.faces import check_graph
from nightshift.edge.session import open_session
from nightshift.errors import ConfigError, DataError, InterruptedTraining, TrainingError
from nightshift.families import _sequence, _vehicle, lstm_ae, tcn
from nightshift.families._odd import OddWindows, distance_from_mean, normal_threshold, odd_windows
from nightshift.families._vehicle import matrix_of
from nightshift.family import RunContext
from nightshift.problems import anomaly_judge
from nightshift.problems.anomaly import Onsets, Timeline
from nightshift.problems.evaluation import ScoreRow
from nightshift.settings import Home


def changed(config: Any, **values: Any) -> Any:
    return type(config).model_validate(config.model_dump() | values)


@pytest.fixture(scope="module")
def tcn_run(session_home: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[tcn.TcnConfig, RunContext]:
    config, ctx = small_context(session_home, "tcn", tmp_path_factory.mktemp("tcn"))
    assert isinstance(config, tcn.TcnConfig)
    return config, ctx


@pytest.fixture(scope="module")
def ae_run(session_home: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[lstm_ae.LstmAeConfig, RunContext]:
    config, ctx = small_context(session_home, "lstm_ae", tmp_path_factory.mktemp("lstm_ae"))
    assert isinstance(config, lstm_ae.LstmAeConfig)
    return config, ctx


def test_an_estimate_learns_what_driving_costs(
    tcn_run: tuple[tcn.TcnConfig, RunContext], vehicle_data: Dataset, tmp_path: Path
) -> None:
    config, ctx = tcn_run
    config = changed(config, epochs=12, patience=0, stride_rows=6, learning_rate=1e-2)
    ctx = dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path)
    evaluation = tcn.FAMILY.evaluate(tcn.FAMILY.train(vehicle_data, config, ctx), vehicle_data, config, ctx)
    accuracy, best = evaluation.score("test", "accuracy_pct"), evaluation.best_baseline()
    assert (accuracy or 0) > 70
    assert best is not None
    assert (evaluation.score("test") or np.inf) < 0.8 * best[1]


def test_a_forecast_is_of_the_window_that_follows(
    tcn_run: tuple[tcn.TcnConfig, RunContext], vehicle_data: Dataset, tmp_path: Path
) -> None:
    config, ctx = tcn_run
    config = changed(config, answers="forecast", epochs=1)
    fitted = tcn.FAMILY.train(vehicle_data, config, dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path))
    assert fitted.interface.steps == config.window_rows
    samples = tcn.FAMILY.samples(fitted.interface, vehicle_data, "test")
    fuel, run = vehicle_data.truth("test", "fuel"), vehicle_data.runs("test")
    first = config.window_rows - 1
    own = vehicle_data.frame("test")["velocity"].to_numpy(np.float32)
    np.testing.assert_array_equal(samples.inputs["window"][0, :, 0], own[: first + 1])
    assert samples.truth["value"][0] == pytest.approx(fuel[first + 1 : first + 1 + config.window_rows].mean())
    assert len(samples.unit) < len(
        tcn.FAMILY.samples(fitted.interface.model_copy(update={"steps": None}), vehicle_data, "test").unit
    )
    assert set(samples.unit) == set(run.astype(str))
    # One value, of no sensor: a device takes it as such, not as the lines of a forecast of sensors.
    check_graph(open_session(tcn.FAMILY.export(fitted, ctx).SerializeToString()), fitted.interface)


def test_truths_are_no_inputs_and_unknown_columns_are_named(
    tcn_run: tuple[tcn.TcnConfig, RunContext], vehicle_data: Dataset
) -> None:
    config, ctx = tcn_run
    with pytest.raises(ConfigError, match="no column 'fuel_consumption'"):
        tcn.FAMILY.train(vehicle_data, changed(config, columns=("fuel_consumption",)), ctx)
    with pytest.raises(DataError, match="no trip of the train part"):
        tcn.FAMILY.train(vehicle_data, changed(config, window_rows=1_000), ctx)


def test_a_training_that_was_stopped_goes_on_to_the_same_answers_and_no_other_config_does(
    ae_run: tuple[lstm_ae.LstmAeConfig, RunContext], vehicle_data: Dataset, tmp_path: Path
) -> None:
    config, ctx = ae_run
    asked: Iterator[int] = iter(range(10_000))
    whole = dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path / "whole")
    cut = dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path / "cut", should_stop=lambda: next(asked) > 7)
    with pytest.raises(InterruptedTraining):
        lstm_ae.FAMILY.train(vehicle_data, config, cut)
    with pytest.raises(TrainingError, match="hidden"):
        lstm_ae.FAMILY.train(vehicle_data, changed(config, hidden=13), dataclasses.replace(cut, should_stop=bool))
    second = lstm_ae.FAMILY.train(vehicle_data, config, dataclasses.replace(cut, should_stop=bool))
    first = lstm_ae.FAMILY.train(vehicle_data, config, whole)
    for name, values in first.net.state_dict().items():
        np.testing.assert_array_equal(values.numpy(), second.net.state_dict()[name].numpy(), err_msg=name)
    assert first.interface == second.interface


def test_epochs_are_told_as_they_end(
    tcn_run: tuple[tcn.TcnConfig, RunContext], vehicle_data: Dataset, tmp_path: Path
) -> None:
    config, ctx = tcn_run
    told: list[Any] = []
    ctx = dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path, progress=told.append)
    tcn.FAMILY.train(vehicle_data, changed(config, epochs=2), ctx)
    lines = [event.message for event in told if event.epoch]
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2/2 · train ")
    assert "accuracy" in lines[1]
    assert {"train_loss", "val_loss", "accuracy_pct"} <= set(told[-1].metrics)


def test_a_share_and_a_percentile_are_the_same_threshold() -> None:
    kind = lstm_ae.LstmAeConfig
    assert kind(threshold_percentile=0.95) == kind(threshold_percentile=95)
    # What is stored is read again: a share is turned into a percentile once.
    assert kind.model_validate(kind(threshold_percentile=0.995).model_dump()).threshold_percentile == 99.5
    for wrong in (0.005, 1.0, 0.0, 49.0, 100.0):
        with pytest.raises(ValidationError, match="threshold_percentile"):
            kind(threshold_percentile=wrong)
    assert kind.model_fields["threshold_percentile"].json_schema_extra == {"flag": "--threshold"}


def test_a_threshold_lies_between_two_scores_and_lets_its_share_pass() -> None:
    n = 1_000
    seconds = np.arange(n) * 36.0
    rows, none = np.arange(n), np.zeros(n, np.int64)
    normal = OddWindows(rows, Timeline(none, none, seconds), np.full(n, ""), Onsets(rows, rows, seconds))
    scores = np.random.default_rng(0).permutation(np.arange(n, dtype=np.float64))
    assert normal_threshold(scores, normal, 95.0, None) == pytest.approx(949.5)
    # A hundred windows an hour; two of them may be called odd.
    assert (scores > normal_threshold(scores, normal, 95.0, 2.0)).mean() == pytest.approx(0.02, abs=0.001)
    assert normal_threshold(scores, normal, 95.0, 1e-9) > scores.max()
    untimed = dataclasses.replace(normal, timeline=dataclasses.replace(normal.timeline, time_s=np.full(n, np.nan)))
    with pytest.raises(DataError, match="no clock"):
        normal_threshold(scores, untimed, 95.0, 2.0)


def test_a_window_is_odd_when_any_row_is_and_told_by_its_newest_kind(
    ae_run: tuple[lstm_ae.LstmAeConfig, RunContext], vehicle_data: Dataset
) -> None:
    config, _ = ae_run
    found = odd_windows(vehicle_data, "test", config)
    kinds = vehicle_data.frame("test")["driving"].to_numpy()
    for i, end in enumerate(found.ends):
        odd = [k for k in kinds[end - config.window_rows + 1 : end + 1] if k != "normal"]
        assert found.timeline.label[i] == bool(odd)
        assert found.kind[i] == (odd[-1] if odd else "")
        in_window = np.flatnonzero(kinds[end - config.window_rows + 1 : end + 1] != "normal")
        first = end - config.window_rows + 1 + in_window[0] if odd else end
        assert found.onsets.row[i] == first
        assert found.onsets.time_s[i] == vehicle_data.times_s("test")[first]
    assert 0.3 < found.timeline.label.mean() < 0.9


def test_odd_windows_of_train_are_not_learned_and_what_is_not_labelled_is_left_out(
    session_home: Home, ae_run: tuple[lstm_ae.LstmAeConfig, RunContext], vehicle_data: Dataset, tmp_path: Path
) -> None:
    config, ctx = ae_run
    ctx = dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path / "own")
    fitted = lstm_ae.FAMILY.train(vehicle_data, config, ctx)
    found = odd_windows(vehicle_data, "train", config)
    assert fitted.settings["train_windows"] == int((found.timeline.label == 0).sum()) < len(found.ends)
    # Nor is it part of what is usual.
    usual = vehicle_data.truth("train", "odd") == 0
    own = matrix_of(vehicle_data, "train", fitted.interface.columns)
    mean = np.nanmean(own[usual].astype(np.float64), axis=0)
    assert fitted.net.scaling.centre[0].tolist() == pytest.approx(mean, rel=1e-4, abs=1e-6)
    assert not np.allclose(mean, np.nanmean(own, axis=0), rtol=1e-2)
    parts = trips()
    parts["train"]["driving"] = "weaving"
    with pytest.raises(DataError, match=r"no window of the train part .* is normal"):
        lstm_ae.FAMILY.train(land(session_home, parts, metadata("all_odd")), config, ctx)
    parts["train"]["driving"] = None
    with pytest.raises(DataError, match="of no window of the train part"):
        lstm_ae.FAMILY.train(land(session_home, parts, metadata("unlabelled_trips")), config, ctx)


def test_an_identifier_chooses_what_is_usual_and_an_unseen_one_is_odd(
    session_home: Home, ae_run: tuple[lstm_ae.LstmAeConfig, RunContext], tmp_path: Path
) -> None:
    """As on a CAN bus: each id has its own interval, and an attacker's id was never there."""
    config, ctx = ae_run
    parts, rng = trips(), np.random.default_rng(2)
    for part in parts.values():
        part["can_id"] = rng.choice(["1A0", "2B0", "3C0"], len(part))
        part["since_id_ms"] = part["can_id"].map({"1A0": 10.0, "2B0": 100.0, "3C0": 1000.0}) * rng.normal(
            1, 0.02, len(part)
        )
        part["driving"] = "normal"
    attacked = rng.random(len(parts["test"])) < 0.02
    unseen = attacked & (rng.random(len(attacked)) < 0.5)
    parts["test"].loc[attacked, "since_id_ms"] *= 0.5
    parts["test"].loc[unseen, "can_id"] = "7FF"
    parts["test"].loc[attacked, "driving"] = "weaving"
    meta = metadata(
        "small_can",
        sensors=(Sensor(name="can_id", role="category"), Sensor(name="since_id_ms", unit="ms")),
        truths=(TruthColumn(name="driving", role="odd", classes=ODD),),
    )
    data = land(session_home, parts, meta)
    config = changed(config, epochs=3, window_rows=10, stride_rows=5, threshold_percentile=99)
    fitted = lstm_ae.FAMILY.train(data, config, dataclasses.replace(ctx, work=tmp_path, checkpoints=tmp_path))
    evaluation = lstm_ae.FAMILY.evaluate(fitted, data, config, ctx)
    assert evaluation.score("test", "recall_weaving") == evaluation.score("test", "recall") == 1.0
    assert (evaluation.score("test", "fpr") or 0) < 0.1


def test_a_target_that_the_threshold_puts_out_of_reach_names_a_stricter_one() -> None:
    """5 % of false alarms beside 8 % of odd windows: perfect recall is an F1 of 0.78."""
    row = ScoreRow(who="vote", kind="model", part="test", metrics={"f1": 0.7, "anomaly_share": 0.08, "fpr": 0.05})
    judged = anomaly_judge.evaluation([row])
    config = lstm_ae.LstmAeConfig(wanted={"f1": 0.85})
    assert "cannot pass 0.78: try `nightshift train lstm_ae --threshold 0.975`" in lstm_ae._ceiling(judged, config)
    assert not lstm_ae._ceiling(judged, changed(config, wanted={"f1": 0.75}))
    # A budget takes the percentile's place: another percentile would change nothing.
    assert "`nightshift train lstm_ae --false-alarm-budget 1`" in lstm_ae._ceiling(
        judged, changed(config, false_alarm_budget=2)
    )


def test_what_to_try_next_is_more_than_before_and_names_what_ended_training() -> None:
    more = _sequence.more_training
    assert more(tcn.TcnConfig(epochs=1), {"epochs_trained": 1, "best_epoch": 1}) == "--learning-rate 0.0005 --epochs 2"
    config = tcn.TcnConfig(epochs=100, patience=5)
    assert more(config, {"epochs_trained": 100, "best_epoch": 90}).endswith("--epochs 150")
    assert more(config, {"epochs_trained": 20, "best_epoch": 15}).endswith("--epochs 150 --patience 10")
    # It was the time limit, then.
    assert more(config, {"epochs_trained": 20, "best_epoch": 19}).endswith("--epochs 150")


def test_a_window_that_reaches_into_the_other_half_of_val_is_in_neither(
    session_home: Home, tcn_run: tuple[tcn.TcnConfig, RunContext]
) -> None:
    config, ctx = tcn_run
    config, ctx = changed(config, window_rows=60), dataclasses.replace(ctx, findings=[])
    parts = trips()
    parts["val"] = parts["val"][parts["val"]["run"] == parts["val"]["run"].iloc[0]]
    data = land(session_home, parts, metadata("one_val_trip"))
    ends, middle = np.arange(59, 180, 10), 90
    first = _vehicle.early_half(data, ends, config, ctx=ctx)
    later = _vehicle.early_half(data, ends, config, later=True, ctx=ctx)
    assert ends[first].tolist() == [e for e in ends if e < middle]
    assert ends[later].tolist() == [e for e in ends if e - 59 >= middle]
    assert ends[:9][_vehicle.early_half(data, ends[:9], config, ahead_rows=20)].tolist() == [59, 69]
    assert not ctx.findings
    # Where a half has none both are all of val, and that is said.
    assert _vehicle.early_half(data, ends[-3:], config, ctx=ctx).all()
    [told] = ctx.findings
    assert told.code == "T014"
    assert "first half of val: training is stopped by all 3 windows" in told.what


def test_the_rule_without_a_network_is_the_networks_score_of_a_drawn_mean() -> None:
    table = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    ends = np.array([9, 20, 39])
    for span in (1, 4, 10):
        want = []
        for end in ends:
            of_row = (table[end - 9 : end + 1].astype(np.float64) ** 2).mean(axis=1)
            want.append(max(of_row[i : i + span].mean() for i in range(11 - span)) ** 0.5)
        assert distance_from_mean(table, ends, 10, span) == pytest.approx(want)
