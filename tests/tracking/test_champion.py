"""Challenger and champion on the same rows: which rows those are, and when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import tables, vehicles
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.dataset import Dataset
from nightshift.data.schema import TimeKind
from nightshift.data.store import land
from nightshift.data.tables import land_table
from nightshift.edge.manifest import BundleManifest, Column, Interface, Output
from nightshift.edge.runtime import Model
from nightshift.edge.signature import KEY_VARIABLE
from nightshift.files import sha256_file, write_atomic
from nightshift.graphs.build import Graph
from nightshift.plan.cell import Cell
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, ScoreRow, UnitStatistics
from nightshift.problems.problem import Samples
from nightshift.settings import Home
from nightshift.tracking.champion import Contender, NotComparableError, _unseen, compare, epoch_s
from nightshift.tracking.finished import Finished, read_bundle, staging_folder
from tests.tracking.bundles import a_cell, finish, threshold_for
from tests.tracking.cells import a_manifest

STEPS = 144


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("champion")) as home:
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_demo(place, seed=5)


def finished(home: Home, cell: Cell, evaluation: Evaluation) -> Finished:
    folder = staging_folder(home, cell.key)
    manifest, bundle_id = read_bundle(folder)
    return Finished(cell, folder, manifest, bundle_id, evaluation, {})


def contender(given: Finished, **change: object) -> Contender:
    return Contender(given.bundle, given.manifest.model_copy(update=change), given.evaluation)


@pytest.fixture(scope="module")
def pair(place: Home, data: Dataset) -> tuple[Finished, Finished]:
    """Two models of one threshold each: (challenger, champion)."""
    cells = [a_cell(data, seed) for seed in (1, 2)]
    good = finished(place, cells[0], finish(place, cells[0], data, threshold_for(data)))
    return good, finished(place, cells[1], finish(place, cells[1], data, threshold_for(data, 0.8)))


def f1(statistics: UnitStatistics) -> float:
    return float(problems.get("anomaly").from_sums(np.asarray(statistics.values).sum(axis=0)))


def test_on_the_same_data_both_are_judged_on_the_whole_test_part(place: Home, pair: tuple[Finished, Finished]) -> None:
    good, weaker = pair
    compared = compare(place, good, contender(weaker))
    assert compared.challenger == good.evaluation.statistics
    assert compared.champion == weaker.evaluation.statistics
    assert f1(compared.challenger) > f1(compared.champion) + 0.05


def test_only_rows_later_than_the_champions_training_count(
    place: Home, data: Dataset, pair: tuple[Finished, Finished]
) -> None:
    good, weaker = pair
    compared = compare(place, good, contender(weaker, trained_until="2025-04-28T00:00:00Z"))
    assert compared.challenger.units == compared.champion.units
    assert 0 < len(compared.champion.units) < len(good.evaluation.statistics.units)  # type: ignore[union-attr]
    rows = np.asarray(compared.champion.values).sum()
    assert 0 < rows < data.metadata.parts["test"].rows


def test_a_champion_that_has_seen_everything_cannot_be_compared(place: Home, pair: tuple[Finished, Finished]) -> None:
    good, weaker = pair
    with pytest.raises(NotComparableError, match="2025-06-01"):
        compare(place, good, contender(weaker, trained_until="2025-06-01T00:00:00Z"))
    with pytest.raises(NotComparableError, match="up to when"):
        compare(place, good, contender(weaker, trained_until=None))


@pytest.mark.parametrize("kind", [TimeKind.CYCLES, TimeKind.NONE])
def test_without_a_clock_only_the_same_data_can_be_compared(
    place: Home, data: Dataset, pair: tuple[Finished, Finished], kind: TimeKind
) -> None:
    weaker = contender(pair[1], trained_until=None)
    timeless = replace(data, metadata=data.metadata.model_copy(update={"time_kind": kind}))
    rows = Samples({}, {}, np.array(["0"] * 7), np.arange(7.0))
    assert _unseen(place, timeless, rows, weaker).tolist() == [True] * 7
    with pytest.raises(NotComparableError, match="no clock"):
        _unseen(place, replace(timeless, fingerprint="f" * 64), rows, weaker)


def test_a_damaged_champion_is_a_reason_and_not_a_crash(
    place: Home, pair: tuple[Finished, Finished], tmp_path: Path
) -> None:
    good, weaker = pair
    with pytest.raises(NotComparableError, match="BundleError"):
        compare(place, good, replace(contender(weaker), folder=tmp_path))


def test_a_key_that_is_younger_than_the_champion_keeps_out_none_that_the_registry_knows(
    place: Home, pair: tuple[Finished, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, weaker = pair
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef" * 2)
    known = replace(contender(weaker), bundle_id=weaker.bundle_id)
    assert compare(place, good, known).champion == weaker.evaluation.statistics
    with pytest.raises(NotComparableError, match="SignatureError"):
        compare(place, good, contender(weaker))
    with pytest.raises(NotComparableError, match="SwappedFileError"):
        compare(place, good, replace(known, bundle_id=good.bundle_id))
    with pytest.raises(ValueError, match="known by its bundle_id"):
        Model.load(weaker.bundle, require_signature=False)


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert epoch_s("1970-01-01T01:00:00Z") == epoch_s("1970-01-01T01:00:00") == 3600
    assert epoch_s("1970-01-01T01:00:00+01:00") == 0


def a_forecast(folder: Path, data: Dataset, sensor: str, factor: float) -> BundleManifest:
    """A bundle that says: tomorrow reads `factor` times the newest value."""
    unit = next(s.unit for s in data.metadata.sensors if s.name == sensor)
    graph = Graph("newest")
    window = graph.input("window", "float32", ("batch", 6, 1))
    graph.input("time_s", "int64", ("batch",))
    newest = graph.add("Gather", window, graph.const([-1], "int64"), axis=1)
    scaled = graph.add("Mul", newest, graph.const(factor, "float32"))
    repeated = graph.add("Tile", scaled, graph.const([1, STEPS, 1], "int64"))
    graph.output(repeated, "yhat", "float32", ("batch", STEPS, 1))
    write_atomic(folder / "model.onnx", bytes(graph.build().SerializeToString()))
    interface = Interface(
        columns=(Column(name=sensor, unit=unit),),
        window_rows=6,
        uses_time=True,
        outputs=(Output(name="yhat", dtype="float32", shape=("batch", STEPS, 1)),),
        sensors=(sensor,),
        steps=STEPS,
        step_s=600.0,
    )
    cell = a_cell(data, 1).model_copy(update={"family": "forecast"})
    manifest = a_manifest(cell).model_copy(
        update={
            "problem": "forecast",
            "interface": interface,
            "hashes": {"model.onnx": sha256_file(folder / "model.onnx")},
        }
    )
    write_atomic(folder / "bundle.json", manifest.model_dump_json().encode())
    return manifest


def backtested(mase: float, units: list[str]) -> Evaluation:
    return Evaluation(
        problem="forecast",
        primary="mase",
        higher_is_better=False,
        headline_part="backtest",
        rows=[ScoreRow(who="shipped", kind="model", part="backtest", metrics={"mase": mase})],
        statistics=UnitStatistics(units=units, values=[[mase * STEPS, STEPS]] * len(units), runs=len(units)),
    )


DAYS = [f"2025-04-{day}" for day in range(20, 31)]


def a_challenger(data: Dataset, manifest: BundleManifest, folder: Path) -> Finished:
    cell = a_cell(data, 1).model_copy(update={"family": "forecast"})
    return Finished(cell, folder, manifest, "b" * 64, backtested(0.8, DAYS), {})


def test_forecasts_on_the_same_data_are_compared_by_their_backtests(place: Home, data: Dataset, tmp_path: Path) -> None:
    manifest = a_forecast(tmp_path, data, "winding_temperature_c", 1.0)
    until = data.metadata.parts["test"].last
    same = manifest.model_copy(
        update={
            "trained_until": until,
            "fingerprints": manifest.fingerprints.model_copy(update={"dataset": data.fingerprint}),
        }
    )
    kept = backtested(0.9, [*DAYS[2:], "2025-05-01"])
    compared = compare(place, a_challenger(data, manifest, tmp_path), Contender(tmp_path, same, kept))
    assert compared.challenger.units == compared.champion.units == DAYS[2:]
    with pytest.raises(NotComparableError, match="not kept"):
        compare(place, a_challenger(data, manifest, tmp_path), Contender(tmp_path, same, None))


def test_on_newer_data_the_champions_graph_answers_the_days_it_has_not_seen(
    place: Home, data: Dataset, tmp_path: Path
) -> None:
    manifest = a_forecast(tmp_path, data, "winding_temperature_c", 1.0)
    older = manifest.model_copy(
        update={
            "trained_until": "2025-04-26T12:00:00Z",
            "fingerprints": manifest.fingerprints.model_copy(update={"dataset": "f" * 64}),
        }
    )
    compared = compare(place, a_challenger(data, manifest, tmp_path), Contender(tmp_path, older, None))
    assert compared.champion.units == [d for d in DAYS if d >= "2025-04-26"]
    mase = float(problems.get("forecast").from_sums(np.asarray(compared.champion.values).sum(axis=0)))
    assert 0.2 < mase < 5
    seen = older.model_copy(update={"trained_until": data.metadata.parts["test"].last})
    with pytest.raises(NotComparableError, match="later than its training"):
        compare(place, a_challenger(data, manifest, tmp_path), Contender(tmp_path, seen, None))


def test_a_forecast_is_not_compared_with_an_estimate(place: Home, pair: tuple[Finished, Finished]) -> None:
    good, weaker = pair
    ahead = weaker.manifest.interface.model_copy(update={"steps": 60})
    with pytest.raises(NotComparableError, match="another time"):
        compare(place, good, contender(weaker, interface=ahead))


def trips_of(data: Dataset) -> Samples:
    """The test part's rows, each with its trip."""
    return Samples({}, {}, data.units("test"), data.times_s("test"))


