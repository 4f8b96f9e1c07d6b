"""Records that are checked value by value, however they are made: by name or from JSON.

Their methods are named as those of pydantic's models, which the rest of Nightshift uses and a device does without:
importing it and making its classes took a third of a device's start and 12 MB of its memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

_ENDLESS = "Infinity"
_Taker = Callable[[Any], Any]


class RecordError(ValueError):
    """A value that a record does not take.

    Args:
        said: what was expected, and what was found.
        where: the fields and places that lead to the value.
    """

    def __init__(self, said: str, where: tuple[str, ...] = ()) -> None:
        super().__init__(": ".join(filter(None, (".".join(where), said))))
        self.said = said
        self.where = where


@dataclass(frozen=True)
class AtLeast:
    """A bound of a number: `Annotated[float, AtLeast(0)]`; a number without end is taken only if `endless`."""

    least: float
    endless: bool = False


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """Base of all records: fields are what a class annotates, given by name, and never change.

    Raises:
        RecordError: for a field that is missing, unknown, or not what its annotation says.
    """

    def __init__(self, /, **given: Any) -> None:
        kind: Any = type(self)
        fields = _fields(kind)
        for name in sorted(given.keys() - fields.keys()):
            raise RecordError("there is no such field", (_short(name),))
        for name, take in fields.items():
            if name not in given and not hasattr(kind, name):
                raise RecordError("the field is missing", (name,))
            self.__dict__[name] = _within(name, take, given[name] if name in given else getattr(kind, name))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} does not change: make another with model_copy.")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return the record with other values, which are checked."""
        return type(self)(**{**self.__dict__, **update})

    def model_dump(self, *, mode: Literal["json"] = "json") -> dict[str, Any]:
        """Return the record as `json` takes it.

        JSON knows no number without end: it is told as "Infinity" where the field takes one, for the very case that
        such a figure is there for must be read back; elsewhere it is null, as is what is no number.
        """
        kind: Any = type(self)
        hints = _hints(kind)
        return {name: _plain(hints[name], value) for name, value in self.__dict__.items()}

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """Return the record as JSON."""
        separators = None if indent is not None else (",", ":")
        return json.dumps(self.model_dump(), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)

    @classmethod
    def model_validate(cls, value: object) -> Self:
        """Return a record of what JSON holds, or the record itself.

        Raises:
            RecordError: naming the first field that is wrong.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _unlike("fields by name", value)
        return cls(**value)

    @classmethod
    def model_validate_json(cls, raw: bytes | str) -> Self:
        """Return a record of JSON text, UTF-8.

        Raises:
            RecordError: when it is none, naming the first field that is wrong.
        """
        return cls.model_validate(parsed(raw))


def parsed(raw: bytes | str) -> Any:
    """Return what JSON text holds.

    Raises:
        RecordError: when it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(raw if isinstance(raw, str) else raw.decode())
    except (ValueError, RecursionError) as error:
        raise RecordError("no JSON") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _fields(kind: Any) -> dict[str, _Taker]:
    return {name: _taker(hint) for name, hint in _hints(kind).items()}


@cache
def _taker(hint: Any) -> _Taker:
    """Return the function that takes a value of a type, or raises RecordError."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.model_validate
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(_taker(inner[0]), inner[1])
    if origin is Literal:
        return _one_of(inner)
    if origin in (Union, UnionType):
        return _either([_taker(arm) for arm in inner if arm is not NoneType], optional=NoneType in inner)
    if origin is tuple:
        return _row_of(_taker(inner[0]))
    if origin is dict:
        return _table_of(_taker(inner[1]))
    raise TypeError(f"records hold no {hint}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _unlike("text", value)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair, which JSON can spell
        raise _unlike("text", value) from None
    return str.__str__(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _unlike("an integer", value)
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _unlike("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise _unlike("a number", value) from None


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _unlike("true or false", value)
    return value


_PLAIN: dict[Any, _Taker] = {str: _text, int: _integer, float: _number, bool: _truth}


def _bounded(take: _Taker, bound: AtLeast) -> _Taker:
    def taken(value: Any) -> Any:
        found = take(math.inf if bound.endless and isinstance(value, str) and value == _ENDLESS else value)
        if not found >= bound.least:
            raise _unlike(f"{bound.least:g} or more", value)
        if found == math.inf and not bound.endless:
            raise _unlike("a finite number", value)
        return found

    return taken


def _one_of(values: tuple[Any, ...]) -> _Taker:
    def taken(value: Any) -> Any:
        if not any(type(value) is type(known) and value == known for known in values):
            raise _unlike(" or ".join(map(repr, values)), value)
        return value

    return taken


def _either(arms: list[_Taker], *, optional: bool) -> _Taker:
    def taken(value: Any) -> Any:
        if value is None and optional:
            return None
        for take in arms[:-1]:
            try:
                return take(value)
            except RecordError:
                continue
        return arms[-1](value)

    return taken


def _row_of(take: _Taker) -> _Taker:
    def taken(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _unlike("a list", value)
        return tuple(_within(i, take, item) for i, item in enumerate(value))

    return taken


def _table_of(take: _Taker) -> _Taker:
    def taken(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unlike("values by name", value)
        return {_text(name): _within(name, take, item) for name, item in value.items()}

    return taken


def _within(at: object, take: _Taker, value: Any) -> Any:
    try:
        return take(value)
    except RecordError as error:
        raise RecordError(error.said, (_short(at), *error.where)) from None


def _unlike(expected: str, value: object) -> RecordError:
    return RecordError(f"expected {expected}, got {_short(repr(value))}")


def _short(value: object) -> str:
    """Return a text on one line, cut."""
    text = str(value)[:60]
    return text if text.isprintable() else ascii(text)[1:-1]


def _plain(hint: Any, value: Any) -> Any:
    """Return a value of a type as `json` takes it."""
    if isinstance(value, Record):
        return value.model_dump()
    if isinstance(value, float) and not math.isfinite(value):
        return _ENDLESS if _is_endless(hint) else None
    inner = next((arm for arm in get_args(hint)[::-1] if arm not in (NoneType, ...)), None)
    if isinstance(value, tuple):
        return [_plain(inner, item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(inner, item) for name, item in value.items()}
    return value


def _is_endless(hint: Any) -> bool:
    return get_origin(hint) is Annotated and hint.__metadata__[0].endless
