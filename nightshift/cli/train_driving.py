"""What `train ppo|sac|bc|gail|cimrl` has beside the other families: run ids, scenario sets, starts, outputs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import UsageError
from nightshift.files import write_atomic

if TYPE_CHECKING:
    from nightshift.cli.running import Asked
    from nightshift.plan.cell import Cell
    from nightshift.settings import Home

EXAMPLES = {
    "ppo": (
        "nightshift train ppo --run-id ppo_v1 --config custom.yaml",
        "nightshift train ppo --run-id ppo_v1 --preset quick",
    ),
    "sac": ("nightshift train sac --run-id sac_v1 --preset quick",),
    "bc": ("nightshift train bc --data ngsim --epochs 50 --output bc_best.pt",),
    "gail": ("nightshift train gail --expert-data ngsim --run-id gail_v1",),
    "cimrl": ("nightshift train cimrl --init-from bc_v1 --run-id cimrl_v1     # or a file: bc_best.pt",),
    "driving": ("nightshift train driving --preset quick              # all five",),
}
_BEST = "best.pt"
_MODEL_FILES = ("model.onnx", "bundle.json")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of driving policies."""
    parser.add_argument(
        "--subject",
        "--data",
        "--expert-data",
        dest="subject",
        metavar="ID",
        help="scenario set to train on, and whose experts to imitate (default: adplanning)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="copy the best checkpoint there: a .pt file, or a folder that gets the ONNX too; nothing is overwritten",
    )


def subject_of(text: str) -> str:
    """Return the scenario set that is meant.

    Raises:
        UsageError: for a folder, which has not landed yet.
    """
    if "/" in text or Path(text).is_dir():
        raise UsageError(
            f"'{text[:200]}' is a folder, expected the id of a scenario set that has landed.",
            hint=f"Land it: `nightshift import nuplan {text} --id my_drives` (or commonroad), then --data my_drives.",
        )
    return text


def hold_output(path: str | None, families: Sequence[str] = ("",)) -> None:
    """See that nothing would be overwritten, and that it can be written at all.

    Args:
        path: as it was given.
        families: that are trained; several have a folder each in it.

    Raises:
        UsageError: when something lies there, or nothing can.
    """
    if not path:
        return
    place = Path(path).expanduser()
    if place.suffix == ".pt":
        if len(families) > 1:
            raise UsageError(f"--output {path} is one file for {len(families)} families.", hint="Name a folder.")
        taken = [place] if _lies(place) else []
    elif place.is_dir() or not _lies(place):
        folders = [place / name for name in families] if len(families) > 1 else [place]
        taken = [folder / name for folder in folders for name in (_BEST, *_MODEL_FILES) if _lies(folder / name)]
    else:
        taken = [place]
    if taken:
        raise UsageError(f"--output: {taken[0]} exists; nothing is overwritten.", hint="Name another place.")
    above = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"--output {path}: nothing can be written into {above}.", hint="Name another place.")


def _lies(place: Path) -> bool:
    """Whether something is there, if only a link to nothing."""
    return place.exists() or place.is_symlink()


def with_start(home: Home, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings whose `init_from`, a file or a run, is named by its content: it may change while it is trained.

    Raises:
        ConfigError: when there is neither such a file nor such a run.
    """
    from nightshift.driving.learn.beginnings import settled

    named = settings.get("init_from")
    return {**settings, "init_from": settled(home, str(named))} if named else settings


def before(asked: Asked) -> None:
    """See that run ids are free and a GPU has room, before anything is started.

    Raises:
        UsageError: for a run id that is taken.
        CapacityError: when no GPU has the memory.
    """
    from nightshift.plan.state import TRAINED, state
    from nightshift.tracking.driving_need import require_gpu
    from nightshift.tracking.driving_runs import refuse_taken, run_of_cell

    for cell in asked.cells():
        if not asked.force and state(asked.home, cell).state in TRAINED:
            continue
        run_id = str(cell.config["config"].get("run_id") or "")
        if run_id:
            refuse_taken(asked.home, run_id)
        elif (begun := run_of_cell(asked.home, cell.key)) is not None and begun.active:
            refuse_taken(asked.home, begun.run_id)
        require_gpu(asked.home, cell)


def after(home: Home, cells: Sequence[Cell], output: str | None) -> None:
    """Say how the runs are looked at, and put what was asked for where it was asked for.

    Raises:
        UsageError: when a run has left no best checkpoint, or something lies where it is to go.
    """
    from nightshift.driving.runs import RunFolder
    from nightshift.tracking.driving_runs import run_of_cell

    for cell in cells:
        run = run_of_cell(home, cell.key)
        if run is None:
            continue
        print(f"\nrun {run.run_id}: {RunFolder(home, run.run_id).checkpoints}")
        print(f"  nightshift driving logs {run.run_id}; nightshift driving checkpoints {run.run_id}")
        if output:
            place = Path(output).expanduser()
            place = place / cell.family if len(cells) > 1 else place
            for written in _copied(home, cell, RunFolder(home, run.run_id).checkpoints / _BEST, place):
                print(f"  wrote {written}")


def _copied(home: Home, cell: Cell, best: Path, place: Path) -> list[Path]:
    from nightshift.tracking.results import read_result

    if not best.is_file():
        raise UsageError(f"run of {cell.name} has no best.pt to copy.", hint="It was never evaluated; train it longer.")
    if place.suffix == ".pt":
        return [_put(best, place)]
    bundle = read_result(home, cell).bundle
    files = [best, *(home.root / bundle / name for name in _MODEL_FILES if bundle)]
    return [_put(file, place / file.name) for file in files if file.is_file()]


def _put(file: Path, place: Path) -> Path:
    """Copy a file to where nothing lies, whole or not at all; it may have come there while the training went on.

    Raises:
        UsageError: when something lies there, or it cannot be written.
    """
    whole = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        write_atomic(whole, file.read_bytes())
        try:
            place.hardlink_to(whole)
        except FileExistsError:
            raise
        except OSError:
            # A file system without links, such as a memory stick's: the name is taken first.
            place.touch(exist_ok=False)
            whole.replace(place)
    except FileExistsError:
        raise UsageError(f"--output: {place} exists by now; it is left as it is.", hint=f"Copy {file}.") from None
    except OSError as error:
        raise UsageError(f"--output: {place} cannot be written: {error.strerror}.", hint=f"Copy {file}.") from None
    finally:
        with suppress(OSError):
            whole.unlink()
    return place
