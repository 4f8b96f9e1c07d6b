"""Sets of scenarios land as datasets: whole, once, checked, with the files of recorded ones."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.homes import a_home

from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.data.schema import PARTS
from nightshift.data.store import current, open_dataset, verify
from nightshift.data.validate import missing_needs, validate
from nightshift.driving import landing, made
from nightshift.driving.bank import ScenarioBank
from nightshift.driving.importers.processed import write_scenario
from nightshift.driving.landing import MadeSet, expert_metres, is_landed, land_made, land_recorded
from nightshift.driving.scenario import Scenario, Tracks
from nightshift.errors import BlockedError, DataError, UnknownNameError, UsageError
from nightshift.settings import STORE_VARIABLE, Home
from nightshift.tracking.versioning import restore_version, version_subject

SMALL = MadeSet(("curve", "intersection"), scenarios=8, seed=3)


def a_recording(recording: str, number: int) -> Scenario:
    """A made scenario as if it had been recorded: the ego keeps its speed on a straight, the others stand far away."""
    scenario = made.make("intersection", number)
    n, times = len(scenario.traffic.lane), 26
    along = scenario.ego.s_m + np.arange(times) * 0.2 * scenario.ego.speed_mps
    x, y = (np.interp(along, np.arange(len(v)), v) for v in (scenario.route.x, scenario.route.y))
    heading = np.full(times, scenario.route.heading[0])
    away = np.tile(1e3 + 40.0 * np.arange(n), (times, 1))
    tracks = Tracks(
        x=np.column_stack([x, away]),
        y=np.column_stack([y, away]),
        heading=np.column_stack([heading, away * 0]),
        speed_mps=np.column_stack([heading * 0 + scenario.ego.speed_mps, away * 0]),
        there=np.ones((times, n + 1), bool),
    )
    details = {
        "recording": recording,
        "source": "by hand",
        "tag": "",
        "ego": "1",
        "start_s": 10.0 * number,
        "map": "lanelets",
        "reconstruction_rmse_m": 0.0,
        "reconstruction_worst_m": 0.0,
        "smoothing_rmse_m": 0.0,
        "actions": np.zeros((times - 1, 2)),
    }
    return replace(
        scenario, name=f"{recording}_{number}", kind="replay", seed=0, duration_s=5.0, tracks=tracks, details=details
    )


def recorded_set(home: Home, tmp_path: Path, parts: dict[str, list[Scenario]]) -> str:
    folders = {s.name: write_scenario(tmp_path / "processed", s) for some in parts.values() for s in some}
    return land_recorded(home, "ngsim", parts, folders, source="by hand").fingerprint


def three_recordings() -> dict[str, list[Scenario]]:
    return {part: [a_recording(f"road_{i}", 3 * i + k) for k in range(3)] for i, part in enumerate(PARTS)}


def test_made_scenarios_land_as_rows_and_come_back(home: Home) -> None:
    told: list[tuple[int, int]] = []
    data = land_made(home, SMALL, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (8, 8)
    assert (data.subject, data.metadata.group, data.new) == ("adplanning", "driving", True)
    assert data.metadata.offers == {"scenarios"}
    assert {p: s.rows for p, s in data.metadata.parts.items()} == {"train": 4, "val": 2, "test": 2}
    verify(open_dataset(home, "adplanning"))
    bank = ScenarioBank.open(open_dataset(home, "adplanning"))
    for part in PARTS:
        assert set(bank.kinds(part)) == {"curve", "intersection"}
        for scenario, row in zip(bank.scenarios(part), data.frame(part).to_dict("records"), strict=True):
            again = made.make(scenario.kind, scenario.seed)
            np.testing.assert_array_equal(scenario.lanes.x, again.lanes.x)
            assert scenario.expert_m == row["expert_m"]
    again = land_made(home, SMALL, check=None)
    assert (again.fingerprint, again.new) == (data.fingerprint, False)


def test_a_set_is_known_again_and_other_sets_share_no_scenario_with_it(home: Home) -> None:
    land_made(home, SMALL, check=None)
    assert is_landed(home, "adplanning", SMALL)
    assert not is_landed(home, "adplanning", replace(SMALL, seed=4))
    assert not is_landed(home, "other", SMALL)
    plans = [MadeSet(scenarios=60, seed=seed).plan() for seed in (0, 1)]
    named = [one for plan in plans for ones in plan.values() for one in ones]
    assert len(set(named)) == len(named) == 120
    # A set that grows takes no scenario from one part into another.
    smaller = plans[0]
    for scenarios in (400, 700, 3_000, 35_000):
        grown = MadeSet(scenarios=scenarios, seed=0).plan()
        for part, ones in smaller.items():
            assert set(ones) <= set(grown[part])
        assert len({one for ones in grown.values() for one in ones}) == scenarios
        smaller = grown
    assert {k for k, _ in plans[0]["val"]} == {k for k, _ in plans[0]["test"]} == set(made.MADE)


@pytest.mark.parametrize("kinds", [made.MADE, made.MADE[:3], made.MADE[:1]])
def test_what_a_large_set_has_more_is_to_train_on(kinds: tuple[str, ...]) -> None:
    plan = MadeSet(kinds, 3_000).plan()
    assert {part: len(ones) for part, ones in plan.items()} == {"train": 2_800, "val": 100, "test": 100}
    for part in ("val", "test"):
        of_each = Counter(kind for kind, _ in plan[part])
        assert set(of_each) == set(kinds)
        assert max(of_each.values()) - min(of_each.values()) <= 1
    small = MadeSet(kinds, 3 * len(kinds)).plan()
    assert {part: len(ones) for part, ones in small.items()} == dict.fromkeys(PARTS, len(kinds))


def test_where_the_expert_crashes_an_estimate_stands(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "expert_metres", lambda some: [math.nan, *expert_metres(some)[1:]])
    data = land_made(home, MadeSet(("curve",), 3, 3), check=None)
    for part in PARTS:
        row = data.frame(part).iloc[0]
        assert row["expert_m"] == pytest.approx(made.make("curve", int(row["seed"])).expert_m)


def test_a_set_is_the_same_whether_it_is_made_in_one_go_or_not(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    data = land_made(home, SMALL, check=None)
    monkeypatch.setattr(landing, "_AT_A_TIME", 3)
    again = land_made(home, SMALL, check=None, progress=lambda done, of: told.append(done))
    assert (again.fingerprint, again.new) == (data.fingerprint, False)
    assert told == [3, 4, 6, 8]


def test_the_expert_is_the_idm_driver_where_he_gets_through() -> None:
    scenarios = [made.make("curve", seed) for seed in range(3)]
    for scenario, metres in zip(scenarios, expert_metres(scenarios), strict=True):
        assert 100.0 < metres < scenario.route.length_m
        # A simple estimate stands there before.
        assert metres == pytest.approx(scenario.expert_m, rel=0.3)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kinds": ("highway", "motorway")}, "highway"),
        ({"kinds": ("curve", "curve")}, "once"),
        ({"scenarios": 14}, "15 to 35,000"),
        ({"seed": 1_600}, "0 to 1599"),
    ],
)
def test_a_set_that_cannot_be_is_refused(wanted: dict[str, object], said: str) -> None:
    with pytest.raises((UsageError, UnknownNameError)) as refused:
        MadeSet(**wanted)  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_scenarios_do_not_take_the_place_of_a_machines_data(home: Home) -> None:
    from support.datasets import calendar_rows, describe

    from nightshift.data.splits import split
    from nightshift.data.store import land

    metadata = describe("pump_1")
    before = land(home, split(calendar_rows(), metadata), metadata).fingerprint
    with pytest.raises(UsageError, match="'pump_1' holds data of a machine"):
        land_made(home, SMALL, "pump_1")
    assert current(home, "pump_1") == before


def test_recorded_scenarios_lie_in_the_dataset_with_their_files(home: Home, tmp_path: Path) -> None:
    parts = three_recordings()
    fingerprint = recorded_set(home, tmp_path, parts)
    data = open_dataset(home, "ngsim")
    assert len(data.metadata.files) == 9 * 5
    assert validate(data) == []
    bank = ScenarioBank.open(data)
    assert bank.recorded
    assert bank.fingerprint == fingerprint
    assert bank.names("val") == tuple(s.name for s in parts["val"])
    found = bank.scenarios("val")[1]
    assert found.tracks is not None
    wanted = parts["val"][1]
    assert wanted.tracks is not None
    np.testing.assert_allclose(found.tracks.x[:, 0], wanted.tracks.x[:, 0])


def test_a_changed_scenario_is_another_dataset_and_an_altered_file_is_found(home: Home, tmp_path: Path) -> None:
    parts = three_recordings()
    before = recorded_set(home, tmp_path, parts)
    parts["test"][0] = replace(parts["test"][0], details={**parts["test"][0].details, "source": "another"})
    assert recorded_set(home, tmp_path, parts) != before
    data = open_dataset(home, "ngsim")
    file = data.folder / "scenarios" / "road_0_0" / "agents.parquet"
    assert file.stat().st_mode & 0o222 == 0
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"road_0_0/agents.parquet of 'ngsim' was altered"):
        verify(open_dataset(home, "ngsim"))
    file.unlink()
    with pytest.raises(DataError, match=r"road_0_0/agents.parquet of 'ngsim' is missing"):
        verify(open_dataset(home, "ngsim"))
    # Landing mends it.
    assert recorded_set(home, tmp_path, parts) == data.fingerprint
    verify(open_dataset(home, "ngsim"))


def test_a_broken_scenario_refuses_the_whole_set(home: Home, tmp_path: Path) -> None:
    parts = three_recordings()
    good = recorded_set(home, tmp_path, parts)
    bad = parts["val"][0]
    assert bad.tracks is not None
    bad.tracks.x[:, 2], bad.tracks.y[:, 2] = bad.tracks.x[:, 1], bad.tracks.y[:, 1]
    with pytest.raises(BlockedError, match=r"D031: scenario 'road_1_3': car 1 and car 2 overlap") as refused:
        recorded_set(home, tmp_path, parts)
    assert refused.value.codes == ("D031",)
    assert current(home, "ngsim") == good


def test_a_recording_in_two_parts_and_few_scenarios_are_remarked(home: Home, tmp_path: Path) -> None:
    parts = three_recordings()
    parts["test"] = [a_recording("road_0", 20)]
    recorded_set(home, tmp_path, parts)
    found = {f.code: f.what for f in validate(open_dataset(home, "ngsim"))}
    assert set(found) == {"D029", "D030"}
    assert "road_0 lie in several parts" in found["D029"]
    assert found["D030"] == "test holds fewer than 3 scenarios."
    parts["test"] = [parts["train"][0]]
    with pytest.raises(BlockedError, match="D013: scenario road_0_0 lies in several parts"):
        recorded_set(home, tmp_path, parts)


def test_machines_that_share_a_store_have_the_files_too(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    fingerprint = recorded_set(home, tmp_path, three_recordings())
    with a_home(tmp_path / "other") as other:
        data = open_dataset(other, "ngsim")
        assert data.fingerprint == fingerprint
        verify(data)
        assert len(ScenarioBank.open(data).scenarios("train")) == 3


def test_an_old_version_comes_back_from_dvc_with_its_files(home: Home, tmp_path: Path) -> None:
    fingerprint = recorded_set(home, tmp_path, three_recordings())
    assert version_subject(home, "ngsim").findings == ()
    parts = three_recordings()
    parts["train"] = parts["train"][:2]
    assert recorded_set(home, tmp_path, parts) != fingerprint
    shutil.rmtree(home.data / "store" / "ngsim" / fingerprint[:12])
    assert restore_version(home, "ngsim", fingerprint[:12]) == fingerprint
    data = open_dataset(home, "ngsim")
    verify(data)
    assert len(ScenarioBank.open(data).scenarios("train")) == 3


def test_what_a_family_of_policies_needs_is_named_where_it_is_missing(home: Home) -> None:
    from support.datasets import describe

    (found,) = missing_needs(describe("pump_1"), frozenset({"scenarios"}), "ppo")
    assert "holds no driving scenarios (ppo needs it)." in found.what
    assert "nightshift simulate driving" in found.remedy


def test_a_set_that_was_made_elsewhere_lands_with_its_files(home: Home, tmp_path: Path) -> None:
    fingerprint = recorded_set(home, tmp_path, three_recordings())
    folder = tmp_path / "elsewhere"
    shutil.copytree(open_dataset(home, "ngsim").folder, folder, copy_function=shutil.copyfile)
    with a_home(tmp_path / "other") as other:
        data = land_folder(other, folder)
        assert data.frame("test").equals(open_dataset(home, "ngsim", fingerprint).frame("test"))
        assert len(ScenarioBank.open(data).scenarios("test")) == 3
        lost = folder / "scenarios" / "road_2_7" / "map.parquet"
        lost.unlink()
        with pytest.raises(DataError, match=r"road_2_7/map\.parquet of 'ngsim' cannot be read"):
            land_folder(other, folder)
        told = json.loads((folder / "metadata.json").read_text())
        told["sensors"] = [s for s in told["sensors"] if s["name"] != "expert_m"]
        (folder / "metadata.json").write_text(json.dumps(told | {"files": {}}))
        for part in PARTS:
            frame = pd.read_parquet(folder / f"{part}.parquet").drop(columns="expert_m")
            frame.to_parquet(folder / f"{part}.parquet", index=False)
        with pytest.raises(BlockedError, match="D001: expert_m not found"):
            land_folder(other, folder)
