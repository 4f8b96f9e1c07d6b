"""`profile list|check|new`: the profiles that synthetic machines are made from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import Parser, add_command
from nightshift.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nightshift.settings import Home
    from nightshift.simulate.profile import Profile
    from nightshift.simulate.profile_problems import Problem


def add_profile(commands: Any) -> None:
    """Add `profile list`, `profile check` and `profile new`."""
    parser = add_command(
        commands,
        "profile",
        "what synthetic machines are made from: `profile list`, `profile check`, `profile new`",
        about="A profile describes a machine: nameplate, sensors, schedule, usage and ways to fail. "
        "docs/profiles.md explains every field.",
    )
    kinds = parser.add_subparsers(dest="what", metavar="list|check|new", required=True, parser_class=Parser)
    add_command(kinds, "list", "the machines that have a profile").set_defaults(run=_list)
    check = add_command(
        kinds,
        "check",
        "explain what is wrong with a profile, or sum up a good one",
        examples=("nightshift profile check motor_siemens_1la7_001", "nightshift profile check my_pump.yaml"),
    )
    check.add_argument("profile", metavar="MACHINE|FILE", help="the machine's id, or a YAML file")
    check.set_defaults(run=_check)
    new = add_command(
        kinds,
        "new",
        "ask about a machine and write its profile",
        about="Ask about a machine, with the usual answer in brackets, and write configs/machines/<id>.yaml under "
        "NIGHTSHIFT_HOME. Leaving with Ctrl-C writes nothing.",
        examples=(
            "nightshift profile new",
            "nightshift profile new --machine pump_7 --from-json answers.json",
            """echo '{"machine": "fan_7", "machine_type": "fan"}' | nightshift profile new --from-json -""",
        ),
    )
    new.add_argument("--machine", "--subject", metavar="ID", help="the machine's id, so that it is not asked")
    new.add_argument(
        "--from-json", metavar="FILE", help="ask nothing: answers, or a whole profile, from a JSON file; - for stdin"
    )
    new.add_argument("--force", action="store_true", help="replace a profile that exists")
    new.set_defaults(run=_new)


def _list(_: argparse.Namespace) -> int:
    need("train", "profile")
    from nightshift.cli.show import table
    from nightshift.errors import ConfigError
    from nightshift.settings import use_home
    from nightshift.simulate.profile import load_profile, profile_names

    home = use_home()
    rows = []
    for name in profile_names(home):
        try:
            p = load_profile(home, name)
        except ConfigError:
            rows.append((name, "-", "-", "-", "-", f"refused: nightshift profile check {name}"))
            continue
        rows.append(
            (name, p.machine_type, str(len(p.sensors)), f"{p.life.mean_h:g} h", f"{p.failure_share:.0%}", p.title)
        )
    print(table(("machine", "type", "sensors", "mean life", "failing", "title"), rows))
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> int:
    need("train", "profile")
    from nightshift.errors import UnknownNameError
    from nightshift.settings import find_config, use_home
    from nightshift.simulate.profile import find_problems, profile_names, read_profile_yaml

    home, word = use_home(), str(arguments.profile)
    path = Path(word).expanduser()
    if not (path.suffix in (".yaml", ".yml") or "/" in word or path.is_file()):
        found = find_config(home, "machines", word)
        # Some machine files only hold settings of trainings.
        if found is None or not set(read_profile_yaml(found)) - {"families"}:
            hint = "A file is named with its .yaml; `nightshift profile new` writes a profile."
            raise UnknownNameError("machine profile", word, profile_names(home), hint=hint)
        path = found
    content = read_profile_yaml(path)
    problems = find_problems(content)
    if problems:
        _print_problems(path.name, problems)
        return EXIT_USAGE
    _print_summary(path.stem, content)
    return EXIT_OK


def _print_problems(where: str, problems: Sequence[Problem]) -> None:
    from nightshift.cli.show import red

    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    print(f"{red('error:', sys.stderr)} {where} is refused: {count}.", file=sys.stderr)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)


def _print_summary(name: str, content: Mapping[str, Any]) -> None:
    from nightshift.cli.show import bold, green, table
    from nightshift.simulate.catalogue import KINDS
    from nightshift.simulate.keep import remarks
    from nightshift.simulate.profile import MIN_RUNS, parse_profile

    p = parse_profile(content, name)
    print(f"{bold(name)}: {p.title}")
    title = KINDS[p.machine_type].title
    article = "an" if title[0] in "aeiou" else "a"
    print(f"{green('good')}: {article} {title} of {p.nameplate.rated_power_kw:g} kW, clock {p.timezone}\n")
    sensors = [
        (
            s.name,
            s.measures,
            s.quantity.unit,
            f"{s.range[0]:g} to {s.range[1]:g}",
            f"{s.noise:g}",
            f"{s.sampling_s or p.sampling_s:g} s",
            "; ".join(_alarms(s.alarm_below, s.alarm_above)) or "-",
            "yes" if s.critical else "",
        )
        for s in p.sensors
    ]
    print(table(("sensor", "measures", "unit", "range", "noise", "every", "alarm", "critical"), sensors))
    print()
    modes = [(m.name, f"{m.share:.0%}", f"{m.load:.0%}", f"{m.swing:.0%}", f"{m.wear_rate:g}") for m in p.usage_modes]
    print(table(("usage", "of the units", "load", "follows shifts", "wear rate"), modes))
    print()
    fails = [(str(m.mode), f"{m.share:.0%}", f"{m.onset:.0%}", f"{p.load_exponent(m):.3g}") for m in p.failure_modes]
    print(table(("fails by", "of the failures", "shows after, of life", "load exponent"), fails))
    print(f"\nmean life {p.life.mean_h:g} h, {_labelled(p)}")
    print(f"at least {p.min_rows:,} rows of {p.sampling_s:g} s for {MIN_RUNS} runs")
    for remark in remarks(p):
        print(f"remark: {f'{remark.path} ' if remark.path else ''}{remark.text}")


def _labelled(profile: Profile) -> str:
    """Say what the labels hold, and what can be trained where one is left out."""
    labels = profile.labels
    if labels.failure_status:
        return f"horizon {labels.horizon_h:g} h: about {profile.failure_share:.0%} of the rows are failing"
    families = [
        *(["rul"] if labels.rul else []),
        "anomaly",
        *(["forecast"] if any(s.critical for s in profile.sensors) else []),
    ]
    what = "failure_status" if labels.rul else "failure_status and rul"
    return f"without {what}: {', '.join(families)} can be trained (anomaly is judged on injected anomalies)"


def _alarms(below: float | None, above: float | None) -> list[str]:
    return [f"{sign} {v:g}" for sign, v in (("<", below), (">", above)) if v is not None]


def _new(arguments: argparse.Namespace) -> int:
    need("train", "profile")
    from nightshift.settings import use_home

    home = use_home()
    if arguments.machine is not None:
        from nightshift.data.schema import check_subject
        from nightshift.simulate.keep import refuse_taken

        check_subject(arguments.machine)
        if not arguments.force:
            refuse_taken(home, arguments.machine)
    if arguments.from_json is not None:
        machine, content = _from_json(arguments.from_json, arguments.machine)
    else:
        answered = _from_answers(home, arguments)
        if answered is None:
            return EXIT_INTERRUPTED
        machine, content = answered
    return _write(home, machine, content, force=arguments.force)


def _from_answers(home: Home, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]] | None:
    from nightshift.simulate.wizard import ask, profile_content

    print("Enter takes the answer in brackets; Ctrl-C leaves, and nothing is written.\n")
    known = {"machine": arguments.machine} if arguments.machine else {}
    try:
        answers = ask(input, print, known)
    except KeyboardInterrupt:
        print("\nleft; nothing was written.", file=sys.stderr)
        return None
    except EOFError:
        print()
        raise UsageError(
            "the answers ended before the last question; nothing was written.",
            hint="Answer all, or use `nightshift profile new --from-json FILE`.",
        ) from None
    return answers.machine, profile_content(answers)


def _from_json(source: str, machine: str | None) -> tuple[str, dict[str, Any]]:
    from nightshift.data.schema import check_subject
    from nightshift.simulate.answers import parse_answers
    from nightshift.simulate.wizard import MAX_JSON, profile_content, read_json

    try:
        if source == "-":
            text = sys.stdin.read(MAX_JSON + 1)
        else:
            with Path(source).expanduser().open(encoding="utf-8-sig") as file:
                text = file.read(MAX_JSON + 1)
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text: {error}.", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}.", hint="Check the path.") from None
    content = read_json(text)
    if machine is not None:
        content = {"machine": machine, **{k: v for k, v in content.items() if k != "machine"}}
    if "nameplate" not in content:
        answers = parse_answers(content)
        return answers.machine, profile_content(answers)
    named = content.pop("machine", None)
    if not isinstance(named, str):
        raise UsageError("the JSON names no machine.", hint='Add "machine": "…" to it, or use --machine ID.')
    check_subject(named)
    return named, content


def _write(home: Home, machine: str, content: Mapping[str, Any], *, force: bool) -> int:
    from nightshift.simulate.keep import RefusedProfileError, keep

    try:
        path = keep(home, machine, content, replace=force)
    except RefusedProfileError as error:
        _print_problems(f"the profile of {machine}", error.problems)
        return EXIT_USAGE
    print(f"written: {path}")
    print(f"next: nightshift profile check {machine}; nightshift synthesize {machine}")
    return EXIT_OK
