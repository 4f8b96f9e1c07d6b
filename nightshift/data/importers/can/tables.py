"""Logs that are tables: the Car-Hacking layout, DAGA's, and others that name the same columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.can.trace import NORMAL, Cells, Trace, assemble, joined, kind_told
from nightshift.edge.can import Frames
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Lines of text become objects of Python: so many at a time.
_CHUNK = 400_000
_WIDTH = 12
_TIME, _ID, _LENGTH = ("timestamp", "time"), ("can_id", "arbitration_id", "id"), ("dlc", "length")
_PAYLOAD, _MARK = ("payload_hex", "payload", "data"), ("anomaly", "flag", "class", "label", "attack")
_KIND = ("subclass", "kind")
_MARKED = {"t": True, "true": True, "1": True, "attack": True, "r": False, "false": False, "0": False, "normal": False}
_HCRL_LINE = re.compile(
    r"Timestamp:\s*([0-9.]+)\s+ID:\s*([0-9a-fA-F]+)\s+[01]+\s+DLC:\s*(\d+)(?:\s+((?:[0-9a-fA-F]{2}\s*)*))?"
)

Piece = tuple[Frames, NDArray[np.bool_] | None]


def read_headless(content: bytes, name: str, path: str) -> Trace:
    """Read the Car-Hacking layout: `Timestamp,ID,DLC,DATA0..DATA7,Flag` without a header; short frames, short lines.

    Source: HCRL, "Car-Hacking Dataset for the intrusion detection" (Seo, Song, Kim, PST 2018); flag T = injected.

    Raises:
        DataError: names the line that cannot be read.
    """
    pieces = [_headless(chunk, name) for chunk in _chunks(content, name, headed=False)]
    return joined(name, kind_told(path), pieces)


def _headless(chunk: pd.DataFrame, name: str) -> Piece:
    lines = chunk.index.to_numpy(np.int64) + 1
    cells = chunk.to_numpy(object)
    length = _whole_numbers(cells[:, 2], lines, name, most=8)
    end = np.take_along_axis(cells, (3 + length)[:, None], axis=1)[:, 0]
    flag = np.where(end == "", cells[:, _WIDTH - 1], end)
    known = np.isin(flag, ["R", "T"])
    if not known.all():
        row = int(np.argmax(~known))
        raise DataError(
            f"line {lines[row]} of {name} ends in '{flag[row]}', expected R (normal) or T (injected) after "
            f"{length[row]} bytes.",
            hint="The layout is Timestamp,ID,DLC,DATA0..DATA7,Flag.",
        )
    inside = np.arange(8) < length[:, None]
    payload = ["".join(row) for row in np.where(inside, cells[:, 3:11], "")]
    return assemble(
        name, Cells(lines, _times(cells[:, 0]), cells[:, 1].tolist(), payload, length, np.asarray(flag == "T", bool))
    )


def read_headed(content: bytes, name: str, path: str) -> Trace:
    """Read a table whose header names time, id, payload and, if frames are marked, a mark: DAGA's and others.

    DAGA counts a frame's length in bits; a table whose lengths are eight times the payloads' is read so.

    Raises:
        DataError: when a column is missing, or a line cannot be read.
    """
    pieces, labelled = [], []
    for chunk in _chunks(content, name, headed=True):
        pieces.append(_headed(chunk, name))
        labelled += [k for k in [_kinds(chunk, pieces[-1][1])] if k is not None]
    kind = next((str(k) for kinds in labelled for k in kinds[kinds != NORMAL][:1]), kind_told(path))
    return joined(name, kind, pieces, labelled=labelled)


def _kinds(chunk: pd.DataFrame, attack: NDArray[np.bool_] | None) -> NDArray[np.object_] | None:
    """Return the kind of each frame where a column tells it, `(n,)`."""
    column = next((c for c in chunk.columns if str(c).strip().lower() in _KIND), None)
    if column is None or attack is None:
        return None
    known = {word: kind_told(word) for word in chunk[column].unique()}
    return np.where(attack, chunk[column].map(known).to_numpy(object), NORMAL).astype(object)


def _headed(chunk: pd.DataFrame, name: str) -> Piece:
    by_name = {str(column).strip().lower(): column for column in chunk.columns}
    lines = chunk.index.to_numpy(np.int64) + 2
    time, number = (_column(chunk, by_name, names, name) for names in (_TIME, _ID))
    payload = _payloads(chunk, by_name, name)
    attack = None
    if (mark := next((by_name[m] for m in _MARK if m in by_name), None)) is not None:
        attack = _marks(chunk[mark].to_numpy(object), lines, name)
    length = None
    if stated := next((by_name[m] for m in _LENGTH if m in by_name), None):
        length = _whole_numbers(chunk[stated].to_numpy(object), lines, name, most=512)
        counted = np.array([len(text) // 2 for text in payload])
        length = length // 8 if np.array_equal(length, 8 * counted) else length
    return assemble(name, Cells(lines, _times(time), number.tolist(), payload, length, attack))


def _column(chunk: pd.DataFrame, by_name: dict[str, Any], names: tuple[str, ...], file: str) -> NDArray[np.object_]:
    found = next((by_name[n] for n in names if n in by_name), None)
    if found is None:
        raise DataError(
            f"{file} has the columns {', '.join(map(str, list(chunk.columns)[:_WIDTH]))}, and none of "
            f"{', '.join(names)}.",
            hint="Name the columns timestamp, can_id, dlc, payload and, where frames are marked, anomaly.",
        )
    return np.array([cell.strip() for cell in chunk[found]], object)


def _payloads(chunk: pd.DataFrame, by_name: dict[str, Any], file: str) -> list[str]:
    each = [by_name[f"data{i}"] for i in range(8) if f"data{i}" in by_name]
    if len(each) == 8:
        return ["".join(cell.strip() for cell in row) for row in chunk[each].to_numpy(object)]
    return [text.replace(" ", "") for text in _column(chunk, by_name, _PAYLOAD, file)]


def _marks(cells: NDArray[np.object_], lines: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    read = [_MARKED.get(str(cell).strip().lower()) for cell in cells]
    if None in read:
        row = read.index(None)
        raise DataError(
            f"line {lines[row]} of {name} marks its frame as '{cells[row]}', expected R or T, 0 or 1, true or false, "
            "normal or attack.",
            hint="Mend the column.",
        )
    return np.array(read, bool)


def read_hcrl_text(content: bytes, name: str, path: str) -> Trace:
    """Read Car-Hacking's attack-free log: lines `Timestamp: …  ID: 0350  000  DLC: 8  05 28 84 …`; all normal.

    Raises:
        DataError: names the line that cannot be read.
    """
    lines, times, ids, lengths, payloads = [], [], [], [], []
    for at, line in enumerate(content.decode("latin-1").splitlines(), start=1):
        if not line.strip():
            continue
        match = _HCRL_LINE.match(line)
        if match is None:
            raise DataError(f"line {at} of {name} is no frame: '{line[:60]}'.", hint="Mend or remove the line.")
        lines.append(at)
        times.append(match[1])
        ids.append(match[2])
        lengths.append(int(match[3]))
        payloads.append("".join((match[4] or "").split()))
    cells = Cells(lines, _times(np.array(times, object)), ids, payloads, np.array(lengths, np.int64), None)
    frames, _ = assemble(name, cells)
    return joined(name, kind_told(path), [(frames, np.zeros(len(frames), bool))])


def _chunks(content: bytes, name: str, *, headed: bool) -> Iterator[pd.DataFrame]:
    import pandas as pd

    shape: dict[str, Any] = {} if headed else {"header": None, "names": range(_WIDTH)}
    try:
        reader = pd.read_csv(
            io.BytesIO(content),
            dtype=str,
            na_filter=False,
            encoding="latin-1",
            chunksize=_CHUNK,
            index_col=False,
            skip_blank_lines=True,
            **shape,
        )
        for chunk in reader:
            yield chunk.fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{name} is no table: {error}.", hint="Mend the line named.") from error


def _times(cells: NDArray[np.object_]) -> NDArray[np.float64]:
    import pandas as pd

    return np.asarray(pd.to_numeric(pd.Series(cells), errors="coerce"), np.float64)


def _whole_numbers(cells: NDArray[np.object_], lines: NDArray[np.int64], name: str, *, most: int) -> NDArray[np.int64]:
    values = _times(cells)
    wrong = ~((values >= 0) & (values <= most) & (values == np.round(values)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"line {lines[row]} of {name} has the length '{str(cells[row])[:20]}', expected 0 to {most}.",
            hint="Mend or remove the line.",
        )
    return values.astype(np.int64)
