"""`simulate vehicle`: lands, does nothing twice, and refuses in one line."""

from __future__ import annotations

import pytest

from nightshift.cli import main
from nightshift.data.store import open_dataset
from nightshift.settings import Home

# DVC's own dependency warns of its next version.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

SMALL = ["simulate", "vehicle", "--episodes", "12", "--minutes", "6", "--no-event"]


def test_trips_land_once_and_the_second_call_has_nothing_to_do(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert "the cars drive in made traffic" in said
    assert "of rows dangerous; cycles: made_" in said
    data = open_dataset(home, "carla_synthetic")
    assert data.metadata.group == "vehicle"
    assert sum(p.rows for p in data.metadata.parts.values()) == 12 * 360
    assert main(SMALL) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert open_dataset(home, "carla_synthetic").fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--episodes", "3"], "episodes is 3, expected 6 to 100,000."),
        (["--minutes", "1"], "an episode of 60 s is refused, expected 5 to 1,440 minutes."),
        (["--cycles", "/nowhere/at/all"], "there is no folder 'all' of drive cycles."),
        (["--episode", "3"], "Did you mean '--episodes'?"),
    ],
)
def test_wrong_words_are_refused_on_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    assert main(["simulate", "vehicle", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (home.data / "carla_synthetic").exists()