def trained_on(data: Dataset, folder: Path) -> Contender:
    """A champion that says it has seen everything, whenever it was."""
    manifest = a_manifest(a_cell(data, 1))
    prints = manifest.fingerprints.model_copy(update={"dataset": data.fingerprint})
    until = data.metadata.parts["test"].last
    return Contender(folder, manifest.model_copy(update={"trained_until": until, "fingerprints": prints}), None)


def test_trips_are_cut_by_vehicle_so_the_same_data_s_test_part_is_unseen_whenever_it_was_driven(
    place: Home, tmp_path: Path
) -> None:
    trips = vehicles.small_vehicles(place)
    champion = trained_on(trips, tmp_path)
    assert _unseen(place, trips, trips_of(trips), champion).all()
    prints = champion.manifest.fingerprints.model_copy(update={"dataset": "f" * 64})
    gone = replace(champion, manifest=champion.manifest.model_copy(update={"fingerprints": prints}))
    with pytest.raises(NotComparableError, match="cannot be read"):
        _unseen(place, trips, trips_of(trips), gone)


def test_trips_simulated_anew_are_unseen_though_they_begin_on_the_same_day(place: Home, tmp_path: Path) -> None:
    champion = trained_on(vehicles.small_vehicles(place), tmp_path)
    anew = vehicles.small_vehicles(place, seed=6)
    assert _unseen(place, anew, trips_of(anew), champion).all()


