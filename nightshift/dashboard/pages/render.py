"""Pages from templates."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nightshift.errors import without_credentials
from nightshift.settings import home, without_places
from nightshift.tracking import text

#: The pages of the menu: address, name.
MENU = (
    ("/", "Fleet"),
    ("/train", "Train"),
    ("/jobs", "Runs"),
    ("/predict", "Predict"),
    ("/history", "History"),
    ("/downloads", "Downloads"),
    ("/driving", "Driving"),
    ("/machines/new", "New machine"),
    ("/settings", "Settings"),
)

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)")


@cache
def environment() -> Environment:
    """Return the templates, compiled once in a process; whatever a value holds is escaped."""
    found = Environment(
        loader=PackageLoader("nightshift.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": text.number, "size": text.size, "seconds": text.seconds, "island": _island}
    found.filters |= {"duration": _duration, "moments": _moments, "fit": _fit}
    found.globals["menu"] = MENU
    return found


def _duration(duration_s: float) -> str:
    """Return an expected duration: nobody knows it to the second."""
    if duration_s < 90:
        return f"{max(1, round(duration_s))} s"
    minutes = round(duration_s / 60)
    return f"{minutes} min" if minutes < 100 else f"{duration_s / 3600:.1f} h"


def _moments(words: str) -> Markup:
    """Return words as HTML in which moments, UTC in the plan's reasons, are shown in the viewer's zone."""
    pieces = _MOMENT.split(words)
    time = Markup('<time datetime="{0}Z">{0}</time>')
    return Markup("").join(time.format(piece) if i % 2 else escape(piece) for i, piece in enumerate(pieces))


def _fit(said: str) -> str:
    """Return what a record or a log says, as everybody may read it."""
    return without_places(home(), without_credentials(said))


def _island(json: str) -> Markup:
    """Return JSON as a script element may hold it: nothing ends the element, and what is no number is null."""
    return Markup(json.replace("<", "\\u003c"))


def page(request: Request, name: str, *, status_code: int = 200, **content: Any) -> HTMLResponse:
    """Return a page; templates see `request`, and `user` where the request has one."""
    shown = {"request": request, "path": request.url.path, "user": getattr(request.state, "user", None)}
    return HTMLResponse(environment().get_template(name).render(**shown, **content), status_code)
