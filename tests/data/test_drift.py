"""Drift is told from sketches alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.datasets import SENSORS, describe

from nightshift.data.drift import benjamini_hochberg, drift, drift_between, rebinned
from nightshift.data.schema import Metadata, TimeKind
from nightshift.data.sketch import ALL, EDGES, Sketch, make_sketch

METADATA: Metadata = describe(has_rul=False)


def rows(n: int, seed: int, shift: float = 0.0, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time": pd.date_range("2025-01-01", periods=n, freq="10min", tz="UTC"),
            "heat_c": rng.normal(shift, spread, n).astype(np.float32),
            "shake_mm_s": rng.gamma(2, size=n).astype(np.float32),
            "load_nm": np.full(n, 5.0, dtype=np.float32),
            "grade": rng.choice(["H", "L", "M"], n),
        }
    )


def sketch(train: pd.DataFrame, test: pd.DataFrame) -> Sketch:
    sensors = tuple(
        s.model_copy(update={"categories": ("H", "L", "M")}) if s.role == "category" else s for s in SENSORS
    )
    return make_sketch(
        {"train": train, "val": train, "test": test}, METADATA.model_copy(update={"sensors": sensors}), "f"
    )


def test_a_sketch_has_32_quantile_edges_and_counts_every_row_once_per_day() -> None:
    train = rows(1000, 0)
    train.loc[:9, "heat_c"] = np.nan
    one = sketch(train, rows(200, 1)).sensors["heat_c"]
    assert len(one.edges) == EDGES
    assert one.total("train").sum() == 1000
    assert one.total("train")[-1] == 10
    assert one.total("train")[0] == 0
    berlin_days = train["time"].dt.tz_convert("Europe/Berlin").dt.strftime("%Y-%m-%d").value_counts()
    assert {day: sum(c) for day, c in one.counts["train"].items()} == berlin_days.to_dict()
    assert one.total("train", frozenset({"2025-01-02"})).sum() == 144


def test_a_sketch_survives_json() -> None:
    one = sketch(rows(300, 0), rows(100, 1))
    assert Sketch.model_validate_json(one.model_dump_json()) == one


def test_without_a_calendar_there_is_one_day() -> None:
    metadata = METADATA.model_copy(update={"time_kind": TimeKind.NONE})
    frames = dict.fromkeys(("train", "val", "test"), rows(100, 0))
    assert set(make_sketch(frames, metadata, "f").sensors["heat_c"].counts["val"]) == {ALL}


def test_the_same_distribution_does_not_drift() -> None:
    assert not any(d.drifted for d in drift(sketch(rows(5000, 0), rows(1000, 1)), "test"))


@pytest.mark.parametrize(("shift", "spread"), [(1.0, 1.0), (0.0, 3.0), (10.0, 1.0)])
def test_a_moved_or_widened_sensor_drifts_and_the_others_do_not(shift: float, spread: float) -> None:
    found = drift(sketch(rows(5000, 0), rows(1000, 1, shift, spread)), "test")
    assert [d.name for d in found if d.drifted] == ["heat_c"]
    assert found[0].name == "heat_c"


def test_psi_and_ks_agree_with_the_raw_values() -> None:
    a, b = rows(20000, 0), rows(20000, 1, 0.7)
    told = next(d for d in drift(sketch(a, b), "test") if d.name == "heat_c")
    both = np.sort(np.concatenate([a["heat_c"], b["heat_c"]]))
    below = [np.searchsorted(np.sort(x["heat_c"]), both, side="right") / 20000 for x in (a, b)]
    ks = float(np.abs(below[0] - below[1]).max())
    assert told.ks == pytest.approx(ks, abs=0.02)
    edges = np.quantile(a["heat_c"], np.linspace(0, 1, 11))
    p, q = (np.histogram(x["heat_c"], np.concatenate([[-99], edges[1:-1], [99]]))[0] / 20000 for x in (a, b))
    assert told.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=0.15)


def test_a_sensor_that_falls_silent_shows_as_missing() -> None:
    test = rows(1000, 1)
    test["heat_c"] = np.nan
    told = next(d for d in drift(sketch(rows(1000, 0), test), "test") if d.name == "heat_c")
    assert told.missing_change == 1.0


def test_a_new_category_drifts() -> None:
    test = rows(1000, 1).assign(grade="X")
    assert [d.name for d in drift(sketch(rows(1000, 0), test), "test") if d.drifted] == ["grade"]


def test_two_datasets_with_different_edges_can_be_compared() -> None:
    old, same, moved = (sketch(rows(5000, s, m), rows(100, 9)) for s, m in ((0, 0.0), (1, 0.0), (2, 1.0)))
    assert not any(d.drifted for d in drift_between(old, same))
    assert [d.name for d in drift_between(old, moved) if d.drifted] == ["heat_c"]


def test_rebinning_keeps_every_row() -> None:
    old, new = (sketch(rows(3000, s), rows(100, 9)) for s in (0, 1))
    for name in ("heat_c", "grade", "load_nm"):
        counts = rebinned(new.sensors[name], "train", old.sensors[name].edges)
        assert counts.sum() == pytest.approx(3000)
        assert (counts >= 0).all()


def test_false_discovery_control_follows_the_paper() -> None:
    # Benjamini & Hochberg's step-up rule, by hand: p(i) * m / i, made monotone from the largest down.
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
