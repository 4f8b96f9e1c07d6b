"""A registered model as a file: its name, its hashes, and where it is taken from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.edge.manifest import MODEL_FILE, Column
from nightshift.errors import CorruptFileError, UsageError
from nightshift.settings import Home
from nightshift.tracking import versioning
from nightshift.tracking.download import file_name, read_model
from nightshift.tracking.mlflow_store import Store, open_store
from nightshift.tracking.registry import Registered, register
from tests.tracking import bundles
from tests.tracking.cells import a_cell, a_manifest


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[tuple[Home, Store, Registered]]:
    """A registered version, and DVC's copy of it."""
    with a_home(tmp_path_factory.mktemp("download"), migrated_db) as home:
        data = land_demo(home, seed=5)
        cell, store = bundles.a_cell(data, 1), open_store(home)
        bundles.finish(home, cell, data, bundles.threshold_for(data))
        done = register(home, store, cell)
        versioning.version_folder(home, "models", done.bundle_id, done.folder)
        yield home, store, done


@pytest.mark.parametrize(
    ("family", "subject", "variant", "name"),
    [
        ("tcn", "carla_synthetic", "", "tcn_fuel_v1.4.0.onnx"),
        ("tcn", "carla_synthetic", "optimised", "tcn_fuel_v1.4.0_optimised.onnx"),
        ("tcn", "my_trips", "", "tcn_fuel_my_trips_v1.4.0.onnx"),
        ("lstm_ae", "carla_synthetic", "", "lstm_ae_driving_v1.4.0.onnx"),
        ("carbon", "carla_synthetic", "dsp", "carbon_co2_v1.4.0_dsp.onnx"),
        ("behaviour", "carla_synthetic", "", "behaviour_driver_v1.4.0.onnx"),
        ("rul", "pump_7", "", "rul_pump_7_v1.4.0.onnx"),
    ],
)
def test_a_file_is_named_by_what_it_answers_and_its_version(family: str, subject: str, variant: str, name: str) -> None:
    manifest = a_manifest(a_cell(family, subject))
    assert file_name(manifest, 4, variant) == name


def test_a_model_of_frames_says_so() -> None:
    manifest = a_manifest(a_cell("lstm_ae", "can_synthetic"))
    frames = manifest.interface.model_copy(update={"columns": (Column(name="can_id", categories=("0x1",)),)})
    assert file_name(manifest.model_copy(update={"interface": frames}), 1) == "lstm_ae_can_v1.1.0.onnx"


def test_the_champion_is_written_once_and_another_file_of_its_name_stays(
    registered: tuple[Home, Store, Registered], tmp_path: Path
) -> None:
    home, store, done = registered
    found = read_model(home, store, done.name)
    assert (found.version, found.champion) == (1, True)
    assert found.name == f"anomaly_{done.name.split('.')[0]}_v1.1.0.onnx"
    path, new = found.save(tmp_path / "out")
    assert new
    assert path.read_bytes() == (done.folder / MODEL_FILE).read_bytes()
    assert found.save(tmp_path / "out") == (path, False)
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="is there with other content"):
        found.save(tmp_path / "out")
    with pytest.raises(UsageError, match=r"cannot be written: .* --to names a folder"):
        found.save(path)
    found.save(tmp_path / "out", force=True)
    assert path.read_bytes() == found.content


def test_what_is_not_there_is_named(registered: tuple[Home, Store, Registered]) -> None:
    home, store, done = registered
    with pytest.raises(UsageError, match="has no version 7; there are: 1"):
        read_model(home, store, done.name, 7)
    with pytest.raises(UsageError, match=r"no variant 'optimised'\. It has model.onnx alone"):
        read_model(home, store, done.name, 1, "optimised")


def test_an_altered_bundle_is_taken_from_dvc_and_refused_where_that_has_none(
    registered: tuple[Home, Store, Registered],
) -> None:
    """The last test here: it leaves a broken bundle."""
    home, store, done = registered
    graph = done.folder / MODEL_FILE
    sound = graph.read_bytes()
    graph.unlink()
    graph.write_bytes(sound[:-1] + b"!")
    assert read_model(home, store, done.name).content == sound
    for note in (home.dvc / "models").glob("*.dvc"):
        note.unlink()
    with pytest.raises(CorruptFileError, match=r"model.onnx is not the one that was registered, and DVC has no sound"):
        read_model(home, store, done.name)
