"""What is kept, whatever `nightshift prune` removes: the rules, asked when it looks and again before it removes.

Of a model: whatever an alias refers to, the champion that a rollback would go back to, what waits for a person, the
last versions, what is not whole yet, and the version of the cell that the plan finds up to date, which is an old one
after `nightshift data checkout`. Of the work: the cells of those versions,
and the one that each model was last worked on. Of the data: the present version, the last ones, and whatever a kept
model or cell was made from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nightshift.data import store as datasets
from nightshift.errors import NightshiftError, UnknownNameError
from nightshift.plan.records import work_folder
from nightshift.plan.state import make_cell, newest, refreshed
from nightshift.settings import Home
from nightshift.tracking import promotion, runs
from nightshift.tracking.versions import PRUNED, READY, STATE, Held


@dataclass(frozen=True)
class InUse:
    """The cells of a model that the plan, or the next run of it, looks at.

    Attributes:
        keys: of those cells.
        dataset: the subject's present data where the config cannot be read: whatever was made from them is kept then.
    """

    keys: frozenset[str]
    dataset: str = ""

    def uses(self, cell_key: str, dataset: str) -> bool:
        """Whether a cell is one of them, or may be."""
        return cell_key in self.keys or bool(self.dataset and dataset == self.dataset)


def split_name(name: str) -> tuple[str, str, str] | None:
    """Return (subject, family, target) of a registry name; None for a model that is not Nightshift's."""
    pieces = name.split(".")
    return (pieces[0], pieces[1], pieces[2]) if len(pieces) == 3 and all(pieces) else None


def in_use(home: Home, name: str) -> InUse:
    """Return the cells of a model that somebody will look at: the present one, and the one last worked on."""
    pieces = split_name(name)
    last = newest(home, name)
    keys = {last.key} if last else set()
    if pieces is None:
        return InUse(frozenset(keys))
    try:
        present = datasets.current(home, pieces[0])
    except NightshiftError:
        return InUse(frozenset(keys))
    try:
        keys.add(make_cell(home, *pieces, dataset=present).key)
        if last is not None:
            keys.add(refreshed(home, last).key)
    except UnknownNameError:
        # A family or a target that there is no more: nothing of it is trained again.
        return InUse(frozenset(keys))
    except NightshiftError:
        return InUse(frozenset(keys), present)
    return InUse(frozenset(keys))


def kept(home: Home, held: Sequence[Held], used: InUse, last: int) -> dict[int, str]:
    """Return which versions of a model are kept, and why; version -> reason.

    Args:
        home: where the records are.
        held: all versions of the model, newest first.
        used: its cells in use.
        last: so many of the newest are kept.
    """
    found: dict[int, str] = {}
    ready = [h.version.version for h in held if h.version.tags.get(STATE) == READY][:last]
    registered = {version_of(work_folder(home, key)) for key in used.keys}
    person = _for_a_person(held)
    for one in held:
        version = one.version
        if one.aliases:
            found[version.version] = ", ".join(sorted(one.aliases))
        elif version.tags.get(STATE) == PRUNED:
            continue
        elif version.tags.get(STATE) != READY:
            found[version.version] = "its registration has not ended"
        elif version.version in person:
            found[version.version] = person[version.version]
        elif version.version in ready:
            found[version.version] = f"one of the last {last}"
        elif version.version in registered or used.uses("", version.tags.get(runs.DATASET, "")):
            found[version.version] = "of the present data"
    return found


def _for_a_person(held: Sequence[Held]) -> dict[int, str]:
    """Return what a person may want to make champion next; version -> why it is kept."""
    wanted = ((promotion.waiting(held), "waits for a person"), (promotion.before(held), "the champion before"))
    return {version.version: why for version, why in wanted if version}


def version_of(folder: Path) -> int | None:
    """Return the version that a cell's work folder was registered as, None when it was not."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / "register.json").read_bytes())
        return int(record["summary"]["version"]) if record["status"] == "done" else None
    return None


def dataset_of(bundle: Path) -> str:
    """Return the fingerprint of what a bundle was trained on, "" when it does not say."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((bundle / "bundle.json").read_bytes())["fingerprints"]["dataset"])
    return ""
