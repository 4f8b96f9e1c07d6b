"""Every remark that data alone can earn: the schema by pandera, and the coded findings."""

from __future__ import annotations

from nightshift.data.checks.driving import check_driving
from nightshift.data.checks.labels import check_labels, check_rul
from nightshift.data.checks.order import check_order, few_rows
from nightshift.data.checks.rows import Rows, listed
from nightshift.data.checks.schema import schema_findings
from nightshift.data.checks.sensors import check_sensors
from nightshift.data.checks.vehicle import check_vehicle
from nightshift.data.dataset import Dataset
from nightshift.data.drift import SensorDrift, drift
from nightshift.data.history import read_sketch
from nightshift.data.schema import PARTS, Metadata
from nightshift.findings import Finding, Severity, finding

#: What a family may need -> (what is missing, what to do about it).
_NEEDS = {
    "rul": (
        "`rul` column not found in {source}.",
        "Regenerate with RUL enabled.",
    ),
    "labels": (
        "`failure_status` column not found in {source}, nor `rul` with a horizon or alarm limits to derive it from.",
        "Add labels.",
    ),
    "runs": (
        "the rows of {source} are independent, without runs in time.",
        "Map a time column.",
    ),
    "clock": ("no clock time in {source}.", "Map a calendar time column."),
    "fuel": (
        "no fuel rate in {source}.",
        "Land trips with a fuel or air-mass reading, or `nightshift simulate vehicle`.",
    ),
    "carbon": ("no CO2 rate in {source}.", "Land trips with a fuel reading, or `nightshift simulate vehicle`."),
    "scenarios": ("{source} holds no driving scenarios.", "Land some: `nightshift simulate driving`."),
    "behaviour": ("no kind of driving in {source}.", "Land trips with that column, or `nightshift simulate vehicle`."),
    "class": ("the target of {source} holds numbers, no classes.", "Train a regressor."),
    "value": ("the target of {source} holds classes, no numbers.", "Train a classifier."),
}
_ORDER = (Severity.BLOCKER, Severity.WARNING, Severity.TIP)


def validate(data: Dataset, needs: frozenset[str] = frozenset(), family: str = "") -> list[Finding]:
    """Return all findings on a dataset that concern a family, blockers first.

    Args:
        data: any dataset.
        needs: what the family needs; labels and `rul` are checked only where they matter.
        family: the family's name, for the message of what it needs.

    Raises:
        DataError: when the files cannot be read at all.
    """
    rows = Rows({part: data.frame(part) for part in PARTS}, data.metadata)
    found = missing_needs(data.metadata, needs, family)
    broken = schema_findings(rows)
    if broken:
        # The other checks rely on the types.
        found += [*broken, *few_rows(rows)]
    elif data.metadata.group == "driving":
        # Rows are scenarios: they have no order, no sensors that could fail, and few of them are many.
        found += check_driving(rows)
    elif data.metadata.group == "estimator":
        # The trainer looks at a table itself: at its columns, its target and its parts.
        found += [*few_rows(rows), *_drift(data)]
    else:
        found += [*check_order(rows), *check_sensors(rows), *_drift(data)]
        found += check_labels(rows) if "labels" in needs & data.metadata.offers else []
        found += check_vehicle(rows, needs) if data.metadata.group == "vehicle" else []
        found += check_rul(rows) if "rul" in needs & data.metadata.offers else []
    found += _unused(data.metadata)
    return sorted(found, key=lambda f: (_ORDER.index(f.severity), f.code))


def missing_needs(metadata: Metadata, needs: frozenset[str], family: str = "") -> list[Finding]:
    """Return a D001 for each thing that a family needs and the dataset does not offer."""
    source = metadata.provenance.source or metadata.subject
    found = []
    for need in sorted(needs - metadata.offers):
        what, remedy = _NEEDS.get(need, (f"{{source}} offers no {need}.", "Land data that does."))
        text = what.format(source=source).removesuffix(".")
        found.append(finding("D001", f"{text}{f' ({family} needs it)' if family else ''}.", remedy=remedy))
    return found


def _drift(data: Dataset) -> list[Finding]:
    sketch = read_sketch(data)
    # An hour meter differs wherever runs are cut off earlier: that is no change of the machine.
    judged = {s.name for s in data.metadata.sensors if s.role != "age"}
    told: dict[str, SensorDrift] = {}
    for part in ("val", "test"):
        for sensor in drift(sketch, part):
            if (
                sensor.name in judged
                and sensor.drifted
                and (sensor.name not in told or told[sensor.name].psi < sensor.psi)
            ):
                told[sensor.name] = sensor
    if not told:
        return []
    worst = sorted(told.values(), key=lambda d: -d.psi)
    names = listed([f"{d.name} (PSI {d.psi:.2f}, KS {d.ks:.2f})" for d in worst])
    return [finding("D016", f"val or test lie apart from train in {names}.", columns=[d.name for d in worst])]


def _unused(metadata: Metadata) -> list[Finding]:
    unused = metadata.provenance.details.get("unused_columns")
    if not isinstance(unused, list) or not unused:
        return []
    names = [str(column) for column in unused]
    return [finding("D021", f"the source also holds {listed(names)}.", columns=names)]
