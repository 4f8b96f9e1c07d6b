"""Checks of what a vehicle's models answer: D006, D008, D009, D015, D019, D026."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.rows import Rows, listed
from nightshift.data.schema import PARTS, RUN, TruthColumn
from nightshift.findings import Finding, Severity, finding

#: An input that follows a number this closely is that number in another unit.
GIVES_AWAY_CORRELATION = 0.995
#: What a family may ask for that is not what is odd about a row.
_OTHERS = frozenset({"fuel", "carbon", "behaviour"})


def check_truths(rows: Rows, needs: frozenset[str]) -> list[Finding]:
    """Return the findings on the truths that a family asks for.

    What is odd is asked for by every family that asks for no other truth: it learns without, and is judged by it.
    """
    found = []
    for truth in rows.metadata.truths:
        if truth.role not in needs and (truth.role != "odd" or needs & _OTHERS):
            continue
        found += _unlabelled(rows, truth)
        if truth.role == "odd":
            found += _odd(rows, truth)
        elif truth.classes:
            found += _kinds(rows, truth)
        else:
            found += _number(rows, truth)
    return found


def _unlabelled(rows: Rows, truth: TruthColumn) -> list[Finding]:
    """D026 for trips without a label, D019 where a whole part has none."""
    without: list[str] = []
    empty: list[str] = []
    for part in PARTS:
        frame = rows.frames[part]
        known = frame[truth.name].notna().groupby(frame[RUN], sort=False).any()
        if not known.any():
            empty.append(part)
        without += [str(trip) for trip in known.index[~known.to_numpy()]]
    if empty:
        return [
            finding("D019", f"`{truth.name}` is unknown in all rows of {' and '.join(empty)}.", columns=[truth.name])
        ]
    if not without:
        return []
    count = f"{len(without)} trip{'s have' if len(without) != 1 else ' has'}"
    return [finding("D026", f"{count} no `{truth.name}`: {listed(without)}.", columns=[truth.name])]


def _held(rows: Rows, part: str, truth: TruthColumn) -> list[str]:
    """Return the kinds that a part holds, in the classes' order."""
    there = set(rows.frames[part][truth.name].dropna().unique().tolist())
    return [kind for kind in truth.classes if kind in there]


def _kinds(rows: Rows, truth: TruthColumn) -> list[Finding]:
    held = {part: _held(rows, part, truth) for part in PARTS}
    if len(held["train"]) < 2:
        what = f"`{truth.name}` holds only {', '.join(held['train']) or 'no value'} in train."
        return [finding("D009", what, columns=[truth.name])]
    found = []
    for part, severity in (("val", Severity.WARNING), ("test", Severity.BLOCKER)):
        if len(held[part]) == 1:
            what = f"`{truth.name}` holds only {held[part][0]} in {part}."
            remedy = "Land trips of every kind; whole trips are cut by kind where each is of one."
            found.append(finding("D019", what, severity=severity, remedy=remedy, columns=[truth.name]))
        new = [kind for kind in held[part] if kind not in held["train"]]
        if new:
            what = f"`{truth.name}` holds {listed(new)} in {part} and never in train."
            found.append(finding("D019", what, severity=Severity.WARNING, columns=[truth.name]))
    return found


def _odd(rows: Rows, truth: TruthColumn) -> list[Finding]:
    normal = truth.classes[0]
    held = {part: _held(rows, part, truth) for part in PARTS}
    found = []
    for part, why in (("train", "there is nothing normal to learn"), ("val", "no threshold can be set")):
        if held[part] and normal not in held[part]:
            code = "D009" if part == "train" else "D019"
            what = f"`{truth.name}` holds no '{normal}' row in {part}: {why}."
            found.append(finding(code, what, remedy=f"Land trips that are '{normal}'.", columns=[truth.name]))
    if held["test"] == [normal]:
        found.append(
            finding(
                "D019",
                f"`{truth.name}` is '{normal}' in all rows of test: F1 and recall cannot be told, only false alarms.",
                severity=Severity.WARNING,
                remedy="Land trips or traffic with what is to be found.",
                columns=[truth.name],
            )
        )
    return found


def _number(rows: Rows, truth: TruthColumn) -> list[Finding]:
    values = rows.everywhere(truth.name)
    known = values[~np.isnan(values)]
    found = []
    if len(known) and known.min() == known.max():
        found.append(finding("D009", f"`{truth.name}` is {known[0]:g} in all rows.", columns=[truth.name]))
    if (known < 0).any():
        what = f"`{truth.name}` is negative in {int((known < 0).sum())} rows (least {known.min():g})."
        found.append(finding("D008", what, columns=[truth.name]))
    return [*found, *_leaks(rows, truth)]


def _leaks(rows: Rows, truth: TruthColumn) -> list[Finding]:
    """D015: an input that is the answer in another unit, as air mass is fuel."""
    target = rows.numbers("train", truth.name)
    told: dict[str, str] = {}
    for name in rows.sensors("sensor", "setting"):
        strength = _correlation(rows.numbers("train", name), target)
        if strength > GIVES_AWAY_CORRELATION:
            told[name] = f"{name} (correlation {strength:.4f})"
    what = f"{listed(list(told.values()))} alone tells `{truth.name}`."
    return [finding("D015", what, columns=told)] if told else []


def _correlation(values: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    both = ~np.isnan(values) & ~np.isnan(target)
    if both.sum() < 10 or np.ptp(values[both]) == 0 or np.ptp(target[both]) == 0:
        return 0.0
    return abs(float(np.corrcoef(values[both], target[both])[0, 1]))
