"""What is wrong with a profile, in words: the field's path, what was given, and what is allowed there."""

from __future__ import annotations

import reprlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from nightshift.errors import nearest

#: Pydantic's type of an error that carries a list of `Problem`s.
RULES = "profile_rules"
#: Errors whose own text says more than a list of what is allowed.
_TELLING = ("value_error", "string_too_long", "string_too_short", "recursion_loop")
_LENGTHS = {"min_length": "at least", "max_length": "at most"}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    str: "text",
    float: "a number",
    int: "a whole number",
    datetime: "a date, such as 2022-01-03",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, and what with the allowed values."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def refusal(problems: Sequence[Problem]) -> PydanticCustomError:
    """Return one pydantic error that carries several problems, whose paths start where it is raised."""
    text = "; ".join(str(p) for p in problems)
    return PydanticCustomError(RULES, "{text}", {"text": text, "problems": tuple(problems)})


def unknown(what: str, name: str, valid: Sequence[str]) -> str:
    """Say that a name is unknown, what is allowed, and which of it is nearest."""
    near = nearest(name, valid)
    hint = f". {near}" if near.startswith("Did") else ""
    return f"'{shown(name)}' is no {what}; allowed: {', '.join(valid)}{hint}"


def allowed(model: type[BaseModel], loc: Sequence[int | str]) -> str:
    """Say in words what a field of a model allows, such as "a number from 1 up to 60000"; "" for what has no words."""
    return _allowed(_walk(model, loc)[1])


def shown(value: object) -> str:
    """Return a value as text of a bounded length; a string without quotes."""
    if isinstance(value, str):
        return value if len(value) <= 60 else f"{value[:57]}…"
    return _REPR.repr(value)


def problems_of(model: type[BaseModel], errors: Sequence[Mapping[str, Any]]) -> tuple[Problem, ...]:
    """Return what pydantic's errors of a model say, one problem each, in order."""
    return tuple(problem for error in errors for problem in _problems(model, error))


def _problems(model: type[BaseModel], error: Mapping[str, Any]) -> Iterator[Problem]:
    pieces, kind = _walk(model, error["loc"])
    path = ".".join(pieces)
    if error["type"] == "too_short" and len(error.get("input") or ()) >= error["ctx"]["min_length"]:
        return  # There are enough; bad ones among them, which have their own lines, are not counted.
    if error["type"] == RULES:
        for inner in error["ctx"]["problems"]:
            yield Problem(".".join(p for p in (path, inner.path) if p), inner.text)
        return
    if error["type"].startswith("union_tag"):
        yield _bad_tag(path, kind, error)
        return
    yield Problem(path, _text(kind, error))


def _text(kind: Any, error: Mapping[str, Any]) -> str:
    given, name = error.get("input"), str(error["type"])
    if name == "extra_forbidden":
        parent = _model(kind)
        field = str(error["loc"][-1])
        return unknown("field here", field, list(parent.model_fields)) if parent else "unknown field"
    allowed = _allowed(kind)
    if name == "missing":
        return f"the field is required; allowed: {allowed}" if allowed else "the field is required"
    text = str(error["msg"]).removeprefix("Value error, ")
    if name in ("too_short", "too_long"):
        limits = [f"{word} {error['ctx'][k]}" for k, word in _LENGTHS.items() if k in error["ctx"]]
        return f"got {len(given) if isinstance(given, Sized) else 0} entries; allowed: {' '.join(limits)}"
    if name in _TELLING:
        return text if name == "value_error" else f"{text}, got {_quoted(given)}"
    if not allowed:
        return f"{text}, got {_quoted(given)}"
    choices = _choices(kind)
    near = nearest(given, choices) if isinstance(given, str) and choices else ""
    return f"got {_quoted(given)}; allowed: {allowed}" + (f". {near}" if near.startswith("Did") else "")


def _quoted(value: object) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else shown(value)


