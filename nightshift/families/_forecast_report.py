"""What the backtest says: the table, the pictures, the findings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.families._forecast_backtest import Backtest, Walk, persistence
from nightshift.families._forecast_bounds import bounds_of
from nightshift.families._forecast_fit import ForecastConfig, history
from nightshift.families._forecast_series import Series
from nightshift.findings import Finding, finding
from nightshift.graphs.forecast_calendar import HolidayEffect, PatternEffect
from nightshift.graphs.forecast_parameters import (
    ForecastParameters,
    ProphetParameters,
    is_workday,
    prophet_bands,
    prophet_components,
    prophet_trend,
)
from nightshift.problems.evaluation import Figure, Member, ScoreRow
from nightshift.problems.evaluation import Series as Line
from nightshift.problems.forecast import Forecasts, metrics

Floats = NDArray[np.float64]

BACKTEST = "backtest"
_HOUR_S = 3600
#: Of the sensor's scale: what an optimiser leaves where nothing pulled.
_NO_EFFECT = 1e-6
_WEEK_H = 168
#: 1970-01-05, a Monday.
_MONDAY_S = 4 * 86_400


@dataclass(frozen=True)
class Judged:
    """The backtest, the walk through it, and what shipped."""

    backtest: Backtest
    walked: Walk
    parameters: ForecastParameters
    series: Series


def score_rows(judged: Judged, config: ForecastConfig) -> list[ScoreRow]:
    """Return the shipped procedure, its baselines, and both methods sensor by sensor."""
    backtest, walked = judged.backtest, judged.walked
    still = persistence(backtest)
    rows = [_train_row(judged, config)]
    for part, mask in (("val", ~backtest.is_test), (BACKTEST, backtest.is_test)):
        if not mask.any():
            continue
        for who, kind, said in (
            ("forecast", "model", walked.shipped),
            ("seasonal naive", "baseline", walked.naive),
            ("persistence", "baseline", still),
            ("prophet", "member", walked.prophet),
        ):
            found = metrics(backtest.truth[mask], said.at(mask), backtest.scale)
            rows.append(ScoreRow.model_validate({"who": who, "kind": kind, "part": part, "metrics": found}))
    for i, name in enumerate(judged.series.sensors):
        for method, said in (("prophet", walked.prophet), ("seasonal naive", walked.naive)):
            found = _sensor_metrics(backtest, said, i)
            rows.append(ScoreRow(who=f"{name}: {method}", kind="member", part=BACKTEST, metrics=found))
    return rows


def _sensor_metrics(backtest: Backtest, said: Forecasts, sensor: int) -> dict[str, float | None]:
    one = slice(sensor, sensor + 1)
    test = backtest.is_test
    return metrics(backtest.truth[test][:, :, one], said.at(test).sensor(sensor), backtest.scale[one])


def _train_row(judged: Judged, config: ForecastConfig) -> ScoreRow:
    """In-sample fit of the shipped Prophets over their history; a sensor with the seasonal rule has none."""
    series, parameters = judged.series, judged.parameters
    errors: list[Floats] = []
    for i, sensor in enumerate(parameters.sensors):
        if not isinstance(sensor.model, ProphetParameters):
            continue
        time, values = history(series, i, len(series.values) - 1, config)
        fitted = prophet_bands(sensor.model, time - parameters.step_s, 1, parameters.step_s).yhat[:, 0]
        errors.append(np.abs(values - fitted) / judged.backtest.scale[i])
    known = np.concatenate(errors) if errors else np.zeros(0)
    known = known[np.isfinite(known)]
    return ScoreRow(
        who="forecast", kind="model", part="train", metrics={"mase": float(known.mean()) if len(known) else None}
    )


def members(judged: Judged) -> list[Member]:
    """Return both methods of each sensor with their MASE; weight 1 = ships."""
    found = []
    for i, sensor in enumerate(judged.parameters.sensors):
        for method, kind, said in (
            ("prophet", "prophet", judged.walked.prophet),
            ("seasonal naive", "seasonal_naive", judged.walked.naive),
        ):
            score = _sensor_metrics(judged.backtest, said, i)["mase"]
            weight = 1.0 if sensor.model.kind == kind else 0.0
            found.append(Member(name=f"{sensor.sensor}: {method}", score=score, weight=weight))
    return found


def findings(rows: list[ScoreRow], judged: Judged, config: ForecastConfig) -> list[Finding]:
    """Return what a person should know: gaps, coverage, lost comparisons, missed targets."""
    found = []
    by_part = {r.part: r.metrics for r in rows if r.kind == "model"}
    test = by_part[BACKTEST]
    train_mase, mase = by_part["train"]["mase"], test["mase"]
    if train_mase and mase and mase > train_mase * (1 + config.max_gap):
        found.append(finding("T001", f"MASE is {mase:.2f} a day ahead and {train_mase:.2f} in the fit's own history."))
    for level in (80, 95):
        coverage = test[f"coverage{level}_pct"]
        if coverage is not None and abs(coverage - level) > config.coverage_margin_pct:
            found.append(finding("T012", f"The {level} % bands held {coverage:.1f} % of the values."))
    naive = [s.sensor for s in judged.parameters.sensors if s.model.kind == "seasonal_naive"]
    if naive:
        found.append(finding("T009", f"Seasonal naive is shipped for {', '.join(naive)}.", columns=naive))
    baselines = {r.who: r.metrics["mase"] for r in rows if r.kind == "baseline" and r.part == BACKTEST}
    better = [(v, who) for who, v in baselines.items() if v is not None and mase is not None and v < mase]
    if better and mase is not None:
        value, who = min(better)
        found.append(finding("T006", f"MASE is {mase:.3f}; {who} reaches {value:.3f}."))
    for name, wanted in config.wanted.items():
        reached = test.get(name)
        lower_is_better = name.startswith(("mase", "mape", "winkler"))
        if reached is not None and (reached > wanted if lower_is_better else reached < wanted):
            found.append(finding("T007", f"{name} is {reached:.3g}, wanted {wanted:g}."))
    return found


def notes(judged: Judged, config: ForecastConfig) -> list[str]:
    """Return the sentences that a reader of the table needs."""
    backtest, series = judged.backtest, judged.series
    n_test = int(backtest.is_test.sum())
    n_prophet = sum(s.model.kind == "prophet" for s in judged.parameters.sensors)
    said = [
        f"Rolling origin: {n_test} origins over the test part, {int((~backtest.is_test).sum())} over validation, each "
        f"refitted on the {config.history_days:g} days before it, {backtest.horizon_s / _HOUR_S:g} h ahead.",
        "At each origin the method is chosen by the origins whose forecast was over, and the bands are as wide as the "
        f"errors of the newest {config.band_days:g} days ask for.",
        "The shipped model is the same procedure refitted on all rows up to the newest: the metrics belong to the "
        "procedure, the parity to the shipped graph.",
        f"Shipped: Prophet for {n_prophet} sensors, seasonal naive for {len(series.sensors) - n_prophet}.",
        "MASE is scaled by the error of repeating yesterday over the train part; MAPE means little near zero.",
    ]
    if n_test < 14:
        said.append(f"The test part has room for only {n_test} origins; 14 are wanted.")
    return said + _bound_notes(judged) + _calendar_notes(judged, config)


def _bound_notes(judged: Judged) -> list[str]:
    """Say what bounds a trend, and that this is not what bounds the forecast."""
    bounds = {
        s.sensor: found
        for s in judged.parameters.sensors
        if isinstance(s.model, ProphetParameters) and (found := bounds_of(s.model))
    }
    shown = ", ".join(f"{name} between {found.floor:g} and {found.cap:g}" for name, found in bounds.items())
    more = "daily and weekly patterns, and the bands, may reach beyond."
    return [f"The trend levels off as configured: {shown}; {more}"] if bounds else []


def _calendar_notes(judged: Judged, config: ForecastConfig) -> list[str]:
    """Say how far holidays are known, and which of what is configured has not been learned."""
    models = [s.model for s in judged.parameters.sensors if isinstance(s.model, ProphetParameters)]
    said = []
    days = [day for model in models for holiday in model.holidays for day in holiday.days]
    if days:
        last = np.datetime64(max(days), "D")
        said.append(f"The graph knows holidays until {last}; a holiday after that day counts as an ordinary day.")
    learned = {effect.name: False for model in models for effect in model.calendar}
    for model in models:
        learned |= {effect.name: True for effect in model.calendar if _changes_anything(effect)}
    unknown = [name for name, known in learned.items() if not known]
    if unknown:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        said.append(
            f"Nothing is learned of {shown}: none fell into the {config.history_days:g} days of history, or it changed "
            "nothing. A longer history_days, or holidays.each=false, may help."
        )
    return said


def _changes_anything(effect: HolidayEffect | PatternEffect) -> bool:
    change = effect.beta if isinstance(effect, HolidayEffect) else effect.on - effect.off
    return abs(change) > _NO_EFFECT


def figures(judged: Judged, config: ForecastConfig) -> list[Figure]:
    """Return methods by sensor, and per sensor the newest judged forecast and the model's components."""
    drawn = [_by_sensor(judged)]
    for i, sensor in enumerate(judged.parameters.sensors):
        drawn.append(_last_forecast(judged, i))
        if isinstance(sensor.model, ProphetParameters):
            drawn += [_trend(judged, i, sensor.model, config), _week(sensor.sensor, sensor.model)]
            drawn += _calendar(sensor.sensor, sensor.model)
    return drawn


