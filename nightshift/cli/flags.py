"""Command-line flags made from a family's config: every scalar field is one."""

from __future__ import annotations

import argparse
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo

from nightshift.errors import ConfigError
from nightshift.family import FamilyConfig

PREFIX = "config."


@dataclass(frozen=True)
class ConfigFlag:
    """One scalar field of a config, as an option.

    Attributes:
        key: the field's name.
        option: such as `--time-limit`.
        kind: `bool`, `int`, `float` or `str`.
        choices: allowed values, () for any.
        optional: whether `none` is a value.
        help: from the class's docstring.
        default: of the code; configs may say otherwise.
    """

    key: str
    option: str
    kind: type
    choices: tuple[str, ...]
    optional: bool
    help: str
    default: object


def config_flags(kinds: Iterable[type[FamilyConfig]]) -> list[ConfigFlag]:
    """Return the flags of all scalar fields of some configs; a field that several share is one flag."""
    found: dict[str, ConfigFlag] = {}
    for kind in kinds:
        docs = attribute_docs(kind)
        for key, field in kind.model_fields.items():
            flag = _flag(key, field, docs.get(key, ""))
            if flag and key not in found:
                found[key] = flag
    return list(found.values())


def add_flags(parser: argparse.ArgumentParser, title: str, flags: Iterable[ConfigFlag]) -> None:
    """Add flags to a parser; what the user leaves out is absent from the namespace."""
    group = parser.add_argument_group(title, "they override every config file; `--set key=value` reaches the rest")
    taken = {o for action in parser._actions for o in action.option_strings}
    for flag in flags:
        if flag.option in taken:
            continue
        taken.add(flag.option)
        shown = f"{flag.help} " if flag.help else ""
        text = f"{shown}(default in code: {_shown(flag.default)})".replace("%", "%%")
        common: dict[str, Any] = {"dest": PREFIX + flag.key, "default": argparse.SUPPRESS, "help": text}
        if flag.kind is bool:
            group.add_argument(flag.option, action=_OnOff, nargs=0, **common)
        else:
            metavar = "{" + ",".join(flag.choices) + "}" if flag.choices else _metavar(flag)
            group.add_argument(flag.option, type=reader(flag), metavar=metavar, **common)


class _OnOff(argparse.Action):
    """`--x` and `--no-x`; argparse's own action would repeat a suppressed default in the help."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        off = [f"--no-{o.removeprefix('--')}" for o in option_strings]
        super().__init__([*option_strings, *off], dest, **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, not str(option).startswith("--no-"))


def reader(flag: ConfigFlag) -> Callable[[str], object]:
    """Return what turns the flag's text into its value; `3e-4` is a number, `10_000_000` an integer."""

    def read(text: str) -> object:
        if flag.optional and text.lower() in ("none", "null"):
            return None
        if flag.choices and text not in flag.choices:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(flag.choices)}, got '{text}'")
        try:
            return _integer(text) if flag.kind is int else flag.kind(text)
        except ValueError:
            wanted = {int: "a whole number", float: "a number"}[flag.kind]
            raise argparse.ArgumentTypeError(f"expected {wanted}, got '{text}'") from None

    return read


def given(namespace: argparse.Namespace) -> dict[str, Any]:
    """Return the config values that stand on the command line: flags, and `--set` over them.

    Raises:
        ConfigError: for a `--set` that is not `key=value`.
    """
    from nightshift.plan.config import merge, parse_yaml

    values = {k.removeprefix(PREFIX): v for k, v in vars(namespace).items() if k.startswith(PREFIX)}
    for assignment in namespace.set or ():
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set '{assignment}' is not key=value.", hint="For example --set seed=7.")
        value = parse_yaml(text, f"--set {key}")
        for part in reversed(key.strip().split(".")):
            value = {part.replace("-", "_"): value}
        values = merge(values, value)
    return values


def applicable(values: Mapping[str, Any], kind: type[FamilyConfig]) -> dict[str, Any]:
    """Return those values that this family's config knows."""
    return {k: v for k, v in values.items() if k in kind.model_fields}


def attribute_docs(kind: type) -> dict[str, str]:
    """Return field -> text of the `Attributes:` sections of a class and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        section = re.search(r"Attributes:\n(.*?)(?:\n\s*\n|\Z)", cls.__dict__.get("__doc__") or "", re.DOTALL)
        lines = section.group(1).splitlines() if section else []
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        names: list[str] = []
        for line in lines:
            start = re.match(rf"\s{{{margin}}}([a-z]\w*(?:, [a-z]\w*)*): (.*)", line)
            if start:
                names = start.group(1).split(", ")
                found |= dict.fromkeys(names, start.group(2).strip())
            else:
                found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return {name: " ".join(text.replace("`", "").split()).rstrip(".") for name, text in found.items()}


def _shown(default: object) -> str:
    return "none" if default == "" else str(default)


def _flag(key: str, field: FieldInfo, text: str) -> ConfigFlag | None:
    annotation, optional = _without_none(field.annotation)
    choices: tuple[str, ...] = ()
    if typing.get_origin(annotation) is Literal:
        choices = tuple(str(a) for a in typing.get_args(annotation))
        annotation = type(typing.get_args(annotation)[0])
    if annotation not in (bool, int, float, str):
        return None
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    option = str(extra.get("flag") or "--" + key.replace("_", "-"))
    return ConfigFlag(key, option, annotation, choices, optional, field.description or text, field.default)


def _metavar(flag: ConfigFlag) -> str:
    units = {"_s": "SECONDS", "_h": "HOURS", "_days": "DAYS"}
    named = {int: "N", float: "NUMBER", str: "NAME"}[flag.kind]
    return next((name for suffix, name in units.items() if flag.key.endswith(suffix)), named)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(kept) == 1:
            return kept[0], True
    return annotation, False


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise ValueError(text) from None
        return int(number)