def test_trips_of_the_champions_training_are_left_out_wherever_they_are_now_and_with_them_their_vehicle(
    place: Home, tmp_path: Path
) -> None:
    """Landed anew with other numbers: one of its training's trips, cut in half, is in test beside new ones."""
    champion = trained_on(vehicles.small_vehicles(place), tmp_path)
    old, parts = vehicles.trips(5), vehicles.trips(6)
    known = old["train"][old["train"]["run"] == 0].iloc[90:]
    new = parts["test"]
    beside = int(new["vehicle"].iloc[0])
    parts["test"] = pd.concat([known.assign(run=900, vehicle=beside), new], ignore_index=True)
    by_vehicle = land(place, parts, vehicles.metadata())
    keep = _unseen(place, by_vehicle, trips_of(by_vehicle), champion)
    assert set(by_vehicle.vehicles("test")[~keep]) == {beside}
    assert keep.tolist() == (by_vehicle.vehicles("test") != beside).tolist()
    one_car = land(place, {k: v.assign(vehicle=0) for k, v in parts.items()}, vehicles.metadata())
    keep = _unseen(place, one_car, trips_of(one_car), champion)
    assert set(one_car.runs("test")[~keep]) == {900}
    again = land(place, parts | {"test": old["train"]}, vehicles.metadata())
    with pytest.raises(NotComparableError, match="every trip of the test part"):
        _unseen(place, again, trips_of(again), champion)


def a_table(place: Home, rows: dict[str, np.ndarray], groups: np.ndarray | None = None) -> Dataset:
    table = tables.made()
    held = None if groups is None else pd.Series(groups)
    return land_table(place, "table", table.drop(columns=["y", "v"]), table["v"], rows, groups=held)


def test_rows_of_a_table_that_the_champion_was_trained_on_are_left_out_wherever_they_are_now(
    place: Home, tmp_path: Path
) -> None:
    first = a_table(place, {"train": np.arange(300), "val": np.arange(300, 350), "test": np.arange(350, 450)})
    champion = trained_on(first, tmp_path)
    samples = Samples({}, {}, np.zeros(100, np.str_), np.zeros(100))
    assert _unseen(place, first, samples, champion).all()
    parted = {"train": np.arange(200), "val": np.arange(200, 250), "test": np.arange(310, 410)}
    keep = _unseen(place, a_table(place, parted), samples, champion)
    assert keep.tolist() == (np.arange(310, 410) >= 350).tolist()
    # Rows of one car belong together: one of them that is known makes all of it known.
    cars = np.arange(500) // 30
    keep = _unseen(place, a_table(place, parted, cars), samples, champion)
    assert keep.tolist() == (cars[310:410] > cars[349]).tolist()
    known = a_table(place, {**parted, "test": np.arange(250, 350)})
    with pytest.raises(NotComparableError, match="every row of the test part is of its training"):
        _unseen(place, known, samples, champion)
    prints = champion.manifest.fingerprints.model_copy(update={"dataset": "f" * 64})
    gone = replace(champion, manifest=champion.manifest.model_copy(update={"fingerprints": prints}))
    with pytest.raises(NotComparableError, match="the table that it was trained on cannot be read"):
        _unseen(place, known, samples, gone)
