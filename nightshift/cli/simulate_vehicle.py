"""`simulate vehicle`: trips of cars, with what is true of every row."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.settings import Home
    from nightshift.simulate.vehicle.cycles import Cycles
    from nightshift.simulate.vehicle.episodes import Plan
    from nightshift.simulate.vehicle.files import Manifest

EPISODES, MINUTES, SEED = 500, 60, 7
#: Lines of a log are at least this far apart.
_PLAIN_S = 10.0
#: Measured at 7,200,000 rows.
_BYTES_A_ROW = 380


def add_simulate_vehicle(kinds: Any) -> None:
    """Add `simulate vehicle`."""
    parser = add_command(
        kinds,
        "vehicle",
        "trips of cars: telemetry, fuel, carbon dioxide, behaviour, dangerous driving",
        about="Drive cars of many kinds on real speed cycles, and land what their instruments show at a row a second, "
        "with fuel, carbon dioxide, the driver's style and dangerous stretches as labels. Each part has cars and "
        "cycles of its own. The rows lie in data/carla_synthetic too; a file of your own there is never replaced "
        "without --force.",
        examples=(
            "nightshift simulate vehicle --cycles cycles/",
            "nightshift simulate vehicle --episodes 60 --minutes 20 --csv",
        ),
    )
    parser.add_argument("--episodes", type=int, default=EPISODES, metavar="N", help=f"trips (default: {EPISODES})")
    parser.add_argument("--minutes", type=int, default=MINUTES, metavar="M", help=f"of a trip (default: {MINUTES})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"of everything random (default: {SEED})")
    parser.add_argument("--csv", action="store_true", help="write CSV instead of parquet")
    parser.add_argument(
        "--cycles",
        metavar="FOLDER",
        help="CSV files with a column of seconds and one of speed (cycSecs, cycMps); default: data/drive_cycles of the "
        "home, and made traffic where there is none",
    )
    add_no_event(parser)
    parser.add_argument("--force", action="store_true", help="simulate anew, over files of your own too")
    parser.set_defaults(run=_vehicle)


def _vehicle(arguments: argparse.Namespace) -> int:
    need("train", "simulate")
    from nightshift.plan import lock
    from nightshift.plan.code import closure, fingerprint_of
    from nightshift.settings import use_home
    from nightshift.simulate.vehicle.episodes import Plan
    from nightshift.simulate.vehicle.files import is_fresh, key_of, read_manifest
    from nightshift.simulate.vehicle.landing import folder_of, is_landed, land_simulation
    from nightshift.stages.batch_limits import room_now

    home = use_home()
    cycles = _cycles(home, arguments.cycles)
    plan = Plan(arguments.episodes, 60 * arguments.minutes, arguments.seed, cycles)
    code = fingerprint_of(closure("nightshift.simulate.vehicle.files"), ("numpy", "scipy"))
    key, folder, check = key_of(plan, code), folder_of(home), Remarks()
    with lock.held(home, "simulate-vehicle", busy="trips are being simulated by another process."):
        manifest = read_manifest(folder)
        if arguments.force or manifest is None or not is_fresh(folder, key, csv=arguments.csv):
            manifest = _written(folder, plan, arguments, code)
        elif is_landed(home, key):
            print("Nothing to do: seed, options, cycles and code are unchanged. --force makes the trips anew.")
            return EXIT_OK
        _say_memory(manifest, room_now(home).memory_gb)
        print("landing ...", flush=True)
        data = land_simulation(home, manifest, event=arguments.event, check=check)
    _say_cycles(manifest)
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK


def _cycles(home: Home, folder: str | None) -> Cycles:
    """Return the cycles to drive on, and say which; made ones where there are none."""
    from nightshift.cli.show import yellow
    from nightshift.simulate.vehicle.cycles import made_cycles, read_cycles

    own = home.data / "drive_cycles"
    if folder is None and not (own.is_dir() and any(own.rglob("*.csv"))):
        print(yellow("no drive cycles: the cars drive in made traffic. --cycles FOLDER takes recorded ones."))
        return made_cycles()
    cycles = read_cycles(own if folder is None else Path(folder).expanduser())
    for reason in cycles.left_out:
        print(yellow(reason))
    kins = len({c.kin for c in cycles.cycles})
    print(f"{len(cycles.cycles)} cycles of {kins} origins from {cycles.source}")
    return cycles


def _written(folder: Path, plan: Plan, arguments: argparse.Namespace, code: str) -> Manifest:
    from nightshift.simulate.vehicle.files import write

    print(f"simulating {plan.episodes:,} trips of {plan.seconds // 60} min, seed {plan.seed}", flush=True)
    with _shown(plan.episodes) as progress:
        return write(folder, plan, csv=arguments.csv, code=code, force=arguments.force, progress=progress)


@contextmanager
def _shown(total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar and the time that is left where there is a terminal, else a line now and then."""
    from nightshift.cli.show import styled

    if not styled(sys.stdout):
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("trips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns) as bars:
        bar = bars.add_task("trips", total=total)
        yield lambda done, of: bars.update(bar, completed=done, total=of)


def _lines() -> Callable[[int, int], None]:
    began = last = time.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_S and done < of:
            last = now
            print(f"{done:,} of {of:,} trips, about {(now - began) / done * (of - done):.0f} s left", flush=True)

    return say


def _say_memory(manifest: Manifest, free_gb: float) -> None:
    """Warn before a landing that may not fit: the files are there by then, and the same command lands them."""
    from nightshift.cli.show import yellow

    rows = sum(figures.rows for figures in manifest.figures.values())
    needed_gb = rows * _BYTES_A_ROW / 1e9
    if needed_gb > free_gb:
        what = f"landing {rows:,} rows takes about {needed_gb:.0f} GB of memory, {free_gb:.0f} GB are free."
        print(yellow(f"{what} Should it be killed, the files stay, and the same command lands them."))


def _say_cycles(manifest: Manifest) -> None:
    """Print what each part drives on, and how much of it is dangerous."""
    for part, figures in manifest.figures.items():
        names = manifest.cycles[part]
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        print(f"{part:<6} {figures.vehicles} cars, {figures.dangerous_share:.1%} of rows dangerous; cycles: {shown}")
