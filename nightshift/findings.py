"""Findings: coded remarks on data, training, export, gate and run. A code is never renumbered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from nightshift.errors import UnknownNameError


class Severity(StrEnum):
    """How much a finding matters."""

    TIP = "tip"
    WARNING = "warning"
    BLOCKER = "blocker"


@dataclass(frozen=True)
class Code:
    """What a code means.

    Attributes:
        code: `D…` data, `T…` training, `E…` export, `G…` gate, `R…` run.
        severity: its usual severity.
        title: what, in a few words.
        why: why it matters.
        remedy: what to do.
    """

    code: str
    severity: Severity
    title: str
    why: str
    remedy: str


_MUTE = "mute: [{code}] in the family's config, or checks=Checks(mute=('{code}',)) of train_model"


class Finding(BaseModel):
    """One remark: a code, and what was found here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    what: str
    remedy: str
    columns: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why the code matters."""
        return CODES[self.code].why

    @property
    def mute(self) -> str:
        """How to silence it: a blocker cannot be muted."""
        return "cannot be muted" if self.severity is Severity.BLOCKER else _MUTE.format(code=self.code)

    def line(self) -> str:
        """One line for a terminal or a report."""
        return f"{self.code} {self.severity}: {self.what} {self.remedy}".strip()


def _table(*rows: tuple[str, Severity, str, str, str]) -> dict[str, Code]:
    return {row[0]: Code(*row) for row in rows}


_TIP, _WARN, _BLOCK = Severity.TIP, Severity.WARNING, Severity.BLOCKER

CODES: dict[str, Code] = _table(
    (
        "D001",
        _BLOCK,
        "column not found",
        "the family needs it",
        "Regenerate the data with it, or train other families.",
    ),
    (
        "D002",
        _BLOCK,
        "critical sensor missing or all NaN",
        "the model would be blind",
        "Mend the sensor or mark it not critical.",
    ),
    (
        "D003",
        _BLOCK,
        "time not increasing within a run",
        "windows and lags assume order",
        "Sort the source by time within each run.",
    ),
    ("D004", _WARN, "duplicate timestamps", "two rows claim one moment", "Keep one row per run and time."),
    ("D005", _WARN, "gaps in time", "windows span a hole", "Fill or split the run at the gap."),
    ("D006", _WARN, "flatline", "a stuck sensor says nothing", "Check the sensor or drop the column."),
    (
        "D007",
        _WARN,
        "sentinel values",
        "codes such as -999 act as measurements",
        "Declare them as missing in the mapping.",
    ),
    (
        "D008",
        _WARN,
        "out of physical range",
        "impossible values mislead the model",
        "Check the unit or the range in the metadata.",
    ),
    ("D009", _BLOCK, "one class only", "nothing to tell apart", "Land data that holds both classes."),
    (
        "D010",
        _WARN,
        "extreme class balance",
        "scores on so few cases are chance",
        "Collect more of the rare class or widen the horizon.",
    ),
    ("D011", _BLOCK, "remaining useful life negative", "the label is wrong", "Regenerate the `rul` column."),
    (
        "D012",
        _WARN,
        "remaining useful life does not fall by the time step",
        "the label contradicts the clock",
        "Recompute `rul` from run ends.",
    ),
    ("D013", _BLOCK, "a run in two parts", "the test part would be known", "Split by whole runs."),
    (
        "D014",
        _WARN,
        "duplicate rows across parts",
        "test rows were seen in training",
        "Drop duplicates before splitting.",
    ),
    (
        "D015",
        _WARN,
        "a single feature gives the label away",
        "the model would learn a leak",
        "Drop the column if it is known only after the fact.",
    ),
    (
        "D016",
        _WARN,
        "drift between parts",
        "training data may not describe today",
        "Land newer data or look for a sensor change.",
    ),
    ("D017", _BLOCK, "too few rows", "no split of so few rows can be judged", "Land at least 50 rows."),
    ("D018", _WARN, "missing values", "the model sees imputed values", "Check the source of the gaps."),
    ("D019", _BLOCK, "a part is empty or has one class", "the result could not be judged", "Land more runs."),
    (
        "D020",
        _BLOCK,
        "values that break the schema",
        "types or infinities cannot be trained on",
        "Mend the column named.",
    ),
    ("D021", _TIP, "columns of the file not used", "they carry no declared role", "Map them if they matter."),
    (
        "D022",
        _WARN,
        "drift since the model in use was trained",
        "it answers about values it has hardly seen",
        "Train again; look for a sensor change.",
    ),
    (
        "D023",
        _WARN,
        "trips shorter than a window",
        "no window fits into them: they teach nothing",
        "Land longer trips, or lower window_rows.",
    ),
    (
        "D024",
        _WARN,
        "a vehicle in two parts",
        "figures hold for cars that were seen in training",
        "Land trips of three or more vehicles.",
    ),
    (
        "D025",
        _BLOCK,
        "mixed units",
        "one number would mean two things",
        "Write the column in one unit, the one that the metadata say.",
    ),
    (
        "D026",
        _WARN,
        "trips without a label",
        "models of that label leave them out",
        "Label them, or leave them out of the import.",
    ),
    (
        "D027",
        _WARN,
        "fuel is only estimated",
        "the engine burns less than its air would allow",
        "Log the engine's fuel rate (PID 5E) where the car tells it.",
    ),
    (
        "D028",
        _TIP,
        "mis-encoded header",
        "a unit was read from what it must have been",
        "Nothing; or write the files as UTF-8.",
    ),
    (
        "D029",
        _WARN,
        "a recording in two parts",
        "the same cars on the same road were seen in training",
        "Import recordings of other places or times too.",
    ),
    (
        "D030",
        _WARN,
        "few scenarios in a part",
        "scores on so few say little",
        "Land more scenarios.",
    ),
    (
        "D031",
        _BLOCK,
        "cars overlap at the start",
        "a scenario that begins with a collision teaches and measures nothing",
        "Move or leave out one of the cars, or leave out the scenario.",
    ),
    (
        "D032",
        _BLOCK,
        "a route leaves the map",
        "the ego car could not follow it",
        "Let the route follow lanes of the map, or leave out the scenario.",
    ),
    (
        "D033",
        _BLOCK,
        "no number in a track",
        "a car that is nowhere can neither be followed nor avoided",
        "Mend the recording, or leave out the scenario.",
    ),
    (
        "T001",
        _WARN,
        "gap between train and test",
        "the model has learned its rows, not what they have in common",
        "Simplify the model or add runs.",
    ),
    (
        "T002",
        _WARN,
        "test F1 below 0.5",
        "the model helps little",
        "See class share, threshold and labels in the report.",
    ),
    ("T003", _WARN, "class imbalance", "accuracy says little here", "Read PR-AUC and F1."),
    ("T004", _WARN, "the time limit cut members", "the ensemble is not the one configured", "Raise time_limit."),
    (
        "T005",
        _WARN,
        "labels made from sensor thresholds",
        "the model only learns the rule",
        "Land real failure labels.",
    ),
    (
        "T006",
        _WARN,
        "not better than the best baseline",
        "a rule of one line does as well",
        "Look at features and labels.",
    ),
    ("T007", _WARN, "target of quality missed", "the wanted figure is not reached", "See the report."),
    ("T008", _TIP, "rows thinned", "the family's row limit applied", "Raise max_rows."),
    (
        "T009",
        _TIP,
        "seasonal naive is shipped",
        "Prophet lost to it on these sensors",
        "Nothing: the better one is shipped.",
    ),
    ("T010", _WARN, "judged on injected anomalies", "there are no labels", "Land labelled incidents."),
    ("T011", _TIP, "operating regimes found", "sensors are normalised per regime", "Nothing."),
    (
        "T012",
        _WARN,
        "interval coverage off nominal",
        "the bands are too wide or too narrow",
        "Look at the residuals and history_days.",
    ),
    ("T013", _WARN, "training over its time", "the night has a budget", "Lower the keys named."),
    (
        "T014",
        _WARN,
        "halves of validation overlap",
        "the figures chosen on one half were seen while fitting on the other",
        "Land more runs of both classes.",
    ),
    (
        "T015",
        _TIP,
        "smaller, to fit the target",
        "the device has a budget of size and memory",
        "Nothing; or raise the target's limits where its devices have more.",
    ),
    (
        "T017",
        _WARN,
        "no anomaly to judge by",
        "F1, recall and PR-AUC are undefined where all is normal",
        "Land labelled anomalies in the test part; read the false-alarm rate until then.",
    ),
    (
        "T018",
        _WARN,
        "a kind is missing in a part",
        "what was not seen cannot be told, and what is not there is not judged",
        "Land trips of that kind of more vehicles.",
    ),
    (
        "T019",
        _WARN,
        "out of memory: smaller batches",
        "other batches than configured give another model",
        "Lower batch_size, or free memory for the next training.",
    ),
    (
        "T020",
        _WARN,
        "training ended at its time limit",
        "it might have learned more, and another machine gets further in that time",
        "Raise time_limit_s, or lower epochs.",
    ),
    (
        "T021",
        _WARN,
        "few rows",
        "figures of so few rows say little",
        "Use strategy='leave_one_out', or get more rows.",
    ),
    (
        "T022",
        _WARN,
        "few groups",
        "figures of so few groups say little of a new one",
        "Get rows of more groups.",
    ),
    (
        "T023",
        _WARN,
        "a group in two parts",
        "rows of a group resemble each other: a model that knows the group seems to know the answer",
        "Give groups=, or strategy='grouped'.",
    ),
    (
        "T024",
        _WARN,
        "parts overlap in time",
        "the model has seen what came after the rows that it is judged on",
        "Give strategy='time' with a gap.",
    ),
    (
        "T025",
        _WARN,
        "duplicate rows",
        "a row in two parts is learnt by heart, and judged as if it were not",
        "Drop duplicates, or give groups= that hold them together.",
    ),
    (
        "T026",
        _WARN,
        "one feature decides the answer",
        "it may be known only after the answer is",
        "Look at where the column comes from; leave it out if it is not there in time.",
    ),
    (
        "T027",
        _TIP,
        "a column that says nothing",
        "a constant, a copy or a name for each row teaches nothing that holds for new rows",
        "Leave the column out.",
    ),
    (
        "T028",
        _WARN,
        "a fold unlike the others",
        "the mean hides it, and the next data may be like that fold",
        "Look at that fold's rows.",
    ),
    (
        "T029",
        _TIP,
        "a setting that differs from run to run",
        "the same seed may not give the same model",
        "Change the setting named where that matters.",
    ),
    (
        "T030",
        _WARN,
        "memory near its limit",
        "the system ends what takes more, without a word",
        "Take fewer rows or float32, train by chunks, or raise limits.memory_mb.",
    ),
    (
        "T031",
        _WARN,
        "a fit diverged and was tried with another seed",
        "it may do so again",
        "Lower the learning rate, or scale the columns.",
    ),
    (
        "T032",
        _WARN,
        "the set does not fit into memory",
        "a fit of all rows would be ended by the system",
        "Train on the sample named, by chunks from Parquet, or on Dask.",
    ),
    (
        "T033",
        _TIP,
        "a class of few rows",
        "SMOTE takes fewer neighbours than asked for",
        "Get more rows of that class.",
    ),
    (
        "T034",
        _TIP,
        "the library warned while it was fitted",
        "the model may not be the one that was meant",
        "Read its words; more rounds (max_iter) or scaled columns help where it did not converge.",
    ),
    (
        "T035",
        _TIP,
        "nothing to stop early",
        "no rounds, or no validation rows that could end them: the estimator was fitted whole",
        "Leave early_stopping out, or take an estimator with rounds, such as hist_gradient_boosting.",
    ),
    (
        "T036",
        _TIP,
        "read by another patch version",
        "a saved model may answer otherwise by the last digits",
        "Install the version named, or train and save the model again.",
    ),
    (
        "T037",
        _WARN,
        "the metric that decides has no figure",
        "means are taken without it, and nothing is judged by it there",
        "Give another scoring, or parts that hold what it needs.",
    ),
    (
        "T038",
        _WARN,
        "numbers or dates that were read as text",
        "each value is a word of its own: what is near is not taken for alike",
        "Mend or empty the cells named; write dates as 2024-01-31.",
    ),
    ("E001", _BLOCK, "parity outside tolerance", "the graph is not the model", "Report it with the bundle."),
    ("E002", _WARN, "bundle above the target's size", "the device has a budget", "Lower the keys named."),
    ("E003", _WARN, "latency above the target's limit", "the device would fall behind", "Lower the keys named."),
    ("E004", _BLOCK, "bundle above the hard size limit", "the device cannot hold it", "Lower the keys named."),
    ("E005", _WARN, "memory above the target's limit", "the device has little of it", "Lower the keys named."),
    (
        "E006",
        _WARN,
        "the optimised form loses on test",
        "validation chose it, and test does not bear that out",
        "Serve model.onnx, or land more vehicles and trips for validation.",
    ),
    ("G001", _WARN, "not better than the baselines", "a champion must earn it", "See the metrics table."),
    ("G002", _WARN, "worse than the champion", "the champion stays", "See the metrics table."),
    ("G003", _WARN, "too little to judge", "no automatic promotion", "Promote by hand or land more data."),
    ("G004", _WARN, "inputs changed", "the device must be told first", "Promote by hand."),
    (
        "G005",
        _TIP,
        "awaiting its device check",
        "the target wants a device's word first",
        "Start a worker on the board, or: nightshift verify --all",
    ),
    (
        "G006",
        _WARN,
        "the champion failed its device check",
        "the fleet may hold it already",
        "See the figures; nightshift rollback goes back to the one before.",
    ),
    (
        "R001",
        _WARN,
        "trained, not registered",
        "MLflow could not be reached",
        "The next run registers without training.",
    ),
    ("R002", _WARN, "data not versioned", "DVC could not be used", "See the message."),
    ("R003", _TIP, "trained anew after a crash", "the family keeps no checkpoint", "Nothing."),
)


def finding(
    code: str, what: str, *, remedy: str = "", severity: Severity | None = None, columns: Iterable[str] = ()
) -> Finding:
    """Make a finding from its code.

    Raises:
        UnknownNameError: for a code that is not in the table.
    """
    if code not in CODES:
        raise UnknownNameError("finding code", code, CODES)
    known = CODES[code]
    return Finding(
        code=code, severity=severity or known.severity, what=what, remedy=remedy or known.remedy, columns=tuple(columns)
    )


def cost_remedy(keys: Mapping[str, float], costs: Mapping[str, float | None], unit: str) -> str:
    """Name the config keys to lower with their present values, and what costs most.

    Args:
        keys: config key -> present value.
        costs: ensemble member or sensor -> cost; None where it is not known.
        unit: of the costs, as read after the figure ("MB", "s to fit").
    """
    advice = [f"Lower one of {', '.join(f'{key}={value:g}' for key, value in keys.items())}."] if keys else []
    known = {name: cost for name, cost in costs.items() if cost}
    if known:
        name = max(known, key=lambda member: known[member])
        advice.append(f"'{name}' costs most ({known[name]:.3g} {unit}).")
    return " ".join(advice)


def blockers(found: Iterable[Finding]) -> list[Finding]:
    """Return the blockers among `found`."""
    return [f for f in found if f.severity is Severity.BLOCKER]


def unmuted(found: Iterable[Finding], mute: Iterable[str]) -> list[Finding]:
    """Drop muted findings; blockers stay."""
    muted = set(mute)
    return [f for f in found if f.severity is Severity.BLOCKER or f.code not in muted]
