"""Versions of data and models in DVC: one `<fingerprint>.dvc` each, added and checked out by fingerprint.

The repository is Nightshift's own, under `.nightshift/dvc`, without git (`core.no_scm`). DVC takes no file outside of
its repository, and its ways around that (`--out`, `--to-remote`) leave a second, unnamed copy of every file in the
cache or the remote [measured with 3.67]. So a version's folder is linked (else copied) into
`.nightshift/dvc/<kind>/<fingerprint>/`, added, pushed, and removed again: the originals are read and never touched,
and what remains is the little `.dvc` file and the remote's copy. With the default remote, a folder beside it, the
cache is emptied as well; with a distant one it stays, and saves the way.

DVC loses entries when two processes add at once, so everything here runs under `locks/dvc`, with one `Repo` object.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from nightshift.data.store import current, folder_of, install, subjects
from nightshift.data.store import versions as stored_versions
from nightshift.errors import (
    DataError,
    NightshiftError,
    ServiceError,
    TransientError,
    UnknownNameError,
    UsageError,
    first_line,
)
from nightshift.files import write_atomic
from nightshift.findings import Finding, finding
from nightshift.plan import lock
from nightshift.settings import Home
from nightshift.tracking.unversioned import Kind, Wanted, dvc_file, is_kept, keep_failure, outstanding

logger = logging.getLogger("nightshift")

#: Where versions are pushed to: any URL that DVC knows.
REMOTE_VARIABLE = "NIGHTSHIFT_DVC_REMOTE"

_LOCK = "dvc"
_MARK = "nightshift.json"
_REMOTE = "nightshift"
_KINDS: tuple[Kind, ...] = ("datasets", "models")


@dataclass(frozen=True)
class Versioned:
    """What `version_subject` did.

    Attributes:
        added: new `.dvc` files, relative to the home.
        findings: R002 when DVC could not be used.
        news: whether that is another answer than the one before.
    """

    added: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    news: bool = False


def version_subject(
    home: Home, subject: str, say: Callable[[int, int, str], None] | None = None, *, last_try: bool = True
) -> Versioned:
    """Version a subject's present dataset and all its registered bundles that DVC does not know yet.

    Call it once, in the parent process, after the cells: a failure is a warning and never fails a cell. The warning
    is kept (`unversioned.failure_of`) until versioning succeeds.

    Args:
        home: where everything is kept.
        subject: the machine or vehicle.
        say: takes (done, of all, what) for progress.
        last_try: whether trouble of the moment is a warning too, as nobody will try again.

    Raises:
        TransientError: for trouble of the moment, when it is not the last try.
    """
    added: list[Path] = []
    try:
        wanted = outstanding(home, subject)
        if wanted:
            with repository(home) as repo:
                added = _add(home, repo, wanted, say or (lambda _done, _total, _what: None))
    except (NightshiftError, OSError) as error:
        if isinstance(error, TransientError) and not last_try:
            raise
        hint = error.hint if isinstance(error, NightshiftError) else ""
        what = error.what if isinstance(error, NightshiftError) else str(error)
        logger.warning("%s: data and models are not versioned: %s %s", subject, what, hint)
        failure = finding("R002", what, remedy=hint)
        return Versioned(findings=(failure,), news=keep_failure(home, subject, failure))
    news = keep_failure(home, subject, None)
    return Versioned(added=tuple(path.relative_to(home.root).as_posix() for path in added), news=news)


def version_folder(home: Home, kind: Kind, fingerprint: str, folder: Path) -> Path:
    """Add and push one folder, and return its `.dvc` file; one that is kept already is left as it is.

    Raises:
        ServiceError: when DVC cannot be used; says how to mend it.
    """
    wanted = Wanted(kind, fingerprint, folder)
    if is_kept(home, wanted):
        return dvc_file(home, kind, fingerprint)
    with repository(home) as repo:
        return _add(home, repo, [wanted], lambda _done, _total, _what: None)[0]


def versions(home: Home, kind: Kind) -> tuple[str, ...]:
    """Return the fingerprints that are kept, oldest first."""
    found = (home.dvc / kind).glob("*.dvc") if (home.dvc / kind).is_dir() else []
    return tuple(p.stem for p in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name)))


def checkout(home: Home, kind: Kind, fingerprint: str, into: Path) -> Path:
    """Bring a version back into a folder that does not exist yet, and return the folder.

    Args:
        home: where everything is kept.
        kind: `datasets` or `models`.
        fingerprint: whole, or its first 12 digits or more.
        into: the folder to make; it appears whole or not at all.

    Raises:
        UnknownNameError: when no such version is kept.
        ServiceError: when DVC cannot be used, or the folder exists.
    """
    if into.exists():
        raise ServiceError(f"{into.name} exists already.", hint="Give a folder that does not exist.")
    full = _full(home, kind, fingerprint)
    with repository(home) as repo:
        place = home.dvc / kind / full
        shutil.rmtree(place, ignore_errors=True)
        try:
            with readable_errors(home):
                repo.pull([str(dvc_file(home, kind, full))], force=True)
            into.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
                # Copies: DVC's own links are read-only and shared with its cache.
                shutil.copytree(place, Path(scratch) / "folder", copy_function=shutil.copyfile)
                (Path(scratch) / "folder").rename(into)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return into


def restore_dataset(home: Home, fingerprint: str) -> str:
    """Check an old dataset out and make it its subject's present one; returns its whole fingerprint.

    Raises:
        UnknownNameError: when no such version is kept.
        ServiceError: when DVC cannot be used.
        DataError: when what came back is not what was landed.
    """
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tmp) as scratch:
        data = install(home, checkout(home, "datasets", fingerprint, Path(scratch) / "dataset"))
    return data.fingerprint


def restore_version(home: Home, subject: str, start: str) -> str:
    """Make an old version of a subject's data its present one; returns its whole fingerprint.

    It comes from the store where that still holds it whole, else from DVC.

    Args:
        home: where everything is kept.
        subject: the machine or vehicle.
        start: beginning of the fingerprint.

    Raises:
        UnknownNameError: for a subject without data, or a version that is kept nowhere; names the nearest.
        UsageError: for a beginning that fits two versions.
        ServiceError: when DVC cannot be used.
        DataError: when what came back is not what was landed.
    """
    current(home, subject)
    stored = stored_versions(home, subject)
    foreign = {v for other in subjects(home) if other != subject for v in stored_versions(home, other)}
    kept = {v[:12]: v for v in versions(home, "datasets") if v[:12] not in foreign}
    short = _one_of(subject, start, {*stored, *kept})
    if short in stored:
        try:
            return install(home, folder_of(home, subject, short)).fingerprint
        except DataError:
            if short not in kept:
                raise
    return restore_dataset(home, kept[short])


def _one_of(subject: str, start: str, known: Iterable[str]) -> str:
    fitting = sorted(name for name in known if start and name.startswith(start[:12].lower()))
    if not fitting:
        raise UnknownNameError(f"version of '{subject}'", start[:16], known)
    if len(fitting) > 1:
        raise UsageError(f"'{start}' fits {len(fitting)} versions.", hint=f"Give more digits: {', '.join(fitting)}.")
    return fitting[0]


def _full(home: Home, kind: Kind, fingerprint: str) -> str:
    known = versions(home, kind)
    found = [v for v in known if len(fingerprint) >= 12 and v.startswith(fingerprint)]
    if len(found) != 1:
        raise UnknownNameError(f"version in {kind}", fingerprint[:16], [v[:16] for v in known])
    return found[0]


def _add(home: Home, repo: Any, wanted: list[Wanted], say: Callable[[int, int, str], None]) -> list[Path]:
    files = []
    for i, version in enumerate(wanted):
        say(i, len(wanted), f"{version.kind} {version.fingerprint[:12]}")
        file = dvc_file(home, version.kind, version.fingerprint)
        place = file.with_suffix("")
        with readable_errors(home):
            # Where a push did not end, the `.dvc` file stands already: it is made anew with what it names.
            file.unlink(missing_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(version.folder, place, copy_function=_link)
            repo.add([str(place)])
            repo.push([str(file)])
        shutil.rmtree(place, ignore_errors=True)
        files.append(file)
    say(len(wanted), len(wanted), "versioned")
    return files


def _link(source: str, target: str) -> None:
    """DVC copies into its cache and then replaces these names; the original's own file is not changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def repository(home: Home) -> Iterator[Any]:
    """Open the repository under its lock; made at the first use, and never over a history.

    Raises:
        ServiceError: when DVC cannot be used; says how to mend it.
    """
    with lock.held(home, _LOCK, wait=True), readable_errors(home):
        repo = _open(home)
        try:
            yield repo
        finally:
            repo.close()
            # Only now: an open repository remembers which folders of its cache it has made.
            if has_own_remote(home):
                shutil.rmtree(home.dvc / ".dvc" / "cache" / "files", ignore_errors=True)


