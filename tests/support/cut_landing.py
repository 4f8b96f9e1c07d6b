"""A landing that stands still on its way, in a process of its own: found by import there."""

from __future__ import annotations

import importlib
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from nightshift.data.importers.landing import split_and_land
from nightshift.settings import use_home
from support.datasets import calendar_rows, describe


def land_and_halt(root: Path, place: tuple[str, str, bool], here: Connection) -> None:
    """Land, and stand still for ever before a function of a module is called, or after it."""
    module, (name, after) = importlib.import_module(place[0]), place[1:]
    call = getattr(module, name)

    def halt(*args: object) -> None:
        if after:
            call(*args)
        here.send("here")
        time.sleep(600)

    setattr(module, name, halt)
    try:
        split_and_land(use_home(root), calendar_rows(seed=2), describe())
    finally:
        os._exit(1)
