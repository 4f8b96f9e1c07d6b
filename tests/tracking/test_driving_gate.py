"""Policies before the gate: both drive the scenarios that the champion was not trained on, paired by scenario."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.bundles import write_bundle
from support.homes import a_home

from nightshift.data.dataset import Dataset
from nightshift.data.schema import RUN
from nightshift.data.store import land
from nightshift.driving.landing import MadeSet, land_made
from nightshift.driving.observe import LAYOUT, N_OBS
from nightshift.edge.manifest import Column, Fingerprints, Interface, Output
from nightshift.edge.runtime import Model
from nightshift.errors import TransientError
from nightshift.graphs.build import Graph
from nightshift.plan.cell import Cell
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, ScoreRow, UnitStatistics
from nightshift.settings import Home
from nightshift.tracking.champion import Contender, NotComparableError, compare
from nightshift.tracking.driving_gate import driven, unseen, why_not
from nightshift.tracking.finished import Finished, read_bundle


def policy(acceleration: float) -> bytes:
    """A policy that asks for the same whatever it sees, and steers straight on."""
    graph = Graph("policy")
    seen = graph.input("observation", "float32", ["batch", N_OBS])
    nothing = graph.add("MatMul", seen, graph.const(np.zeros((N_OBS, 2), np.float32)))
    graph.output(
        graph.add("Add", nothing, graph.const([acceleration, 0.0], "float32")), "action", "float32", ["batch", 2]
    )
    model: bytes = graph.build().SerializeToString()
    return model


FACE = Interface(
    columns=tuple(Column(name=e.name, unit=e.unit) for e in LAYOUT),
    window_rows=1,
    takes="observation",
    outputs=(Output(name="action", dtype="float32", shape=("batch", 2)),),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("driving-gate")) as home:
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_made(place, MadeSet(("highway",), 20, 3), event=False)


def finished(data: Dataset, folder: Path, acceleration: float, trained_on: str = "") -> Finished:
    made = Fingerprints(dataset=trained_on or data.fingerprint, config="0" * 64, code="0" * 64, cell_key="0" * 64)
    given = {"subject": data.subject, "family": "ppo", "target": "vehicle", "problem": "control", "time_kind": "none"}
    write_bundle(folder, policy(acceleration), interface=FACE, fingerprints=made, **given)
    manifest, bundle_id = read_bundle(folder)
    cell = Cell(
        subject=data.subject, family="ppo", target="vehicle", dataset=data.fingerprint, config={"config": {}}, code="c"
    )
    row = ScoreRow(who="ppo", kind="model", part="test", metrics={"score": 0.5})
    judged = Evaluation(problem="control", primary="score", higher_is_better=True, rows=[row])
    return Finished(cell, folder, manifest, bundle_id, judged, {})


def relanded(place: Home, data: Dataset, **parts: pd.DataFrame) -> Dataset:
    """A set with other rows in some of its parts, numbered on."""
    frames, first = {}, 0
    for part in data.parts:
        rows = parts.get(part, data.frame(part))
        frames[part] = rows.assign(**{RUN: np.arange(first, first + len(rows))})
        first += len(rows)
    return land(place, frames, data.metadata, event=False)


def contender(given: Finished) -> Contender:
    return Contender(given.bundle, given.manifest, given.evaluation, given.bundle_id)


def score(statistics: UnitStatistics) -> float:
    return float(problems.get("control").from_sums(np.asarray(statistics.values).sum(axis=0)))


def test_both_drive_the_same_scenarios_in_every_traffic(place: Home, data: Dataset, tmp_path: Path) -> None:
    rolls, brakes = finished(data, tmp_path / "a", 0.0), finished(data, tmp_path / "b", -6.0)
    compared = compare(place, rolls, contender(brakes))
    names = sorted(data.frame("test")["name"])
    assert compared.challenger.units == compared.champion.units == names
    # Twice each, once in either traffic.
    assert [sums[1] for sums in compared.challenger.values] == [2.0] * len(names)
    # A car that stands still makes no progress, for which the score is 0.
    assert score(compared.champion) == 0.0
    assert score(compared.challenger) >= 0.0
    again = compare(place, rolls, contender(rolls))
    assert again.challenger == again.champion == compared.challenger


def test_of_a_set_that_has_grown_every_test_scenario_is_new(place: Home, data: Dataset, tmp_path: Path) -> None:
    """Parts of a made set have seeds of their own, and made scenarios are of no recording that they could share."""
    longer = land_made(place, MadeSet(("highway",), 27, 3), event=False)
    names = set(data.frame("test")["name"])
    assert set(data.frame("train")["name"]) < set(longer.frame("train")["name"])
    assert names < set(longer.frame("test")["name"])
    assert {s.name for s in unseen(place, data, longer.fingerprint)} == names
    given = finished(data, tmp_path / "a", 0.0)
    before = contender(finished(data, tmp_path / "b", 0.0, trained_on=longer.fingerprint))
    assert compare(place, given, before).challenger.units == sorted(names)


def test_what_the_champion_saw_is_left_out(place: Home, data: Dataset, tmp_path: Path) -> None:
    saw_one = relanded(place, data, train=data.frame("test").iloc[:1])
    first, *others = data.frame("test")["name"]
    assert [s.name for s in unseen(place, data, saw_one.fingerprint)] == others
    given = finished(data, tmp_path / "a", 0.0)
    before = contender(finished(data, tmp_path / "b", 0.0, trained_on=saw_one.fingerprint))
    assert compare(place, given, before).challenger.units == sorted(others)
    saw_all = relanded(place, data, val=data.frame("test"))
    assert first in set(saw_all.frame("val")["name"])
    before = contender(finished(data, tmp_path / "c", 0.0, trained_on=saw_all.fingerprint))
    with pytest.raises(NotComparableError, match="every scenario of the test part is of its training"):
        compare(place, given, before)


def test_of_a_recording_that_the_champion_saw_a_part_of_nothing_is_new(place: Home, data: Dataset) -> None:
    """Scenarios of one recording overlap, whatever they are called."""
    roads = [f"road_{i % 2}" for i in range(len(data.frame("test")))]
    assert len(set(roads)) == 2
    mine = relanded(place, data, test=data.frame("test").assign(recording=roads))
    theirs = relanded(place, data, train=data.frame("train").assign(recording="road_0"))
    expected = [n for n, road in zip(mine.frame("test")["name"], roads, strict=True) if road == "road_1"]
    assert [s.name for s in unseen(place, mine, theirs.fingerprint)] == expected


def test_a_set_that_is_gone_is_no_comparison(place: Home, data: Dataset, tmp_path: Path) -> None:
    given = finished(data, tmp_path / "a", 0.0)
    before = contender(finished(data, tmp_path / "b", 0.0, trained_on="9" * 64))
    with pytest.raises(NotComparableError, match="so which are new is not known"):
        compare(place, given, before)
    with pytest.raises(TransientError):
        why_not(TransientError("the store is away."))


def test_a_champion_that_cannot_be_run_is_no_comparison(place: Home, data: Dataset, tmp_path: Path) -> None:
    given = finished(data, tmp_path / "a", 0.0)
    gone = replace(contender(given), folder=tmp_path / "nowhere")
    with pytest.raises(NotComparableError, match="no bundle"):
        compare(place, given, gone)


def test_a_bundle_drives_as_its_graph_does(data: Dataset, place: Home, tmp_path: Path) -> None:
    folder = finished(data, tmp_path / "a", 0.0).bundle
    scenarios = unseen(place, data, data.fingerprint)[:2]
    assert driven(folder, scenarios).units == sorted(s.name for s in scenarios)
    assert Model.load(folder).interface.takes == "observation"
    shutil.rmtree(folder)
