"""What a run's log says: our own lines at INFO, and a deliberate error in one line instead of a traceback."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from nightshift.errors import NightshiftError
from nightshift.settings import home

#: A run that a worker has started has it in its environment.
_OF_A_WORKER = "PREFECT__FLOW_RUN_ID"
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class OneLine(logging.Filter):
    """Takes the traceback off the errors that say themselves what is wrong and what to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; every record passes."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, NightshiftError):
            record.msg, record.args = f"{type(error).__name__}: {error}", ()
            record.exc_info, record.exc_text = None, None
        return True


def set_up() -> None:
    """Set up the loggers of runs; a second call changes nothing.

    Prefect hears `nightshift` by PREFECT_LOGGING_EXTRA_LOGGERS, which leaves the level to us.
    """
    ours = logging.getLogger("nightshift")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    for name in _RUN_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(f, OneLine) for f in logger.filters):
            logger.addFilter(OneLine())
    if os.environ.get(_OF_A_WORKER):
        for console in _consoles():
            console.on_broken_pipe = _write_on


def _consoles() -> Iterator[Any]:
    """Yield what Prefect's handlers print through."""
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if hasattr(handler, "console"):
                yield handler.console


def _write_on() -> None:
    """Print to a file from now on: the worker, which read what this process prints, was killed.

    Rich's own answer is to end the process, and a run that has nothing to do with its worker any more.
    """
    log = home().logs / "runs.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)
