"""Values from outside become records: one readable error, with the nearest valid key, for those that cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nightshift.errors import ConfigError, nearest

Model = TypeVar("Model", bound=BaseModel)


def validated(
    kind: type[Model], values: Mapping[str, Any], where: str, sources: Mapping[str, str] | None = None
) -> Model:
    """Validate values into a model.

    Raises:
        ConfigError: names the key, the nearest valid one, the expected and the found value.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        source = (sources or {}).get(str(first["loc"][0]) if first["loc"] else "", "")
        place = f"{where}{f' (from {source})' if source else ''}"
        if first["type"] == "extra_forbidden":
            hint = nearest(key, _keys_beside(kind, first["loc"]))
            raise ConfigError(f"{place}: unknown key '{key}'.", hint=hint) from None
        got = first.get("input")
        raise ConfigError(f"{place}: '{key}': {first['msg']}, got {got!r}.") from None


def _keys_beside(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that are known where an unknown one stands, dotted like it."""
    outer = ""
    for part in place[:-1]:
        inner = kind.model_fields[str(part)].annotation if part in kind.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        kind, outer = inner, f"{outer}{part}."
    return [f"{outer}{name}" for name in kind.model_fields]
