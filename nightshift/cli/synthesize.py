"""`synthesize`: from a machine's profile to data that lands, with the figures that say whether it is worth it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.land import add_no_event
from nightshift.cli.parser import add_command
from nightshift.cli.show import bold, green, red, refused_value, table, yellow
from nightshift.errors import BlockedError, UsageError

if TYPE_CHECKING:
    from nightshift.plan.synthesis import Synthesis, SynthesisOptions, SynthesisOutcome
    from nightshift.settings import Home

ROWS, SEED = 50_000, 7


def add_synthesize(commands: Any) -> None:
    """Add `synthesize`."""
    parser = add_command(
        commands,
        "synthesize",
        "make a machine's data from its profile, judge it, and land it",
        about="Draw units from a machine's profile, learn generators on them, roll them forward by physics, judge the "
        "data beside its baselines, and land it when it is above the written thresholds.",
        examples=(
            "nightshift synthesize motor_siemens_1la7_001 --rows 50000 --seed 7",
            "nightshift synthesize motor_siemens_1la7_001 --rows 50000 --no-event",
        ),
    )
    parser.add_argument("machine", metavar="MACHINE", help="a machine with a profile, configs/machines/<id>.yaml")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help=f"in all parts together (default: {ROWS})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"of everything random (default: {SEED})")
    parser.add_argument("--generator-seeds", type=int, metavar="N", help="fits of each generator (default: 5)")
    parser.add_argument("--seed-units", type=int, metavar="N", help="lives drawn from the profile (default: 2000)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes of the TVAE over them (default: 300)")
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), help="where the TVAE is trained (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: all)")
    add_no_event(parser)
    parser.add_argument("--force", action="store_true", help="make the data even when it is up to date")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")
    parser.set_defaults(run=_synthesize)


def _synthesize(arguments: argparse.Namespace) -> int:
    need("train", "synthesize")
    from nightshift.plan.synthesis import plan_synthesis
    from nightshift.settings import use_home

    home = use_home()
    job = plan_synthesis(home, arguments.machine, arguments.rows, arguments.seed, _options(arguments))
    return run_synthesis(home, job, verbose=arguments.verbose)


def _options(arguments: argparse.Namespace) -> SynthesisOptions:
    from pydantic import ValidationError

    from nightshift.plan.synthesis import SynthesisOptions

    names = ("generator_seeds", "seed_units", "epochs", "device", "threads")
    asked = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        return SynthesisOptions(**asked, event=arguments.event, force=arguments.force)
    except ValidationError as error:
        where, value, reason = refused_value(error)
        raise UsageError(
            f"--{where.replace('_', '-')} is {value}: {reason}.",
            hint="`nightshift synthesize --help` shows what there is.",
        ) from None


def run_synthesis(home: Home, job: Synthesis, *, verbose: bool = False, then: bool = True) -> int:
    """Synthesise unless it is up to date, say what landed, and return the exit code.

    Args:
        home: where everything is kept.
        job: what to make.
        verbose: whether Prefect's log lines are shown.
        then: whether to name the next command.

    Raises:
        BlockedError: when the quality gate refuses the data; the table has been printed.
        NightshiftError: when a stage fails.
    """
    from nightshift.cli.land import say_next
    from nightshift.cli.running import interrupted
    from nightshift.data.outbox import pending
    from nightshift.plan.synthesis import is_fresh, outcome_of
    from nightshift.stages.recorded import StageContext
    from nightshift.stages.synthesis.quality import publish

    if not job.options.force and is_fresh(home, job):
        outcome = outcome_of(home, job, "up to date")
        publish(job, StageContext(home))
        close_synthesis(home, outcome)
        print("Nothing to do: profile, rows, seed, options and code are unchanged. --force makes it anew.")
        if then:
            say_next(home, job.subject, to_tell=any(note.subject == job.subject for note in pending(home)))
        return outcome.exit_code
    ended = _run(home, job, verbose=verbose)
    if ended.is_cancelled():
        return interrupted()
    raise_refused(home, job, ended)
    outcome = ended.result()
    print_quality(home, job)
    close_synthesis(home, outcome)
    if then:
        say_next(home, job.subject, to_tell=outcome.new and job.options.event)
    return int(outcome.exit_code)


def raise_refused(home: Home, job: Synthesis, ended: Any) -> None:
    """Raise what a run failed with; for data that were refused the table is printed first.

    Raises:
        BlockedError: when the quality gate refused the data.
        NightshiftError: when a stage failed.
    """
    failed = ended.result(raise_on_failure=False)
    if not isinstance(failed, BaseException):
        return
    if isinstance(failed, BlockedError):
        _print_refused(home, job)
    raise failed


def _run(home: Home, job: Synthesis, *, verbose: bool) -> Any:
    from nightshift.cli.running import shown_run

    def call() -> Any:
        from flows.synthesize import synthesize_machine

        return synthesize_machine(job.subject, job.rows, job.seed, job.options, return_state=True)

    heading = f"{bold(job.subject)}: {job.rows:,} rows from its profile, seed {job.seed}"
    return shown_run(home, heading, [job], call, verbose=verbose)


def close_synthesis(home: Home, outcome: SynthesisOutcome) -> None:
    """Print what landed, and why it is these units."""
    from nightshift.cli.data_commands import print_landed
    from nightshift.data.store import open_dataset

    took = f" in {outcome.seconds:.0f} s" if outcome.seconds else ""
    same = outcome.ending == "landed" and not outcome.new
    ending = yellow("nothing new, the same data were made") if same else green(outcome.ending)
    print(f"\n{bold(outcome.subject)}: {ending}{took}, units of {outcome.generator}. {outcome.why}")
    print_landed(home, open_dataset(home, outcome.subject, outcome.dataset))
    print(f"quality: {home.root / outcome.report}")


def print_quality(home: Home, job: Synthesis) -> None:
    """Print every generator's figures beside what real units give."""
    from nightshift.plan.records import work_folder
    from nightshift.plan.synthesis import QUALITY_FILE
    from nightshift.simulate.quality.report import QualityReport, shown

    kept = work_folder(home, job.key) / QUALITY_FILE
    if not kept.is_file():
        return
    report = QualityReport.model_validate_json(kept.read_bytes())
    print(f"\n{table(*report.table())}")
    for line in report.missed:
        print(red(f"missed: {line.name} is {shown(line.value)}, wanted {line.wanted}"))


def _print_refused(home: Home, job: Synthesis) -> None:
    from nightshift.plan.synthesis import records

    refused = [record for record in records(home, job).values() if record.summary.get("report")]
    if not refused:
        return
    print_quality(home, job)
    print(f"quality: {home.root / str(refused[-1].summary['report'])}")
