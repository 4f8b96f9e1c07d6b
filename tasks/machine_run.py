"""What surrounds the cells of one machine in a flow: which, with which options, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightshift import families
from nightshift.errors import UsageError
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.outcome import CellOutcome, CellsFailedError, MachineOutcome, outcome_of_error
from tasks.artifacts import show_outcomes

if TYPE_CHECKING:
    from prefect import State


def chosen_families(names: Sequence[str]) -> tuple[str, ...]:
    """Return the families' own names, each once, in the order given.

    Raises:
        UnknownNameError: for an unknown family; names the nearest.
        UsageError: when there is none.
    """
    own = tuple(dict.fromkeys(families.canonical(name) for name in names))
    if not own:
        raise UsageError("no family is asked for.", hint=f"Known: {', '.join(families.names())}.")
    return own


def options_for(options: TrainOptions, family: str, chosen: Sequence[str]) -> TrainOptions:
    """Return the options for one of several families: the settings that it knows, checked against all of them.

    Raises:
        ConfigError: for a setting that none of the families knows.
    """
    values = settings_of(options, family, chosen)
    return TrainOptions(settings=values, config_file=options.config_file, threads=options.threads)


def machine_outcome(subject: str, target: str, states: Mapping[str, State[Any]]) -> MachineOutcome:
    """Return how the cells ended, and show it as a matrix."""
    cells = []
    for family, state in states.items():
        ended = state.result(raise_on_failure=False)
        if isinstance(ended, CellOutcome):
            cells.append(ended)
        else:
            cells.append(outcome_of_error(subject, family, target, ended))
    outcome = MachineOutcome(subject=subject, target=target, cells=tuple(cells))
    show_outcomes(f"{subject} on {target}", f"{subject}-{target}-matrix", cells)
    return outcome


def settled(outcome: MachineOutcome) -> MachineOutcome:
    """Return the outcome.

    Raises:
        CellsFailedError: when a cell failed or was blocked.
    """
    if any(c.ending in ("failed", "blocked") for c in outcome.cells):
        raise CellsFailedError(outcome)
    return outcome
