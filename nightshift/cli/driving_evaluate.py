"""`driving evaluate`: a policy on any scenarios, beside the drivers by rule."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from nightshift.problems.control_judge import Driven

#: Column -> measure.
_SHOWN = {
    "score": "score",
    "collision": "collision",
    "no fault": "no_at_fault_collision",
    "on road": "drivable_area",
    "progress": "progress",
    "ttc": "ttc",
    "comfort": "comfort",
}
_ALL = "all"


def add_evaluate(kinds: Any) -> None:
    """Add the command."""
    parser = add_command(
        kinds,
        "evaluate",
        "drive a policy through any scenarios, beside the IDM driver, constant speed and log replay",
        about="Drive a policy once through every scenario of a set, or of one part of it, under both models of "
        "traffic, and score it as nuPlan does, 0 to 1, beside the drivers by rule: the IDM driver, constant speed and, "
        "on recorded scenarios, log replay. Made scenarios are driven among IDM and Gipps drivers, recorded ones "
        "among cars that react and cars that do not. Nothing is registered.",
        examples=(
            "nightshift driving evaluate ppo_v1 --data ngsim",
            "nightshift driving evaluate bc_best.pt --part test --json",
        ),
    )
    parser.add_argument("policy", metavar="RUN", help="the id of a run (its best.pt), or a checkpoint's file")
    parser.add_argument("--data", default="adplanning", metavar="ID", help="scenario set (default: adplanning)")
    parser.add_argument(
        "--part", default=_ALL, metavar="PART", help=f"train, val or test of the set (default: {_ALL} of it)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the traffic's noise (default: 0)")
    parser.add_argument("--json", action="store_true", help="as JSON, for scripts")
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from nightshift.cli.extras import need

    need("driving", "driving evaluate")
    from nightshift.data.store import open_dataset
    from nightshift.driving.bank import ScenarioBank
    from nightshift.driving.learn.beginnings import named_file
    from nightshift.driving.learn.checkpointing import load_for
    from nightshift.driving.learn.evaluation import driver_of
    from nightshift.driving.observe import fingerprint
    from nightshift.driving.rollout import measured, rivals
    from nightshift.settings import use_home

    home = use_home()
    policy, _ = load_for(named_file(home, arguments.policy), fingerprint(), name=arguments.policy)
    bank = ScenarioBank.open(open_dataset(home, arguments.data))
    parts = bank.parts if arguments.part == _ALL else (arguments.part,)
    scenarios = [scenario for part in parts for scenario in bank.scenarios(part)]
    if not scenarios:
        raise UsageError(f"'{arguments.part}' of '{arguments.data}' holds no scenario.", hint="Name another part.")
    print(f"driving {len(scenarios)} scenarios of '{arguments.data}' ...", file=sys.stderr, flush=True)
    found = [measured(driver_of(policy), arguments.policy, "model", scenarios, seed=arguments.seed)]
    found += rivals(scenarios, seed=arguments.seed)
    if arguments.json:
        rows = [row.model_dump(mode="json") for one in found for row in one.rows(arguments.part)]
        print(json.dumps(rows, indent=1))
    else:
        _show(found, arguments.part)
    return EXIT_OK


def _show(found: list[Driven], part: str) -> None:
    from nightshift.cli.show import table

    lines = []
    for one in found:
        for row in one.rows(part):
            traffic = row.part.removeprefix(part).removeprefix("_") or "both"
            told = {name: row.metrics[measure] or 0.0 for name, measure in _SHOWN.items()}
            score, *shares = told.values()
            lines.append([one.who, traffic, f"{score:.3f}", *(f"{share:.1%}" for share in shares)])
    print(table(["driver", "traffic", *_SHOWN], lines))
