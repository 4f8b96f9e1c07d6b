"""Draws the figures of an evaluation: SVG files, whose colours follow a page's light or dark ones inside of it."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightshift.problems.evaluation import Figure, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Changes when pictures would look different, so that kept ones are drawn anew.
STYLE_VERSION = "4"
MAX_POINTS = 3000
# Of the clouds of points that are pictures inside an SVG.
_RASTER_DPI = 100
# Left free around a picture, points.
_PAD = 3.0
# Behind a file of its own; inside a page, the page shows through.
_PAPER = '<rect width="100%" height="100%" fill="#ffffff"/>'

# Okabe-Ito, ordered for contrast between neighbours (Source: Okabe & Ito 2008, Color Universal Design). Each is one
# fixed colour in a file and a CSS variable in a page.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9")
AREAS = {"band": SERIES[0], "spans": SERIES[4]}
INK, GRID = "#3b4148", "#d5d9de"
_VARIABLES = {INK: "var(--ink-soft)", GRID: "var(--line)"} | {c: f"var(--s{i})" for i, c in enumerate(SERIES, 1)}


def figure_id(figure: Figure) -> str:
    """Return a short id of what a figure shows and how it is drawn."""
    return hashlib.sha256(f"{STYLE_VERSION}{figure.model_dump_json()}".encode()).hexdigest()[:12]


def draw(figure: Figure) -> str:
    """Return a figure as an SVG file, which Markdown and any viewer can show."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with _canvas(figure) as canvas:
        svg, metadata = io.BytesIO(), {"Date": None, "Creator": None}
        FigureCanvasSVG(canvas).print_svg(svg, metadata=metadata)  # type: ignore[no-untyped-call]
    return _tidied(svg.getvalue().decode(), figure.title)


def inline(svg: str) -> str:
    """Make a file of `draw` part of a page: its colours are the page's."""
    body = svg.replace(_PAPER, "", 1)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return body


def draw_svg(figure: Figure) -> str:
    """Return a figure as part of a page."""
    return inline(draw(figure))


@contextmanager
def _canvas(figure: Figure) -> Iterator[Canvas]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    settings: Any = {
        "svg.fonttype": "none",
        # Ids inside the SVG are hashes with this salt: pictures of one page must not share clip paths.
        "svg.hashsalt": figure_id(figure),
        # A sensor may be called `cost_$`: names are text, never mathematics.
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": 10.0,
        "text.color": INK,
        "axes.edgecolor": GRID,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": figure.cells is None,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "path.simplify": True,
    }
    with mpl.rc_context(settings):
        canvas = Canvas(figsize=(6.4, 3.6), dpi=_RASTER_DPI, facecolor="none")
        axes = canvas.add_subplot()
        if figure.cells is not None:
            _matrix(axes, figure)
        else:
            _lines(axes, figure)
        axes.set_xlabel(figure.x_label)
        axes.set_ylabel(figure.y_label)
        axes.set_facecolor("none")
        _fit(canvas, axes)
        yield canvas


