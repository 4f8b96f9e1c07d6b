"""The result of judging a model: one table with its baselines, the figures to draw, and what the gate needs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nightshift.findings import Finding


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRow(_Record):
    """One line of the metrics table.

    Attributes:
        who: the model's, baseline's or member's name.
        kind: `model` (what ships), `baseline`, `member` (a part of the vote or ensemble), `reference` (what no model
            need beat, such as people's own driving).
        part: `train`, `val`, `test`, or for the forecast `backtest`.
        metrics: by name with unit as suffix; None where undefined (one class only, say).
    """

    who: str
    kind: Literal["model", "baseline", "member", "reference"]
    part: str
    metrics: dict[str, float | None]


class Series(_Record):
    """One curve, point cloud or band; `y2` is a band's upper edge."""

    label: str
    x: list[float | str]
    y: list[float | None]
    y2: list[float | None] | None = None
    style: Literal["line", "points", "band", "bars", "spans"] = "line"


class Figure(_Record):
    """A picture to draw: `lines` from series, or `matrix` from `cells` with tick labels."""

    key: str
    title: str
    x_label: str = ""
    y_label: str = ""
    series: list[Series] = Field(default_factory=list)
    cells: list[list[float]] | None = None
    ticks: list[str] = Field(default_factory=list)
    x_is_time: bool = False


class Member(_Record):
    """One line of a leaderboard: a member of the ensemble or vote."""

    name: str
    score: float | None = None
    fit_s: float | None = None
    predict_s: float | None = None
    size_mb: float | None = None
    weight: float | None = None


class UnitStatistics(_Record):
    """Sums per independent unit (run, else day) of the test part, from which the primary metric follows.

    The gate's paired bootstrap draws units and needs nothing else.

    Attributes:
        units: ids, one per unit.
        values: `(units, k)`; what the k sums are is the problem's business.
        positives: positive rows in test, None where the problem has none.
        runs: independent units in test (runs, else days).
    """

    units: list[str]
    values: list[list[float]]
    positives: int | None = None
    runs: int = 0


class Evaluation(_Record):
    """Everything that judging a model yields."""

    problem: str
    primary: str
    higher_is_better: bool
    headline_part: str = "test"
    rows: list[ScoreRow]
    figures: list[Figure] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)
    members: list[Member] = Field(default_factory=list)
    statistics: UnitStatistics | None = None
    notes: list[str] = Field(default_factory=list)

    def score(self, part: str, metric: str | None = None) -> float | None:
        """Return the shipped model's metric on a part, None when absent."""
        for row in self.rows:
            if row.kind == "model" and row.part == part:
                return row.metrics.get(metric or self.primary)
        return None

    def best_baseline(self) -> tuple[str, float] | None:
        """Return (name, value) of the best baseline in the primary metric on the headline part."""
        found = [
            (r.who, v)
            for r in self.rows
            if r.kind == "baseline" and r.part == self.headline_part and (v := r.metrics.get(self.primary)) is not None
        ]
        if not found:
            return None
        return max(found, key=lambda nv: nv[1] if self.higher_is_better else -nv[1])
