"""Profiles that people write: checked as they will stand in the file, and kept under the home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UsageError
from nightshift.files import parse_yaml, write_atomic
from nightshift.settings import Home, find_config, packaged_configs
from nightshift.simulate.profile import Profile, find_problems
from nightshift.simulate.profile_problems import Problem
from nightshift.simulate.wizard import to_yaml

#: Nm of a kilowatt at one revolution a minute.
_TORQUE = 9549.3
_ROOM = 1.2


class RefusedProfileError(ConfigError):
    """A profile that cannot be kept; `problems` says everything that is wrong with it."""

    def __init__(self, machine: str, problems: Sequence[Problem]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(f"the profile of {machine} is refused: {count}.", hint="Mend what is named.")
        self.problems = tuple(problems)


class TakenError(UsageError):
    """A machine's file that exists already."""


def is_shipped(machine: str) -> bool:
    """Whether a machine's file came with Nightshift."""
    return (packaged_configs() / "machines" / f"{machine}.yaml").is_file()


def path_of(home: Home, machine: str) -> Path:
    """Return where a machine's own file lies, or would lie.

    Raises:
        UsageError: for text that is no machine id.
    """
    return home.configs / "machines" / f"{check_subject(machine)}.yaml"


def refuse_taken(home: Home, machine: str) -> None:
    """See that a machine has no file yet, shipped or of its own.

    Raises:
        TakenError: when it has.
    """
    if find_config(home, "machines", machine) is not None:
        raise TakenError(
            f"machines/{machine}.yaml exists already.", hint="Choose another id, or replace it by --force."
        )


def problems_as_kept(machine: str, content: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with a profile; of a good one, with what its file would hold."""
    return find_problems(content) or find_problems(parse_yaml(to_yaml(content), f"{machine}.yaml"))


def keep(home: Home, machine: str, content: Mapping[str, Any], *, replace: bool = False) -> Path:
    """Write a machine's profile under the home, whole or not at all, and return its file.

    Raises:
        UsageError: for text that is no machine id.
        RefusedProfileError: for a profile that is not good.
        TakenError: when the machine has a file already, unless that is to be replaced.
    """
    path = path_of(home, machine)
    problems = problems_as_kept(machine, content)
    if problems:
        raise RefusedProfileError(machine, problems)
    if not replace:
        refuse_taken(home, machine)
    write_atomic(path, to_yaml(content).encode())
    return path


def remarks(profile: Profile) -> Iterator[Problem]:
    """Yield what is allowed in a profile, and probably not meant."""
    plate = profile.nameplate
    rated = {"torque": _TORQUE * plate.rated_power_kw / plate.rated_speed_rpm, "input_power": plate.rated_power_kw}
    for i, sensor in enumerate(profile.sensors):
        if sensor.measures in rated and sensor.range[1] < _ROOM * rated[sensor.measures]:
            ends = f"ends at {sensor.range[1]:g}, and the rated {sensor.measures} is {rated[sensor.measures]:.4g}"
            yield Problem(f"sensors.{i}.range", ends)
    if all(s.alarm_below is None and s.alarm_above is None for s in profile.sensors):
        silent = "no sensor has an alarm limit, so the threshold rule that models are compared with is silent"
        yield Problem("", silent)
    if not any(s.critical for s in profile.sensors):
        yield Problem("", "no sensor is critical, so none is forecast")
