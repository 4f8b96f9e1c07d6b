"""Shows a run before its learner drives: while experts are watched and cloned, or while another run is in front of it.

`status.json` says `running` meanwhile, so that the run can be seen and stopped by its name.
"""

from __future__ import annotations

from types import TracebackType

from nightshift.driving.learn.recorder import RunRecorder


class Preparing(RunRecorder):
    """Holds until the learner's own recorder takes over; says at its end only that a run was stopped or failed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing `status.json`; what has ended well is not over, and goes on to be `running`."""
        if error is not None:
            super().__exit__(kind, error, trace)
            return
        self._closing.set()
        self._thread.join()
        self._write_status()
