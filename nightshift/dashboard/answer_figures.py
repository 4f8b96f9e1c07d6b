"""What a model says of rows, as figures to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nightshift.dashboard.predictions import Answer, OutputAnswer
from nightshift.edge.manifest import BundleManifest
from nightshift.edge.rows import Rows
from nightshift.problems.evaluation import Figure, Series

#: A page with more is hard to read; the table holds them all.
_MOST = 6
#: So many rows before a forecast are drawn with it.
_BEFORE = 200
#: By these words plots.js tells a wall clock's seconds from moments, which it would show in the viewer's zone.
_WALL_CLOCK = "the machine's local time"


def figures_of(answer: Answer, rows: Rows, manifest: BundleManifest) -> list[Figure]:
    """Return the figures that show an answer: bands of a forecast, scores over rows, probabilities, or numbers."""
    if answer.output("yhat"):
        return _forecasts(answer, rows, manifest)
    told = [output for output in answer.outputs if output.name not in ("label", "vote")]
    if answer.rows == 1:
        return [figure for output in told if (figure := _bars(output))]
    at, is_time = _axis(answer, rows)
    found = []
    for output in told:
        if output.name == "score":
            found += [_score(answer, output, i, at, is_time=is_time) for i in range(len(output.columns[:_MOST]))]
        else:
            found.append(_curves(output, at, is_time=is_time))
    return found


def _forecasts(answer: Answer, rows: Rows, manifest: BundleManifest) -> list[Figure]:
    face = manifest.interface
    at = _ahead(answer, rows, manifest)
    place = {column.name: i for i, column in enumerate(face.columns)}
    units = {column.name: column.unit for column in face.columns}
    found = []
    for k, sensor in enumerate(face.sensors[:_MOST]):
        said = {output.name: [step[k] for step in output.values[0]] for output in answer.outputs}
        series = [
            Series(label=f"{share} % band", x=list(at), y=said[f"lo{share}"], y2=said[f"hi{share}"], style="band")
            for share in ("95", "80")
            if f"lo{share}" in said
        ]
        series.append(Series(label="forecast", x=list(at), y=said["yhat"]))
        if answer.times and rows.civil_s is not None and sensor in place and len(rows.values) > 1:
            before = rows.civil_s[-_BEFORE:].astype(float).tolist()
            measured = _numbers(rows.values[-_BEFORE:, place[sensor]].tolist())
            series.append(Series(label="measured", x=before, y=measured))
        found.append(
            Figure(
                key=f"forecast-{k}",
                title=f"Forecast of {sensor}",
                x_label=_WALL_CLOCK if answer.times else "steps ahead",
                y_label=units.get(sensor, ""),
                series=series,
                x_is_time=bool(answer.times),
            )
        )
    return found


def _curves(output: OutputAnswer, at: list[float], *, is_time: bool) -> Figure:
    """Return an output over the rows."""
    names = output.columns or (output.meaning or output.name,)
    series = [
        Series(label=name, x=list(at), y=[v[i] if isinstance(v, list) else v for v in output.values])
        for i, name in enumerate(names[:_MOST])
    ]
    return Figure(
        key=output.name,
        title=f"{output.name.capitalize()} over the rows",
        x_label=_clock(is_time=is_time),
        y_label=output.unit,
        series=series,
        x_is_time=is_time,
    )


def _score(answer: Answer, output: OutputAnswer, i: int, at: list[float], *, is_time: bool) -> Figure:
    """Return a member's score beside its threshold, with the rows that all members together call odd.

    Each in a figure of its own: members count in units of their own.
    """
    name = output.columns[i]
    series = [Series(label="score", x=list(at), y=[row[i] for row in output.values])]
    limit = answer.thresholds.get(name)
    if limit is not None:
        series.append(Series(label="threshold", x=[at[0], at[-1]], y=[limit, limit]))
    return Figure(
        key=f"score-{i}",
        title=f"Score of {name}" if len(output.columns) > 1 else "Score",
        x_label=_clock(is_time=is_time),
        series=[*series, *_odd(answer, at)],
        x_is_time=is_time,
    )


def _clock(*, is_time: bool) -> str:
    return _WALL_CLOCK if is_time else "row"


def _bars(output: OutputAnswer) -> Figure | None:
    if len(output.columns) < 2 or not output.values:
        return None
    bars = Series(label=output.name, x=list(output.columns), y=list(output.values[0]), style="bars")
    return Figure(key=output.name, title=output.name.capitalize(), y_label=output.unit, series=[bars])


def _odd(answer: Answer, at: list[float]) -> list[Series]:
    """Return the rows that the model calls odd as stretches."""
    vote = answer.output("vote")
    odd = [i for i, said in enumerate(vote.values) if said == 1] if vote else []
    if not odd:
        return []
    stretches = np.split(np.array(odd), np.flatnonzero(np.diff(odd) > 1) + 1)
    begins: list[float | str] = [at[int(s[0])] for s in stretches]
    ends: list[float | None] = [at[min(int(s[-1]) + 1, len(at) - 1)] for s in stretches]
    return [Series(label="called odd", x=begins, y=ends, style="spans")]


def _ahead(answer: Answer, rows: Rows, manifest: BundleManifest) -> list[float]:
    """Return the steps of a forecast: in seconds of the machine's own clock where there is one, else by number."""
    face = manifest.interface
    steps = np.arange(1.0, (face.steps or 0) + 1)
    if not answer.times or rows.civil_s is None:
        return [float(step) for step in steps]
    return [float(at) for at in rows.civil_s[-1] + steps * (face.step_s or 0.0)]


def _axis(answer: Answer, rows: Rows) -> tuple[list[float], bool]:
    """Return where the rows lie: on the machine's own clock where there is one, else by their number."""
    if rows.civil_s is not None and not np.any(np.diff(rows.civil_s) < 0):
        return rows.civil_s.astype(float).tolist(), True
    return [float(i + 1) for i in range(answer.rows)], False


def _numbers(values: Sequence[Any]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
