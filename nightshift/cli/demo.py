"""`demo`: a machine from its profile to four models, with small budgets, in one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.cli.show import bold, refused_value
from nightshift.errors import EXIT_INTERRUPTED, ConfigError

if TYPE_CHECKING:
    from nightshift.cli.running import Asked
    from nightshift.plan.cell import Cell
    from nightshift.plan.synthesis import Synthesis
    from nightshift.settings import Home

CONFIG = "demo"


def add_demo(commands: Any) -> None:
    """Add `demo`."""
    demo = add_command(
        commands,
        "demo",
        "from a machine's profile to four models, start to end",
        about="Make a motor's data from its profile, judge and land it, train all four families with small budgets, "
        "and leave the Prefect server running to look around in.",
    )
    demo.add_argument("--data-only", action="store_true", help="land the data and train nothing")
    demo.add_argument("--force", action="store_true", help="train even what is up to date")
    demo.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")
    demo.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    need("train", "demo")
    from nightshift.cli.running import Asked, families_of_group, run_machine
    from nightshift.cli.synthesize import close_synthesis, run_synthesis
    from nightshift.plan.options import TrainOptions
    from nightshift.plan.synthesis import is_fresh, outcome_of
    from nightshift.settings import use_home
    from nightshift.stages.recorded import StageContext
    from nightshift.stages.synthesis.quality import publish

    home = use_home()
    config, job = _planned(home)
    if arguments.data_only:
        return run_synthesis(home, job, verbose=arguments.verbose, then=False)
    asked = Asked(
        home=home,
        subject=job.subject,
        target="pi",
        families=tuple(families_of_group("machine")),
        options=TrainOptions(config_file=str(config)),
        force=arguments.force,
        verbose=arguments.verbose,
    )
    if is_fresh(home, job):
        publish(job, StageContext(home))
        close_synthesis(home, outcome_of(home, job, "up to date"))
        code = run_machine(asked)
    else:
        code = _run(home, job, asked)
    if code != EXIT_INTERRUPTED:
        _where_to_look(home, job.subject)
    return code


def _planned(home: Home) -> tuple[Path, Synthesis]:
    """Return the demo's config file, and the synthesis that it asks for.

    Raises:
        ConfigError: when there is no such file, or its `synthesis` block cannot be used.
    """
    from pydantic import ValidationError

    from nightshift.files import read_yaml
    from nightshift.plan.synthesis import SynthesisOptions, plan_synthesis
    from nightshift.settings import find_config

    config = find_config(home, "", CONFIG)
    if config is None:
        raise ConfigError(f"{CONFIG}.yaml is missing among the shipped configs.", hint="Install Nightshift again.")
    block = read_yaml(config).get("synthesis")
    if not isinstance(block, Mapping) or not {"machine", "rows", "seed"} <= set(block):
        raise ConfigError(f"{config.name}: `synthesis` must name machine, rows and seed.", hint="See the shipped one.")
    machine, rows, seed = block["machine"], block["rows"], block["seed"]
    how = {key: value for key, value in block.items() if key not in ("machine", "rows", "seed")}
    try:
        # The demo trains by itself: nobody needs to be told.
        options = SynthesisOptions.model_validate({**how, "event": False})
    except ValidationError as error:
        where, _, reason = refused_value(error)
        raise ConfigError(f"{config.name}: synthesis.{where}: {reason}.", hint="See the shipped one.") from None
    return config, plan_synthesis(home, str(machine), int(rows), int(seed), options)


def _run(home: Home, job: Synthesis, asked: Asked) -> int:
    """Run both halves as one flow, the cells' bars following once their data have landed.

    Raises:
        NightshiftError: when the data are refused, or something other than single cells fails.
    """
    from nightshift.cli.running import close_machine, interrupted, shown_run
    from nightshift.cli.synthesize import close_synthesis, print_quality, raise_refused
    from nightshift.plan.synthesis import is_fresh, outcome_of

    known: list[Cell] = []

    def cells() -> Sequence[Cell]:
        if not known and is_fresh(home, job):
            known.extend(asked.cells())
        return known

    def call() -> Any:
        from flows.demo import demo

        return demo(
            job.subject,
            job.rows,
            job.seed,
            job.options,
            list(asked.families),
            asked.target,
            asked.force,
            asked.options,
            return_state=True,
        )

    heading = f"{bold(job.subject)}: {job.rows:,} rows from its profile, then {', '.join(asked.families)}"
    ended = shown_run(home, heading, [job], call, verbose=asked.verbose, later=cells)
    if ended.is_cancelled():
        return interrupted()
    if is_fresh(home, job):
        print_quality(home, job)
        close_synthesis(home, outcome_of(home, job, "landed"))
    else:
        raise_refused(home, job, ended)
    return close_machine(asked, asked.cells(), ended)


def _where_to_look(home: Home, subject: str) -> None:
    from deployments.server import ps

    print(f"\n{bold('to look at')}")
    print(f"  data         {home.reports / subject / 'synthesis_report.html'}")
    print(f"  models       {home.reports / subject / 'training_report.html'}")
    for process in ps(home):
        if process.running and process.name == "server":
            print(f"  Prefect UI   {process.url.removesuffix('/api')}")
    # With its four workers a busy small machine kills them before they have started.
    mlflow = Path(sys.executable).with_name("mlflow")
    print(f"  MLflow       {mlflow} ui --workers 1 --backend-store-uri {home.mlflow_uri}")
    print(f"  bundles      {home.models}")
    print("stop the server with: make down   (or: nightshift down)")
