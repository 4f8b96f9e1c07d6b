"""The fleet's config, `configs/fleet.yaml`: which models are kept up to date, and within which limits."""

from __future__ import annotations

import re
from typing import Literal, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nightshift import families
from nightshift.data.groups import DRIVING, MACHINE, VEHICLE
from nightshift.data.schema import check_subject
from nightshift.errors import UnknownNameError, nearest
from nightshift.files import read_yaml
from nightshift.plan.config import targets
from nightshift.settings import Home, find_config
from nightshift.validation import validated

NAME = "fleet"
ALL: Literal["all"] = "all"
#: The groups whose families a fleet trains, each on the data of its own.
GROUPS = (MACHINE, VEHICLE)

# Five fields of numbers, names, *, ranges, lists and steps; the scheduler knows the rest.
_CRON_FIELD = r"[\w*/,#-]+"


class BatchSettings(BaseModel):
    """How a batch of models is trained on one machine.

    Attributes:
        processes: models at once; None = as many as there are cores.
        cell_time_limit_s: a cell that takes longer is stopped and has failed.
        cell_memory_gb: resident memory of a cell's processes above which it is stopped and has failed.
        disk_mb_per_model: free disk that each model is expected to need.
        wait_s: for a cell that another run trains, before it has failed; None = `cell_time_limit_s`.
        target_batch_s: duration that a batch is made for.
        runner: `processes` on the worker's machine, or a `dask` cluster.
        dask_address: of that cluster's scheduler; "" = a local one, made for the batch. Its workers hold no GPU limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int | None = Field(default=None, ge=1)
    cell_time_limit_s: float = Field(default=7200.0, gt=0)
    cell_memory_gb: float = Field(default=4.0, gt=0)
    disk_mb_per_model: float = Field(default=500.0, ge=0)
    wait_s: float | None = Field(default=None, ge=0)
    target_batch_s: float = Field(default=1800.0, gt=0)
    runner: Literal["processes", "dask"] = "processes"
    dask_address: str = ""


class LandingSettings(BaseModel):
    """How a landing starts a run.

    Attributes:
        within_s: a burst of so many seconds starts one run ...
        after_s: ... which begins so many seconds later; more than `within_s`, or its plan might miss the last of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    within_s: float = Field(default=30.0, gt=0)
    after_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _plans_after_the_last(self) -> Self:
        if self.after_s <= self.within_s:
            raise ValueError("after_s must be more than within_s, so that the run's plan sees the whole burst")
        return self


class DeadSettings(BaseModel):
    """When a run is given up as dead.

    Attributes:
        silent_s: without a heartbeat a running one has crashed; three heartbeats at least.
        pending_s: one that has not begun its work after so long has failed.
        worker_s: so long a run of the fleet waits for a worker of a pool that has none, as after a restart at night.
        tries: of a run of the fleet, or of a batch, before what is left of it counts as failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    silent_s: float = Field(default=90.0, gt=0)
    pending_s: float = Field(default=600.0, gt=0)
    worker_s: float = Field(default=30.0, ge=0)
    tries: int = Field(default=3, ge=1)


class RetentionSettings(BaseModel):
    """What `nightshift prune` keeps beside what is in use.

    Attributes:
        versions: of each model, newest first; champion and challenger are kept beyond that.
        data_versions: of each machine, newest first; those that a kept model was trained on are kept beyond that.
        fleet_runs: newest first, with their reports.
        driving_runs: training runs of driving policies, newest first, a sweep as one; those of kept models beyond that.
        runs_days: Prefect runs that ended longer ago go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: int = Field(default=3, ge=1)
    data_versions: int = Field(default=3, ge=1)
    fleet_runs: int = Field(default=60, ge=1)
    driving_runs: int = Field(default=40, ge=1)
    runs_days: float = Field(default=60.0, gt=0)


