"""The forecast family: what a fit may see, what ships, and what is said about it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
from pydantic import ValidationError

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.errors import DataError, InterruptedTraining, UnknownNameError
from nightshift.families._forecast_backtest import choose, pick_origins, walk
from nightshift.families._forecast_fit import ForecastConfig, fit_prophet, history, seasonalities
from nightshift.families._forecast_series import even_series
from nightshift.families.forecast import FAMILY, ForecastModel
from nightshift.family import Limits, RunContext
from nightshift.graphs.forecast import forecast_graph
from nightshift.graphs.forecast_parameters import BANDS
from nightshift.progress import ProgressEvent
from nightshift.settings import Home

CONFIG = ForecastConfig(
    test_origins=14, val_origins=4, fit_step_min=120, daily_order=2, n_changepoints=5, history_days=30
)


def frame(days: int = 80, step_min: int = 60, seed: int = 1) -> pd.DataFrame:
    """A load with a smooth daily and weekly rhythm, and a level that jumps every hour, the same way every day."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2025-02-01", periods=days * 24 * 60 // step_min, freq=f"{step_min}min", tz="UTC")
    local = time.tz_convert("Europe/Berlin")
    hour, day = local.hour.to_numpy() + local.minute.to_numpy() / 60, local.dayofweek.to_numpy()
    load = 50 + np.where(day < 5, 20, 5) * np.sin(2 * np.pi * (hour - 6) / 24) + rng.normal(0, 2, len(time))
    jumps = 200 + rng.normal(0, 20, 24)[local.hour] + rng.normal(0, 1, len(time))
    return pd.DataFrame({"time": time, "run": 0, "load": load, "jumps": jumps}).astype(
        {"load": "float32", "jumps": "float32"}
    )


def dataset(home: Home, table: pd.DataFrame, subject: str, sampling_s: float = 3600.0) -> Dataset:
    metadata = Metadata(
        subject=subject,
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=sampling_s,
        timezone="Europe/Berlin",
        sensors=(Sensor(name="load", unit="kW", critical=True), Sensor(name="jumps", critical=True)),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(kind="synthetic", source="test"),
    )
    return split_and_land(home, table, metadata)


