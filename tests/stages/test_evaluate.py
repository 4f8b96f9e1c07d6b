"""What the stage `evaluate` adds to a family's word."""

from __future__ import annotations

from nightshift.findings import finding
from nightshift.stages.evaluate import _for_subject
from tests.tracking.cells import a_cell


def test_the_command_to_try_next_names_the_data_that_it_does_not_mean_anyway() -> None:
    said = "Try `nightshift train tcn --learning-rate 0.0005 --epochs 150`, or land more trips."
    missed = finding("T007", "accuracy_pct on test is 80, wanted 85.", remedy=said)
    named = said.replace("train tcn ", "train tcn --subject my_trips ")
    assert _for_subject(missed, a_cell("tcn", "my_trips")).remedy == named
    assert _for_subject(missed, a_cell("tcn", "carla_synthetic")).remedy == said
    assert _for_subject(missed, a_cell("rul", "pump_7")).remedy == said
