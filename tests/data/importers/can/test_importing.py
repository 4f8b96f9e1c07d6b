"""Traces land as rows that the device would make, each with what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightshift.data.importers.can.importing import import_can
from nightshift.edge.can import COLUMNS
from nightshift.errors import DataError
from nightshift.families._vehicle import window_ends
from nightshift.settings import Home


def log(path: Path, seconds: float, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    lines = [
        f"({1436509052 + i / 100 + rng.uniform(0, 0.002):.6f}) vcan0 {(0x44, 0x1A0)[i % 2]:03X}#{i % 256:02X}{seed:02X}"
        for i in range(int(100 * seconds))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_daga_lands_with_normal_train_and_attacks_in_val_and_test(home: Home, shared_data: Path) -> None:
    data = import_can(home, [shared_data / "can_volvo_v40_daga_visible"], "can_v40", event=False, check=None)
    assert data.metadata.columns == ("can_id", *COLUMNS)
    odd = data.metadata.truth("odd")
    assert odd is not None
    assert odd.classes == ("normal", "dos", "replay")
    assert (data.truth("train", "odd") == 0).all()
    for part in ("val", "test"):
        assert set(np.unique(data.truth(part, "odd"))) == {0.0, 1.0, 2.0}
    first, second = data.validation_halves()
    for half in (first, second):
        runs, truth = data.runs("val")[half], data.truth("val", "odd")[half]
        assert any((truth[runs == run] == 0).all() for run in np.unique(runs))
    # The three files are one drive: its moments stand in one part each.
    times = {part: data.times_s(part) for part in data.parts}
    assert times["train"].max() + 2 < times["val"].min()
    assert times["val"].max() + 2 < times["test"].min()
    assert data.metadata.parts["train"].rows == 147_306
    assert len(data.metadata.sensors[0].categories) == 50
    # A flood that begins before anything is learnt passes for periodic: the volume gives it away.
    flood = data.truth("test", "odd") == 1
    busy = data.frame("test")["frames_20ms"].to_numpy()
    assert np.median(busy[flood]) > 1.5 * np.median(busy[~flood])
    ends = window_ends(data, "test", window_rows=64, stride_rows=64)
    early = data.frame("test")["early_residual"].to_numpy(np.float64)[ends[:, None] + np.arange(-63, 1)]
    replayed = (data.truth("test", "odd")[ends[:, None] + np.arange(-63, 1)] == 2).any(axis=1)
    calm = (data.truth("test", "odd")[ends[:, None] + np.arange(-63, 1)] == 0).all(axis=1)
    worst = np.nan_to_num(early).max(axis=1)  # unknown while nothing is learnt of an id
    assert (worst[replayed] > 1).mean() > 0.9
    assert (worst[calm] > 1).mean() < 0.05


def test_logs_without_marks_must_be_said_to_be_normal(home: Home, tmp_path: Path) -> None:
    path = log(tmp_path / "Drive 1.log", 60.0)
    with pytest.raises(DataError, match=r"Drive 1.log marks no frame as normal or as an attack.*--normal"):
        import_can(home, [path])
    data = import_can(home, [path, log(tmp_path / "b.log", 40.0, 1)], normal=True, event=False)
    assert data.subject == "can_drive_1"
    assert {part: summary.runs for part, summary in data.metadata.parts.items()} == {"train": 2, "val": 4, "test": 2}
    assert str(data.frame("train")["time"].iloc[0]).startswith("2015-07-10 06:17:32")
    assert data.frame("train")["can_id"].unique().tolist() == ["044", "1A0"]
    assert import_can(home, [log(tmp_path / "attack_free.log", 60.0)], event=False).subject == "can_attack_free"
