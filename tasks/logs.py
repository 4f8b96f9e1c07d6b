"""What a run's log says: our own lines at INFO, and a deliberate error in one line instead of a traceback."""

from __future__ import annotations

import logging

from nightshift.errors import NightshiftError

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
