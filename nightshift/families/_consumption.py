"""What `tcn` and `carbon` share: the truth of windows, and a number's figures beside its baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS, TruthRole
from nightshift.errors import DataError
from nightshift.families._vehicle import VehicleConfig, window_ends, window_means
from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.problems import consumption_judge as judge
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.problems.regression import PROBLEM

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset


def known_windows(
    data: Dataset, part: str, role: TruthRole, *, window_rows: int, stride_rows: int, ahead_rows: int = 0
) -> tuple[NDArray[np.intp], judge.Truth]:
    """Return the rows at which windows of known truth end, `(n,)`, and that truth.

    Args:
        data: the dataset.
        part: `train`, `val` or `test`.
        role: `fuel` or `carbon`.
        window_rows: of one window.
        stride_rows: between the ends of neighbours.
        ahead_rows: 0: the truth is that of the window itself; else that of the next so many rows.

    Raises:
        DataError: when no trip is long enough, or the truth of no window is known.
    """
    ends = window_ends(data, part, window_rows=window_rows, stride_rows=stride_rows, ahead_rows=ahead_rows)
    rate, trip = data.truth(part, role), data.runs(part)
    asked = ahead_rows or window_rows
    value = window_means(rate, ends + ahead_rows, asked)
    before = ends + ahead_rows - asked
    # The window before must be whole, and of the same trip.
    reaches = before - asked + 1 >= 0
    held = np.where(reaches, before, asked - 1)
    same = reaches & (trip[held - asked + 1] == trip[ends])
    earlier = np.where(same, window_means(rate, held, asked), np.nan)
    rows = np.flatnonzero(np.isfinite(value))
    if not len(rows):
        raise DataError(
            f"no window of the {part} part of '{data.subject}' has a known {role} rate.",
            hint="Land trips whose rate was measured, or train other families.",
        )
    times_s = data.times_s(part)
    return ends[rows], judge.Truth(value[rows], earlier[rows], trip[ends][rows], times_s[ends][rows])


def note_left_out(data: Dataset, part: str, role: TruthRole, ctx: RunContext) -> None:
    """Say how many trips of a part are left out because nothing of them is known."""
    run, known = data.runs(part), np.isfinite(data.truth(part, role))
    trips = np.unique(run)
    without = len(trips) - len(np.unique(run[known]))
    if without:
        what = f"{without} of {len(trips)} trips of the {part} part have no known {role} and are left out."
        ctx.note(finding("D026", what))


def judged_parts(
    data: Dataset,
    config: VehicleConfig,
    ctx: RunContext,
    role: TruthRole,
    answer: Callable[[str, NDArray[np.intp]], NDArray[np.float64]],
    *,
    what: str,
    try_next: str,
    ahead_rows: int = 0,
) -> Evaluation:
    """Judge a model that answers with a number beside its baselines, on all parts.

    Args:
        data: the dataset.
        config: of the family.
        ctx: of the run.
        role: `fuel` or `carbon`.
        answer: the model's answers in the truth's unit, `(n,)`, to the windows of a part that end at given rows.
        what: that is answered, in words.
        try_next: what to do about a missed target, one sentence.
        ahead_rows: as in `known_windows`.
    """
    column = data.metadata.truth(role)
    unit = column.unit if column else ""
    rows, baselines, shape = [], None, (config.window_rows, config.stride_rows)
    for step, part in enumerate(PARTS):
        ends, truth = known_windows(data, part, role, window_rows=shape[0], stride_rows=shape[1], ahead_rows=ahead_rows)
        baselines = baselines or judge.Baselines.fit(truth)
        said = answer(part, ends)
        rows += [judge.score_row("model", "model", part, truth, said), *baselines.rows(part, truth)]
        ctx.step(step + 1, len(PARTS), f"{part} judged")
    judged = judge.evaluation(rows)
    samples = Samples({}, {"value": truth.value}, data.units("test")[ends], np.full(len(ends), np.nan))
    return judged.model_copy(
        update={
            "figures": judge.figures(truth, said, what, unit),
            "findings": judge.findings(judged, max_gap=config.max_gap, wanted=config.wanted, try_next=try_next),
            "statistics": PROBLEM.statistics({"value": said}, samples),
            "notes": _notes(what, unit, judged, config, ahead_rows),
        }
    )


def _notes(what: str, unit: str, judged: Evaluation, config: VehicleConfig, ahead_rows: int) -> list[str]:
    kind = f"a forecast of the next {ahead_rows} rows" if ahead_rows else "an estimate of the same window"
    accuracy, trip = judged.score("test", "accuracy_pct"), judged.score("test", "trip_abs_error_pct")
    shown = "undefined" if accuracy is None else f"{accuracy:.1f} %"
    trips = "" if trip is None else f" A trip's sum is {trip:.1f} % off on average."
    return [
        f"The answer is the mean {what} in {unit}: {kind} of {config.window_rows} rows.",
        f"Accuracy is 100 (1 - WAPE): {shown} on test.{trips}",
        "Persistence is given the measured rate of the window before, which the model is not.",
    ]
