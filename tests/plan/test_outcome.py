from __future__ import annotations

import pickle

import pytest

from nightshift.errors import BlockedError, TrainingError
from nightshift.plan.outcome import CellOutcome, CellsFailedError, MachineOutcome, outcome_of_error


def cell(ending: str, family: str = "anomaly") -> CellOutcome:
    return CellOutcome(subject="m", family=family, target="pi", ending=ending, reason="because")


@pytest.mark.parametrize(
    ("endings", "code"),
    [
        (["trained", "up to date", "not applicable"], 0),
        (["trained", "failed", "blocked"], 1),
        (["trained", "blocked", "unregistered"], 3),
        (["trained", "unregistered"], 4),
        ([], 0),
    ],
)
def test_the_gravest_ending_decides_the_exit_code(endings, code):
    outcome = MachineOutcome(subject="m", target="pi", cells=tuple(cell(e) for e in endings))
    assert outcome.exit_code == code


def test_an_error_tells_whether_data_blocked_it():
    blocked = outcome_of_error("m", "rul", "pi", BlockedError("no `rul`.", hint="Land it."))
    assert (blocked.ending, blocked.reason, blocked.hint) == ("blocked", "no `rul`.", "Land it.")
    assert outcome_of_error("m", "rul", "pi", TrainingError("x")).exit_code == 1
    assert outcome_of_error("m", "rul", "pi", ValueError("fault")).reason == "ValueError: fault"


def test_the_error_of_a_machine_names_the_cells_and_survives_a_process_border():
    outcome = MachineOutcome(subject="m", target="pi", cells=(cell("failed", "rul"), cell("trained")))
    error = pickle.loads(pickle.dumps(CellsFailedError(outcome)))
    assert "rul failed: because" in str(error)
    assert "anomaly" not in str(error)
    assert (error.exit_code, error.outcome) == (1, outcome)
