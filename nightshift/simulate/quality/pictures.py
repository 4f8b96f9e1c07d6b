"""Figures of a quality report: generated units beside held-out ones, and what they roll out to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import Figure, Series
from nightshift.simulate.profile import Profile
from nightshift.simulate.quality.rows import Floats, Rows, daily_pattern
from nightshift.simulate.units import FAILURE, USAGE, unit_columns

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.simulate.physics.roll import Rolled

_SHOWN_PARAMETERS = ("life_h", "load_level", "wear_rate", "onset")
_UNITS, _SCATTER, _BINS = 60, 400, 24
_SHOWN_SENSORS = 2
_REAL, _SYNTHETIC = "held-out units", "generated"


def pictures(
    profile: Profile, real: pd.DataFrame, generated: pd.DataFrame, *, name: str, seed: int
) -> tuple[Figure, ...]:
    """Return the figures of one generator: marginals, load over life, one run's sensors, daily pattern.

    Args:
        profile: of the machine.
        real: units that no generator has seen.
        generated: units of the generator.
        name: of the generator, for the legend.
        seed: of the roll-outs.
    """
    from nightshift.simulate.physics.roll import roll

    rolled = [roll(profile, t.head(_UNITS).reset_index(drop=True), seed=seed) for t in (real, generated)]
    label = f"{_SYNTHETIC} by {name}"
    return (
        *_marginals(profile, real, generated, label),
        _load_life(real, generated, label),
        *_one_run(profile, rolled[1]),
        *_daily(profile, [Rows.of(profile, r.frame) for r in rolled], label),
    )


def _marginals(profile: Profile, real: pd.DataFrame, generated: pd.DataFrame, label: str) -> Iterator[Figure]:
    known = {c.name: c for c in unit_columns(profile)}
    for name in _SHOWN_PARAMETERS:
        tables = [t[name].to_numpy(dtype=np.float64) for t in (real, generated)]
        low, high = (float(q) for q in np.quantile(np.concatenate(tables), [0.002, 0.998]))
        edges = np.linspace(low, high, _BINS + 1)
        middles = ((edges[1:] + edges[:-1]) / 2).tolist()
        series = [
            Series(label=who, x=middles, y=(np.histogram(t, edges)[0] / len(t)).tolist())
            for who, t in zip((_REAL, label), tables, strict=True)
        ]
        yield Figure(key=f"marginal-{name}", title=f"Share of units by {name}", x_label=name, series=series)
    for name in (FAILURE, USAGE):
        values = list(known[name].categories)
        series = [
            Series(label=who, x=list(values), y=[float((t[name] == v).mean()) for v in values], style="bars")
            for who, t in ((_REAL, real), (label, generated))
        ]
        yield Figure(key=f"marginal-{name}", title=f"Share of units by {name}", series=series)


def _load_life(real: pd.DataFrame, generated: pd.DataFrame, label: str) -> Figure:
    series = [
        Series(
            label=who,
            x=t["load_level"].head(_SCATTER).tolist(),
            y=t["life_h"].head(_SCATTER).tolist(),
            style="points",
        )
        for who, t in ((_REAL, real), (label, generated))
    ]
    return Figure(
        key="load-life",
        title="Hard use, short life",
        x_label="load level, share of rated",
        y_label="life, h",
        series=series,
    )


def _one_run(profile: Profile, rolled: Rolled) -> Iterator[Figure]:
    """Yield the sensors that follow the wear most, over one life of middle length that ended in failure."""
    frame, hidden = rolled.frame, rolled.hidden
    runs = frame["run"].to_numpy()
    lengths = np.bincount(runs)
    failed = [
        r for r in range(len(lengths)) if hidden["true_rul_h"].to_numpy()[runs == r].min() <= 1.5 * _step(profile)
    ]
    candidates = failed or list(range(len(lengths)))
    chosen = sorted(candidates, key=lambda r: lengths[r])[len(candidates) // 2]
    here = runs == chosen
    stamps = [t.isoformat() for t in frame.loc[here, "time"]]
    for name in _telling(profile, rolled, here):
        sensor = next(s for s in profile.sensors if s.name == name)
        read = Series(label="reading", x=list(stamps), y=_numbers(frame.loc[here, name].to_numpy(np.float64)))
        clean = hidden.loc[here, f"clean_{name}"].to_numpy(np.float64)
        truth = Series(label="without noise and faults", x=list(stamps), y=_numbers(clean))
        yield Figure(
            key=f"run-{name}",
            title=f"One life: {name}",
            y_label=sensor.quantity.unit,
            series=[read, truth],
            x_is_time=True,
        )


def _telling(profile: Profile, rolled: Rolled, here: NDArray[np.bool_]) -> list[str]:
    damage = rolled.hidden.loc[here, "symptom"].to_numpy(np.float64)
    strength = {}
    for sensor in profile.sensors:
        clean = rolled.hidden.loc[here, f"clean_{sensor.name}"].to_numpy(np.float64)
        if sensor.quantity.role == "sensor" and clean.std() > 0 and damage.std() > 0:
            strength[sensor.name] = abs(float(np.corrcoef(clean, damage)[0, 1]))
    return sorted(strength, key=lambda name: -strength[name])[:_SHOWN_SENSORS]


def _daily(profile: Profile, rows: list[Rows], label: str) -> Iterator[Figure]:
    """Yield the daily pattern of the sensors in which it is strongest."""
    patterns = [daily_pattern(r) for r in rows]
    spread = np.nanstd(rows[0].values, axis=0)
    swing = np.nan_to_num(np.ptp(patterns[0], axis=0) / np.where(spread > 0, spread, np.inf))
    for i in np.argsort(-swing)[:_SHOWN_SENSORS]:
        sensor = profile.sensors[int(i)]
        level = [float(np.nanmean(r.values[:, i])) for r in rows]
        series = [
            Series(label=who, x=[float(h) for h in range(24)], y=_numbers(p[:, i] + mean))
            for who, p, mean in zip((_REAL, label), patterns, level, strict=True)
        ]
        yield Figure(
            key=f"day-{sensor.name}",
            title=f"Mean by local hour: {sensor.name}",
            x_label=f"hour of the day, {profile.timezone}",
            y_label=sensor.quantity.unit,
            series=series,
        )


def _step(profile: Profile) -> float:
    return profile.sampling_s / 3600


def _numbers(values: Floats) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
