"""What the parts of a profile must be to each other. Each rule looks only at parts that are good by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.simulate.catalogue import KINDS, MachineType
from nightshift.simulate.profile_parts import FailureModeSpec, Labels, Life, SensorSpec, UsageMode
from nightshift.simulate.profile_problems import Problem, unknown

#: Share of failing rows that data is worth learning from, horizon over mean life.
FAILURE_SHARE = (0.10, 0.20)
#: A dataset holds at least this many consecutive runs, and at most so many rows.
MIN_RUNS = 30
MAX_ROWS = 5_000_000
_SHARES_ADD_UP = 1e-6
_MIN_ROWS_PER_LIFE = 50
#: Usage modes that differ by less in load say nothing about load and life.
_MIN_LOAD_STEP = 0.05
# 1.15 - 1.1 is a little less than that.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Draft:
    """The good parts of a profile; None stands where one is bad or missing, so that positions stay."""

    machine_type: MachineType | None = None
    sampling_s: float | None = None
    sensors: Sequence[SensorSpec | None] = ()
    usage_modes: Sequence[UsageMode | None] = ()
    failure_modes: Sequence[FailureModeSpec | None] = ()
    life: Life | None = None
    labels: Labels | None = None


def rows_needed(mean_h: float, sampling_s: float) -> int:
    """Return the rows that hold `MIN_RUNS` runs of mean life, with a tenth to spare."""
    return int(1.1 * MIN_RUNS * mean_h * 3600 / sampling_s)


def too_many_rows(mean_h: float, sampling_s: float) -> str | None:
    """Return why so fine a sampling makes more rows than a dataset holds, and what is allowed; None where it does not.

    What no field allows, such as 0 or nan, is refused by the field itself.
    """
    needed = rows_needed(mean_h, sampling_s) if sampling_s >= 1 else 0
    if needed <= MAX_ROWS:
        return None
    # Rounded up, so that the number named is itself allowed.
    least_s = math.ceil(10 * sampling_s * needed / MAX_ROWS) / 10
    return (
        f"{sampling_s:g} makes {needed:,} rows of {MIN_RUNS} runs of {mean_h:g} h, and a dataset holds up to "
        f"{MAX_ROWS:,}; allowed: from {least_s:g}"
    )


def broken_rules(draft: Draft) -> Iterator[Problem]:
    """Yield what does not fit together."""
    yield from _repeated("sensors", [s.name if s else None for s in draft.sensors])
    yield from _repeated("usage_modes", [m.name if m else None for m in draft.usage_modes])
    yield from _repeated("failure_modes", [_mode(m) if m else None for m in draft.failure_modes])
    yield from _sensor_problems(draft)
    yield from _mode_problems(draft)
    yield from _shares("usage_modes", draft.usage_modes)
    yield from _shares("failure_modes", draft.failure_modes)
    yield from _usage_problems(draft.usage_modes)
    yield from _label_problems(draft)


def _sensor_problems(draft: Draft) -> Iterator[Problem]:
    for i, sensor in enumerate(draft.sensors):
        if sensor is None:
            continue
        kind = KINDS[draft.machine_type] if draft.machine_type else None
        if kind and sensor.measures not in kind.quantities:
            text = unknown(f"quantity of the type {kind.title}", sensor.measures, kind.quantities)
            yield Problem(f"sensors.{i}.measures", text)
        if draft.sampling_s is not None and sensor.sampling_s is not None:
            times = sensor.sampling_s / draft.sampling_s
            if times < 1 or abs(times - round(times)) > 1e-9:
                text = f"got {sensor.sampling_s:g}; allowed: a multiple of the machine's {draft.sampling_s:g}"
                yield Problem(f"sensors.{i}.sampling_s", text)
    known = [s for s in draft.sensors if s is not None]
    if known and len(known) == len(draft.sensors) and all(s.quantity.role != "sensor" for s in known):
        text = "none shows the machine's state; allowed: at least one that is no setting and no hour meter"
        yield Problem("sensors", text)


def _mode_problems(draft: Draft) -> Iterator[Problem]:
    if draft.machine_type is None:
        return
    kind = KINDS[draft.machine_type]
    for i, mode in enumerate(draft.failure_modes):
        if mode is not None and _mode(mode) not in kind.modes:
            text = unknown(f"failure mode of the type {kind.title}", _mode(mode), kind.modes)
            yield Problem(f"failure_modes.{i}.mode", text)


def _shares(where: str, modes: Sequence[UsageMode | FailureModeSpec | None]) -> Iterator[Problem]:
    shares = [m.share for m in modes if m is not None]
    if shares and len(shares) == len(modes) and abs(sum(shares) - 1) > _SHARES_ADD_UP:
        yield Problem(where, f"the shares add up to {sum(shares):g}; allowed: 1")


def _usage_problems(modes: Sequence[UsageMode | None]) -> Iterator[Problem]:
    loads = [m.load for m in modes if m is not None]
    if len(loads) == len(modes) >= 2 and max(loads) - min(loads) < _MIN_LOAD_STEP - _ROUNDING:
        text = f"all have a load near {loads[0]:g}; allowed: at least two that differ by {_MIN_LOAD_STEP:g}"
        yield Problem("usage_modes", text)


def _label_problems(draft: Draft) -> Iterator[Problem]:
    labels, life = draft.labels, draft.life
    if labels and labels.failure_status and not labels.rul:
        yield Problem("labels.rul", "failure_status is made from rul, which is disabled; allowed: true")
    if labels and life:
        share = labels.horizon_h / life.mean_h
        low, high = FAILURE_SHARE
        if not low <= share <= high:
            text = (
                f"{labels.horizon_h:g} h of a mean life of {life.mean_h:g} h makes {share:.0%} of the rows failing; "
                f"allowed: {low * life.mean_h:g} to {high * life.mean_h:g}"
            )
            yield Problem("labels.horizon_h", text)
    if life and draft.sampling_s is not None:
        longest_s = life.mean_h * 3600 / _MIN_ROWS_PER_LIFE
        if draft.sampling_s > longest_s:
            text = f"{draft.sampling_s:g} gives a life too few rows; allowed: up to {longest_s:g}"
            yield Problem("sampling_s", text)
        many = too_many_rows(life.mean_h, draft.sampling_s)
        if many:
            yield Problem("sampling_s", many)


def _mode(mode: FailureModeSpec) -> str:
    return str(getattr(mode, "mode", ""))


def _repeated(where: str, names: Sequence[str | None]) -> Iterator[Problem]:
    for name in sorted({n for n in names if n is not None and names.count(n) > 1}):
        yield Problem(where, f"'{name}' stands twice; allowed: each once")
