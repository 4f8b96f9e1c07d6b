"""Pictures of an episode from above: an animated GIF that follows the ego car, and a strip of stills."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.history import History
from nightshift.driving.lanes import Lanes
from nightshift.driving.scenario import STEP_S
from nightshift.driving.score import Score
from nightshift.driving.score_geometry import Boxes, car_boxes, corners, ego_boxes, overlap
from nightshift.files import write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Floats = NDArray[np.float64]

#: Of a frame, and the ego's place in it, as shares from the left and from the top.
SIZE_PX = (560, 300)
_EGO_AT = (0.33, 0.54)
_PX_PER_M = 4.6
#: Drawn so many times larger and scaled down: smooth edges.
_FINE = 2
#: An animated picture holds at most so many bytes; rather fewer frames than more.
MAX_BYTES = 1_400_000
_LAST_S = 2.0
# Colours that eyes of all kinds tell apart (Okabe & Ito 2008), on a quiet ground.
_GROUND, _EDGE, _ROAD, _LINE = "#e4e8df", "#8d949c", "#c3c8ce", "#f4f5f6"
_ROUTE, _CAR, _EGO, _HIT, _TRAIL, _INK, _PAPER = (
    "#a9c6da", "#596470", "#0072b2", "#d55e00", "#0072b2", "#22272c", "#fbfbf9",
)  # fmt: skip
_BOUND = "#b06a2c"
_ENDINGS = {
    "arrived": "arrived",
    "collision": "collision",
    "off_road": "left the road",
    "timed_out": "time is over",
}


@dataclass(frozen=True)
class _View:
    """Metres of the map to pixels: the ego's heading points to the right."""

    x: float
    y: float
    heading: float

    @property
    def scale(self) -> float:
        """Pixels a metre, as drawn."""
        return _PX_PER_M * _FINE

    def pixels(self, x: Any, y: Any) -> Floats:
        """Return `(..., 2)` pixels of places on the map."""
        dx, dy = np.asarray(x) - self.x, np.asarray(y) - self.y
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        right, up = dx * cos + dy * sin, dy * cos - dx * sin
        return np.stack(
            [SIZE_PX[0] * _FINE * _EGO_AT[0] + right * self.scale, SIZE_PX[1] * _FINE * _EGO_AT[1] - up * self.scale],
            axis=-1,
        )

    @property
    def reach_m(self) -> float:
        """Nothing farther from the ego than this is in the picture."""
        return float(np.hypot(*SIZE_PX)) * 0.8 / _PX_PER_M


def animated(history: History, path: Path, *, score: Score | None = None, max_bytes: int = MAX_BYTES) -> Path:
    """Write an episode as an animated GIF, in its own time, and return where it is.

    Args:
        history: to show.
        path: of the GIF; replaced.
        score: shown beside the ending.
        max_bytes: frames are left out until it is no larger.
    """
    images = [frame(history, at, score=score) for at in range(len(history.x))]
    every, data = 1, _gif(images, STEP_S)
    while len(data) > max_bytes and every < len(images):
        every += 1
        # The last moment says how it ended.
        data = _gif([*images[:-1:every], images[-1]], every * STEP_S)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return path


