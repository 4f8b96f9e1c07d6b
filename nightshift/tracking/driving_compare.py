"""Runs of driving policies side by side: their figures, the settings that differ, what makes them unlike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift.tracking.driving_runs import Run, RunView, series, view
from nightshift.tracking.text import number, seconds

#: Settings that name a run and decide nothing of it.
_NAMES = ("run_id",)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComparedRow(_Record):
    """One line: a name, and a text for each run."""

    name: str
    values: tuple[str, ...]


class Compared(_Record):
    """Runs side by side.

    Attributes:
        figures: how far each is and how good.
        settings: those in which they differ; "–" where a run has none of that name.
        remarks: why their figures cannot be held against each other as they are.
    """

    run_ids: tuple[str, ...]
    figures: tuple[ComparedRow, ...]
    settings: tuple[ComparedRow, ...]
    remarks: tuple[str, ...]


def compare(runs: Sequence[Run]) -> Compared:
    """Put runs side by side."""
    views = [view(run) for run in runs]
    return Compared(
        run_ids=tuple(run.run_id for run in runs),
        figures=tuple(_figures(runs, views)),
        settings=tuple(_settings(runs)),
        remarks=tuple(_remarks(runs, views)),
    )


def _figures(runs: Sequence[Run], views: Sequence[RunView]) -> Iterator[ComparedRow]:
    shown: tuple[tuple[str, Callable[[RunView], str]], ...] = (
        ("algorithm", lambda v: v.algorithm),
        ("scenarios", lambda v: v.subject),
        ("state", lambda v: v.state),
        ("step", lambda v: f"{v.step:,}"),
        ("of", lambda v: f"{v.total_steps:,}"),
        ("best score", lambda v: number(v.best_score)),
        ("at step", lambda v: "–" if v.best_step is None else f"{v.best_step:,}"),
        ("reward", lambda v: number(v.reward)),
        ("collision", lambda v: number(v.collision)),
        ("progress", lambda v: number(v.progress)),
        ("loss", lambda v: number(v.loss)),
    )
    for name, text in shown:
        yield ComparedRow(name=name, values=tuple(text(v) for v in views))
    yield ComparedRow(name="steps/s (median)", values=tuple(number(_speed(run)) for run in runs))
    yield ComparedRow(name="time", values=tuple(_time(run) for run in runs))


def _settings(runs: Sequence[Run]) -> Iterator[ComparedRow]:
    configs = [_flat(run.file.config) if run.file else {} for run in runs]
    for key in dict.fromkeys(key for config in configs for key in config):
        values = [config.get(key, "–") for config in configs]
        if key not in _NAMES and len(set(values)) > 1:
            yield ComparedRow(name=key, values=tuple(values))


def _remarks(runs: Sequence[Run], views: Sequence[RunView]) -> Iterator[str]:
    files = [run.file for run in runs if run.file]
    if len({file.dataset for file in files}) > 1:
        yield "They were trained on different scenario sets: their scores are of different validation scenarios."
    if len({file.observation for file in files}) > 1:
        yield "They see different observations: a checkpoint of one is none of the other."
    steps = [v.step for v in views]
    if max(steps) > 1.1 * min(steps):
        yield "They have not driven equally many steps."
    if len({v.algorithm in ("bc",) for v in views}) > 1:
        yield "Steps of bc are of its optimiser, those of the others of the environment."


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
    return flat


def _speed(run: Run) -> float | None:
    told = sorted(value for _, value in series(run.rows, "steps_per_s"))
    return told[len(told) // 2] if told else run.status.steps_per_s if run.status else None


def _time(run: Run) -> str:
    """Return how long a run took from its begin to its last word, pauses between resumptions included."""
    try:
        begun = datetime.fromisoformat(run.file.started_at if run.file else "")
        last = datetime.fromisoformat(run.status.updated_at if run.status else "")
    except ValueError:
        return "–"
    return seconds((last.astimezone(UTC) - begun.astimezone(UTC)).total_seconds())
