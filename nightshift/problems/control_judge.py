"""Judging a driving policy beside rule-based drivers, in rows, figures and findings.

Traffic of one model flatters who has learned in it: every part has a row over all traffic models, and one of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nightshift.findings import Finding, finding
from nightshift.problems.control import LOWER_IS_BETTER, PROBLEM, sums_per_unit
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series, UnitStatistics
from nightshift.problems.remarks import remarks

#: The driver that a policy has to beat.
IDM_DRIVER = "IDM driver"
CONSTANT_SPEED = "constant speed"
#: As people drove it: no policy need beat it.
LOG_REPLAY = "log replay"
#: What is said first; the other measures follow.
_FIRST = ("score", "collision", "progress", "comfort")
_POINTS = 400


@dataclass(frozen=True)
class Episode:
    """One scored drive through a scenario.

    Attributes:
        scenario: its name.
        kind: its family, `highway` and the like.
        traffic: model of the other cars.
        measures: score, collision (0 or 1) and every sub-score, 0 to 1.
    """

    scenario: str
    kind: str
    traffic: str
    measures: Mapping[str, float]


@dataclass(frozen=True)
class Driven:
    """What one driver made of the scenarios of a part.

    Attributes:
        who: its name.
        kind: as in `ScoreRow`.
        episodes: of all traffic models.
    """

    who: str
    kind: Literal["model", "baseline", "member", "reference"]
    episodes: tuple[Episode, ...]

    def rows(self, part: str) -> list[ScoreRow]:
        """Return its lines of the metrics table: over all traffic models, then each by itself (`test_gipps`)."""
        models = traffic_models(self.episodes)
        rows = [self._row(part, self.episodes)]
        if len(models) > 1:
            rows += [self._row(part_in(part, model), self.within(model)) for model in models]
        return rows

    def within(self, traffic: str) -> tuple[Episode, ...]:
        """Return its episodes in one traffic model."""
        return tuple(e for e in self.episodes if e.traffic == traffic)

    def _row(self, part: str, episodes: Sequence[Episode]) -> ScoreRow:
        return ScoreRow(who=self.who, kind=self.kind, part=part, metrics=means(episodes))

    def statistics(self) -> UnitStatistics:
        """Return what the gate's bootstrap draws from: scenarios."""
        score = np.array([e.measures["score"] for e in self.episodes], dtype=np.float64)
        return sums_per_unit(score, np.array([e.scenario for e in self.episodes], dtype=np.str_))


def part_in(part: str, traffic: str) -> str:
    """Return the name of a part in one traffic model."""
    return f"{part}_{traffic}"


def traffic_models(episodes: Sequence[Episode]) -> list[str]:
    """Return the traffic models that episodes were driven in."""
    return list(dict.fromkeys(e.traffic for e in episodes))


def means(episodes: Sequence[Episode]) -> dict[str, float | None]:
    """Return the mean of every measure, and the number of episodes; empty where there are none."""
    if not episodes:
        return {}
    names = list(dict.fromkeys([*_FIRST, *episodes[0].measures]))
    found: dict[str, float | None] = {name: float(np.mean([e.measures[name] for e in episodes])) for name in names}
    return found | {"episodes": float(len(episodes))}


def evaluation(parts: Mapping[str, Sequence[Driven]]) -> Evaluation:
    """Return an evaluation of these drivers by part, with figures and statistics of the test part.

    Args:
        parts: part -> its drivers, the model first; `test` is among them.
    """
    rows = [row for part, driven in parts.items() for one in driven for row in one.rows(part)]
    judged = parts["test"]
    return Evaluation(
        problem=PROBLEM.name,
        primary=PROBLEM.primary,
        higher_is_better=PROBLEM.higher_is_better,
        rows=rows,
        figures=figures(judged),
        statistics=judged[0].statistics(),
    )


def findings(judged: Evaluation, *, max_gap: float, wanted: Mapping[str, float], try_next: str) -> Iterator[Finding]:
    """Yield what is remarkable about the figures.

    Args:
        judged: the evaluation so far.
        max_gap: accepted gap of the score between train and test, as a share of the better one.
        wanted: metric -> value to reach on test.
        try_next: what to do about a missed target, a rule that drives better, or a gap; a sentence.
    """
    metrics = {m for row in judged.rows for m in row.metrics}
    found = remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=metrics.difference(LOWER_IS_BETTER))
    for f in found:
        yield finding(f.code, f.what, remedy=try_next)
    yield from _below_idm(judged, try_next)


def _below_idm(judged: Evaluation, try_next: str) -> Iterator[Finding]:
    """Yield T006 for each traffic model in which the IDM driver is better; over all of them, `remarks` says so."""
    for row in judged.rows:
        if row.who != IDM_DRIVER or not row.part.startswith(f"{judged.headline_part}_"):
            continue
        own, rule = judged.score(row.part), row.metrics.get(judged.primary)
        if own is not None and rule is not None and own <= rule:
            what = f"{judged.primary} on {row.part} is {own:.4g}, that of '{row.who}' is {rule:.4g}."
            yield finding("T006", what, remedy=try_next)


def figures(judged: Sequence[Driven]) -> list[Figure]:
    """Return the pictures of the test part; the model comes first."""
    kinds = list(dict.fromkeys(e.kind for e in judged[0].episodes))
    models = traffic_models(judged[0].episodes)
    named = [name for name in means(judged[0].episodes) if name not in ("score", "collision", "episodes")]
    parts = [_bars(one, named, [means(one.episodes).get(name) for name in named]) for one in judged]
    drawn = [Figure(key="sub_scores", title="Parts of the score, 1 is best", y_label="mean", series=parts)]
    if len(kinds) > 1:
        series = [_bars(one, kinds, [_score(e for e in one.episodes if e.kind == k) for k in kinds]) for one in judged]
        drawn.append(Figure(key="score_by_kind", title="Score by kind of scenario", y_label="score", series=series))
    if len(models) > 1:
        series = [_bars(one, models, [_score(one.within(m)) for m in models]) for one in judged]
        drawn.append(Figure(key="score_by_traffic", title="Score by model of traffic", y_label="score", series=series))
    rival = next((d for d in judged if d.who == IDM_DRIVER), None)
    return drawn if rival is None else [*drawn, _scenario_by_scenario(judged[0], rival)]


def _bars(one: Driven, names: Sequence[str], heights: list[float | None]) -> Series:
    return Series(label=one.who, x=list(names), y=heights, style="bars")


def _score(episodes: Iterable[Episode]) -> float | None:
    return means(list(episodes)).get("score")


def _scenario_by_scenario(model: Driven, rival: Driven) -> Figure:
    """Return each scenario's score, the model's over the rival's; above the line the model is better."""
    both = {(e.scenario, e.traffic): e.measures["score"] for e in rival.episodes}
    pairs = [(both[at], e.measures["score"]) for e in model.episodes if (at := (e.scenario, e.traffic)) in both][
        :_POINTS
    ]
    return Figure(
        key="score_by_scenario",
        title=f"Score of each drive, above the line better than the {rival.who}",
        x_label=rival.who,
        y_label=model.who,
        series=[
            Series(label="alike", x=[0.0, 1.0], y=[0.0, 1.0]),
            Series(label="drive", x=[p[0] for p in pairs], y=[p[1] for p in pairs], style="points"),
        ],
    )
