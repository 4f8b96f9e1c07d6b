"""`train` and `train-machine`: their options, every scalar config field included."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command, add_subject
from nightshift.errors import UsageError

if TYPE_CHECKING:
    from nightshift.cli.running import Asked

_ABOUT = """Train, judge, export and register {what} of a machine. Nothing is trained that is up to date:
the same data, config and code."""


def add_train(commands: Any, argv: Sequence[str]) -> None:
    """Add both commands; `argv` names the family whose settings become options."""
    chosen = argv[0] if argv else ""
    if chosen in ("train", "train-machine"):
        need("train", chosen)  # the settings of a family are read from its module, which needs its libraries
    one = add_command(
        commands,
        "train",
        "train one model of a machine",
        about=_ABOUT.format(what="one model"),
        examples=(
            "nightshift train classification --machine motor_siemens_1la7_001 --target pi --time-limit 900",
            "nightshift train anomaly --machine pump_7 --contamination 0.05 --force",
            "nightshift train rul --help        # every setting of that family",
        ),
    )
    one.add_argument("family", metavar="FAMILY", help="classification, rul, anomaly or forecast")
    _common(one)
    one.set_defaults(run=_train)
    every = add_command(
        commands,
        "train-machine",
        "train all models of a machine",
        about=_ABOUT.format(what="all models"),
        examples=(
            "nightshift train-machine --machine motor_siemens_1la7_001",
            "nightshift train-machine --machine pump_7 --families classification,anomaly --preset standard",
        ),
    )
    every.add_argument("--families", metavar="A,B", default="", help="only these (default: all that there are)")
    _common(every)
    every.set_defaults(run=_train_machine)
    if chosen == "train":
        _add_settings(one, _named_families(argv[1:]))
    elif chosen == "train-machine":
        _add_settings(every, ())


def _common(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("--target", default="pi", metavar="NAME", help="device class it is built for (default: pi)")
    parser.add_argument("--config", metavar="FILE", help="a YAML file `families: {FAMILY: {key: value}}`")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="any config key, dotted when it is nested")
    parser.add_argument("--force", action="store_true", help="train even what is up to date")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: all)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")


def _named_families(words: Sequence[str]) -> tuple[str, ...]:
    from nightshift import families

    known = {*families.names(), *families.ALIASES}
    return next(((families.canonical(w),) for w in words if w in known), ())


def _add_settings(parser: argparse.ArgumentParser, chosen: Sequence[str]) -> None:
    from nightshift import families
    from nightshift.cli.flags import add_flags, config_flags

    names = chosen or families.names()
    title = f"settings of {chosen[0]}" if chosen else "settings; each family takes those that it knows"
    add_flags(parser, title, config_flags(families.get(name).config for name in names))


def _train(arguments: argparse.Namespace) -> int:
    from nightshift import families
    from nightshift.cli.running import run_cell

    return run_cell(_asked(arguments, [families.canonical(arguments.family)]))


def _train_machine(arguments: argparse.Namespace) -> int:
    from nightshift import families
    from nightshift.cli.running import machine_families, run_machine

    named = [n.strip() for n in arguments.families.split(",") if n.strip()]
    return run_machine(_asked(arguments, [families.canonical(n) for n in named] or machine_families()))


def _asked(arguments: argparse.Namespace, chosen: Sequence[str]) -> Asked:
    from nightshift.cli.flags import given
    from nightshift.cli.running import Asked
    from nightshift.plan.options import TrainOptions
    from nightshift.settings import use_home

    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads is {arguments.threads}, expected 1 or more.")
    file = str(Path(arguments.config).resolve()) if arguments.config else None
    return Asked(
        home=use_home(),
        subject=arguments.subject,
        target=arguments.target,
        families=tuple(dict.fromkeys(chosen)),
        options=TrainOptions(settings=given(arguments), config_file=file, threads=arguments.threads),
        force=arguments.force,
        verbose=arguments.verbose,
    )