def _by_sensor(judged: Judged) -> Figure:
    names = list(judged.series.sensors)
    bars = [
        Line(
            label=label,
            x=list(names),
            y=[_sensor_metrics(judged.backtest, said, i)["mase"] for i in range(len(names))],
            style="bars",
        )
        for label, said in (
            ("Prophet", judged.walked.prophet),
            ("seasonal naive", judged.walked.naive),
            ("persistence", persistence(judged.backtest)),
        )
    ]
    return Figure(
        key="forecast_mase", title="Error a day ahead by sensor", x_label="sensor", y_label="MASE", series=bars
    )


def _last_forecast(judged: Judged, sensor: int) -> Figure:
    backtest, said = judged.backtest, judged.walked.shipped
    steps = backtest.truth.shape[1]
    step_s = backtest.horizon_s // steps
    start = int(backtest.origin_s[-1])
    x: list[float | str] = [float(start + step_s * (j + 1)) for j in range(steps)]

    def of(values: Floats) -> list[float | None]:
        return _listed(values[-1, :, sensor])

    bands = [
        Line(
            label=f"{level} % band", x=x, y=of(said.bands[f"lo{level}"]), y2=of(said.bands[f"hi{level}"]), style="band"
        )
        for level in (95, 80)
    ]
    lines = [Line(label="forecast", x=x, y=of(said.yhat)), Line(label="measured", x=x, y=of(backtest.truth))]
    name = judged.series.sensors[sensor]
    return Figure(
        key=f"forecast_{name}",
        title=f"{name}: last forecast of the backtest",
        x_label="local time",
        y_label=name,
        series=[*bands, *lines],
        x_is_time=True,
    )


