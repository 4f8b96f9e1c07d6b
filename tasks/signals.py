"""SIGTERM and Ctrl-C while a stage works: the stage is asked to stop, so that it can record its checkpoint."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from nightshift.errors import InterruptedTraining

# A name of its own: the command shows these lines even where it hides the rest of the log.
logger = logging.getLogger("nightshift.signals")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopOnSignal:
    """Takes a signal as a wish to stop; a second Ctrl-C acts as if this were not here.

    A second SIGTERM says nothing new: worker and `down` may both send one, and SIGKILL follows a grace anyway.
    Prefect's own handler would raise in the middle of whatever runs, and the stage could keep nothing. Outside the main
    thread signals cannot be taken, and nothing is changed.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the handlers back; a stage that ended while a stop was wished for is the last one.

        Raises:
            InterruptedTraining: after a signal: both end a run as cancelled, where a KeyboardInterrupt crashed it.
        """
        self._restore()
        if self.signal is not None and error is None:
            raise InterruptedTraining("Stopped on request.", hint="Run it again to go on from the last stage.")

    def asked(self) -> bool:
        """Whether a stop is wished for."""
        return self.signal is not None

    def wish(self) -> None:
        """Wish for a stop, as a signal does."""
        if self.signal is None:
            self._take(signal.SIGINT, None)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGTERM:
            return
        if self.signal is not None:
            self._restore()
            signal.raise_signal(number)
            return
        self.signal = number
        logger.warning("%s: stopping as soon as what is done can be kept", signal.Signals(number).name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
