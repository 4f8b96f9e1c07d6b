"""Profiles kept from the dashboard: a shipped machine stays as it is, and one that exists unless that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.dashboard.auth import User
from nightshift.dashboard.service import Service
from nightshift.data.schema import check_subject
from nightshift.errors import UsageError
from nightshift.simulate.keep import RefusedProfileError, TakenError, is_shipped, keep, path_of
from nightshift.simulate.profile import read_profile_yaml
from nightshift.simulate.profile_problems import Problem

#: What addresses of pages and of the API end in.
RESERVED = ("new", "templates")


def save(service: Service, user: User, machine: str, content: Mapping[str, Any], *, replace: bool) -> None:
    """Keep a machine's profile, and note who did.

    Raises:
        UsageError: for an id that no new machine can have.
        TakenError: when the machine exists, unless it is to be replaced; of a shipped one always.
        RefusedProfileError: for a profile that is not good.
    """
    check_subject(machine)
    if machine in RESERVED:
        raise UsageError(f"'{machine}' is an address of this dashboard.", hint="Take another id, such as pump_7.")
    if is_shipped(machine):
        raise TakenError(f"'{machine}' came with Nightshift and stays as it is.", hint="Take another id.")
    if "families" in content:
        beside = "settings of trainings are no part of a profile; they are written into its file by hand"
        raise RefusedProfileError(machine, (Problem("families", beside),))
    path = path_of(service.home, machine)
    # Settings of the machine's trainings stand beside its profile, and are none of this form's.
    settings = {k: v for k, v in (read_profile_yaml(path) if path.is_file() else {}).items() if k == "families"}
    keep(service.home, machine, {**content, **settings}, replace=replace)
    service.audit.note(user.name, "saved profile", machine, replaced=replace)