def _open(home: Home) -> Any:
    from dvc.repo import Repo
    from dvc.ui import ui

    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Its spinners would turn in the middle of our own progress.
    ui.rich_console.quiet = ui.error_console.quiet = True
    root = home.dvc
    if not root.exists() or not any(root.iterdir()):
        root.mkdir(parents=True, exist_ok=True)
        mark = {"format": 1, "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomic(root / _MARK, json.dumps(mark).encode())
        Repo.init(str(root), no_scm=True).close()
    else:
        _check(root)
    repo = Repo(str(root))
    if not repo.config["core"].get("no_scm"):
        repo.close()
        raise ServiceError(f"{_shown(root)} is a DVC repository with git, not Nightshift's.", hint=_set_aside(root))
    _configure(home, repo)
    return repo


def _check(root: Path) -> None:
    """Refuse what is not ours to touch.

    Raises:
        ServiceError: for a repository that is missing or foreign, with the command that mends it.
    """
    inner = root / ".dvc"
    if not (root / _MARK).is_file():
        raise ServiceError(f"{_shown(root)} is not a DVC repository of Nightshift's.", hint=_set_aside(root))
    if not inner.exists():
        raise ServiceError(
            f"{_shown(root)} has versions but its .dvc folder is missing.",
            hint=f"Restore it with `cd {root} && dvc init --no-scm`: the versions and the remote are kept.",
        )
    if not (inner / "config").is_file():
        raise ServiceError(f"{_shown(inner)} is broken: it holds no config.", hint=_rebuild(root))


def _configure(home: Home, repo: Any) -> None:
    """Write our settings where they differ: after the first use, after a repair, and when the remote was changed."""
    wanted: dict[str, dict[str, Any]] = {
        "core": {"analytics": False, "autostage": False, "check_update": False, "remote": _REMOTE},
        "cache": {"type": "reflink,hardlink,copy"},
    }
    with repo.config.edit("repo") as config:
        for section, values in wanted.items():
            config[section].update(values)
        # verify: what comes back is hashed, so that a damaged remote is an error and not a dataset.
        config["remote"][_REMOTE] = {"url": remote_of(home), "verify": True}


def remote_of(home: Home) -> str:
    """Return where versions are pushed to: what the user says, else beside the shared datasets, else in the home."""
    given, store = os.environ.get(REMOTE_VARIABLE), home.store_url
    if given or not store:
        return given or str(home.machinery / "dvc-remote")
    return unquote(urlsplit(store).path) + "/dvc" if store.startswith("file:") else f"{store}/dvc"


def has_own_remote(home: Home) -> bool:
    """Whether versions are pushed to this home's own folder, which no other home uses."""
    return not os.environ.get(REMOTE_VARIABLE) and not home.store_url


@contextmanager
def readable_errors(home: Home) -> Iterator[None]:
    """Turn whatever DVC raises into one error that names the mending command."""
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        yield
    except LockError as error:
        raise TransientError(
            f"DVC's repository is in use by another process: {first_line(error)}.",
            hint="Try again when that has ended.",
        ) from error
    except ConfigError as error:
        raise ServiceError(f"DVC's settings are broken: {first_line(error)}.", hint=_rebuild(home.dvc)) from error
    except DvcException as error:
        raise ServiceError(
            f"DVC failed: {first_line(error)}.", hint=f"See `cd {home.dvc} && dvc status --cloud`."
        ) from error


def _rebuild(root: Path) -> str:
    return f"Mend it with `mv {root}/.dvc {root}/.dvc.broken && cd {root} && dvc init --no-scm`: versions are kept."


def _set_aside(root: Path) -> str:
    return f"Set it aside with `mv {root} {root}.old`: the next run begins a history of its own."


def _shown(path: Path) -> str:
    return "/".join(path.parts[-2:])
