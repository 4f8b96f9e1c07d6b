"""OBD-II logs: real trips of one car, and the ways in which such files go wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import refuse_blockers
from nightshift.data.importers.obd import MAX_TRIP_BYTES, import_obd
from nightshift.errors import BlockedError, ConfigError, DataError
from nightshift.findings import Finding
from nightshift.settings import Home

HEADER = "Time,Vehicle Speed Sensor [km/h],Engine RPM [RPM],Air Flow Rate from Mass Flow Sensor [g/s]"


def write_trip(folder: Path, name: str, *, rows: int = 900, header: str = HEADER, start: str = "08:00:00") -> Path:
    """Ten rows a second: speed rises and falls, revs and air follow it."""
    folder.mkdir(exist_ok=True)
    second = np.arange(rows) / 10
    hours, minutes, seconds = (int(p) for p in start.split(":"))
    clock = (hours * 3600 + minutes * 60 + seconds + second) % 86_400
    kmh = 50 + 45 * np.sin(second / 9 + len(name) + sum(map(ord, name)))
    lines = [
        f"{int(t // 3600):02d}:{int(t % 3600 // 60):02d}:{t % 60:06.3f},{v:.1f},{900 + 20 * v:.0f},{3 + v / 8:.2f}"
        for t, v in zip(clock, kmh, strict=True)
    ]
    path = folder / name
    path.write_bytes("\n".join([header, *lines, ""]).encode("latin-1"))
    return path


def three_trips(folder: Path) -> Path:
    for day, traffic in enumerate(("Stau", "Frei", "Normal"), start=1):
        write_trip(folder, f"2024-05-0{day}_Fiat_Panda_A_B_{traffic}.csv")
    return folder


def remarks(data: Dataset) -> dict[str, Finding]:
    return {f.code: f for f in refuse_blockers(data)}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Dataset:
    return import_obd(Home(tmp_path_factory.mktemp("kit")), shared_data / "kit_obd2_visible", timezone="Europe/Berlin")


def test_real_trips_are_a_row_a_second_and_whole_in_one_part(kit: Dataset) -> None:
    assert kit.subject == "obd_seat_leon"
    assert {p: (s.rows, s.runs) for p, s in kit.metadata.parts.items()} == {
        "train": (3106, 3),
        "val": (1157, 1),
        "test": (3949, 4),
    }
    days = {part: set(kit.frame(part)["time"].dt.date) for part in kit.parts}
    assert sum(len(d) for d in days.values()) == len(set.union(*days.values())) == 7
    for part in kit.parts:
        steps = kit.frame(part).groupby("run")["time"].diff().dt.total_seconds().dropna()
        assert set(steps) == {1.0}
    assert str(kit.frame("train")["time"].iloc[0]) == "2017-07-10 06:57:05+00:00"


def test_every_kind_of_traffic_is_in_train_and_in_test(kit: Dataset) -> None:
    truth = kit.metadata.truth("behaviour")
    assert truth is not None
    assert truth.classes == ("free", "normal", "jam")
    for part in ("train", "test"):
        assert set(kit.truth(part, "behaviour")) == {0.0, 1.0, 2.0}


def test_real_signals_are_in_their_units_and_air_mass_is_no_input(kit: Dataset) -> None:
    assert kit.metadata.columns == (
        "velocity",
        "acceleration",
        "throttle",
        "engine_rpm",
        "accelerator_pedal",
        "manifold_pressure",
        "coolant_temperature",
        "intake_air_temperature",
        "ambient_temperature",
    )
    assert kit.frame("test")["velocity"].max() == pytest.approx(111 / 3.6, rel=0.01)
    assert kit.frame("train")["throttle"].max() == pytest.approx(0.89)
    # Ten rows: 8.24 g/s of air in each, 6 km/h in nine, 4 in the last.
    row = kit.frame("train").set_index("time").loc["2017-07-10 06:57:24"]
    assert row["fuel_consumption"] == pytest.approx(8.24 * 3600 / (14.7 * 745), rel=1e-5)
    assert row["co2"] == pytest.approx(row["fuel_consumption"] * 2348 / 3600, rel=1e-5)
    assert row["velocity"] == pytest.approx((9 * 6 + 4) / 10 / 3.6, rel=1e-5)


def test_what_is_odd_about_the_real_files_is_said(kit: Dataset) -> None:
    found = remarks(kit)
    assert "6 files, such as 2017-07-10_Seat_Leon_KA_KA_Stau.csv, have a mis-encoded degree" in found["D028"].what
    assert "as a diesel's does" in found["D027"].what
    assert "vehicle 0 of 1 drives in several parts" in found["D024"].what
    assert "holds only normal in val" in found["D019"].what
    assert found["D021"].columns == ("Accelerator Pedal Position E [%]",)
    assert not {"D003", "D004", "D005", "D006", "D008", "D014", "D015", "D023", "D025"} & set(found)


def test_trips_in_time_order_put_the_latest_into_test(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    data = import_obd(home, folder, order="time")
    assert [str(data.frame(p)["time"].iloc[0].date()) for p in data.parts] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert data.subject == "obd_fiat_panda"


def test_cars_are_kept_apart_where_three_drive(home: Home, tmp_path: Path) -> None:
    for number, car in enumerate(("Fiat_Panda", "Seat_Leon", "VW_Golf", "Audi_A3")):
        for day in (1, 2):
            write_trip(tmp_path / "trips", f"2024-05-0{day}_{car}_A_B_{'Frei' if number % 2 else 'Stau'}.csv")
    data = import_obd(home, tmp_path / "trips")
    cars = [set(data.vehicles(part)) for part in data.parts]
    assert set.union(*cars) == {0, 1, 2, 3}
    assert sum(map(len, cars)) == 4
    assert "D024" not in remarks(data)
    assert data.subject == "obd_fleet"


def test_a_pause_cuts_a_trip_in_stretches_of_one_part_and_short_ends_are_left_out(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    first = folder / "2024-05-01_Fiat_Panda_A_B_Stau.csv"
    rows = write_trip(folder, first.name, rows=3000).read_text().splitlines(keepends=True)
    # Seconds 80 to 99, 180 and 181, and 240 to 297 are gone.
    first.write_text("".join([rows[0], *rows[1:801], *rows[1001:1801], *rows[1821:2401], *rows[2981:]]))
    data = import_obd(home, folder, order="time")
    assert data.frame("train").groupby("run").size().tolist() == [80, 140]
    assert data.metadata.provenance.details["seconds_left_out"] == 2
    assert data.metadata.provenance.details["seconds_held"] == 2


def test_a_clock_that_passes_midnight_goes_on(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    write_trip(folder, "2024-05-01_Fiat_Panda_A_B_Stau.csv", start="23:59:30")
    times = import_obd(home, folder, order="time").frame("train")["time"]
    assert (str(times.iloc[0]), str(times.iloc[-1])) == ("2024-05-01 23:59:30+00:00", "2024-05-02 00:00:59+00:00")


def test_sparse_rows_hold_a_reading_for_five_seconds(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    path = folder / "2024-05-01_Fiat_Panda_A_B_Stau.csv"
    lines = path.read_text().splitlines()
    # One value a row in turn, as a logger that asks for one after the other writes; no revs from 20 to 40 s.
    cells = [line.split(",") for line in lines]
    for i, row in enumerate(cells[1:]):
        row[1:] = [cell if j == i % 3 and not (j == 1 and 200 <= i < 400) else "" for j, cell in enumerate(row[1:])]
    path.write_text("\n".join(",".join(row) for row in cells))
    frame = import_obd(home, folder, order="time").frame("train")
    assert frame["velocity"].notna().all()
    assert frame["engine_rpm"].isna().sum() == 20 - 5


def test_units_may_differ_from_file_to_file_and_mangled_degrees_are_read(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    names = sorted(p.name for p in folder.iterdir())
    write_trip(folder, names[0], header=HEADER.replace("km/h", "mph"))
    mangled = "Time,Vehicle Speed Sensor [km/h],Engine RPM [RPM],Engine Coolant Temperature [\xc2\x83\xc2\xb0F]"
    write_trip(folder, names[1], header=mangled)
    write_trip(folder, names[2], header=HEADER.replace(" [km/h]", ""))
    data = import_obd(home, folder, order="time")
    assert data.frame("train")["velocity"].max() == pytest.approx(95 * 0.44704, rel=0.01)
    assert data.frame("test")["velocity"].max() == pytest.approx(95 / 3.6, rel=0.01)
    assert data.frame("val")["coolant_temperature"].iloc[0] < 0
    assert names[1] in remarks(data)["D028"].what


def test_a_trip_shorter_than_a_window_and_one_without_its_kind_are_found(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    write_trip(folder, "2024-04-01_Fiat_Panda_A_B_Stau.csv", rows=200)
    write_trip(folder, "2024-04-02_Fiat_Panda_A_B_schnell.csv")
    found = remarks(import_obd(home, folder, order="time"))
    assert "1 of 3 trips of train are shorter than the 60 rows of a window (the shortest: 20)" in found["D023"].what
    assert "1 trip has no `behaviour`" in found["D026"].what


def rename(old: str, new: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = min(folder.iterdir())
        path.write_text(path.read_text().replace(old, new))

    return spoil


def go_back(folder: Path) -> None:
    path = min(folder.iterdir())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[300:600], *lines[1:300]]))


def once_in_five_seconds(folder: Path) -> None:
    for path in folder.iterdir():
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], *lines[1::50]]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rename("km/h", "furlong"), r"'Vehicle Speed Sensor \[furlong\]' .* in 'furlong', expected one of: m/s, km/h"),
        (rename("Vehicle Speed Sensor", "Haste"), "no column of vehicle speed"),
        (rename("Time,", "Number,"), "no column of time"),
        (rename("08:00:01.000,", "yesterday,"), r"holds 'yesterday' \(row 11\), expected a time such as"),
        (rename("08:00:01.000,", "08:00:01.000,fast"), "which is no number"),
        (lambda folder: min(folder.iterdir()).rename(folder / "first.csv"), "first.csv tells the time of day and no"),
        (lambda folder: min(folder.iterdir()).unlink(), "2 trips cannot be cut into three parts"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no CSV file"),
        (go_back, "D003: time goes back in row"),
        (once_in_five_seconds, "are 5 s apart, expected 1 s or less"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(
    home: Home, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = three_trips(tmp_path / "trips")
    spoil(folder)
    with pytest.raises(DataError, match=words):
        import_obd(home, folder)


def test_a_signal_out_of_reach_and_an_unknown_zone_are_told(home: Home, tmp_path: Path) -> None:
    folder = three_trips(tmp_path / "trips")
    with pytest.raises(ConfigError, match="'Mars/Base' is no time zone"):
        import_obd(home, folder, timezone="Mars/Base")
    for path in folder.iterdir():
        write_trip(folder, path.name, header=HEADER.replace("km/h", "m/s"))
    assert "velocity" in remarks(import_obd(home, folder))["D008"].what
    for path in folder.iterdir():
        write_trip(folder, path.name, header=HEADER.replace("Engine RPM [RPM]", "Coolant Temperature [°C]"))
    with pytest.raises(BlockedError, match=r"D025.*coolant_temperature .looks like kelvin in 3 of 3 trips"):
        import_obd(home, folder)


def test_a_pipe_and_a_trip_that_is_too_large_are_refused_at_once(home: Home, tmp_path: Path) -> None:
    pipe, large = tmp_path / "a" / "pipe.csv", tmp_path / "b" / "large.csv"
    for path in (pipe, large):
        path.parent.mkdir()
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"pipe\.csv cannot be read: it is no plain file"):
        import_obd(home, pipe.parent)
    large.touch()
    os.truncate(large, MAX_TRIP_BYTES + 1)
    with pytest.raises(DataError, match=r"large\.csv is larger than 100,000,000 bytes"):
        import_obd(home, large.parent)