def _bad_tag(path: str, kind: Any, error: Mapping[str, Any]) -> Problem:
    members = _members(kind)
    key = str(error["ctx"]["discriminator"]).strip("'")
    tags = [tag for member in members for tag in _choices(member.model_fields[key].annotation)]
    where = ".".join(p for p in (path, key) if p)
    if error["type"] == "union_tag_not_found":
        return Problem(where, f"the field is required; allowed: {', '.join(tags)}")
    return Problem(where, unknown("failure mode", str(error["ctx"].get("tag", "")), tags))


def _walk(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], Any]:
    """Return the path that a user wrote, and the type (an annotation or a field) that stands there."""
    pieces: list[str] = []
    here: Any = model
    for piece in loc:
        members = _members(here)
        if isinstance(piece, str) and len(members) > 1:
            # Pydantic names the chosen member of a union; the file has no such level.
            chosen = [m for m in members if piece in _tags(m)]
            if chosen:
                here = chosen[0]
                continue
        pieces.append(str(piece))
        here = _step(here, piece)
    return pieces, here


def _step(here: Any, piece: int | str) -> Any:
    parent = _model(here)
    if isinstance(piece, int):
        arguments = [a for a in typing.get_args(_bare(here)) if a is not Ellipsis]
        return arguments[min(piece, len(arguments) - 1)] if arguments else None
    if parent is None:
        return None
    field = parent.model_fields.get(piece)
    return field if field is not None else parent


def _tags(model: type[BaseModel]) -> list[str]:
    return [str(c) for f in model.model_fields.values() for c in _choices(f.annotation)]


def _bare(kind: Any) -> Any:
    """Strip a field, `Annotated` and `| None` from a type."""
    if isinstance(kind, FieldInfo):
        return _bare(kind.annotation)
    if typing.get_origin(kind) is Annotated:
        return _bare(typing.get_args(kind)[0])
    arguments = _union(kind)
    some = [a for a in arguments if a is not type(None)]
    return _bare(some[0]) if len(some) == 1 < len(arguments) else kind


def _union(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else ()


def _members(kind: Any) -> list[type[BaseModel]]:
    return [a for a in _union(_bare(kind)) if isinstance(a, type) and issubclass(a, BaseModel)]


def _model(kind: Any) -> type[BaseModel] | None:
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _choices(kind: Any) -> list[str]:
    bare = _bare(kind)
    if typing.get_origin(bare) is Literal:
        return [str(a.value) if isinstance(a, Enum) else str(a) for a in typing.get_args(bare)]
    return [str(m.value) for m in bare] if isinstance(bare, type) and issubclass(bare, Enum) else []


def _allowed(kind: Any) -> str:
    """Say in words what a type allows, "" where its text is better said by the error itself."""
    choices = _choices(kind)
    if choices:
        return ", ".join(choices)
    bare = _bare(kind)
    origin = typing.get_origin(bare)
    if origin is tuple:
        return "a list" if Ellipsis in typing.get_args(bare) else "a list of two numbers"
    if _model(kind) is not None or _members(kind):
        model = _model(kind)
        return "a mapping" + (f" with {', '.join(model.model_fields)}" if model else "")
    return _WORDS.get(bare, "") + _bounds(kind) if isinstance(bare, type) else ""


def _bounds(kind: Any) -> str:
    limits = {
        name: getattr(m, name)
        for m in _metadata(kind)
        for name in ("gt", "ge", "lt", "le")
        if getattr(m, name, None) is not None
    }
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    return "".join(f" {words[name]} {limits[name]:.10g}" for name in ("gt", "ge", "lt", "le") if name in limits)


def _metadata(kind: Any) -> Iterator[Any]:
    if isinstance(kind, FieldInfo):
        yield from kind.metadata
        yield from _metadata(kind.annotation)
    elif typing.get_origin(kind) is Annotated:
        inner, *found = typing.get_args(kind)
        for item in found:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)
        yield from _metadata(inner)
    else:
        for argument in _union(kind):
            yield from _metadata(argument)


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 2, 60, 60, 40
