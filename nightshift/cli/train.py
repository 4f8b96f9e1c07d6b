"""`train` and `train-machine`: their options, every scalar config field included."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli import train_driving
from nightshift.cli.extras import need
from nightshift.cli.parser import add_command, add_subject
from nightshift.cli.train_mlagents import EXTERNAL, add_mlagents
from nightshift.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from nightshift.cli.running import Asked
    from nightshift.settings import Home

_ABOUT = """Train, judge, export and register {what} of a machine. Nothing is trained that is up to date:
the same data, config and code."""
_ABOUT_ONE = """Train, judge, export and register one model of a machine or vehicle, all models of a vehicle, or a
driving policy. Nothing is trained that is up to date: the same data, config and code."""
_MACHINE_EXAMPLES = (
    "nightshift train classification --machine motor_siemens_1la7_001 --target pi --time-limit 900",
    "nightshift train anomaly --machine pump_7 --contamination 0.05 --force",
)
_VEHICLE_EXAMPLES = {
    "tcn": "nightshift train tcn --epochs 100 --batch-size 64",
    "lstm_ae": "nightshift train lstm_ae --threshold 0.95",
    "behaviour": "nightshift train behaviour --n-estimators 1000",
    "carbon": "nightshift train carbon --subject my_trips",
    "vehicle": "nightshift train vehicle              # all four",
}
_RESUME = "nightshift train {family} --resume 3fa1b2c4d5e6      # the key that the run showed, or its MLflow run id"


@dataclass(frozen=True)
class _Chosen:
    """What the first word names.

    Attributes:
        names: own names of families.
        group: theirs.
        whole: whether the word named the group.
    """

    names: tuple[str, ...]
    group: str
    whole: bool


def add_train(commands: Any, argv: Sequence[str]) -> None:
    """Add both commands; `argv` names the family whose settings become options."""
    command = argv[0] if argv else ""
    if command == "train" and _is_external(argv):
        add_mlagents(commands)
        return
    if command in ("train", "train-machine"):
        need("train", command)  # the settings of a family are read from its module, which needs its libraries
    chosen = _named(argv[1:]) if command == "train" else None
    one = add_command(
        commands,
        "train",
        "train one model of a machine or vehicle, or all of a vehicle",
        about=_ABOUT_ONE,
        examples=_examples(chosen),
    )
    one.add_argument("family", metavar="FAMILY", nargs="?", help=_family_help(chosen))
    _common(one, chosen)
    one.add_argument("--resume", metavar="RUN", help="go on with a run that was cut off, from its checkpoint")
    one.set_defaults(run=_train)
    every = add_command(
        commands,
        "train-machine",
        "train all models of a machine or vehicle",
        about=_ABOUT.format(what="all models"),
        examples=(
            "nightshift train-machine --machine motor_siemens_1la7_001",
            "nightshift train-machine --machine pump_7 --families classification,anomaly --preset standard",
        ),
    )
    every.add_argument("--families", metavar="A,B", default="", help="only these (default: all that fit the data)")
    _common(every, None)
    every.set_defaults(run=_train_machine, resume=None)
    if chosen is not None:
        _add_settings(one, chosen.names)
    elif command == "train-machine":
        _add_settings(every, _listed(argv) or _families_of("machine"))


def _examples(chosen: _Chosen | None) -> tuple[str, ...]:
    if chosen is None:
        shown = (*_MACHINE_EXAMPLES, _VEHICLE_EXAMPLES["tcn"], _VEHICLE_EXAMPLES["vehicle"])
        driving = train_driving.EXAMPLES["ppo"][0]
        return (*shown, driving, "nightshift train rul --help        # every setting of that family")
    if chosen.group == "driving":
        named = "driving" if chosen.whole else chosen.names[0]
        return (*train_driving.EXAMPLES[named], "nightshift driving resume ppo_v1      # goes on with a run")
    if chosen.group == "estimator":
        return (
            f"nightshift train {chosen.names[0]} --subject shop --model random_forest      # a table that has landed",
        )
    if chosen.group != "vehicle":
        return _MACHINE_EXAMPLES
    named = "vehicle" if chosen.whole else chosen.names[0]
    also = ("nightshift train lstm_ae --subject can_synthetic",) if named == "lstm_ae" else ()
    return (_VEHICLE_EXAMPLES[named], *also, _RESUME.format(family="tcn" if chosen.whole else named))


def _family_help(chosen: _Chosen | None) -> str:
    machine = "classification, rul, anomaly or forecast (of a machine)"
    vehicle = "tcn, lstm_ae, behaviour, carbon or, for all four, vehicle"
    driving = "ppo, sac, bc, gail, cimrl (or hybrid) or, for all five, driving; mlagents"
    table = "classifier or regressor (of a table that `train-table` landed)"
    if chosen is None:
        return f"{machine}; {vehicle}; {driving}; {table}"
    return {"vehicle": vehicle, "driving": driving, "estimator": table}.get(chosen.group, machine)


def _common(parser: argparse.ArgumentParser, chosen: _Chosen | None) -> None:
    if chosen is not None and chosen.group == "vehicle":
        add_subject(parser, required=False, help="whose trips (default: carla_synthetic)")
        target = "vehicle"
    elif chosen is not None and chosen.group == "driving":
        train_driving.add_options(parser)
        target = "vehicle"
    elif chosen is not None and chosen.group == "estimator":
        add_subject(parser, required=False, help="the table's name")
        target = "server"
    else:
        add_subject(parser, required=False, help="the machine's id" if chosen else "the machine's or vehicle's id")
        target = "pi" if chosen else "pi, of a vehicle vehicle"
    parser.add_argument("--target", metavar="NAME", help=f"device class it is built for (default: {target})")
    layout = "a YAML file `families: {FAMILY: {key: value}}`"
    if chosen is not None and chosen.group == "driving":
        layout = "a YAML file: algorithm, environment {name, num_envs}, ppo {…}, training {total_steps}; or families"
    parser.add_argument("--config", metavar="FILE", help=layout)
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="any config key, dotted when it is nested")
    parser.add_argument("--force", action="store_true", help="train even what is up to date")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: all)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")


def _named(words: Sequence[str]) -> _Chosen | None:
    """Return what the first word that names a family or a group stands for; None without one."""
    from nightshift import families
    from nightshift.data.groups import SUBJECTS

    known = {*families.names(), *families.ALIASES}
    for word in words:
        if word in SUBJECTS:
            return _Chosen(_families_of(word), word, whole=True)
        if word in known:
            own = families.canonical(word)
            return _Chosen((own,), families.get(own).group, whole=False)
    return None


def _families_of(group: str) -> tuple[str, ...]:
    """Return the families of a group, in the order that people ask."""
    from nightshift.cli.running import families_of_group

    return tuple(families_of_group(group))


def _is_external(argv: Sequence[str]) -> bool:
    """Whether the first word after the command names the runner of another program."""
    return next((word for word in argv[1:] if not word.startswith("-")), "") == EXTERNAL


def _listed(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the families that `--families` names on a command line."""
    from nightshift import families

    text = next((b for a, b in itertools.pairwise(argv) if a == "--families"), "")
    text = text or next((a.partition("=")[2] for a in argv if a.startswith("--families=")), "")
    return tuple(families.canonical(n.strip()) for n in text.split(",") if n.strip())


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    from nightshift import families
    from nightshift.cli.flags import add_flags, config_flags

    title = f"settings of {names[0]}" if len(names) == 1 else "settings; each family takes those that it knows"
    add_flags(parser, title, config_flags(families.get(name).config for name in names))