class FleetConfig(BaseModel):
    """Which models are kept up to date.

    Attributes:
        timezone: IANA name; of the night's schedule.
        nightly: cron, five fields.
        machines: `all` = every subject with data, or ids; one without data is one blocked cell.
        families: `all` = every family, or names; each is trained on the data of its group alone.
        targets: that each model of a machine is built for.
        vehicle_targets: likewise of a vehicle.
        tags: tag -> ids, to ask for a part of the fleet.
        champion_max_age_days: a champion that is older is trained again; None = never for its age.
        promotion: what the gate lets pass becomes champion at once, or when a person says so.
        promotion_wait_h: how long a person is asked; afterwards `nightshift promote` is left.
        batch: how they are trained.
        notify: a Prefect notification block, `<type>/<name>` such as `slack-webhook/night`; "" = tell nobody.
        notify_on: of trouble only, or of every night.
        landing: how a landing starts a run.
        dead: when a run is given up as dead.
        retention: what `nightshift prune` keeps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str = "UTC"
    nightly: str = "0 2 * * *"
    machines: Literal["all"] | tuple[str, ...] = ALL
    families: Literal["all"] | tuple[str, ...] = ALL
    targets: tuple[str, ...] = Field(default=("pi",), min_length=1)
    vehicle_targets: tuple[str, ...] = Field(default=("vehicle",), min_length=1)
    tags: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    champion_max_age_days: float | None = Field(default=30.0, gt=0)
    promotion: Literal["automatic", "by_hand"] = "automatic"
    promotion_wait_h: float = Field(default=168.0, gt=0)
    batch: BatchSettings = BatchSettings()
    notify: str = Field(default="", pattern=r"^([\w-]+/[\w-]+)?$")
    notify_on: Literal["trouble", "always"] = "trouble"
    landing: LandingSettings = LandingSettings()
    dead: DeadSettings = DeadSettings()
    retention: RetentionSettings = RetentionSettings()

    @field_validator("machines", "families", mode="before")
    @classmethod
    def _is_all_or_names(cls, value: object) -> object:
        if value != ALL and not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
            raise ValueError("expected `all` or a list of names")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        known = available_timezones()
        if name not in known:
            raise ValueError(f"it is no IANA time zone; {nearest(name, known)}")
        return name

    @field_validator("nightly")
    @classmethod
    def _is_cron(cls, text: str) -> str:
        if not re.fullmatch(rf"{_CRON_FIELD}(\s+{_CRON_FIELD}){{4}}", text.strip()):
            raise ValueError("expected the five fields of cron: minute hour day month weekday, such as '0 2 * * *'")
        return text.strip()

    @model_validator(mode="after")
    def _tags_name_machines_of_the_fleet(self) -> Self:
        for tag, ids in self.tags.items():
            for subject in ids:
                if self.machines != ALL and subject not in self.machines:
                    raise ValueError(
                        f"tag '{tag}' names '{subject}', which is no machine of the fleet; "
                        f"{nearest(subject, self.machines)}"
                    )
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """Every machine that the file names, in a list or by a tag, each once."""
        listed = () if self.machines == ALL else self.machines
        return tuple(dict.fromkeys([*listed, *(subject for ids in self.tags.values() for subject in ids)]))

    @property
    def chosen_families(self) -> tuple[str, ...]:
        """The families' own names, sorted."""
        if self.families == ALL:
            return tuple(name for name in families.names() if families.get(name).group in GROUPS)
        return tuple(sorted({families.canonical(name) for name in self.families}))

    def targets_of(self, group: str) -> tuple[str, ...]:
        """Return the device classes that models of a group are built for."""
        return self.vehicle_targets if group in (VEHICLE, DRIVING) else self.targets

    @property
    def every_target(self) -> tuple[str, ...]:
        """The device classes of all groups, each once."""
        return tuple(dict.fromkeys([*self.targets, *self.vehicle_targets]))

    def includes(self, subject: str) -> bool:
        """Whether a machine with data belongs to the fleet."""
        return self.machines == ALL or subject in self.named

    def tags_of(self, subject: str) -> tuple[str, ...]:
        """Return the tags of a machine, sorted."""
        return tuple(sorted(tag for tag, ids in self.tags.items() if subject in ids))


def load_fleet(home: Home) -> FleetConfig:
    """Read the user's `configs/fleet.yaml`, else the shipped one.

    Raises:
        ConfigError: for a key or value that cannot be used; names the nearest.
        UsageError: for an id that is no machine id.
        UnknownNameError: for an unknown family or target.
    """
    path = find_config(home, "", NAME)
    config = validated(FleetConfig, read_yaml(path) if path else {}, f"{NAME}.yaml")
    for subject in config.named:
        check_subject(subject)
    if config.families != ALL:
        for family in config.families:
            families.canonical(family)
    known = targets(home)
    for target in config.every_target:
        if target not in known:
            raise UnknownNameError("target", target, known)
    return config
