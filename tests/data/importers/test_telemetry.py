"""A user's own telemetry, in the simulator's columns: parts as given, or cut by vehicle and trip."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.vehicles import trips

from nightshift.cli.app import main
from nightshift.data.importers.landing import refuse_blockers
from nightshift.data.importers.telemetry import import_telemetry
from nightshift.data.importers.telemetry_files import MAX_CSV_BYTES
from nightshift.data.store import open_dataset
from nightshift.errors import BlockedError, DataError
from nightshift.settings import Home


def write(folder: Path, frames: dict[str, pd.DataFrame], suffix: str = ".csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        path = folder / f"{name}{suffix}"
        _ = frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    return folder


def test_parts_are_landed_as_given_and_csv_and_parquet_are_the_same(home: Home, tmp_path: Path) -> None:
    made = trips()
    landed = [import_telemetry(home, write(tmp_path / kind[1:], made, kind), kind[1:]) for kind in (".csv", ".parquet")]
    for data in landed:
        assert {p: (s.rows, s.runs) for p, s in data.metadata.parts.items()} == {
            p: (len(f), f["run"].nunique()) for p, f in made.items()
        }
        assert data.metadata.group == "vehicle"
        assert data.metadata.offers >= {"fuel", "carbon", "behaviour", "odd"}
        kinds = {t.name: t.classes for t in data.metadata.truths}
        assert kinds["behaviour"] == ("calm", "normal", "aggressive")
        assert kinds["driving"][0] == "normal"
    for part in made:
        pd.testing.assert_frame_equal(landed[0].frame(part), landed[1].frame(part))
        np.testing.assert_allclose(landed[0].frame(part)["velocity"], made[part]["velocity"], rtol=1e-6)
        assert landed[0].frame(part)["driving"].tolist() == made[part]["driving"].tolist()


def test_other_files_are_cut_by_vehicle(home: Home, tmp_path: Path) -> None:
    whole = pd.concat(trips().values(), ignore_index=True)
    # Rows of several trips stand in turn, as a recorder of many cars writes them.
    mixed = whole.sort_values("time", kind="stable").sample(frac=1, random_state=0).sort_values("time", kind="stable")
    halves = {"north": mixed[mixed["vehicle"] < 6], "south": mixed[mixed["vehicle"] >= 6]}
    data = import_telemetry(home, write(tmp_path / "mine", halves, ".parquet"), "mine")
    cars = [set(data.vehicles(part)) for part in data.parts]
    assert sum(map(len, cars)) == len(set.union(*cars)) == 11
    assert sum(s.rows for s in data.metadata.parts.values()) == len(whole)
    assert not {"D003", "D005", "D013", "D014", "D024"} & {f.code for f in refuse_blockers(data)}


def test_faster_logs_are_averaged_down_and_gears_are_not(home: Home, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {}
    for name in ("one", "two", "three"):
        seconds = np.arange(0, 90, 0.05)
        velocity = 10 + np.repeat(rng.normal(0, 3, 90), 20) + np.tile(np.linspace(-1, 1, 20), 90)
        gear = np.where(np.arange(len(seconds)) % 20 < 10, 2, 3)
        odd = np.where(np.arange(len(seconds)) % 20 < 12, "swerving", "normal")
        frames[name] = pd.DataFrame({"time": seconds, "velocity [km/h]": velocity * 3.6, "gear": gear, "driving": odd})
    data = import_telemetry(home, write(tmp_path / "fast", frames), "fast", check=None)
    train = data.frame("train")
    assert [s.rows for s in data.metadata.parts.values()] == [90, 90, 90]
    assert set(train["gear"]) == {3.0}
    assert set(train["driving"]) == {"swerving"}
    assert str(train["time"].iloc[1]) == "2000-01-01 00:00:01+00:00"
    means = frames["one"]["velocity [km/h]"].to_numpy().reshape(90, 20).mean(axis=1) / 3.6
    np.testing.assert_allclose(data.frame("train")["velocity"], means, rtol=1e-5)
    np.testing.assert_allclose(train["acceleration"][1:], np.diff(means), atol=1e-5)


def test_the_command_lands_what_lies_in_the_home_and_says_what_is_remarked(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {part: frame.drop(columns="steer") for part, frame in trips().items()}
    made["test"]["driving"] = "normal"
    made["train"].loc[made["train"]["run"] == 4, "co2"] = np.nan
    write(home.data / "carla_synthetic", made, ".parquet")
    monkeypatch.setattr("nightshift.cli.land.keep_version", lambda home, subject: None)
    assert main(["import", "telemetry", "--no-event"]) == 0
    said = capsys.readouterr().out
    assert "D019 warning: `driving` is 'normal' in all rows of test: F1 and recall cannot be told" in said
    assert "D026 warning: 1 trip has no `co2`: 4." in said
    assert open_dataset(home, "carla_synthetic").metadata.parts["train"].runs == 15


def in_kmh(frames: dict[str, pd.DataFrame]) -> None:
    frames["val"].loc[frames["val"]["run"] == frames["val"]["run"].iloc[0], "velocity"] *= 3.6


def forget_a_time(frames: dict[str, pd.DataFrame]) -> None:
    frames["val"].loc[frames["val"].index[8], "time"] = pd.NaT


def repeat_numbers(frames: dict[str, pd.DataFrame]) -> None:
    frames["test"]["run"] -= frames["test"]["run"].min()


def rename(part: str, **names: str) -> Callable[[dict[str, pd.DataFrame]], None]:
    def spoil(frames: dict[str, pd.DataFrame]) -> None:
        frames[part] = frames[part].rename(columns=names)

    return spoil


def put_text(frames: dict[str, pd.DataFrame]) -> None:
    frames["train"]["throttle"] = frames["train"]["throttle"].astype(object)
    frames["train"].loc[3, "throttle"] = "full"


def only_words(frames: dict[str, pd.DataFrame]) -> None:
    for part, frame in frames.items():
        frames[part] = frame[["time", "behaviour"]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (in_kmh, "D025: 'velocity' looks like km/h in 1 of 33 trips"),
        (repeat_numbers, "D013: a trip of train.csv has the number of one of test.csv"),
        (rename("val", time="when"), "D001: val.csv has no column 'time'"),
        (rename("val", brake="Brake [bar]"), r"'Brake \[bar\]' of val.csv is in 'bar', expected one of: none, %"),
        (rename("val", brake="handbrake"), "D001: val.csv lacks the column 'brake' that other files have"),
        (forget_a_time, "D020: 'time' of val.csv is empty in row 9"),
        (put_text, r"column 'throttle' holds 'full' \(row 4\), which is no number"),
        (only_words, "holds none of the signals velocity"),
        (lambda frames: frames.pop("val"), "holds train, test and no val"),
        (lambda frames: frames.update(extra=frames["val"]), "the three parts and extra.csv"),
        (lambda frames: frames.clear(), "holds no CSV or parquet file"),
    ],
)
def test_telemetry_that_cannot_be_used_is_refused_by_name(
    home: Home, tmp_path: Path, spoil: Callable[[dict[str, pd.DataFrame]], object], words: str
) -> None:
    frames = trips()
    spoil(frames)
    with pytest.raises((DataError, BlockedError), match=words):
        import_telemetry(home, write(tmp_path / "mine", frames), "mine")


def test_a_file_that_is_cut_short_ragged_or_empty_is_refused(home: Home, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", trips(), ".parquet")
    whole = (folder / "val.parquet").read_bytes()
    (folder / "val.parquet").write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"val.parquet is no parquet file, or cut short"):
        import_telemetry(home, folder)
    (folder / "val.parquet").write_bytes(whole[:4] + bytes(3000) + whole[3004:])
    with pytest.raises(DataError, match=r"val.parquet is cut short or damaged"):
        import_telemetry(home, folder)
    (folder / "val.parquet").unlink()
    (folder / "val.csv").write_text("time,velocity\n1,2\n2,3,4\n")
    with pytest.raises(DataError, match=r"val.csv cannot be read as a table: .* line 3, saw 3"):
        import_telemetry(home, folder)
    (folder / "val.csv").write_text("time,velocity\n")
    with pytest.raises(DataError, match=r"val.csv has a header but no rows"):
        import_telemetry(home, folder)


def test_two_files_of_one_name_and_none_at_all_are_refused(home: Home, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", trips())
    write(folder, trips(), ".parquet")
    with pytest.raises(DataError, match=r"mine holds test.csv and test.parquet"):
        import_telemetry(home, folder)
    with pytest.raises(DataError, match=r"there is no carla_synthetic"):
        import_telemetry(home)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_pipe_is_refused_at_once(home: Home, tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"drive{suffix}")
    with pytest.raises(DataError, match=f"drive{suffix} cannot be read: it is no plain file"):
        import_telemetry(home, tmp_path, "mine")


def test_a_csv_that_is_too_large_is_refused_before_it_is_read(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "drive.csv"
    file.write_text("time,velocity\n")
    os.truncate(file, MAX_CSV_BYTES + 1)
    with pytest.raises(DataError, match=r"drive\.csv has 8,000,000,001 bytes; a CSV file has up to 8,000,000,000"):
        import_telemetry(home, tmp_path, "mine")