def context(folder: Path, **changes: object) -> RunContext:
    ctx = RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=folder, checkpoints=folder / "checkpoints", time_limit_s=600.0
    )
    return dataclasses.replace(ctx, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(session_home: Home) -> Dataset:
    return dataset(session_home, frame(), "forecast_two_kinds")


@pytest.fixture(scope="module")
def model(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ForecastModel:
    return FAMILY.train(data, CONFIG, context(tmp_path_factory.mktemp("forecast")))


def test_each_sensor_ships_with_the_method_that_was_better(data: Dataset, model: ForecastModel, tmp_path: Path) -> None:
    assert {s.sensor: s.model.kind for s in model.parameters.sensors} == {"load": "prophet", "jumps": "seasonal_naive"}
    evaluation = FAMILY.evaluate(model, data, CONFIG, context(tmp_path))
    told = {f.code: f for f in evaluation.findings}
    assert told["T009"].columns == ("jumps",)
    score = {r.who: r.metrics["mase"] for r in evaluation.rows if r.part == "backtest"}
    assert score["load: prophet"] < 0.8 * score["load: seasonal naive"]  # type: ignore[operator]
    assert score["jumps: prophet"] > score["jumps: seasonal naive"]  # type: ignore[operator]
    assert score["forecast"] <= score["prophet"]  # type: ignore[operator]
    assert {"seasonal naive", "persistence"} <= set(score)
    assert sum(model.backtest.is_test) == 14
    assert any("metrics belong to the procedure" in note for note in evaluation.notes)
    assert {"forecast_mase", "forecast_load", "trend_load", "pattern_load"} <= {f.key for f in evaluation.figures}


def test_both_kinds_leave_in_one_graph(data: Dataset, model: ForecastModel, tmp_path: Path) -> None:
    session = ort.InferenceSession(forecast_graph(model.parameters).SerializeToString())
    inputs = FAMILY.parity_inputs(model, data, context(tmp_path))
    library, tolerance = FAMILY.predict(model, inputs), FAMILY.tolerances(model)
    for name, value in zip(BANDS, session.run(list(BANDS), inputs), strict=True):
        assert np.abs(value - library[name]).max() <= tolerance[name]
        assert value.shape == (len(inputs["time_s"]), 24, 2)


def test_the_forecast_of_the_next_day_is_near_the_truth(data: Dataset, model: ForecastModel) -> None:
    samples = FAMILY.samples(model.interface, data, "val")
    said = FAMILY.predict(model, samples.inputs)["yhat"][:, :, 0]
    assert np.nanmean(np.abs(said - samples.truth["values"][:, :, 0])) < 4.0
    yesterday, repeated = samples.inputs["window"][:, -24:, 1], FAMILY.predict(model, samples.inputs)["yhat"][:, :, 1]
    known = np.isfinite(yesterday)
    np.testing.assert_array_equal(yesterday[known], repeated[known])
    assert np.isfinite(repeated).all()


def test_a_fit_sees_nothing_after_its_origin(data: Dataset) -> None:
    series = even_series(data, ["load"], 600)
    origin = series.parts["test"][0]
    poisoned = dataclasses.replace(series, values=series.values.copy())
    poisoned.values[origin + 1 :] = 1e6
    first, second = (fit_prophet(s, 0, origin, CONFIG, 1) for s in (series, poisoned))
    assert first is not None
    assert first == second
    time, values = history(series, 0, origin, CONFIG)
    assert time[-1] == series.time_s(np.array([origin]))[0]
    assert values[-1] == series.values[origin, 0]
    assert time[0] > time[-1] - 30 * 86_400


def test_choice_and_bands_at_an_origin_do_not_know_what_comes(model: ForecastModel) -> None:
    backtest = model.backtest
    now = backtest.origin_s[-5]
    later_truth, later_record = backtest.truth.copy(), backtest.record.copy()
    later_truth[-5:], later_record[backtest.record_s > now] = 1e6, 1e6
    changed = dataclasses.replace(backtest, truth=later_truth, record=later_record)
    before, after = (choose(b, int(now), CONFIG.band_days) for b in (backtest, changed))
    for name in ("prophet", "band80", "band95"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    first, second = (walk(b, CONFIG.band_days).shipped.yhat[:-4] for b in (backtest, changed))
    np.testing.assert_array_equal(first, second)


def test_bands_widen_until_the_newest_days_fit_in(model: ForecastModel) -> None:
    rng = np.random.default_rng(0)
    days, wide = 200, 2.0
    record = wide * np.abs(rng.normal(size=(days * 24, 2)))
    record_s = model.backtest.origin_s[0] + 3600 * np.arange(len(record), dtype=np.int64)
    long = dataclasses.replace(model.backtest, record=record, record_s=record_s)
    choice = choose(long, int(record_s[-1]), 150)
    np.testing.assert_allclose(choice.band80, wide * 1.2816, rtol=0.05)
    np.testing.assert_allclose(choice.band95, wide * 1.96, rtol=0.05)
    together = np.repeat(np.abs(rng.normal(size=(days, 2))), 24, axis=0) * wide
    hanging = choose(dataclasses.replace(long, record=together), int(record_s[23 + 24 * 9]), 150)
    plain = np.quantile(together[: 24 * 10], 0.8, axis=0)
    assert (hanging.band80 > plain).all()


def test_saving_keeps_the_evaluation(data: Dataset, model: ForecastModel, tmp_path: Path) -> None:
    FAMILY.save(model, tmp_path / "native")
    loaded = FAMILY.load(tmp_path / "native")
    first, second = (FAMILY.evaluate(m, data, CONFIG, context(tmp_path)) for m in (model, loaded))
    assert first == second
    assert loaded.parameters == model.parameters


def test_origins_are_spread_and_leave_room_for_the_horizon(data: Dataset) -> None:
    series = even_series(data, ["load"], 600)
    origins = pick_origins(series, 24, CONFIG)
    test = origins.steps[origins.is_test]
    assert len(test) == 14
    assert test[0] == series.parts["test"][0]
    assert test[-1] + 24 == series.parts["test"][1]
    assert (origins.steps[~origins.is_test] + 24 <= series.parts["val"][1]).all()


def test_the_civil_clock_follows_daylight_saving(session_home: Home) -> None:
    table = frame(days=80)
    table["load"] = table["time"].dt.tz_convert("Europe/Berlin").dt.hour.astype("float32")
    series = even_series(dataset(session_home, table, "forecast_civil"), ["load"], 600)
    steps = np.arange(len(series.values))
    known = np.isfinite(series.values[:, 0])
    civil_hour = series.time_s(steps) % 86_400 // 3600
    np.testing.assert_array_equal(series.values[known, 0], civil_hour[known])
    gap = pd.Timestamp("2025-03-30 02:00")
    missing = steps[~known & (series.days(steps) == "2025-03-30")]
    assert series.time_s(missing).tolist() == [gap.value // 10**9]
    after = np.array([missing[0] + 5])
    assert series.utc_s(after)[0] == pd.Timestamp("2025-03-30 05:00").value // 10**9
    assert (series.windows(after, 12)[0, :, 0] == series.values[after[0] - 11 : after[0] + 1, 0])[[0, -1]].all()


def test_of_a_doubled_hour_the_first_counts(session_home: Home) -> None:
    table = frame(days=20)
    table["time"] = pd.date_range("2025-10-15", periods=len(table), freq="1h", tz="UTC")
    table["load"] = np.arange(len(table), dtype=np.float32)
    series = even_series(dataset(session_home, table, "forecast_doubled"), ["load"], 600)
    doubled = pd.Timestamp("2025-10-26 02:00").value // 10**9
    step = np.flatnonzero(series.time_s(np.arange(len(series.values))) == doubled)
    first = table.loc[table["time"] == pd.Timestamp("2025-10-26 00:00", tz="UTC"), "load"].iloc[0]
    assert series.values[step[0], 0] == first
    assert series.windows(step, 1)[0, 0, 0] == first


def test_fast_rows_are_averaged_to_steps_as_the_graph_averages_them(session_home: Home, tmp_path: Path) -> None:
    data = dataset(session_home, frame(days=24, step_min=5), "forecast_fast", sampling_s=300.0)
    config = CONFIG.model_copy(update={"forecast_h": 6.0})
    series = even_series(data, ["load", "jumps"], 600)
    assert (series.step_s, series.rows_per_step) == (600, 2)
    origin = np.array([series.parts["val"][0] + 200])
    window = series.windows(origin, 2 * 144)
    pairs = window[0].reshape(144, 2, 2).mean(axis=1)
    np.testing.assert_allclose(pairs, series.values[origin[0] - 143 : origin[0] + 1], rtol=1e-6)
    model = FAMILY.train(data, config, context(tmp_path))
    assert model.interface.window_rows == 2 * 288
    inputs = FAMILY.parity_inputs(model, data, context(tmp_path))
    out = ort.InferenceSession(forecast_graph(model.parameters).SerializeToString()).run(["yhat"], inputs)[0]
    assert np.abs(out - FAMILY.predict(model, inputs)["yhat"]).max() <= FAMILY.tolerances(model)["yhat"]


def test_short_history_leaves_patterns_out() -> None:
    names = {days: [s["name"] for s in seasonalities(CONFIG, days=days, step_s=3600)] for days in (1, 5, 20, 60)}
    assert names == {
        1: [],
        5: ["daily"],
        20: ["daily", "weekly"],
        60: ["daily_workday", "daily_weekend", "weekly"],
    }
    assert seasonalities(CONFIG, days=60, step_s=86_400)[0]["name"] == "weekly"


def test_a_time_limit_cuts_the_backtest_but_not_what_ships(data: Dataset, tmp_path: Path) -> None:
    ctx = context(tmp_path, time_limit_s=1e-9)
    model = FAMILY.train(data, CONFIG.model_copy(update={"sensors": ("load",)}), ctx)
    [found] = ctx.findings
    assert found.code == "T013"
    assert "test_origins=14" in found.remedy
    assert "history_days=" in found.remedy
    assert "'load' costs most" in found.remedy
    assert np.isnan(model.backtest.prophet).all()
    assert model.parameters.sensors[0].model.kind == "prophet"


def test_training_stops_when_asked(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InterruptedTraining):
        FAMILY.train(data, CONFIG, context(tmp_path, should_stop=lambda: True))


def test_progress_counts_every_fit(data: Dataset, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    ctx = context(tmp_path, progress=events.append, time_limit_s=0.0)
    FAMILY.train(data, CONFIG.model_copy(update={"sensors": ("load",)}), ctx)
    assert [e.step for e in events] == list(range(1, 20))
    assert events[-1].step == events[-1].total


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sensors": ("laod",)}, UnknownNameError, "Did you mean 'load'"),
        ({"forecast_h": 0.1}, DataError, "shorter than one step"),
        ({"forecast_h": 300.0}, DataError, "Lower `forecast_h`"),
    ],
)
def test_a_config_that_does_not_fit_the_data_is_refused(
    data: Dataset, tmp_path: Path, change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FAMILY.train(data, CONFIG.model_copy(update=change), context(tmp_path))


def test_too_little_history_is_refused(session_home: Home, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 3"):
        FAMILY.train(dataset(session_home, frame(days=3)[:60], "forecast_short"), CONFIG, context(tmp_path))


def test_fewer_than_14_origins_are_refused() -> None:
    with pytest.raises(ValidationError, match="14"):
        ForecastConfig(test_origins=13)


def test_cmdstan_is_silent_and_leaves_nothing_outside_the_home(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nightshift.settings import use_home; use_home(Path(sys.argv[1]));"
        "import tests_forecast_probe as probe; probe.fit(); import cmdstanpy; print(cmdstanpy._TMPDIR)"
    )
    probe = tmp_path / "tests_forecast_probe.py"
    probe.write_text(
        "import numpy as np\n"
        "from nightshift.families._forecast_fit import ForecastConfig, fit_prophet, quiet_prophet\n"
        "from nightshift.families._forecast_series import Series\n"
        "def fit():\n"
        "    values = np.sin(np.arange(200.0))[:, None]\n"
        "    series = Series(('a',), 3600, 1, 10**9, values, {}, np.zeros(0, np.int64), values.astype('f4'), 'UTC')\n"
        "    quiet_prophet()\n"
        "    assert fit_prophet(series, 0, 199, ForecastConfig(), 1) is not None\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert "Chain" not in done.stdout + done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "home")
    assert not folder.exists()
