"""What is said of generated units: figures per generator and seed, the gate's lines, the choice, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

#: Field of `ProblemScores` -> what it is called in tables.
PROBLEMS = {
    "f1": "failure within the horizon, F1",
    "rul_r2": "remaining life, R²",
    "pr_auc": "anomalies, PR-AUC",
    "forecast_skill": "forecast, skill",
}
#: Field of `SeedScores` -> what it is called in tables.
FIGURES = {
    "column_shapes": "column shapes",
    "pair_trends": "pair trends",
    "dcr_protection": "DCR protection",
    "row_shapes": "sensor shapes",
    "autocorrelation": "autocorrelation match",
    "daily_pattern": "daily-pattern match",
    "violations": "physics violations",
    "failure_share": "share of failing rows",
    "sensor_auc": "best single sensor's AUC",
}
#: The gate's line on single seeds: one must pass by its own figures, for one lands.
SOUND_SEEDS = "seeds whose own units pass"
#: Below this nothing has been learned from real units either, and a ratio to it says nothing.
MIN_TRTR = 0.05


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemScores(_Record):
    """What the proxies reach on held-out units; None where the profile has no such label, or one class only.

    Attributes:
        f1: of the class failing, threshold from held-out training runs.
        rul_r2: of the remaining life, capped.
        pr_auc: of failing rows, ranked by a detector that learned from well ones.
        forecast_skill: 1 - MAE / MAE of repeating the newest value, mean over sensors.
    """

    f1: float | None = None
    rul_r2: float | None = None
    pr_auc: float | None = None
    forecast_skill: float | None = None


class SeedScores(_Record):
    """One generator at one seed; shares and similarities lie in [0, 1], 1 is best.

    Attributes:
        seed: the generator's.
        failure_share: of the roll-out's rows; None without labels.
        sensor_auc: of the one sensor that tells most of the label; None without labels.
        violations: rows or units that break a law, by law; laws that hold are left out.
        tstr: trained on this table's roll-out, tested on held-out units'.
        utility: mean over the problems of TSTR to TRTR.
    """

    seed: int
    column_shapes: float
    pair_trends: float
    dcr_protection: float
    row_shapes: float
    autocorrelation: float
    daily_pattern: float
    failure_share: float | None
    sensor_auc: float | None
    violations: dict[str, int]
    tstr: ProblemScores
    utility: float


class GateLine(_Record):
    """One line of the gate.

    Attributes:
        name: what is asked.
        value: what was reached; None where it could not be told, which fails.
        limit: the threshold, or the lower and upper one.
        better: whether more or less is better, or the value must lie between.
        ok: whether it holds.
    """

    name: str
    value: float | None
    limit: float | tuple[float, float]
    better: Literal["more", "less", "between"]
    ok: bool

    @property
    def wanted(self) -> str:
        """The limit as text."""
        if isinstance(self.limit, tuple):
            return f"{self.limit[0]:g} to {self.limit[1]:g}"
        return f"{'≥' if self.better == 'more' else '≤'} {self.limit:g}"


class GeneratorScores(_Record):
    """One generator over all seeds, with its own gate."""

    name: str
    seeds: tuple[SeedScores, ...]
    gates: tuple[GateLine, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every line of its gate holds."""
        return all(line.ok for line in self.gates)

    @property
    def utility(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(s.utility for s in self.seeds)

    def values(self, figure: str) -> list[float]:
        """Return a figure or a problem's TSTR, one per seed that has it."""
        if figure == "violations":
            return [float(sum(s.violations.values())) for s in self.seeds]
        found = [getattr(s.tstr if figure in PROBLEMS else s, figure) for s in self.seeds]
        return [v for v in found if v is not None]

    def mean(self, figure: str) -> float | None:
        """Return the mean of a figure over the seeds; None where no seed has it."""
        return _mean(self.values(figure))


class QualityTable(NamedTuple):
    """A table as text."""

    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]


