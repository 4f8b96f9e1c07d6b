"""Rolls units forward: from a table of units to rows in time with hidden states and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import LABEL, RUL, RUN, TIME
from nightshift.errors import UsageError
from nightshift.simulate.physics import clock, degradation, instruments
from nightshift.simulate.physics.machine import Machine, build_machine, zone
from nightshift.simulate.physics.quantities import clean
from nightshift.simulate.physics.series import Array
from nightshift.simulate.physics.state import State, sound_winding_c
from nightshift.simulate.profile import Profile
from nightshift.simulate.units import FAILURE, unit_columns

if TYPE_CHECKING:
    import pandas as pd

#: Numbers in one padded array of a block: small enough for the cache, large enough to pay for the calls.
_BLOCK = 1 << 15
_PARAMETERS = (
    *("load_level", "load_swing", "wear_rate", "onset", "severity", "secondary_wear", "ambient_offset_k"),
    "noise_scale",
)
CLEAN = "clean_"


@dataclass(frozen=True)
class Rolled:
    """A machine's history.

    Attributes:
        frame: `time` (UTC), `run`, the sensors in the profile's order, `failure_status` and `rul` (hours, uncapped).
        hidden: what nobody measures, same rows: `damage`, `symptom`, `secondary`, `load`, `ambient_c`, `true_rul_h`,
            `service`, `zone` and `clean_<sensor>`.
    """

    frame: pd.DataFrame
    hidden: pd.DataFrame


def roll(
    profile: Profile, units: pd.DataFrame, *, seed: int, rows: int | None = None, start: datetime | None = None
) -> Rolled:
    """Let units live one after the other on one calendar.

    Args:
        profile: of the machine.
        units: columns of `unit_columns`, one row per life.
        seed: of everything random; the same arguments give the same bytes.
        rows: cut to exactly so many; the last run is then still running.
        start: of the first run; the profile's when None.

    Raises:
        UsageError: for a table that lacks a parameter, holds one that is not finite, or names an unknown failure mode;
            for too few units for `rows`.
    """
    import pandas as pd

    _check(profile, units)
    plan = clock.lives(profile, units["life_h"].to_numpy(np.float64), seed=seed, rows=rows, start=start)
    total = int(plan.shown.sum())
    columns: dict[str, NDArray[Any]] = {}
    machine = build_machine(profile)
    for number, chosen in enumerate(_blocks(plan.steps)):
        block = _simulated(profile, machine, units.iloc[chosen], plan, chosen, (seed, 3, number))
        at = clock.table_rows(chosen, plan)
        seen = np.arange(int(plan.steps[chosen].max())) < plan.shown[chosen][:, None]
        for name, values in block.items():
            columns.setdefault(name, np.empty(total, dtype=values.dtype))[at] = values[seen]
    time = clock.utc_index(columns.pop(TIME))
    sensors = {s.name: columns.pop(f"shown {s.name}") for s in profile.sensors}
    run = np.repeat(np.arange(len(plan.shown), dtype=np.int64), plan.shown)
    labels = _labels(profile, columns["true_rul_h"], plan)
    frame = pd.DataFrame({TIME: time, RUN: run, **sensors, **labels}, copy=False)
    return Rolled(frame, pd.DataFrame(columns, copy=False))


def _check(profile: Profile, units: pd.DataFrame) -> None:
    wanted = [c.name for c in unit_columns(profile)]
    missing = [name for name in wanted if name not in units]
    if missing or not len(units):
        what = f"the units' table lacks {', '.join(missing)}" if missing else "the units' table is empty"
        raise UsageError(f"{what}.", hint="Draw the units from the same profile.")
    broken = [n for n in (*_PARAMETERS, "life_h") if not np.isfinite(units[n].to_numpy(np.float64)).all()]
    if broken:
        raise UsageError(f"{broken[0]} is not finite for every unit.", hint="Draw the units from the same profile.")
    known = {str(m.mode) for m in profile.failure_modes}
    strange = sorted(set(units[FAILURE].astype(str)) - known)
    if strange:
        raise UsageError(
            f"units fail by '{strange[0]}', which the profile does not know; it knows {', '.join(sorted(known))}.",
            hint="Draw the units from the same profile.",
        )


def _blocks(steps: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """Yield units of like length together, so that little is padded."""
    order = np.argsort(-steps, kind="stable")
    first = 0
    while first < len(order):
        size = max(1, _BLOCK // int(steps[order[first]]))
        yield order[first : first + size]
        first += size


def _simulated(
    profile: Profile,
    machine: Machine,
    table: pd.DataFrame,
    plan: clock.Lives,
    chosen: NDArray[np.intp],
    seed: tuple[int, ...],
) -> dict[str, NDArray[Any]]:
    """Return every column of a block, `(units, steps)`, also past the end of shorter units."""
    numbers = {name: table[name].to_numpy(np.float64)[:, None] for name in _PARAMETERS}
    units = degradation.Units(mode=table[FAILURE].to_numpy(object)[:, None], **numbers)
    steps = plan.steps[chosen]
    ticks = np.arange(int(steps.max()), dtype=np.int64)
    time = plan.start_ns[chosen][:, None] + ticks * clock.step_ns(profile)
    local = clock.local_ns(time, profile.timezone)
    load = clock.load(profile, local, units.load_level, units.load_swing, seed)
    ambient = clock.ambient(profile, local, units.ambient_offset_k, seed)
    step_h = profile.sampling_s / 3600
    winding = sound_winding_c(machine, load, ambient, step_h)
    cost = degradation.effort(profile, units, load, winding, steps, seed)
    wear = degradation.wear(profile, units, cost, steps, seed)
    state = State(profile, machine, units, load, ambient, wear, seed)
    block: dict[str, NDArray[Any]] = {
        TIME: time,
        "damage": wear.damage,
        "symptom": wear.symptom,
        "secondary": wear.secondary,
        "load": load,
        "ambient_c": ambient,
        "true_rul_h": (steps[:, None] - ticks) * step_h,
        "service": wear.service,
        "zone": zone(machine, clean(state, "vibration_drive_end")),
    }
    for sensor in profile.sensors:
        truth = clean(state, sensor.measures)
        offset = f"bias_{sensor.name}"
        bias = table[offset].to_numpy(np.float64)[:, None] if offset in table else np.zeros((len(table), 1))
        block[f"shown {sensor.name}"] = instruments.reading(profile, sensor, truth, bias, units.noise_scale, seed)
        block[f"{CLEAN}{sensor.name}"] = truth
    return block


def _labels(profile: Profile, true_rul_h: Array, plan: clock.Lives) -> dict[str, NDArray[np.float64]]:
    """Return `failure_status` and `rul`, as far as the profile asks for them.

    Of a run that ended before failure, remaining life is unknown, and so is the label within the horizon of its end.
    """
    horizon_h = profile.labels.horizon_h
    censored = np.repeat(plan.censored, plan.shown)
    to_end_h = np.repeat(plan.offset + plan.shown, plan.shown) - np.arange(len(true_rul_h))
    unknown = censored & (to_end_h * (profile.sampling_s / 3600) <= horizon_h)
    labels: dict[str, NDArray[np.float64]] = {}
    if profile.labels.failure_status:
        labels[LABEL] = np.where(unknown, np.nan, (true_rul_h <= horizon_h).astype(np.float64))
    if profile.labels.rul:
        labels[RUL] = np.where(censored, np.nan, true_rul_h)
    return labels
