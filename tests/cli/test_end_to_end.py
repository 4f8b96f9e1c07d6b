"""The command as a new user runs it, in a process and a home of its own, against a server of its own."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAPPING = """
machine: pump_7
time: {column: "Zeit", timezone: Europe/Berlin}
run: {gap_s: 7200}
sensors:
  "Temp [°C]": {name: temperature_c, unit: degC, critical: true, minimum: -40, maximum: 200}
  Druck: {name: pressure_bar, unit: bar, critical: true}
label: Ausfall
"""


class Commands:
    def __init__(self, root: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NIGHTSHIFT_"))}
        self.environment = {**kept, "NIGHTSHIFT_HOME": str(root / "home")}
        self.home = root / "home"

    def __call__(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "nightshift.cli", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def nightshift(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands("down")


def write_german_csv(path: Path) -> None:
    """Twelve runs of ten hours at ten minutes, with `;` and decimal comma; every third ends in a hot, labelled hour."""
    rng = random.Random(4)
    with path.open("w", encoding="cp1252", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Zeit", "Temp [°C]", "Druck", "Ausfall"])
        for run in range(12):
            for step in range(60):
                minute = run * 24 * 60 + step * 10
                bad = run % 3 == 2 and step >= 50
                temperature = 60 + 5 * math.sin(step / 9) + rng.gauss(0, 1) + (25 if bad else 0)
                when = f"2025-06-{1 + minute // 1440:02d} {minute % 1440 // 60:02d}:{minute % 60:02d}:00"
                values = (f"{v:.2f}".replace(".", ",") for v in (temperature, rng.gauss(4, 0.1)))
                rows.writerow([when, *values, int(bad)])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_file_to_answers(nightshift: Commands, tmp_path: Path) -> None:
    write_german_csv(tmp_path / "pump.csv")
    (tmp_path / "pump.yaml").write_text(MAPPING, encoding="utf-8")
    landed = nightshift("import", "csv", str(tmp_path / "pump.csv"), "--mapping", str(tmp_path / "pump.yaml"))
    assert "next: nightshift train-machine --machine pump_7" in landed

    small = ("--n-trees", "10", "--reference-rows", "100", "--window-rows", "3")
    first = nightshift("train", "anomaly", "--machine", "pump_7", *small)
    assert "anomaly for pi: trained, version 1" in first
    assert "ONNX" in first
    assert "DVC" in first
    again = nightshift("train", "anomaly", "--machine", "pump_7", *small)
    assert "Nothing to do" in again

    [row] = json.loads(nightshift("status", "--json"))
    assert (row["state"], row["version"]) == ("fresh", 1)
    page, notes = nightshift("report", "pump_7").split()
    assert "temperature_c" in Path(page).read_text(encoding="utf-8")
    assert Path(notes).is_file()
    assert "server" in nightshift("ps")

    rows = tmp_path / "rows.csv"
    rows.write_text("temperature_c,pressure_bar\n60.0,4.0\n61.0,4.0\n60.5,4.0\n120.0,4.0\n", encoding="utf-8")
    bundle = nightshift.home / "models" / "anomaly" / "pump_7" / "pi" / "v1"
    answers = list(csv.DictReader(nightshift("predict", "--bundle", str(bundle), "--input", str(rows)).splitlines()))
    assert [a["vote"] for a in answers][-1] == "1"

    not_here = nightshift("train", "anomaly", "--machine", "pumpe_7", code=2)
    assert "Did you mean 'pump_7'?" in not_here
