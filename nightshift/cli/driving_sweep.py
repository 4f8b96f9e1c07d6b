"""`driving sweep`: searches over a policy's settings; resumable, pruned."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK, ConfigError, UsageError, nearest


def add_sweep(kinds: Any) -> None:
    """Add the command."""
    parser = add_command(
        kinds,
        "sweep",
        "search over a policy's settings; the same command goes on where it was cut off",
        about="Train a policy again and again with other settings, and keep what scores best in closed loop on the "
        "validation scenarios. A trial that falls behind the median of the others ends early. The same command goes "
        "on with a sweep that was cut off, and with more --trials it is longer; several processes may share one.",
        examples=(
            "nightshift driving sweep ppo --trials 20 --preset quick",
            "nightshift driving sweep ppo --trials 20 --set total_steps=200000 --space space.yaml",
            "nightshift train ppo --config experiments/sweeps/ppo_sweep/best.yaml",
        ),
    )
    parser.add_argument("algorithm", metavar="ALGORITHM", help="ppo, sac, bc, gail or cimrl")
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="that are wanted in all")
    parser.add_argument("--name", metavar="NAME", help="of the sweep (default: ALGORITHM_sweep)")
    parser.add_argument("--subject", "--data", dest="subject", metavar="ID", help="scenario set (default: adplanning)")
    parser.add_argument("--config", metavar="FILE", help="settings of every trial, as `train` takes them")
    parser.add_argument("--preset", metavar="NAME", help="settings of every trial: quick, fast or standard")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="one setting of every trial")
    parser.add_argument(
        "--space", metavar="FILE", help="YAML: setting -> {low, high, log, step} or a list of values to choose from"
    )
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="of the search (default: 42)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: all)")
    parser.set_defaults(run=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    from nightshift.cli.extras import need

    need("driving", "driving sweep")
    from nightshift.cli.show import bold, table
    from nightshift.settings import use_home
    from nightshift.tracking.driving_sweep import Sweep, run_sweep
    from tasks.signals import StopOnSignal

    if arguments.trials < 1:
        raise UsageError(f"--trials is {arguments.trials}, expected 1 or more.")
    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads is {arguments.threads}, expected 1 or more.")
    sweep = _asked(use_home(), arguments)
    assert isinstance(sweep, Sweep)
    print(f"{bold(sweep.name)}: {sweep.algorithm} on {sweep.subject}, over {', '.join(sweep.space)}", flush=True)
    with StopOnSignal() as stop:
        found = run_sweep(
            sweep,
            arguments.trials,
            say=lambda line: print(line, flush=True),
            should_stop=stop.asked,
            threads=arguments.threads or os.cpu_count() or 1,
        )
    rows = [
        (
            line.run_id,
            "done" if line.state == "complete" else line.state,
            "" if line.score is None else f"{line.score:.4f}",
            *(
                f"{line.params.get(name):.4g}"
                if isinstance(line.params.get(name), float)
                else str(line.params.get(name))
                for name in sweep.space
            ),
        )
        for line in found
    ]
    print(table(("run", "", "score", *sweep.space), rows))
    print(f"\nnightshift train {sweep.algorithm} --config {sweep.folder / 'best.yaml'}")
    return EXIT_OK


def _asked(home: Any, arguments: argparse.Namespace) -> Any:
    """Return the sweep that a command line asks for."""
    from nightshift import families
    from nightshift.cli.flags import given
    from nightshift.cli.vehicle_data import bring
    from nightshift.data.groups import DRIVING, SUBJECTS, TARGETS
    from nightshift.data.store import current
    from nightshift.files import read_yaml
    from nightshift.plan.config import resolve
    from nightshift.tracking.driving_sweep import Sweep, space_of

    algorithm = families.canonical(arguments.algorithm)
    able = [name for name in families.names() if families.get(name).group == DRIVING]
    if algorithm not in able:
        raise ConfigError(f"'{algorithm}' trains no driving policy.", hint=nearest(algorithm, able))
    subject = arguments.subject or SUBJECTS[DRIVING]
    bring(home, subject)
    flags = {**({"preset": arguments.preset} if arguments.preset else {}), **given(arguments)}
    file = Path(arguments.config).resolve() if arguments.config else None
    config = resolve(home, subject, algorithm, TARGETS[DRIVING], file=file, flags=flags).config
    settings = config.model_dump(mode="json", exclude={"run_id"})
    return Sweep(
        home=home,
        name=arguments.name or f"{algorithm}_sweep",
        algorithm=algorithm,
        subject=subject,
        dataset=current(home, subject),
        settings=settings,
        space=space_of(algorithm, read_yaml(Path(arguments.space)) if arguments.space else {}),
        seed=arguments.seed,
    )
