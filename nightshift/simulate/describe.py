"""What a simulated machine's dataset says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.data.importers.landing import default_embargo_h
from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.simulate.profile import Profile

SOURCE = "nightshift synthesize"


def metadata(profile: Profile, subject: str, *, details: Mapping[str, Any]) -> Metadata:
    """Describe the dataset that a profile's machine becomes.

    Args:
        profile: of the machine.
        subject: its id.
        details: of the provenance: seed, generator, quality figures and the like; JSON-able.

    Raises:
        UsageError: for an id that is none.
    """
    labels = profile.labels
    return Metadata(
        subject=subject,
        title=profile.title,
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=profile.sampling_s,
        timezone=profile.timezone,
        horizon=labels.horizon_h,
        embargo=default_embargo_h(profile.sampling_s, labels.horizon_h),
        sensors=described_sensors(profile),
        label_source=LabelSource.FROM_RUL if labels.failure_status else LabelSource.ABSENT,
        has_rul=labels.rul,
        provenance=Provenance(kind="synthetic", source=SOURCE, details=dict(details)),
    )


def described_sensors(profile: Profile) -> tuple[Sensor, ...]:
    """Return the profile's sensors as a dataset states them, in order."""
    return tuple(
        Sensor(
            name=s.name,
            unit=s.quantity.unit,
            role=s.quantity.role,
            critical=s.critical,
            minimum=s.range[0],
            maximum=s.range[1],
            alarm_below=s.alarm_below,
            alarm_above=s.alarm_above,
        )
        for s in profile.sensors
    )
