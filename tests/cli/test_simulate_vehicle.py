"""`simulate vehicle`: lands, does nothing twice, and refuses in one line."""

from __future__ import annotations

import pytest

from nightshift.cli import main
from nightshift.cli.simulate_vehicle import _say_memory
from nightshift.data.store import open_dataset
from nightshift.settings import Home
from nightshift.simulate.vehicle.files import Manifest, PartFigures

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


def test_a_landing_that_may_not_fit_into_memory_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"train": PartFigures(rows=36_000_000)}
    made = Manifest(key="", seed=1, episodes=10_000, seconds=3600, source="", cycles={}, figures=figures, files={})
    _say_memory(made, free_gb=8.0)
    assert "landing 36,000,000 rows takes about 14 GB of memory, 8 GB are free." in capsys.readouterr().out
    _say_memory(made, free_gb=64.0)
    assert capsys.readouterr().out == ""


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