def _train(arguments: argparse.Namespace) -> int:
    from nightshift import families
    from nightshift.cli.running import run_cell, run_machine
    from nightshift.data.groups import DRIVING, SUBJECTS

    if arguments.resume:
        return _resume(arguments)
    if arguments.family is None:
        raise UsageError("nightshift train: FAMILY is missing.", hint=f"One of {_family_help(None)}.")
    whole = arguments.family in SUBJECTS
    names = _families_of(arguments.family) if whole else [families.canonical(arguments.family)]
    driving = families.get(names[0]).group == DRIVING
    if driving:
        need("driving", "train")
        train_driving.hold_output(arguments.output, names)
    asked = _asked(arguments, names)
    if driving:
        train_driving.before(asked)
    code = run_machine(asked) if whole else run_cell(asked)
    if driving and code == EXIT_OK:
        train_driving.after(asked.home, asked.cells(), arguments.output)
    return code


def _train_machine(arguments: argparse.Namespace) -> int:
    from nightshift import families
    from nightshift.cli.running import run_machine
    from nightshift.data.groups import group_of
    from nightshift.data.store import current
    from nightshift.settings import use_home

    named = [families.canonical(n.strip()) for n in arguments.families.split(",") if n.strip()]
    if not named:
        home, subject = use_home(), _subject(arguments, "")
        _bring(home, subject)
        named = list(_families_of(group_of(home, subject, current(home, subject))))
    return run_machine(_asked(arguments, named))


