"""The edge runtime on arm64 Python and arm64 onnxruntime: the same answers as here, for one bundle of every family.

`make test-arm64` runs these alone, under qemu's user-mode emulation: what holds are the answers, no figure of time.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from support.arm64 import Board, versions

from nightshift.edge.bundle import read_manifest
from nightshift.edge.cli import main
from nightshift.edge.manifest import MODEL_FILE, BundleManifest, DeviceCheck
from nightshift.errors import EXIT_OK
from tests.arm64.conftest import Made

#: A test's time counts the training of the bundles.
pytestmark = [pytest.mark.arm64, pytest.mark.timeout(1800)]
FAMILIES = ("anomaly", "classification", "forecast", "rul")
OLDEST, NEWEST = "oldest", "newest"
#: Other processors, other kernels: the Pi 5 has half precision and dot products, the Pi 4 has neither.
BOARDS = [("pi4", OLDEST), ("pi4", NEWEST), ("pi5", NEWEST)]


@pytest.fixture(scope="module", params=BOARDS, ids="-".join)
def board(request: pytest.FixtureRequest) -> Board:
    processor, version = request.param
    return Board(processor, versions()[0 if version == OLDEST else -1])


def test_what_is_emulated_is_arm64_with_the_base_install_alone(board: Board) -> None:
    said = board.python(
        "-c",
        "import platform, onnxruntime; from importlib.util import find_spec\n"
        "training = [n for n in ('pandas', 'sklearn', 'torch', 'onnx', 'prefect', 'mlflow', 'yaml') if find_spec(n)]\n"
        "print(platform.machine(), onnxruntime.__version__, *training)",
    )
    assert said.stdout.split() == ["aarch64", board.onnxruntime], said.stderr


def test_there_is_a_bundle_of_every_family_of_machines(made: Made) -> None:
    assert sorted(made.folders) == sorted(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_device_check_agrees_with_the_training_library(board: Board, made: Made, family: str) -> None:
    folder = made.folders[family]
    done = board.edge("verify", folder, "--json", "--architecture", "aarch64", "--runs", "30")
    assert done.returncode == EXIT_OK, done.stderr
    found = DeviceCheck.model_validate_json(done.stdout)
    assert found.parity.ok
    assert found.parity.flips == 0
    assert found.parity.rows > 1
    assert set(found.parity.max_abs) == set(read_manifest(folder)[0].parity.max_abs)
    assert found.bundle_id == read_manifest(folder)[1]
    assert (found.architecture, found.onnxruntime) == ("aarch64", board.onnxruntime)
    assert "emulated" in found.stand_in
    assert found.footprint.memory_mb > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_csv_are_answered_as_here(board: Board, made: Made, family: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    folder = made.folders[family]
    assert main(["run", str(folder), "--input", str(made.rows), "--output", str(here)]) == EXIT_OK
    done = board.edge("run", folder, "--input", made.rows, "--output", there)
    assert done.returncode == EXIT_OK, done.stderr
    agree(here, there, read_manifest(folder)[0])


def test_a_damaged_bundle_is_refused_there_too(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(made.folders["anomaly"], folder)
    damaged = bytearray((folder / MODEL_FILE).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / MODEL_FILE).write_bytes(damaged)
    done = Board("pi4", versions()[0]).edge("verify", folder)
    assert done.returncode != EXIT_OK
    assert done.stderr.startswith("error: ")
    assert MODEL_FILE in done.stderr
    assert "Traceback" not in done.stderr


def agree(here: Path, there: Path, manifest: BundleManifest) -> None:
    """Hold one file of answers against another: text and labels equal, numbers within the bundle's tolerance."""
    wanted, got = ([*csv.reader(path.read_text(encoding="utf-8").splitlines())] for path in (here, there))
    assert len(wanted) > 2
    assert len(wanted) == len(got)
    header = wanted[0]
    assert got[0] == header
    tolerance = {name: limit(name, manifest) for name in header}
    assert any(value is not None for value in tolerance.values())
    for ours, theirs in zip(wanted[1:], got[1:], strict=True):
        for name, one, other in zip(header, ours, theirs, strict=True):
            if one != other:
                accepted = tolerance[name]
                assert accepted is not None, f"{name}: {one} here, {other} there"
                assert one, name
                assert other, name
                # As written, with seven digits; and what a processor rounds (`nightshift.edge.check`).
                assert abs(float(one) - float(other)) <= accepted + 2e-6 * abs(float(one)), name


def limit(column: str, manifest: BundleManifest) -> float | None:
    """Return the tolerance of a column of a CSV, None where it must be equal."""
    for output, value in manifest.parity.tolerance.items():
        if column == output or column.startswith(f"{output}_"):
            return value
    return None
