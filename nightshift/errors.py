"""The one exception tree. Every deliberate error says what, what to do, and knows its exit code."""

from __future__ import annotations

import re
from collections.abc import Iterable

EXIT_OK = 0
EXIT_CELL_FAILED = 1
EXIT_USAGE = 2
EXIT_BLOCKED = 3
EXIT_UNREACHABLE = 4
EXIT_INTERRUPTED = 130


class NightshiftError(Exception):
    """Base of all errors that Nightshift raises on purpose.

    Args:
        what: one sentence: what is wrong, with the expected and the found value.
        hint: one sentence: what the user can do about it.
    """

    exit_code = EXIT_CELL_FAILED

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        # The default reduces to cls(*args) and loses the hint when an error crosses a process border.
        return (_rebuild, (type(self), self.what, self.hint))


def _rebuild(kind: type[NightshiftError], what: str, hint: str) -> NightshiftError:
    error = kind.__new__(kind)
    NightshiftError.__init__(error, what, hint=hint)
    return error


class UsageError(NightshiftError):
    """A command line or an argument that makes no sense."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A configuration file or key that cannot be used."""


class UnknownNameError(UsageError):
    """A name that is not known; names the nearest valid one."""

    def __init__(self, kind: str, name: str, valid: Iterable[str], *, hint: str = "") -> None:
        super().__init__(f"unknown {kind} '{name}'.", hint=" ".join(p for p in (nearest(name, valid), hint) if p))


class DataError(NightshiftError):
    """Data that cannot be read or used; the cell is blocked."""

    exit_code = EXIT_BLOCKED


class BlockedError(DataError):
    """A cell stopped by blocker findings; `codes` lists them."""

    def __init__(self, what: str, *, hint: str = "", codes: tuple[str, ...] = ()) -> None:
        super().__init__(what, hint=hint)
        self.codes = codes


class TableError(DataError, ValueError):
    """X, y, groups or times that nothing can be trained on, in scikit-learn's form: what, expected, got."""


class NotApplicableError(NightshiftError):
    """A family that cannot apply to this dataset, with the reason; not a failure."""

    exit_code = EXIT_OK


class TrainingError(NightshiftError):
    """Training could not produce a model."""


class ExportError(NightshiftError):
    """A fitted model that cannot leave as one faithful ONNX graph."""


class BundleError(NightshiftError):
    """A bundle, or rows given to it, that cannot be used."""

    exit_code = EXIT_USAGE


class ColumnError(BundleError):
    """A column that the model reads is missing, or one was given that it does not know."""


class UnitError(BundleError):
    """A column in another unit than the model takes."""


class ShapeError(BundleError):
    """An array of another shape than the model takes."""


class DtypeError(BundleError):
    """Values of another type than the model takes: an array's dtype, or text where a number belongs."""


class OrderError(BundleError):
    """Columns, or rows, in another order than the model takes them."""


class CorruptFileError(BundleError):
    """A file of a bundle that is not, byte for byte, what the bundle says."""


class UntrustedError(BundleError):
    """A saved model that could run code when it is read, and that nothing vouches for."""


class SwappedFileError(CorruptFileError):
    """A file of a bundle that is whole in itself and belongs to something else."""


class UnknownOpError(BundleError):
    """A graph with an operator that is not standard, or that this runtime does not know."""


class NewerFormatError(BundleError):
    """A bundle, or a graph in it, of a newer format than this runtime reads."""


class SignatureError(BundleError):
    """A bundle that is not signed with this device's key."""


class ServiceError(NightshiftError):
    """A service (Prefect, MLflow, DVC remote) that cannot be reached or used."""

    exit_code = EXIT_UNREACHABLE


class TransientError(NightshiftError):
    """Something that may work when tried again (I/O, a lock, a network hiccup)."""


class InterruptedTraining(NightshiftError):  # noqa: N818 - it is a state, not a fault
    """Training stopped on request; what was finished is kept."""

    exit_code = EXIT_INTERRUPTED


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" or, without a near name, the list of valid names."""
    import difflib  # a device that answers has no use for it

    names = sorted(valid)
    lowered = {n.lower(): n for n in names}
    match = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    if match:
        return f"Did you mean '{lowered[match[0]]}'?"
    if not names:
        return "There is none yet."
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Valid: {shown}."


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the first line of what another library's error says, without credentials and full stop.

    An error that says nothing is named by its type.
    """
    lines = str(error).strip().splitlines()
    return without_credentials(lines[0] if lines else type(error).__name__)[:longest].rstrip(".")


def without_credentials(text: str) -> str:
    """Return a text with addresses that can be shown."""
    return re.sub(r"([?&](?:password|passfile|sslpassword)=)[^&\s]*", r"\1…", re.sub(r"//[^/@]*@", "//", text))
