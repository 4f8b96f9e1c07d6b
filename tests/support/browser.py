"""A real browser, Debian's Chromium, for pages as people see them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: What a desk and a phone show, px.
DESK, PHONE = (1280, 900), (390, 844)


@contextmanager
def browser() -> Iterator[Browser]:
    """Give a browser without a window; it fetches nothing from elsewhere.

    Raises:
        FileNotFoundError: when there is no Chromium on PATH (`apt-get install chromium`).
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise FileNotFoundError("no `chromium` on PATH: `apt-get install chromium`")
    # As root, and where a container gives it little shared memory, it would not start otherwise.
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    # A home's own folder for such files may be too long a path for the socket that it makes there.
    with tempfile.TemporaryDirectory(prefix="chromium-", dir="/tmp") as scratch, sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=flags, env={**os.environ, "TMPDIR": scratch})
        try:
            yield found
        finally:
            found.close()


@contextmanager
def page_of(
    opened: Browser,
    size: tuple[int, int] = DESK,
    *,
    dark: bool = False,
    scripts: bool = True,
    zone: str = "Europe/Berlin",
) -> Iterator[Page]:
    """Give a page of its own, in a viewer's zone; what its scripts throw, and what the browser refuses, fails the test.

    Args:
        opened: the browser.
        size: width and height, px.
        dark: whether the viewer's system is.
        scripts: whether the viewer's browser runs any.
        zone: the viewer's.

    Raises:
        AssertionError: at the end, for an error of a script or of the content security policy.
    """
    context = opened.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        timezone_id=zone,
        locale="en-GB",
        accept_downloads=True,
        java_script_enabled=scripts,
    )
    wrong: list[str] = []
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if _is_fault(said.type, said.text) else None)
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def _is_fault(kind: str, text: str) -> bool:
    # An answer that says no is told so, too, and is often what a test wants.
    return kind == "error" and not text.startswith("Failed to load resource")
