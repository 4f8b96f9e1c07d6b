"""What surrounds the machines of one run of `train-landed`: which are left, and how they ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nightshift.errors import UnknownNameError
from nightshift.plan.config import targets
from nightshift.plan.landed import Landed, LandedOutcome, MachinesFailedError, busy, landed, note_unmade
from nightshift.plan.outcome import CellsFailedError, MachineOutcome, outcome_of_error
from nightshift.settings import home
from tasks import logs
from tasks.artifacts import key_of, never_fatal

if TYPE_CHECKING:
    from prefect import State

#: What another process trains now may be cut off: a run asks again, this long at most.
WAIT_S, WAIT_LIMIT_S = 5.0, 1800.0

logger = logging.getLogger("nightshift")


class LandedRun:
    """One run over what has landed: each machine's data are tried once, and what lands meanwhile is tried too."""

    def __init__(self, target: str) -> None:
        logs.set_up()
        known = targets(home())
        if target not in known:
            raise UnknownNameError("target", target, known)
        self.target = target
        self._seen: set[tuple[str, str, str]] = set()
        self._ended: list[MachineOutcome] = []

    def left(self) -> tuple[Landed, ...]:
        """Return the machines that have landed and were not tried, by this run neither, with the families left.

        While there are none and another process trains some, it waits for that one: should it be cut off, nobody else
        would ask before the next landing.
        """
        deadline = time.monotonic() + WAIT_LIMIT_S
        found = self._unseen()
        while not found and time.monotonic() < deadline and (others := busy(home(), self.target)):
            logger.info("waiting for another process, which trains %s", ", ".join(others))
            time.sleep(WAIT_S)
            found = self._unseen()
        if found:
            logger.info("%d landed: %s", len(found), ", ".join(m.subject for m in found))
        else:
            logger.info("nothing is left that has landed and was not tried")
        return found

    def _unseen(self) -> tuple[Landed, ...]:
        left = []
        for machine in landed(home(), self.target):
            names = tuple(f for f in machine.families if (machine.subject, machine.fingerprint, f) not in self._seen)
            if names:
                left.append(replace(machine, families=names))
        return tuple(left)

    def begin(self, machine: Landed) -> None:
        """Note that a machine is tried now: should it leave no record, it is not tried for ever."""
        self._seen |= {(machine.subject, machine.fingerprint, family) for family in machine.families}

    def note(self, machine: Landed, state: State[Any]) -> None:
        """Note how a machine's run ended."""
        found = state.result(raise_on_failure=False)
        if isinstance(found, CellsFailedError):
            found = found.outcome
        if not isinstance(found, MachineOutcome):
            cells = [outcome_of_error(machine.subject, f, self.target, found) for f in machine.families]
            found = MachineOutcome(subject=machine.subject, target=self.target, cells=tuple(cells))
        for cell in found.cells:
            if not cell.cell_key and cell.ending == "failed":
                note_unmade(home(), machine, cell.family, self.target, cell.reason)
        self._ended.append(found)

    def settled(self) -> LandedOutcome:
        """Return how all machines ended, and show it as one matrix.

        Raises:
            MachinesFailedError: when a cell failed or was blocked; it holds every machine's outcome.
        """
        outcome = LandedOutcome(target=self.target, machines=tuple(self._ended))
        show_machines(outcome)
        if _any_bad(self._ended):
            raise MachinesFailedError(outcome)
        return outcome


@never_fatal
def show_machines(outcome: LandedOutcome) -> None:
    """Show the machines of a run as one table, a column to each family; nothing when there were none."""
    from prefect.artifacts import create_markdown_artifact

    families = sorted({cell.family for machine in outcome.machines for cell in machine.cells})
    if not families:
        return
    lines = [
        f"# landed, for {outcome.target}",
        "",
        f"| machine | {' | '.join(families)} |",
        "|---" * (len(families) + 1) + "|",
    ]
    for machine in outcome.machines:
        endings = {cell.family: cell.ending for cell in machine.cells}
        lines.append(f"| {machine.subject} | {' | '.join(endings.get(name, '-') for name in families)} |")
    create_markdown_artifact("\n".join(lines), key=key_of(f"landed-{outcome.target}-matrix"), description="landed")


def _any_bad(machines: Sequence[MachineOutcome]) -> bool:
    return any(c.ending in ("failed", "blocked") for m in machines for c in m.cells)
