"""`simulate driving`: lands, does nothing twice, and refuses in one line."""

from __future__ import annotations

import pytest

from nightshift.cli import main
from nightshift.cli.simulate_driving import KINDS, SUBJECT
from nightshift.data.store import open_dataset
from nightshift.driving import landing, made
from nightshift.settings import Home

pytestmark = pytest.mark.slow

SMALL = ["simulate", "driving", "--kinds", "curve,merge", "--scenarios", "6", "--no-event"]


def test_the_command_knows_the_kinds_that_can_be_made() -> None:
    assert KINDS == made.MADE
    assert SUBJECT == landing.SUBJECT


def test_scenarios_land_once_and_the_second_call_has_nothing_to_do(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--id", "roads"]) == 0
    said = capsys.readouterr().out
    assert "making 6 scenarios (curve, merge), seed 7" in said
    assert "next: nightshift train ppo --subject roads" in said
    data = open_dataset(home, "roads")
    assert data.metadata.group == "driving"
    assert sum(p.rows for p in data.metadata.parts.values()) == 6
    assert main([*SMALL, "--id", "roads"]) == 0
    assert "Nothing to do: 'roads' holds these scenarios." in capsys.readouterr().out
    assert main([*SMALL, "--id", "roads", "--force"]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert open_dataset(home, "roads").fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenarios", "3"], "3 scenarios of 5 kinds cannot be cut into three parts."),
        (["--kinds", "highwy"], "highway"),
        (["--seed", "-1"], "the seed is -1"),
        (["--id", "../up"], "'../up' is not a machine id."),
        (["--scenario", "30"], "Did you mean '--scenarios'?"),
    ],
)
def test_wrong_words_are_refused_on_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    assert main(["simulate", "driving", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not home.data.exists() or not (home.data / "store").exists()
