"""`prune`: removes old models, data, work, runs and reports that nothing refers to."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK, ServiceError

if TYPE_CHECKING:
    from nightshift.plan.fleet_config import RetentionSettings
    from nightshift.settings import Home
    from nightshift.tracking.pruning import Pruned

_TITLES = {
    "model": "model versions",
    "work": "records and checkpoints",
    "run": "training runs of driving policies",
    "data": "data versions",
    "fleet": "runs of the fleet, and reports",
    "result": "results",
}
# Of each kind; `--json` has all.
_SHOWN = 10
_DVC, _RUNS = "in DVC", "Prefect runs"


@dataclass(frozen=True)
class _PrefectRuns:
    """What the Prefect server has, or had, to delete; a remark where it could not be asked."""

    count: int = 0
    remark: str = ""


def add_prune(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "prune",
        "remove old models, data, runs and reports that nothing refers to",
        about="Keep each model's champion, challenger and last versions, the data that they were made from, the last "
        "versions of each machine's data, and the last runs of the fleet and of driving policies (configs/fleet.yaml: "
        "retention); remove the rest: bundles, MLflow versions with their runs and artifacts, stage records and "
        "checkpoints, data versions with their copies in DVC, logs and pictures of driving runs, reports, results and "
        "Prefect runs. Nothing that an alias refers to is removed.",
        examples=("nightshift prune --dry-run", "nightshift prune --keep 5"),
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    parser.add_argument(
        "--keep", type=_positive, metavar="N", help="versions of each model, newest first (default: of fleet.yaml)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    parser.set_defaults(run=_prune)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got '{text}'")
    return number


def _prune(arguments: argparse.Namespace) -> int:
    need("train", "prune")
    from nightshift.cli.show import dim
    from nightshift.plan.fleet_config import load_fleet
    from nightshift.settings import use_home
    from nightshift.tracking.pruning import look, prune

    home = use_home()
    limits = load_fleet(home).retention
    if arguments.keep is not None:
        limits = limits.model_copy(update={"versions": arguments.keep})
    quiet = arguments.json

    def tell(line: str) -> None:
        if not quiet:
            print(dim(f"{line} ..."), flush=True)

    done = look(home, limits) if arguments.dry_run else prune(home, limits, tell)
    runs = _prefect_runs(home, limits, dry_run=arguments.dry_run)
    print(json.dumps(_as_json(done, runs, arguments.dry_run), indent=1) if quiet else _as_text(done, runs, arguments))
    return EXIT_OK


def _prefect_runs(home: Home, limits: RetentionSettings, *, dry_run: bool) -> _PrefectRuns:
    """Delete old runs where a server is up; none is started for it."""
    from deployments import old_runs
    from deployments.server import address

    url = address(home)
    if not url:
        return _PrefectRuns(remark="Prefect's old runs are left: no server is up (`nightshift up` starts it)")
    try:
        found = old_runs.old_runs(url, limits.runs_days)
        return _PrefectRuns(len(found) if dry_run else old_runs.delete(url, found))
    except ServiceError as error:
        return _PrefectRuns(remark=f"Prefect's old runs are left: {error.what}")


def _as_json(done: Pruned, runs: _PrefectRuns, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "bytes": done.freed,
        "dvc_bytes": done.dvc_bytes,
        "prefect_runs": runs.count,
        "removed": [
            {"kind": one.removal.kind, "name": one.removal.name, "why": one.removal.why, "bytes": one.freed}
            for one in done.removed
        ],
        "remarks": _remarks(done, runs),
    }


def _remarks(done: Pruned, runs: _PrefectRuns) -> list[str]:
    return [*done.remarks, *([runs.remark] if runs.remark else [])]


def _as_text(done: Pruned, runs: _PrefectRuns, arguments: argparse.Namespace) -> str:
    from nightshift.cli.show import bold, yellow
    from nightshift.tracking.text import size

    verb = "would go" if arguments.dry_run else "removed"
    blocks = []
    for kind, title in _TITLES.items():
        found = [one for one in done.removed if one.removal.kind == kind]
        if found:
            lines = [f"  {one.removal.name}: {size(one.freed)}, {one.removal.why}" for one in found[:_SHOWN]]
            lines += [f"  ... and {len(found) - _SHOWN:,} more; --json lists all"] if len(found) > _SHOWN else []
            head = f"{title}: {len(found):,} {verb}, {size(sum(one.freed for one in found))}"
            blocks.append("\n".join([bold(head), *lines]))
    blocks += [f"{_DVC}: {'up to ' if arguments.dry_run else ''}{size(done.dvc_bytes)}"] if done.dvc_bytes else []
    blocks += [f"{_RUNS}: {runs.count:,} {verb}"] if runs.count else []
    blocks += [yellow(remark) for remark in _remarks(done, runs)]
    any_at_all = done.removed or runs.count or done.dvc_bytes
    blocks.append(
        f"{size(done.freed)} {'would be freed' if arguments.dry_run else 'freed'}."
        if any_at_all
        else "Nothing to remove."
    )
    return "\n".join(blocks)
