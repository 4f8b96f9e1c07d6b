"""What was answered to whom: the newest predictions, in a SQLite file of the dashboard's own."""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.errors import ServiceError, UnknownNameError, first_line
from nightshift.problems.evaluation import Figure

if TYPE_CHECKING:
    from nightshift.dashboard.predictions import Answer
    from nightshift.edge.rows import Rows

logger = logging.getLogger("nightshift.dashboard")

#: So many predictions are kept, of each so many rows and characters.
KEPT = 10_000
_ROWS, _CHARACTERS = 20, 16_000
#: Of so many of the newest that a page asked for, what it drew is kept as well, of so many packed bytes at most.
_DRAWN, _DRAWN_BYTES = 100, 500_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    user TEXT NOT NULL,
    machine TEXT NOT NULL,
    family TEXT NOT NULL,
    target TEXT NOT NULL,
    version INTEGER NOT NULL,
    bundle_id TEXT NOT NULL,
    rows INTEGER NOT NULL,
    summary TEXT NOT NULL,
    latency_ms REAL NOT NULL,
    inputs TEXT NOT NULL,
    outputs TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_model ON predictions (machine, family);
CREATE TABLE IF NOT EXISTS drawn (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
"""
_SHORT = "id, at, user, machine, family, target, version, bundle_id, rows, summary, latency_ms"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Prediction(_Record):
    """One answer that was given.

    Attributes:
        id: 0 until it is kept.
        at: ISO 8601, with Z.
        user: who asked.
        rows: that were given.
    """

    id: int
    at: str
    user: str
    machine: str
    family: str
    target: str
    version: int
    bundle_id: str
    rows: int
    summary: str
    latency_ms: float


class Head(_Record):
    """The first lines of a table, as text.

    Attributes:
        cut: whether there were more.
    """

    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    cut: bool = False


class PredictionDetails(Prediction):
    """An answer with the beginnings of what was given and said."""

    inputs: Head
    outputs: Head


class Drawn(_Record):
    """What the page of an answer shows beside its record.

    Attributes:
        answers: all of them, or the first and the last of many.
        values, time, before: what stood in the form, to ask again with other values; {} where rows came as CSV.
    """

    figures: tuple[Figure, ...] = ()
    answers: Head = Head()
    values: dict[str, str] = {}
    time: str = ""
    before: bool = True


class History:
    """The predictions kept in a file, newest first.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def keep(self, made: PredictionDetails, drawn: Drawn | None = None) -> int | None:
        """Keep a prediction and return its id; None where it cannot be kept, which spoils no answer."""
        values = {**made.model_dump(exclude={"id"}), "user": made.user[:200]}
        values |= {name: getattr(made, name).model_dump_json() for name in ("inputs", "outputs")}
        marks = ", ".join("?" * len(values))
        try:
            with self._open() as database:
                into = f"INSERT INTO predictions ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
                number = int(database.execute(into, tuple(values.values())).lastrowid or 0)
                database.execute("DELETE FROM predictions WHERE id <= ?", (number - KEPT,))
                if drawn is not None:
                    _keep_drawn(database, number, drawn)
                return number
        except ServiceError as error:
            logger.warning("A prediction was not kept: %s", error)
            return None

    def page(
        self, machine: str = "", family: str = "", *, offset: int = 0, limit: int = 50
    ) -> tuple[list[Prediction], int]:
        """Return some of the predictions, and how many there are of the machine and family asked for.

        Raises:
            ServiceError: when the file cannot be read.
        """
        where = "WHERE (? = '' OR machine = ?) AND (? = '' OR family = ?)"
        asked = (machine, machine, family, family)
        with self._open() as database:
            count = int(database.execute(f"SELECT count(*) FROM predictions {where}", asked).fetchone()[0])  # noqa: S608
            query = f"SELECT {_SHORT} FROM predictions {where} ORDER BY id DESC LIMIT ? OFFSET ?"  # noqa: S608
            found = [dict(row) for row in database.execute(query, (*asked, limit, offset))]
        return [Prediction.model_validate(row) for row in found], count

    def find(self, number: int) -> PredictionDetails:
        """Return one prediction.

        Raises:
            UnknownNameError: when it is not kept, or not any more.
            ServiceError: when the file cannot be read.
        """
        with self._open() as database:
            row = database.execute("SELECT * FROM predictions WHERE id = ?", (number,)).fetchone()
            newest = [str(n) for (n,) in database.execute("SELECT id FROM predictions ORDER BY id DESC LIMIT 5")]
        if row is None:
            hint = f"The newest {KEPT:,} are kept: the page History lists them."
            raise UnknownNameError("prediction", str(number), newest, hint=hint)
        found = dict(row)
        heads = {name: json.loads(found[name]) for name in ("inputs", "outputs")}
        return PredictionDetails.model_validate(found | heads)

    def drawn(self, number: int) -> Drawn | None:
        """Return what the page of a prediction shows; None for an older one, and for one that a program asked for.

        Raises:
            ServiceError: when the file cannot be read.
        """
        with self._open() as database:
            row = database.execute("SELECT content FROM drawn WHERE id = ?", (number,)).fetchone()
        try:
            return Drawn.model_validate_json(zlib.decompress(row["content"])) if row else None
        except (zlib.error, ValidationError):
            # Another release drew it.
            return None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Give the file's connection to one thread at a time; what it does is done whole or not at all."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._made()
                with self._connection:
                    yield self._connection
            except (sqlite3.Error, OSError) as error:
                # The next one opens the file anew: it may have been moved away, or be whole again.
                self._forget()
                raise ServiceError(
                    f"the history of predictions at {self._path} cannot be used: {first_line(error)}.",
                    hint="Nothing else depends on it: move the file away, and a new one is begun.",
                ) from error

    def _made(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        found = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
        found.row_factory = sqlite3.Row
        try:
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=NORMAL")
            found.executescript(_SCHEMA)
        except sqlite3.Error:
            found.close()
            raise
        return found


def _keep_drawn(database: sqlite3.Connection, number: int, drawn: Drawn) -> None:
    packed = zlib.compress(drawn.model_dump_json().encode())
    if len(packed) <= _DRAWN_BYTES:
        database.execute("INSERT INTO drawn VALUES (?, ?)", (number, packed))
        newest = "SELECT id FROM drawn ORDER BY id DESC LIMIT 1 OFFSET ?"
        database.execute(f"DELETE FROM drawn WHERE id <= ({newest})", (_DRAWN,))  # noqa: S608


def details_of(user: str, answer: Answer, rows: Rows, columns: tuple[str, ...]) -> PredictionDetails:
    """Return an answer as it is kept: with the beginnings of what was given and of what was said of it.

    Args:
        user: who asked.
        answer: what was said.
        rows: what was given.
        columns: their names.
    """
    clock = ("time",) if rows.time else ()
    given = [(*rows.time[i : i + 1], *(f"{v:.7g}" for v in rows.values[i])) for i in range(min(_ROWS, answer.rows))]
    header, said = table_of(answer)
    same = ("machine", "family", "target", "version", "bundle_id", "rows", "summary", "latency_ms")
    return PredictionDetails(
        id=0,
        at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        user=user,
        inputs=_head((*clock, *columns), given, answer.rows),
        outputs=_head(header, said[:_ROWS], len(said)),
        **{name: getattr(answer, name) for name in same},
    )


def _head(header: tuple[str, ...], rows: list[tuple[str, ...]], count: int) -> Head:
    kept, left = [], _CHARACTERS
    for row in rows:
        left -= sum(len(cell) + 3 for cell in row)
        if left < 0:
            break
        kept.append(row)
    return Head(header=header, rows=tuple(kept), cut=len(kept) < count)


def table_of(answer: Answer) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return an answer as a table of text: a line for each row that was answered, of a forecast for each step."""
    header: list[str] = ["time"] if answer.times else ["step" if answer.output("yhat") else "row"]
    columns: list[list[str]] = []
    for output in answer.outputs:
        values = output.values[0] if answer.output("yhat") and output.values else output.values
        unit = f" [{output.unit}]" if output.unit else ""
        for i, name in enumerate(output.columns or ("",)):
            header.append(f"{output.name} {name}".strip() + unit)
            columns.append([_text(v[i] if isinstance(v, list) else v, output.name, answer) for v in values])
    first = answer.times or [str(answer.first_answered + i + 1) for i in range(len(columns[0]))]
    return tuple(header), [(at, *cells) for at, *cells in zip(first, *columns, strict=False)]


def _text(value: float | int | None, name: str, answer: Answer) -> str:
    if value is None:
        return "–"
    if name == "label" and isinstance(value, int) and 0 <= value < len(answer.classes):
        return answer.classes[value]
    if name == "vote":
        return "odd" if value == 1 else "normal"
    return f"{value:.5g}"
