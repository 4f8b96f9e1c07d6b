"""The published sets land as their papers describe them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nightshift.data.importers.ai4i import import_ai4i
from nightshift.data.importers.cmapss import import_cmapss
from nightshift.data.importers.nab import import_nab
from nightshift.data.schema import LabelSource
from nightshift.errors import DataError, UnknownNameError, UsageError
from nightshift.settings import Home


def engines(folder: Path, train: int = 5, test: int = 3, cycles: int = 40) -> Path:
    """A small set in C-MAPSS's form."""
    folder.mkdir()
    values = " ".join(f"{v:.2f}" for v in range(24))
    for kind, runs in (("train", train), ("test", test)):
        lines = [f"{run} {cycle} {values}  " for run in range(1, runs + 1) for cycle in range(1, cycles + 1)]
        (folder / f"{kind}_FD001.txt").write_text("\n".join(lines))
    (folder / "RUL_FD001.txt").write_text("\n".join(str(10 * i) for i in range(1, test + 1)))
    return folder


def test_cmapss_gives_whole_engines_and_the_official_test(home: Home, shared_data: Path) -> None:
    data = import_cmapss(home, shared_data / "cmapss_fd001")
    parts = data.metadata.parts
    assert data.subject == "cmapss_fd001"
    assert parts["train"].rows + parts["val"].rows == 20631
    assert (parts["train"].runs, parts["val"].runs, parts["test"].runs) == (85, 15, 100)
    assert data.metadata.official_test
    last = data.frame("test").groupby("run")["rul"].last().to_numpy()
    given = np.loadtxt(shared_data / "cmapss_fd001" / "RUL_FD001.txt")
    assert np.array_equal(last, given)
    assert data.frame("train").groupby("run")["rul"].last().eq(0).all()


def test_cmapss_runs_of_train_and_test_have_different_numbers(home: Home, tmp_path: Path) -> None:
    data = import_cmapss(home, engines(tmp_path / "small"))
    assert not set(data.runs("train")) & set(data.runs("test"))
    assert import_cmapss(home, tmp_path / "small" / "train_FD001.txt").fingerprint == data.fingerprint


def test_cmapss_files_that_do_not_fit_are_refused(home: Home, tmp_path: Path) -> None:
    folder = engines(tmp_path / "small")
    with pytest.raises(DataError, match=r"no train_FD003.txt.*Did you mean 'FD001'"):
        import_cmapss(home, folder, subset="FD003")
    with pytest.raises(UsageError, match="is not a machine id"):
        import_cmapss(home, folder, "../up")
    (folder / "RUL_FD001.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="2 lines, the test file has 3 engines"):
        import_cmapss(home, folder)
    path = folder / "train_FD001.txt"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"train_FD001.txt is cut short"):
        import_cmapss(home, folder)
    path.unlink()
    with pytest.raises(DataError, match=r"no train_FD00x.txt in small/"):
        import_cmapss(home, folder)


def test_ai4i_keeps_the_failure_modes_out_of_the_inputs(home: Home, shared_data: Path) -> None:
    data = import_ai4i(home, shared_data / "ai4i2020")
    parts = data.metadata.parts
    assert [parts[p].rows for p in data.parts] == [7000, 1500, 1500]
    assert sum(p.positives or 0 for p in parts.values()) == 339
    assert data.metadata.offers == {"labels"}
    assert not {"TWF", "HDF", "PWF", "OSF", "RNF", "UDI"} & {c.upper() for c in data.metadata.columns}
    assert data.metadata.sensors[0].categories == ("H", "L", "M")
    assert data.metadata.derived


def test_nab_labels_are_the_windows_and_test_keeps_a_whole_one(home: Home, shared_data: Path) -> None:
    data = import_nab(home, shared_data / "nab")
    assert data.metadata.label_source is LabelSource.GIVEN
    assert data.metadata.sampling_s == 300
    assert data.metadata.provenance.details["duplicate_rows_merged"] == 12
    test = data.frame("test")
    inside = test.loc[test["failure_status"] == 1, "time"]
    assert str(inside.min()) == "2014-02-07 14:55:00+00:00"
    assert str(inside.max()) == "2014-02-09 14:05:00+00:00"
    assert all((data.metadata.parts[p].positives or 0) > 0 for p in data.parts)


def test_nab_without_its_windows_says_what_is_missing(home: Home, shared_data: Path, tmp_path: Path) -> None:
    series = tmp_path / "machine_temperature_system_failure.csv"
    shutil.copyfile(shared_data / "nab" / series.name, series)
    with pytest.raises(DataError, match=r"combined_windows.json is missing"):
        import_nab(home, series)
    (tmp_path / "combined_windows.json").write_text('{"a/ambient_temperature_system_failure.csv": []}')
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ambient_temperature_system_failure.csv'"):
        import_nab(home, series)
    (tmp_path / "combined_windows.json").write_text("[1")
    with pytest.raises(DataError, match="not NAB's windows file"):
        import_nab(home, series)
