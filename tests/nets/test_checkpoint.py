"""Checkpoints: a round trip without loss, written whole, and refused where they belong elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from nightshift.errors import TrainingError
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.checkpoint import Checkpoint, fingerprint


def example(**changes: Any) -> Checkpoint:
    net = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    fields: dict[str, Any] = {
        "fingerprint": fingerprint({"net": "linear"}),
        "epoch": 4,
        "model": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": {"cpu": torch.get_rng_state()},
        "meta": {"history": [1.5, 0.25], "unit": "mm/s²"},
    }
    return Checkpoint(**{**fields, **changes})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = example()
    checkpoints.save(tmp_path / "net.pt", written)
    read = checkpoints.load(tmp_path / "net.pt", written.fingerprint)
    assert read is not None
    assert (read.epoch, read.meta, read.fingerprint) == (4, written.meta, written.fingerprint)
    assert all(torch.equal(read.model[k], v) for k, v in written.model.items())
    moments, expected = read.optimiser["state"][0], written.optimiser["state"][0]
    assert all(torch.equal(moments[k], expected[k]) for k in ("step", "exp_avg", "exp_avg_sq"))
    assert torch.equal(read.random["cpu"], written.random["cpu"])


def test_there_may_be_none(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path / "none.pt", "f") is None


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "net.pt", example())
    with pytest.raises(TrainingError, match=r"net\.pt belongs to another training: expected .* got .*delete it"):
        checkpoints.load(tmp_path / "net.pt", fingerprint({"net": "other"}))


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.pt"
    checkpoints.save(path, example())
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no checkpoint at all", "empty": b""}[damage])
    with pytest.raises(TrainingError, match=r"net\.pt cannot be read as a checkpoint") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)
    assert "Delete it" in str(caught.value)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": 1, "model": Trap()}, tmp_path / "net.pt")
    with pytest.raises(TrainingError, match="cannot be read"):
        checkpoints.load(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "net.pt")
    with pytest.raises(TrainingError, match="expected a checkpoint of format 1, got 99"):
        checkpoints.load(tmp_path / "net.pt")


def test_the_former_checkpoint_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt"
    checkpoints.save(path, example(epoch=1))

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(path, example(epoch=2))
    read = checkpoints.load(path)
    assert read is not None
    assert read.epoch == 1
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


def test_the_fingerprint_changes_with_facts_values_shapes_and_types() -> None:
    rows = torch.arange(6, dtype=torch.float32)
    prints = {
        fingerprint({"a": 1}),
        fingerprint({"a": 2}),
        fingerprint({"a": 1}, [rows]),
        fingerprint({"a": 1}, [rows + 1]),
        fingerprint({"a": 1}, [rows.reshape(2, 3)]),
        fingerprint({"a": 1}, [rows.double()]),
    }
    assert len(prints) == 6
    assert fingerprint({"a": 1, "b": 2}, [rows]) == fingerprint({"b": 2, "a": 1}, [rows.clone()])
