"""`train mlagents`: Unity's own trainer on a Unity environment, a program beside this one; its results come to MLflow.

ML-Agents pins a numpy and a protobuf that this project cannot be installed beside: it lives in an environment of its
own, and is found by `mlagents-learn` on the PATH or by NIGHTSHIFT_MLAGENTS.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_INTERRUPTED, EXIT_OK

#: The word that stands in a family's place.
EXTERNAL = "mlagents"
STEPS = 500_000


def add_mlagents(commands: Any) -> None:
    """Add `train` as it is for ML-Agents."""
    parser = add_command(
        commands,
        "train",
        "train with Unity ML-Agents",
        about="Run Unity's ML-Agents trainer, which is installed in a Python environment of its own, on a built Unity "
        "environment, and bring its curves and its ONNX into MLflow and among the driving runs.",
        examples=(
            "nightshift train mlagents --env builds/Drive.x86_64 --run-id unity_v1",
            "nightshift train mlagents --env builds/Drive.x86_64 --config trainer_config.yaml --run-id unity_v2",
            "nightshift train mlagents --env builds/Drive.x86_64 --run-id unity_v1 --resume",
        ),
    )
    parser.add_argument("family", metavar=EXTERNAL, help=argparse.SUPPRESS)
    parser.add_argument("--env", required=True, metavar="PATH", help="the built Unity environment")
    parser.add_argument("--run-id", metavar="NAME", help="of the run (default: mlagents, mlagents-2 …)")
    parser.add_argument(
        "--config", metavar="FILE", help="your trainer_config.yaml, used as it is (default: PPO, written for the run)"
    )
    parser.add_argument("--total-steps", type=int, metavar="N", help=f"without --config (default: {STEPS:,})")
    parser.add_argument("--num-envs", type=int, default=1, metavar="N", help="copies of the environment (default: 1)")
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="of the trainer (default: 42)")
    parser.add_argument("--resume", action="store_true", help="go on with the run of that id")
    parser.add_argument("--graphics", action="store_true", help="let the environment draw")
    parser.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> int:
    need("train", "train mlagents")
    from nightshift.cli.show import green, yellow
    from nightshift.driving.learn.recorder import free_id
    from nightshift.driving.runs import RunFolder
    from nightshift.settings import use_home
    from nightshift.tracking import mlagents

    home = use_home()
    asked = mlagents.Asked(
        home=home,
        environment=Path(arguments.env).expanduser().absolute(),
        run_id=arguments.run_id or free_id(RunFolder(home, mlagents.ALGORITHM)).run_id,
        config=Path(arguments.config).expanduser().absolute() if arguments.config else None,
        total_steps=arguments.total_steps,
        num_envs=arguments.num_envs,
        seed=arguments.seed,
        resume=arguments.resume,
        graphics=arguments.graphics,
    )
    done = mlagents.run(asked, say=lambda line: print(line, flush=True))
    print(f"\nrun {asked.run_id}: {done.state}, {done.rows} rows of figures, {len(done.models)} ONNX")
    for model in done.models:
        print(f"  {model}")
    where = green(f"MLflow run {done.mlflow_run}") if done.mlflow_run else yellow(done.why_not)
    print(f"  {where}\n  nightshift driving logs {asked.run_id}")
    return EXIT_INTERRUPTED if done.state == "stopped" else EXIT_OK
