"""A device checks a bundle, and tells what it is itself."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.bundles import forecast_bundle, parity, sum_check, write_bundle

from nightshift.edge import machine, probe
from nightshift.edge.agree import any_differs, max_abs_delta
from nightshift.edge.check import check_bundle, compare
from nightshift.edge.check_rows import CHECK_BYTES, CHECK_ROWS, choose, read_check
from nightshift.edge.manifest import CHECK_FILE, DeviceCheck
from nightshift.edge.runtime import Model
from nightshift.errors import BundleError, CorruptFileError


def test_a_bundle_agrees_with_its_library(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "v1", check=sum_check(), parity=parity(value=1e-5))
    here = check_bundle(folder, architecture=platform.machine(), device="bench-1", runs=10)
    assert (here.device, here.stand_in) == ("bench-1", "")
    assert here.bundle_id == Model.load(folder).bundle_id
    assert (here.parity.rows, here.parity.flips, here.parity.ok) == (40, 0, True)
    assert here.parity.max_abs["value"] <= 1e-5
    assert here.latency.runs == 10
    assert 10 < here.footprint.memory_mb < 400
    assert 0 < here.footprint.start_s < 60
    assert DeviceCheck.model_validate_json(here.model_dump_json()) == here
    elsewhere = machine.stand_in("riscv64")
    assert elsewhere == f"{machine.architecture()} in place of riscv64"


def test_other_answers_are_counted_not_raised() -> None:
    want = {"value": np.array([1.0, 2.0, np.nan], np.float32), "label": np.array([0, 1, 1])}
    got = {"value": np.array([1.0, 2.5, np.nan], np.float32), "label": np.array([0, 0, 1])}
    found = compare(want, got, {"value": 0.1})
    assert (found.rows, found.flips, found.ok) == (3, 1, False)
    assert found.max_abs == {"value": 0.5}
    assert not compare(want, {**want, "value": got["value"]}, {"value": 0.1}).ok
    assert compare(want, {**want, "value": got["value"]}, {"value": 0.5}).ok
    assert not compare(want, {**want, "value": want["value"][:2]}, {"value": 9}).ok


def test_what_another_processor_rounds_is_no_difference_and_is_told() -> None:
    want = {"score": np.array([0.5, 34840.582], np.float32)}
    rounded = {"score": np.array([0.5, 34840.578], np.float32)}
    found = compare(want, rounded, {"score": 1e-6})
    assert found.ok
    assert found.max_abs["score"] == pytest.approx(0.0039, rel=0.01)
    assert 0.03 < found.tolerance["score"] < 0.04
    assert not compare(want, {"score": np.array([0.5, 34840.7], np.float32)}, {"score": 1e-6}).ok
    assert not compare(want, {"score": np.array([0.50001, 34840.582], np.float32)}, {"score": 1e-6}).ok
    assert not compare({"score": np.zeros(1)}, {"score": np.full(1, np.nan)}, {"score": 1.0}).ok


def test_differences_of_nothing_are_none() -> None:
    assert max_abs_delta(np.zeros((0, 2)), np.zeros((0, 2))) == 0.0
    assert max_abs_delta(np.array([np.nan]), np.array([1.0])) == np.inf
    assert any_differs(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)
    assert any_differs(np.zeros(3), np.zeros(2)).tolist() == [True, True]


def test_a_bundle_without_rows_to_check_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no rows to check itself with"):
        check_bundle(write_bundle(tmp_path / "v1"))


def test_check_rows_are_hashed_and_belong_to_the_model(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "v1", check=sum_check())
    raw = (folder / CHECK_FILE).read_bytes()
    (folder / CHECK_FILE).write_bytes(raw[:-1] + b"x")
    with pytest.raises(CorruptFileError, match=r"check\.npz of the bundle is not what"):
        check_bundle(folder)
    with pytest.raises(BundleError, match="holds no arrays"):
        check_bundle(write_bundle(tmp_path / "v2", check=b"not a zip"))
    other = forecast_bundle(tmp_path / "v3")
    manifest = Model.load(other).manifest
    folder = write_bundle(tmp_path / "v4", check=sum_check())
    listed = manifest.model_copy(update={"hashes": Model.load(folder).manifest.hashes})
    with pytest.raises(BundleError, match=r"answers \['label', 'value'\], expected \['yhat'\]"):
        read_check(folder, listed)


WINDOW = np.ones((4, 2, 3), np.float32)
VALUE, LABEL = np.full(4, 3, np.float32), np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"out_value": VALUE[0]}, r"holds float32 \(\) for 'value', expected float32 \(4,\)"),
        ({"out_value": VALUE[:3]}, r"holds float32 \(3,\) for 'value'"),
        ({"out_value": VALUE[:, None]}, r"holds float32 \(4, 1\) for 'value'"),
        ({"out_label": LABEL.astype(np.float32)}, r"holds float32 \(4,\) for 'label', expected int64"),
        ({"out_value": VALUE.astype(str)}, "for 'value', expected float32"),
        ({"in_window": WINDOW[:0], "out_value": VALUE[:0], "out_label": LABEL[:0]}, "holds no rows"),
        ({"in_window": WINDOW[0]}, r"input 'window' has shape \(2, 3\)"),
        ({"in_window": WINDOW.astype(np.float64)}, "input 'window' is float64"),
        ({"in_time_s": LABEL}, "the model takes no input 'time_s'"),
        ({"out_value": np.array([{}] * 4, object)}, "holds no arrays"),
    ],
)
def test_check_rows_that_do_not_fit_each_other_are_one_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    file = io.BytesIO()
    np.savez(file, **{"in_window": WINDOW, "out_value": VALUE, "out_label": LABEL, **arrays})
    folder = write_bundle(tmp_path / "v1", check=file.getvalue(), parity=parity(value=1e-5))
    with pytest.raises(BundleError, match=words):
        check_bundle(folder)


def test_a_lone_array_is_no_check(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, WINDOW)
    with pytest.raises(BundleError, match="holds no arrays"):
        check_bundle(write_bundle(tmp_path / "v1", check=file.getvalue()))


def test_answers_of_fewer_rows_are_all_flips() -> None:
    want = {"label": np.zeros(3, np.int64)}
    assert compare(want, {"label": np.zeros(2, np.int64)}, {}).flips == 3


def test_rows_are_drawn_from_every_case_within_the_budget() -> None:
    cases = np.array(["real"] * 5000 + ["missing"] * 3 + ["split"] * 2000)
    rows = choose(len(cases), 100, cases)
    assert len(rows) == CHECK_ROWS
    assert (np.diff(rows) > 0).all()
    assert (cases[rows] == "missing").sum() == 3
    assert min((cases[rows] == kind).sum() for kind in ("real", "split")) >= CHECK_ROWS // 6
    assert len(choose(9000, CHECK_BYTES // 7)) == 7
    assert choose(5, 100).tolist() == [0, 1, 2, 3, 4]
    assert choose(0, 100).tolist() == []


def test_a_fresh_process_is_not_charged_with_the_memory_of_its_parent(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "v1")
    code = (
        "import sys; ballast = bytes(b'x') * 400_000_000\n"
        "from nightshift.edge import probe; print(probe.footprint(sys.argv[1]).memory_mb, probe.peak_memory_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    fresh, own = map(float, done.stdout.split())
    assert fresh < 300 < own


def test_a_fresh_process_says_why_it_could_not(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a fresh process could not answer one row: .*is no bundle"):
        probe.footprint(tmp_path)


def test_a_board_tells_its_name_temperature_and_throttling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    for name, kind, temperature in (("0", "cpu-thermal", "48312"), ("1", "battery", "99000"), ("2", "soc", "broken")):
        zone = tmp_path / f"thermal_zone{name}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(temperature + "\n")
    command = tmp_path / "vcgencmd"
    command.write_text("#!/bin/sh\necho throttled=0x50005\n")
    command.chmod(0o755)
    monkeypatch.setattr(machine, "_BOARD", model)
    monkeypatch.setattr(machine, "_ZONES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert machine.board() == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.temperature_c() == 48.312
    assert machine.throttle_bits() == 0x50005
    command.write_text("#!/bin/sh\necho sorry >&2; exit 1\n")
    assert machine.throttle_bits() is None


@pytest.mark.parametrize(
    ("before", "after", "slow"),
    [
        (None, None, None),
        (0, 0, False),
        (0x50000, 0x50000, False),  # long ago
        (0x10000, 0x50000, True),  # since then
        (0, 0x4, True),  # now
    ],
)
def test_throttling_counts_only_while_the_check_ran(before: int | None, after: int | None, slow: bool | None) -> None:
    assert machine.slowed_down(before, after) is slow


def test_names_of_one_architecture_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.stand_in("aarch64") == ""
    assert machine.stand_in("AMD64") == "aarch64 in place of x86_64"
    monkeypatch.setattr(machine, "_emulator", lambda: "qemu-user")
    assert machine.stand_in("aarch64") == "aarch64 emulated by qemu-user"


def test_a_machine_that_does_not_tell_its_memory_passes_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "peak_memory_mb", lambda: None)
    assert probe.main([str(write_bundle(tmp_path / "v1"))]) == BundleError.exit_code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "this machine does not tell how much memory a process has held\n")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("comm", "qemu-aarch64-st\n", "qemu-user"),
        ("comm", "python3\n", ""),
        ("smaps", "40-50 r-xp 00 08:01 12   /usr/bin/qemu-aarch64-static\nRss: 4 kB\n", "qemu-user"),
        ("smaps", "40-50 r-xp 00 08:01 12   /usr/bin/qemu-arm (deleted)\nRss: 4 kB\n", "qemu-user"),
        ("smaps", "40-50 r-xp 00 08:01 12   /srv/qemu-test/venv/lib/libm.so\nRss: 4 kB\n", ""),
    ],
)
def test_an_emulator_is_known_by_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, found: str
) -> None:
    (tmp_path / name).write_text(content)
    monkeypatch.setattr(machine, "_SELF", tmp_path)
    monkeypatch.setattr(machine, "_BOARD", tmp_path / "model")
    assert machine._emulator() == found
