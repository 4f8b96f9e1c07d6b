"""Findings reach the caller: as warnings, as an error, or in the result alone."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from nightshift.errors import TableError, UnknownNameError
from nightshift.findings import CODES, Finding, Severity, unmuted
from nightshift.trainer.options import Settings

_PACKAGE = str(Path(__file__).resolve().parents[2])


class FindingWarning(UserWarning):
    """A finding of `train_model` or `train_with_cv`, by its code."""


def tell_findings(findings: Sequence[Finding], settings: Settings) -> tuple[Finding, ...]:
    """Tell findings as the settings say, and return those that are not muted.

    Raises:
        TableError: with `checks="error"`, for the first one that is more than a tip.
        UnknownNameError: for a muted code that there is none of.
    """
    checks = settings.checks
    for code in checks.mute:
        if code not in CODES:
            raise UnknownNameError("finding code", code, CODES)
    kept = tuple(dict.fromkeys(unmuted(findings, checks.mute)))
    if checks.action == "off":
        return kept
    serious = [one for one in kept if one.severity is not Severity.TIP]
    if checks.action == "error" and serious:
        more = f" ({len(serious) - 1} more like it.)" if len(serious) > 1 else ""
        raise TableError(words(serious[0]), hint=more.strip())
    for one in kept:
        warnings.warn(FindingWarning(words(one)), stacklevel=_callers_level())
    return kept


def words(found: Finding) -> str:
    """Return one line: what, why it matters, what to do, and how to mute it."""
    return f"{found.code}: {found.what} Why: {found.why}. {found.remedy} Mute: checks=Checks(mute=('{found.code}',))."


def _callers_level() -> int:
    """Return how far up the first line outside of this package is: that line is what the warning is shown with."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