def _resume(arguments: argparse.Namespace) -> int:
    """Go on with a run; what is asked for beside it must be what it was started with."""
    from nightshift.cli.running import resume_cell
    from nightshift.cli.show import red
    from nightshift.plan.resume import OtherRunError, cell_of_run, resumed
    from nightshift.settings import use_home

    if arguments.force:
        raise UsageError("--resume goes on and --force begins anew.", hint="Give one of the two.")
    home, options = use_home(), _options(arguments)
    cell = cell_of_run(home, arguments.resume)
    family = arguments.family or ""
    if family in ("vehicle", "machine") and cell.family in _families_of(family):
        family = ""
    try:
        cell = resumed(
            home,
            arguments.resume,
            options,
            subject=arguments.subject or "",
            family=family,
            target=arguments.target or "",
        )
    except OtherRunError as error:
        for line in error.differences:
            print(f"{red('differs:', sys.stderr)} {line}", file=sys.stderr)
        raise UsageError(f"run {arguments.resume} was begun otherwise than that.", hint=error.hint) from error
    # Only families that drive have it.
    output = getattr(arguments, "output", None)
    train_driving.hold_output(output)
    code = resume_cell(home, cell, options, verbose=arguments.verbose)
    if output and code == EXIT_OK:
        train_driving.after(home, [cell], output)
    return code


def resume_run(key: str, *, verbose: bool = False) -> int:
    """Go on with the run of a cell as it was begun, and return the exit code.

    Raises:
        UsageError: when the code has changed since, in what way is printed before.
        NightshiftError: when the cell is blocked or fails.
    """
    nothing: dict[str, Any] = dict.fromkeys(("family", "subject", "target", "config", "set", "threads"))
    return _resume(argparse.Namespace(**nothing, resume=key, force=False, verbose=verbose))


def _asked(arguments: argparse.Namespace, chosen: Sequence[str]) -> Asked:
    from nightshift import families
    from nightshift.cli.running import Asked
    from nightshift.data.groups import DRIVING, TARGETS
    from nightshift.settings import use_home

    group = families.get(chosen[0]).group
    home, subject, options = use_home(), _subject(arguments, group), _options(arguments)
    if group == DRIVING:
        subject = train_driving.subject_of(subject)
        options = options.model_copy(update={"settings": train_driving.with_start(home, options.settings)})
    _bring(home, subject)
    return Asked(
        home=home,
        subject=subject,
        target=arguments.target or TARGETS[group],
        families=tuple(dict.fromkeys(chosen)),
        options=options,
        force=arguments.force,
        verbose=arguments.verbose,
    )


def _subject(arguments: argparse.Namespace, group: str) -> str:
    """Return whose data are meant.

    Raises:
        UsageError: where that must be said.
    """
    from nightshift.data.groups import SUBJECTS

    subject = str(arguments.subject or SUBJECTS.get(group, ""))
    if not subject:
        raise UsageError(
            f"nightshift {arguments.command}: --machine ID is missing.", hint="`nightshift status` lists the machines."
        )
    return subject


def _bring(home: Home, subject: str) -> None:
    from nightshift.cli.vehicle_data import bring

    bring(home, subject)


def _options(arguments: argparse.Namespace) -> Any:
    from nightshift.cli.flags import given
    from nightshift.plan.options import TrainOptions

    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads is {arguments.threads}, expected 1 or more.")
    file = str(Path(arguments.config).resolve()) if arguments.config else None
    return TrainOptions(settings=given(arguments), config_file=file, threads=arguments.threads)
