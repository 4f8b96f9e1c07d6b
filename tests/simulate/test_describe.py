"""What a simulated machine's dataset says of itself."""

from __future__ import annotations

import pytest

from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import LabelSource, TimeKind
from nightshift.data.validate import validate
from nightshift.errors import UsageError
from nightshift.findings import blockers
from nightshift.settings import Home
from nightshift.simulate.describe import metadata
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import load_profile
from nightshift.simulate.units import draw_units
from tests.simulate.physics.made import profile


def test_the_metadata_is_the_profile_s() -> None:
    made = profile(sampling_s=1800)
    found = metadata(made, "motor_x", details={"seed": 7})
    assert (found.subject, found.title, found.timezone) == ("motor_x", "induction motor", "Europe/Berlin")
    assert (found.time_kind, found.time_unit, found.sampling_s) == (TimeKind.CALENDAR, "hours", 1800)
    assert found.horizon == 15
    assert found.embargo == 24 * 0.5 + 15
    assert found.provenance.kind == "synthetic"
    assert found.provenance.source == "nightshift synthesize"
    assert found.provenance.details == {"seed": 7}
    assert found.offers == {"labels", "rul", "runs", "clock"}
    assert found.columns == tuple(s.name for s in made.sensors)
    roles = {s.name: s.role for s in found.sensors}
    assert (roles["torque"], roles["hours_since_overhaul"], roles["stator_current"]) == ("setting", "age", "sensor")


def test_sensors_keep_range_alarms_and_whether_they_are_critical(home: Home) -> None:
    motor = load_profile(home, "motor_siemens_1la7_001")
    found = {s.name: s for s in metadata(motor, "m", details={}).sensors}
    for spec in motor.sensors:
        sensor = found[spec.name]
        assert (sensor.minimum, sensor.maximum) == spec.range
        assert (sensor.alarm_below, sensor.alarm_above) == (spec.alarm_below, spec.alarm_above)
        assert (sensor.critical, sensor.unit) == (spec.critical, spec.quantity.unit)


def test_labels_that_are_switched_off_are_absent() -> None:
    off = metadata(profile(labels={"horizon_h": 15, "failure_status": False, "rul": False}), "m", details={})
    assert off.label_source is LabelSource.ABSENT
    assert off.offers == {"runs", "clock"}


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="not a machine id"):
        metadata(profile(), "../x", details={})


def test_what_is_rolled_lands_as_described_without_blockers_or_leaks(home: Home) -> None:
    motor = load_profile(home, "motor_siemens_1la7_001")
    rolled = roll(motor, draw_units(motor, 40, 1), seed=1)
    data = split_and_land(home, rolled.frame, metadata(motor, "motor_x", details={}))
    found = validate(data, data.metadata.offers, "rul")
    assert blockers(found) == []
    # D008: outside of the range; D012: rul does not fall by the step; D015: one sensor tells all; D020: wrong types.
    assert {f.code for f in found}.isdisjoint({"D007", "D008", "D012", "D015", "D020"}), found
    assert data.metadata.parts["test"].runs >= 3
