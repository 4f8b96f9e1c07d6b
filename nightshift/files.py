"""Files: atomic writes, hashes, and how every YAML is read. Same level as settings and errors."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from functools import cache
from pathlib import Path
from typing import Any

from nightshift.errors import ConfigError, first_line

# What an OSError says when nothing more can be written, and waiting does not help.
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file hit its size limit",
}

# YAML 1.1 reads 3e-4 as text; YAML 1.2 and everybody's eyes read a number.
_FLOAT = re.compile(
    r"""^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


#: Characters of a line that an error shows.
_SHOWN = 80
#: A config is read by people; a file beyond this is something else, and would take minutes to parse.
_MAX_YAML_BYTES = 1_000_000


def disk_full(error: BaseException | None) -> str:
    """Return in words why nothing more can be written to the disk; "" for any other error."""
    return _FULL.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_plain(path: Path, limit: int) -> bytes:
    """Read the first `limit` bytes of a plain file: a pipe or a device, or a link to one, could keep us for ever.

    Raises:
        OSError: when it is something else, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    # What was put there since then does not hold us up either.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return file.read(limit)


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes beside `path`, flush them to disk, then rename into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_first(path: Path, data: bytes) -> bool:
    """Write a file that is not there yet, whole or not at all; returns whether it was not.

    Of two processes that write at once one is first, and the other hears of it.
    """
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    write_atomic(whole, data)
    try:
        # A link, which only one can make, and which is never half a file.
        path.hardlink_to(whole)
    except FileExistsError:
        return False
    finally:
        whole.unlink(missing_ok=True)
    return True


def fsync(path: Path) -> None:
    """Have a file, or a folder's entries, written to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; `3e-4` is a number and `10_000_000` an integer.

    Raises:
        ConfigError: when the file is missing, is not YAML, is huge, or is no mapping.
    """
    try:
        text = read_plain(path, _MAX_YAML_BYTES + 1)
        if len(text) > _MAX_YAML_BYTES:
            raise ConfigError(
                f"{path.name} has {path.stat().st_size:,} bytes; a config has up to {_MAX_YAML_BYTES:,}.",
                hint="Check that it is the right file.",
            )
        content = parse_yaml(text.decode("utf-8-sig"), path.name)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text: {error}.", hint="Save it as UTF-8.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name} must hold a mapping, got {type(content).__name__}.")
    return content


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML text the way every config is read; `name` stands in the error.

    Raises:
        ConfigError: when the text is not YAML, or a mapping holds a key twice.
    """
    import yaml

    swift, careful = _loaders()
    try:
        try:
            return swift(text).get_single_data()
        except yaml.YAMLError:
            # Its errors show the place too, and its word is the one that counts.
            return careful(text).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {_place_of(error, text)}.", hint="Mend it there.") from error
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # PyYAML's constructors let these out: a 13th month, a number of 5,000 digits, `!!int abc`.
        raise ConfigError(f"{name} holds a value that cannot be read: {first_line(error)}.", hint="Mend it.") from error
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply.", hint="A config has a few levels.") from None


def _place_of(error: Exception, text: str) -> str:
    """Return in one line where YAML is broken, what is wrong, and the line where that began; PyYAML tells it in six."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return first_line(error)
    began = getattr(error, "context_mark", None) or mark
    line = "".join(text.splitlines()[began.line : began.line + 1]).strip()[:_SHOWN]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{f', in {line!r}' if line else ''}"


@cache
def _loaders() -> tuple[Any, Any]:
    """Return the loader that scans in C, four times faster where libyaml is there, and the one in Python."""
    import yaml
    from yaml.composer import Composer

    class Rules(Composer):
        """Floats follow YAML 1.2, and a key that stands twice is refused."""

        yaml_implicit_resolvers = {
            first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:float"]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            return node

    for first in "-+0123456789.":
        Rules.yaml_implicit_resolvers.setdefault(first, []).append(("tag:yaml.org,2002:float", _FLOAT))
    careful = type("Careful", (Rules, yaml.SafeLoader), {})
    if not yaml.__with_libyaml__:
        return careful, careful

    class Swift(Rules, yaml.CSafeLoader):
        """Scans and parses in C, composes in Python: nesting too deep stays an error instead of a crash."""

        def __init__(self, stream: str) -> None:
            yaml.CSafeLoader.__init__(self, stream)
            Composer.__init__(self)

    return Swift, careful
