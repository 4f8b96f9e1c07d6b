"""What a fresh process needs to load a bundle and answer one row.

`python -m nightshift.edge.probe FOLDER [BEGAN [VARIANT]]` prints JSON `{"memory_mb", "start_s"}`. BEGAN is the
`time.monotonic()` at which the process was asked for, so that the start of Python counts; without it the time counts
from the first line of this file.
"""

from __future__ import annotations

import time

_FIRST_LINE = time.monotonic()

import json  # noqa: E402 - the clock starts first
import os  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from nightshift.errors import BundleError, NightshiftError, first_line  # noqa: E402

if TYPE_CHECKING:
    from nightshift.edge.manifest import Footprint

_LONGEST_S = 300.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Probe:
    """A fresh process at work; `result` waits for it."""

    process: subprocess.Popen[str]

    def result(self) -> Footprint:
        """Return what the process says.

        Raises:
            BundleError: when it could not load the bundle, in its own words.
        """
        from nightshift.edge.manifest import Footprint

        try:
            said, complaint = self.process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired as error:
            self.stop()
            raise BundleError(f"a fresh process has not answered one row in {_LONGEST_S:g} s.") from error
        try:
            return Footprint.model_validate_json(said)
        except ValueError as error:
            words = complaint.strip().splitlines()[-1:] or [f"exit code {self.process.returncode}"]
            raise BundleError(f"a fresh process could not answer one row: {words[0]}") from error

    def stop(self) -> None:
        """End the process, whatever it has done so far."""
        self.process.kill()
        self.process.communicate()


def start(folder: Path | str, variant: str = "") -> Probe:
    """Start a fresh process on a bundle, or a variant of it; it works while the caller does something else."""
    # The probe's environment is this one's: what the device sets for its runtime counts.
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "nightshift.edge.probe", str(folder)]
    return Probe(
        subprocess.Popen(
            [*command, repr(time.monotonic()), variant],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    )


def footprint(folder: Path | str, variant: str = "") -> Footprint:
    """Return the memory and start of a fresh process that loads a bundle, or a variant of it, and answers one row.

    Raises:
        BundleError: when it could not.
    """
    return start(folder, variant).result()


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held, MB (10^6 bytes); None where the machine does not tell.

    `getrusage` would name the peak of the process that started this one where that was larger: Linux keeps it over
    `exec`.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(float(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(argv: Sequence[str] | None = None) -> int:
    """Load, answer the middle row, and print the figures."""
    folder, *more = sys.argv[1:] if argv is None else argv
    from nightshift.edge.bench import middle_row
    from nightshift.edge.runtime import Model

    try:
        model = Model.load(folder, variant=more[1] if len(more) > 1 else "")
        model.run(middle_row(model))
    except NightshiftError as error:
        sys.stderr.write(f"{first_line(error, 400)}\n")
        return error.exit_code
    start_s = time.monotonic() - (float(more[0]) if more else _FIRST_LINE)
    held_mb = peak_memory_mb()
    if not held_mb:
        # 0 would pass every limit.
        sys.stderr.write("this machine does not tell how much memory a process has held\n")
        return BundleError.exit_code
    figures = {"memory_mb": round(held_mb, 1), "start_s": round(start_s, 3)}
    sys.stdout.write(f"{json.dumps(figures)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
