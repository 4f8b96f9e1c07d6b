"""Episodes of a driving run as a report shows them: the newest animated one, and its stills."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from nightshift.driving.runs import RunFolder
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.driving_others import is_driving
from nightshift.tracking.driving_runs import run_of_cell

#: A report holds its pictures itself; a larger one is left out.
MOST_BYTES = 3_000_000
_KINDS = {".gif": "image/gif", ".png": "image/png"}


@dataclass(frozen=True)
class EpisodePicture:
    """A picture of an episode: `uri` holds it for a page, `file` is its copy beside the Markdown."""

    title: str
    uri: str
    file: str


def episodes_of(home: Home, cell: Cell, folder: Path) -> list[EpisodePicture]:
    """Return the newest pictures of a cell's run, one of each kind, and put copies into a report's folder."""
    run = run_of_cell(home, cell.key) if is_driving(cell) else None
    if run is None:
        return []
    place = RunFolder(home, run.run_id).pictures
    found = []
    for suffix, kind in _KINDS.items():
        files = sorted(place.glob(f"*{suffix}"), key=lambda p: (p.stat().st_mtime_ns, p.name))
        data = files[-1].read_bytes() if files else b""
        if not data or len(data) > MOST_BYTES:
            continue
        name = f"{cell.family}-{cell.target}-episode-{files[-1].name}"
        write_atomic(folder / name, data)
        uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        title = f"An episode of run {run.run_id}: {files[-1].stem.replace('_', ' ')}"
        found.append(EpisodePicture(title, uri, name))
    return found