def _trend(judged: Judged, sensor: int, model: ProphetParameters, config: ForecastConfig) -> Figure:
    series = judged.series
    time, values = history(series, sensor, len(series.values) - 1, config)
    day = (time // 86_400).astype(np.int64)
    days = np.unique(day)
    means = [float(values[day == d].mean()) for d in days]
    at = np.unique(np.linspace(time[0], time[-1], 200).astype(np.int64))
    name = series.sensors[sensor]
    return Figure(
        key=f"trend_{name}",
        title=f"{name}: trend",
        x_label="local time",
        y_label=name,
        series=[
            Line(label="daily mean", x=[float(d * 86_400 + 43_200) for d in days], y=_listed(means), style="points"),
            Line(label="trend", x=[float(t) for t in at], y=_listed(prophet_trend(model, at))),
        ],
        x_is_time=True,
    )


def _week(name: str, model: ProphetParameters) -> Figure:
    hours = np.arange(_WEEK_H, dtype=np.int64)
    time_s = _MONDAY_S + hours * _HOUR_S
    parts, workday = prophet_components(model, time_s), is_workday(time_s)
    lines = []
    for season in model.seasonalities:
        shown = season.day_type == "any" or workday == (season.day_type == "workday")
        values = np.where(shown, parts[season.name], np.nan)
        lines.append(Line(label=season.name.replace("_", ", "), x=[float(h) for h in hours], y=_listed(values)))
    unit = "share of the trend" if any(s.mode == "multiplicative" for s in model.seasonalities) else name
    return Figure(
        key=f"pattern_{name}",
        title=f"{name}: patterns over a week",
        x_label="hours since Monday 00:00, local time",
        y_label=unit,
        series=lines,
    )


def _calendar(name: str, model: ProphetParameters) -> list[Figure]:
    """Return one picture of what holidays and regressors change; those that change nothing are left out."""
    shown = [effect for effect in model.calendar if _changes_anything(effect)]
    bars = []
    for mode in ("additive", "multiplicative"):
        chosen = [effect for effect in shown if effect.mode == mode]
        scale, unit = (model.y_scale, name) if mode == "additive" else (100.0, "% of the trend")
        changes = [e.beta if isinstance(e, HolidayEffect) else e.on - e.off for e in chosen]
        if chosen:
            heights = _listed([change * scale for change in changes])
            bars.append(Line(label=unit, x=[e.name for e in chosen], y=heights, style="bars"))
    return [
        Figure(
            key=f"calendar_{name}" if len(bars) == 1 else f"calendar_{name}_{i + 1}",
            title=f"{name}: what holidays and regressors change",
            x_label="",
            y_label=bar.label,
            series=[bar],
        )
        for i, bar in enumerate(bars)
    ]


def _listed(values: Floats | list[float]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
