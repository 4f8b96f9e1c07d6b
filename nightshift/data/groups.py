"""Which group of families a subject's data are for, and what is asked of a group where nobody says more.

Read from the dataset's description alone: a plan asks it of every machine of a fleet.
"""

from __future__ import annotations

import json

from nightshift.data import shared
from nightshift.data.remote import open_remote
from nightshift.data.store import METADATA, folder_of
from nightshift.settings import Home

MACHINE, VEHICLE, DRIVING, ESTIMATOR = "machine", "vehicle", "driving", "estimator"
#: group -> what its data are called on pages.
NAMES = {MACHINE: "Machines", VEHICLE: "Vehicles", DRIVING: "Driving policies", ESTIMATOR: "Tables"}
#: group -> the device class that its models are built for.
TARGETS = {MACHINE: "pi", VEHICLE: "vehicle", DRIVING: "vehicle", ESTIMATOR: "server"}
#: group -> the subject that is meant where none is named.
SUBJECTS = {VEHICLE: "carla_synthetic", DRIVING: "adplanning"}


def group_of(home: Home, subject: str, fingerprint: str) -> str:
    """Return the group of a dataset, `machine` where its description is gone.

    Raises:
        ServiceError, TransientError: when it lies in the shared store alone, and that cannot be used.
    """
    try:
        text = (folder_of(home, subject, fingerprint) / METADATA).read_bytes()
    except OSError:
        return _group_there(home, subject, fingerprint)
    return _group(text)


def _group_there(home: Home, subject: str, fingerprint: str) -> str:
    """Return the group as the shared store knows it; asked for once."""
    noted = f"group/{subject}.{fingerprint[:12]}"
    known = shared.seen(home, noted)
    if known:
        return known
    remote = open_remote(home)
    text = remote.get(f"datasets/{subject}/{fingerprint}/{METADATA}") if remote is not None else None
    if text is None:
        return MACHINE
    group = _group(text)
    shared.note_seen(home, noted, group)
    return group


def _group(text: bytes) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return MACHINE
    return str(found.get("group", MACHINE)) if isinstance(found, dict) else MACHINE
