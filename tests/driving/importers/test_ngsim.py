"""The four published NGSIM files, imported once: what comes of real traffic."""

from __future__ import annotations

import numpy as np
import pytest
from support.homes import a_home

from nightshift.data.dataset import Dataset
from nightshift.data.store import verify
from nightshift.driving.bank import ScenarioBank
from nightshift.driving.importers.converting import Converted, import_recorded
from nightshift.driving.importers.cutting import beyond_edge
from nightshift.driving.importers.inverse import Path as Track
from nightshift.driving.importers.inverse import drive_open_loop
from nightshift.driving.importers.polylines import on_polyline
from nightshift.driving.pack import Pack


@pytest.fixture(scope="module")
def ngsim(shared_data, tmp_path_factory):  # type: ignore[no-untyped-def]
    files = sorted((shared_data / "commonroad_scenarios").glob("USA_*.xml"))
    with a_home(tmp_path_factory.mktemp("ngsim") / "home") as home:
        yield import_recorded(home, "commonroad", files, "ngsim", event=False)


def test_real_recordings_land_whole_in_one_part_each(ngsim: tuple[Dataset, Converted]) -> None:
    data, made = ngsim
    assert {part: len(data.frame(part)) for part in data.parts} == {"train": 30, "val": 11, "test": 5}
    of = {part: set(data.frame(part)["recording"]) for part in data.parts}
    assert of == {"train": {"USA_US101-4", "USA_Lanker-1"}, "val": {"USA_US101-3"}, "test": {"USA_Peach-4"}}
    verify(data)
    assert made.told().startswith("46 scenarios. Expert actions")


def test_the_bank_gives_what_was_converted(ngsim: tuple[Dataset, Converted]) -> None:
    data, made = ngsim
    of = {s.name: s for s in made.scenarios}
    for scenario in ScenarioBank.open(data).scenarios("val"):
        converted = of[scenario.name]
        np.testing.assert_array_equal(scenario.details["actions"], converted.details["actions"])
        np.testing.assert_array_equal(scenario.route.x, converted.route.x)
        assert scenario.expert_m == pytest.approx(converted.expert_m)


def test_experts_drive_their_tracks_on_the_road(ngsim: tuple[Dataset, Converted]) -> None:
    errors = []
    for scenario in ngsim[1].scenarios:
        tracks, route = scenario.tracks, scenario.route
        assert tracks is not None
        start = Track(*(v[:1, 0] for v in (tracks.x, tracks.y, tracks.heading, tracks.speed_mps)))
        x, y, _, _ = drive_open_loop(start, scenario.details["actions"], scenario.ego.wheelbase_m)
        off = np.hypot(x - tracks.x[:, 0], y - tracks.y[:, 0])
        errors.append(float(np.sqrt(np.mean(off**2))))
        assert errors[-1] == pytest.approx(scenario.details["reconstruction_rmse_m"])
        assert off.max() == pytest.approx(scenario.details["reconstruction_worst_m"])
        s, d = on_polyline(route, tracks.x[:, 0], tracks.y[:, 0])
        assert beyond_edge(route, s, d, tracks.heading[:, 0], scenario.ego) <= 0.3
        assert s[-1] - s[0] == pytest.approx(scenario.expert_m, abs=0.01)
        assert s[-1] <= route.length_m == len(route.x) - 1
        assert scenario.details["smoothing_rmse_m"] < 0.5
    assert np.median(errors) < 0.02
    assert max(errors) < 0.3


def test_the_packs_egos_begin_where_they_were_recorded(ngsim: tuple[Dataset, Converted]) -> None:
    pack = Pack.of(ngsim[1].scenarios)
    for i, scenario in enumerate(ngsim[1].scenarios):
        assert scenario.tracks is not None
        assert pack.ego.x[i] == pytest.approx(scenario.tracks.x[0, 0], abs=1e-6)
        assert pack.ego.y[i] == pytest.approx(scenario.tracks.y[0, 0], abs=1e-6)
        assert np.cos(pack.ego.heading[i] - scenario.tracks.heading[0, 0]) == pytest.approx(1.0, abs=1e-9)