def strip(history: History, path: Path, *, frames: int = 6, score: Score | None = None) -> Path:
    """Write some moments of an episode as one PNG, two beside each other, first and last among them."""
    from PIL import Image

    at = np.unique(np.linspace(0, len(history.x) - 1, frames).astype(int))
    images = [frame(history, int(moment), score=score) for moment in at]
    columns = min(2, len(images))
    rows, gap = -(-len(images) // columns), 4
    width, height = SIZE_PX[0] + gap, SIZE_PX[1] + gap
    sheet = Image.new("RGB", (columns * width - gap, rows * height - gap), _PAPER)
    for n, image in enumerate(images):
        sheet.paste(image, (n % columns * width, n // columns * height))
    file = io.BytesIO()
    _reduced(sheet).save(file, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, file.getvalue())
    return path


def _gif(images: Sequence[Image], pause_s: float) -> bytes:
    frames = [_reduced(image) for image in images]
    pauses = [round(pause_s * 1000)] * (len(frames) - 1) + [round(_LAST_S * 1000)]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0, optimize=False, disposal=1
    )
    return file.getvalue()


def _reduced(image: Image) -> Image:
    """Return it in the colours that are drawn and those halfway between them, the same in all pictures."""
    from PIL import Image as Images
    from PIL import ImageColor

    drawn = [
        ImageColor.getrgb(c) for c in (_GROUND, _EDGE, _ROAD, _LINE, _ROUTE, _CAR, _EGO, _HIT, _INK, _PAPER, _BOUND)
    ]
    between = [tuple((x + y) // 2 for x, y in zip(a, b, strict=True)) for a, b in itertools.combinations(drawn, 2)]
    palette = Images.new("P", (1, 1))
    palette.putpalette([value for colour in (*drawn, *between) for value in colour])
    return image.quantize(palette=palette, dither=Images.Dither.NONE)


def frame(history: History, at: int, *, score: Score | None = None) -> Image:
    """Draw one moment of an episode.

    Args:
        history: of the episode.
        at: index of the moment.
        score: shown with the ending at the last moment.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIZE_PX[0] * _FINE, SIZE_PX[1] * _FINE), _GROUND)
    draw = ImageDraw.Draw(image)
    ego = ego_boxes(history)
    view = _View(float(ego.x[at]), float(ego.y[at]), float(history.heading[at]))
    _roads(draw, view, history.scenario.lanes)
    _way(draw, view, history)
    _cars(draw, view, history, ego, at)
    small = image.reduce(_FINE)
    _words(ImageDraw.Draw(small), history, at, score)
    return small


def _roads(draw: ImageDraw, view: _View, lanes: Lanes) -> None:
    """Draw the lanes near the ego: their edges first, so that only those of the whole road are left to be seen."""
    near = [piece for lane in range(len(lanes.first)) for piece in _pieces(lanes, lane, view)]
    for wider, colour in ((0.5, _EDGE), (0.15, _ROAD)):
        for x, y, heading, lane in near:
            half = float(lanes.width_m[lane]) / 2.0 + wider
            sides = [view.pixels(x - d * np.sin(heading), y + d * np.cos(heading)) for d in (half, -half)]
            draw.polygon(_flat(np.concatenate([sides[0], sides[1][::-1]])), fill=colour)
    for x, y, heading, lane in near:
        if int(lanes.left[lane]) >= 0:
            half = float(lanes.width_m[lane]) / 2.0
            _dashes(draw, view.pixels(x - half * np.sin(heading), y + half * np.cos(heading)))


def _pieces(lanes: Lanes, lane: int, view: _View) -> list[tuple[Floats, Floats, Floats, int]]:
    """Return the stretches of a lane that are near: x, y, heading of their points, and the lane."""
    points = slice(int(lanes.first[lane]), int(lanes.first[lane] + lanes.count[lane]))
    x, y, heading = lanes.x[points], lanes.y[points], lanes.heading[points]
    close = np.flatnonzero(np.hypot(x - view.x, y - view.y) < view.reach_m)
    runs = np.split(close, np.flatnonzero(np.diff(close) > 1) + 1)
    return [(x[run], y[run], heading[run], lane) for run in runs if len(run) > 1]


def _dashes(draw: ImageDraw, line: Floats) -> None:
    for start in range(0, len(line) - 1, 7):
        draw.line(_flat(line[start : start + 4]), fill=_LINE, width=_FINE)


def _way(draw: ImageDraw, view: _View, history: History) -> None:
    """Draw the route ahead and behind, and the edges of the road that may be driven on."""
    route = history.scenario.route
    close = np.flatnonzero(np.hypot(route.x - view.x, route.y - view.y) < view.reach_m)
    for run in np.split(close, np.flatnonzero(np.diff(close) > 1) + 1):
        if len(run) < 2:
            continue
        x, y, heading = route.x[run], route.y[run], route.heading[run]
        draw.line(_flat(view.pixels(x, y)), fill=_ROUTE, width=round(1.3 * view.scale))
        for d in (np.asarray(route.left_m)[run], -np.asarray(route.right_m)[run]):
            edge = view.pixels(x - d * np.sin(heading), y + d * np.cos(heading))
            # Where the road widens at once, its edge is not the line across.
            for part in np.split(edge, np.flatnonzero(np.abs(np.diff(d)) > 1.0) + 1):
                if len(part) > 3:
                    draw.line(_flat(part), fill=_BOUND, width=_FINE)
    goal = int(np.clip(round(route.length_m), 0, len(route.x) - 1))
    x, y, heading = (float(v[goal]) for v in (route.x, route.y, route.heading))
    side = np.array([-2.0, 2.0])
    across = view.pixels(x - side * np.sin(heading), y + side * np.cos(heading))
    draw.line(_flat(across), fill=_EGO, width=2 * _FINE)


def _cars(draw: ImageDraw, view: _View, history: History, ego: Boxes, at: int) -> None:
    """Draw the trail, the other cars, those that the ego overlaps in another colour, and the ego."""
    trail = view.pixels(ego.x[: at + 1], ego.y[: at + 1])
    if len(trail) > 1:
        draw.line(_flat(trail), fill=_TRAIL, width=_FINE)
    moment = np.array([at])
    others = car_boxes(history).at(moment)
    there = np.isfinite(others.x[0])
    hit = overlap(ego.at(moment, None), others)[0]
    for car in np.flatnonzero(there & (np.hypot(others.x[0] - view.x, others.y[0] - view.y) < view.reach_m)):
        _box(draw, view, others.at(slice(None), np.array([car])), _HIT if hit[car] else _CAR)
    _box(draw, view, ego.at(moment, None), _HIT if hit.any() else _EGO)


def _box(draw: ImageDraw, view: _View, box: Boxes, colour: str) -> None:
    x, y = corners(box)
    draw.polygon(_flat(view.pixels(x.ravel(), y.ravel())), fill=colour)
    # A lighter windscreen shows which way it points.
    ahead = np.asarray(box.length) * 0.18
    screen = Boxes(
        box.x + ahead * np.cos(box.heading),
        box.y + ahead * np.sin(box.heading),
        box.heading,
        np.asarray(box.length) * 0.14,
        np.asarray(box.width) * 0.8,
    )
    x, y = corners(screen)
    draw.polygon(_flat(view.pixels(x.ravel(), y.ravel())), fill=_PAPER)


def _words(draw: ImageDraw, history: History, at: int, score: Score | None) -> None:
    """Write what is driven, how fast, and how it ended."""
    from PIL import ImageFont

    big, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.rectangle((0, 0, SIZE_PX[0], 24), fill=_PAPER)
    route = history.scenario.route
    point = int(np.clip(round(float(history.s_m[at])), 0, len(route.x) - 1))
    speed, limit = history.speed_mps[at] * 3.6, float(np.asarray(route.limit_mps)[point]) * 3.6
    colour = _HIT if speed > limit + 1.0 else _INK
    draw.text((6, 3), f"{speed:.0f} km/h", fill=colour, font=big)
    draw.text((84, 6), f"limit {limit:.0f}", fill=_INK, font=small)
    draw.text((160, 6), f"{at * STEP_S:.1f} s of {history.scenario.duration_s:g}", fill=_INK, font=small)
    right = f"{history.scenario.name}, traffic {history.traffic}"
    draw.text((SIZE_PX[0] - 6, 6), right, fill=_INK, font=small, anchor="ra")
    if at == len(history.x) - 1:
        ending = _ENDINGS[history.ending] + (f", score {score.score:.2f}" if score else "")
        width = draw.textlength(ending, font=big)
        draw.rectangle((0, SIZE_PX[1] - 26, width + 14, SIZE_PX[1]), fill=_PAPER)
        draw.text(
            (7, SIZE_PX[1] - 22), ending, fill=_HIT if history.ending in ("collision", "off_road") else _INK, font=big
        )


def _flat(points: Floats) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