class QualityReport(_Record):
    """The verdict on one machine's generators.

    Attributes:
        subject: the machine.
        scores: per generator, in the order given.
        trtr: trained on real units of `train`, tested like the others; one per generator seed.
        gates: of the chosen generator.
        chosen: the generator that lands.
        seed: the generator seed whose units land; None where no seed's own units pass.
        why: the choice in one sentence.
        passed: whether it may land.
    """

    subject: str
    scores: tuple[GeneratorScores, ...]
    trtr: tuple[ProblemScores, ...]
    gates: tuple[GateLine, ...]
    chosen: str
    seed: int | None = None
    why: str
    passed: bool

    @property
    def missed(self) -> tuple[GateLine, ...]:
        """The chosen generator's lines that do not hold."""
        return tuple(line for line in self.gates if not line.ok)

    def score(self, name: str) -> GeneratorScores:
        """Return a generator's figures."""
        return next(s for s in self.scores if s.name == name)

    def table(self) -> QualityTable:
        """Return every figure, mean ± standard deviation over the seeds, one column per generator."""
        wanted = {line.name: line.wanted for line in self.gates}
        headers = ("figure", *(_marked(s.name, self.chosen) for s in self.scores), "real units", "wanted")
        rows = [
            (title, *(spread(s.values(key)) for s in self.scores), "", wanted.get(title, ""))
            for key, title in FIGURES.items()
        ]
        for key, title in PROBLEMS.items():
            real = [v for t in self.trtr if (v := getattr(t, key)) is not None]
            ratio = wanted.get(ratio_name(key), "")
            limit = f"{ratio} of real" if ratio else ""
            rows.append((title, *(spread(s.values(key)) for s in self.scores), spread(real), limit))
        rows.append(("utility, TSTR / TRTR", *(spread([x.utility for x in s.seeds]) for s in self.scores), "1", ""))
        lands = "none" if self.seed is None else str(self.seed)
        rows.append(("seed that lands", *(lands if s.name == self.chosen else "" for s in self.scores), "", ""))
        rows.append(("gate", *(_verdict(s.gates) for s in self.scores), "", ""))
        return QualityTable(headers, rows)

    def markdown(self) -> str:
        """Return verdict, missed lines and the table, for a run's artifact."""
        verdict = "passed" if self.passed else "REFUSED"
        lines = [f"**{self.subject}: {self.chosen} {verdict}.** {self.why}", ""]
        lines += [f"- missed: {line.name} is {shown(line.value)}, wanted {line.wanted}" for line in self.missed]
        lines += [""] if self.missed else []
        table = self.table()
        lines.append("| " + " | ".join(table.headers) + " |")
        lines.append("| :--- |" + " ---: |" * (len(table.headers) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        return "\n".join(lines) + "\n"

    def refusal(self) -> str:
        """Return one line that names every missed gate with what was wanted and reached."""
        return "; ".join(f"{line.name} is {shown(line.value)}, wanted {line.wanted}" for line in self.missed)


def ratio_name(problem: str) -> str:
    """Return the gate's name for TSTR to TRTR of a problem."""
    return f"TSTR / TRTR: {PROBLEMS[problem]}"


def shown(value: float | None) -> str:
    """Return a figure as people read it."""
    if value is None:
        return "not known"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3f}"


def spread(values: Iterable[float]) -> str:
    """Return mean ± standard deviation; a dash for none, the value alone where all are whole and equal."""
    found = list(values)
    if not found:
        return "–"
    mean = statistics.fmean(found)
    if len(set(found)) == 1 and mean == int(mean):
        return f"{int(mean):,}"
    return f"{mean:.3f} ± {statistics.stdev(found):.3f}" if len(found) > 1 else f"{mean:.3f}"


def mean_trtr(trtr: Iterable[ProblemScores], problem: str) -> float | None:
    """Return what is learned from real units, mean over seeds; None where that is next to nothing."""
    found = _mean([v for t in trtr if (v := getattr(t, problem)) is not None])
    return found if found is not None and found >= MIN_TRTR else None


def utility(tstr: ProblemScores, trtr: Iterable[ProblemScores]) -> float:
    """Return the mean over the problems of TSTR to mean TRTR; 0 where nothing can be compared."""
    every = list(trtr)
    ratios = []
    for problem in PROBLEMS:
        real, own = mean_trtr(every, problem), getattr(tstr, problem)
        if real is not None:
            ratios.append(max(own or 0.0, 0.0) / real)
    return statistics.fmean(ratios) if ratios else 0.0


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _marked(name: str, chosen: str) -> str:
    return f"{name} (chosen)" if name == chosen else name


def _verdict(gates: tuple[GateLine, ...]) -> str:
    missed = sum(not line.ok for line in gates)
    return f"misses {missed}" if missed else "passes"