def _fit(canvas: Canvas, axes: Axes) -> None:
    """Give the axes the room that labels leave; measured once, where matplotlib's own layouts do it twice or more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    axes.set_position((0.1, 0.14, 0.88, 0.82))
    renderer = FigureCanvasAgg(canvas).get_renderer()  # type: ignore[no-untyped-call]
    inner, outer = axes.get_window_extent(), axes.get_tightbbox(renderer, for_layout_only=True)
    if outer is None:
        return
    width, height = canvas.bbox.width, canvas.bbox.height
    pad = _PAD * canvas.dpi / 72
    left, bottom = inner.x0 - outer.x0 + pad, inner.y0 - outer.y0 + pad
    right, top = outer.x1 - inner.x1 + pad, outer.y1 - inner.y1 + pad
    # Labels may need it all; something is drawn all the same.
    across, up = max(width - left - right, 0.2 * width), max(height - bottom - top, 0.2 * height)
    axes.set_position((left / width, bottom / height, across / width, up / height))


def _matrix(axes: Axes, figure: Figure) -> None:
    from matplotlib.patches import Rectangle

    cells = figure.cells or []
    largest = max((abs(v) for row in cells for v in row), default=0.0) or 1.0
    for i, row in enumerate(cells):
        for j, value in enumerate(row):
            # Opacity instead of a colour map: the cell blends with a light and with a dark page.
            shade = 0.06 + 0.5 * abs(value) / largest
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=SERIES[0], alpha=shade, edgecolor="none"))
            axes.text(j, i, f"{value:,.4g}", ha="center", va="center", fontsize=13)
    n_columns = max((len(row) for row in cells), default=0)
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(len(cells) - 0.5, -0.5))
    axes.set_xticks(range(n_columns), (figure.ticks or [str(i) for i in range(n_columns)])[:n_columns])
    axes.set_yticks(range(len(cells)), (figure.ticks or [str(i) for i in range(len(cells))])[: len(cells)])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _lines(axes: Axes, figure: Figure) -> None:
    # Areas lie behind: all bands in the first line's colour, all marked stretches in one of their own.
    drawn = [s for s in figure.series if s.style not in AREAS]
    for n, series in enumerate(figure.series):
        colour = AREAS.get(series.style) or SERIES[drawn.index(series) % len(SERIES)]
        _one(axes, series, figure, colour, n)
    labels = [s.label for s in figure.series if s.label]
    if len(labels) > 1 and all(s.style == "bars" for s in figure.series):
        # Bars leave no room within: above them, in one row.
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(len(labels), 4), fontsize=9)
    elif len(labels) > 1:
        axes.legend(loc="best", fontsize=9).set_in_layout(False)  # it lies inside the axes
    if figure.x_is_time and figure.series:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _one(axes: Axes, series: Series, figure: Figure, colour: str, n: int) -> None:
    # NaN, not None: matplotlib leaves a gap there.
    y = [float("nan") if v is None else v for v in series.y]
    upper = [float("nan") if v is None else v for v in series.y2] if series.y2 is not None else None
    x = _positions(series.x, figure.x_is_time)
    if series.style == "bars":
        _bars(axes, series, figure, x, y, colour, n)
    elif series.style == "spans":
        ends = _positions(upper or y, figure.x_is_time)
        for k, (start, end) in enumerate(zip(x, ends, strict=True)):
            axes.axvspan(start, end, color=colour, alpha=0.18, linewidth=0, label=series.label if k == 0 else None)
    elif series.style == "band":
        axes.fill_between(x, y, upper or y, color=colour, alpha=0.2, linewidth=0, label=series.label)
    elif series.style == "points":
        keep = _thin(len(x))
        many = len(x) > 600
        axes.scatter(
            [x[i] for i in keep], [y[i] for i in keep], s=7 if many else 16, color=colour, alpha=0.5 if many else 0.8,
            linewidths=0, label=series.label, rasterized=many,
        )  # fmt: skip
    else:
        keep = _thin(len(x))
        axes.plot([x[i] for i in keep], [y[i] for i in keep], color=colour, linewidth=1.4, label=series.label)


def _bars(axes: Axes, series: Series, figure: Figure, x: list[Any], y: list[float], colour: str, n: int) -> None:
    together = [s for s in figure.series if s.style == "bars"]
    width = 0.8 / max(len(together), 1)
    if any(isinstance(v, str) for v in x):
        at = [i - 0.4 + width * (n + 0.5) for i in range(len(x))]
        axes.bar(at, y, width=width, color=colour, label=series.label)
        long = sum(len(str(v)) + 2 for v in x) > 60
        axes.set_xticks(
            range(len(x)), [str(v)[:28] for v in x], rotation=35 if long else 0, ha="right" if long else "center"
        )
        axes.grid(visible=False, axis="x")
        return
    steps = [b - a for a, b in itertools.pairwise(x)] if not figure.x_is_time else []
    axes.bar(
        x, y, width=0.9 * min((s for s in steps if s > 0), default=0.8), color=colour, alpha=0.75, label=series.label
    )


def _positions(values: list[Any], is_time: bool) -> list[Any]:
    if not is_time:
        return list(values)
    return [_moment(v) for v in values]


def _moment(value: float | str) -> datetime:
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return datetime.fromtimestamp(value, UTC)


def _thin(n: int) -> range:
    return range(0, n, max(1, -(-n // MAX_POINTS)))


def _tidied(svg: str, title: str) -> str:
    """Keep what a picture needs: no prologue, a width that follows the page, a name for screen readers."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", body, count=1)
    body = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", body, count=1)
    body = body.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Groups are called figure_1, axes_1, ... in every picture; what nothing refers to needs no id.
    body = re.sub(r' id="([^"]*)"', lambda m: m.group(0) if f"#{m.group(1)}" in svg else "", body)
    return re.sub(r"(<svg [^>]*>)", lambda m: m.group(1) + _PAPER, body, count=1)
