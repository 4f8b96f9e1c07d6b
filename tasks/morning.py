"""What a person finds in the morning: the matrix of the fleet in the Prefect UI, the report, and a message.

Nothing here fails a night: what cannot be shown, written or sent is a line in the log, and in the report if there is
one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from prefect.runtime import flow_run
from pydantic import ValidationError

from nightshift.errors import NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.fleet import FleetPlan
from nightshift.plan.fleet_config import FleetConfig, load_fleet
from nightshift.plan.fleet_run import FleetOutcome, outcomes
from nightshift.settings import home
from nightshift.tracking.fleet_cells import as_markdown, matrix_of, standing
from nightshift.tracking.fleet_report import date_of, write_failed_report, write_fleet_report
from nightshift.tracking.fleet_words import Message, Night, failed_message, message, night_of, sentences, verdict
from tasks.artifacts import never_fatal
from tasks.notify import send

logger = logging.getLogger("nightshift")
T = TypeVar("T")

#: A cell that was blocked in one of so many runs before, and still is, is no news.
_RUNS_BACK = 10


def close(outcome: FleetOutcome, plan: FleetPlan) -> None:
    """Show how a run of the fleet ended, write its report and send the message.

    Args:
        outcome: how each cell ended.
        plan: what the run has planned.
    """
    config = _config()
    night = _tried("put together", lambda: night_of(home(), outcome))
    if night is None:
        bad = f"{len(outcome.bad):,} of {len(outcome.tried):,} models did not end well"
        day = date_of(outcome.started_at, config.timezone)
        _deliver(config, Message(f"Nightshift {day}: {bad}", "There is no report; the run's log says why."))
        return
    for sentence in sentences(night):
        logger.info("%s", sentence)
    page = _tried("written", lambda: write_fleet_report(home(), night, config.timezone))
    unsent = _send(config, night, page) if _is_told(config, night, plan) else ""
    if unsent and page is not None:
        _tried("written again", lambda: write_fleet_report(home(), night, config.timezone, [unsent]))
    show_matrix(night, page)
    if page is not None:
        logger.info("morning report: %s", page)


def failed(error: BaseException) -> None:
    """Tell that a run of the fleet came to no outcome.

    Args:
        error: what ended it.
    """
    config, at = _config(), datetime.now(UTC)
    what, hint = (error.what, error.hint) if isinstance(error, NightshiftError) else (_named(error), "")
    run_id = str(flow_run.id or f"at {at.isoformat()}")
    page = _tried("written", lambda: write_failed_report(home(), run_id, at, config.timezone, what, hint))
    _deliver(config, failed_message(date_of(at, config.timezone), what, hint, _found_at(page)))


def is_trouble(night: Night) -> bool:
    """Whether a person should hear of a night.

    What is blocked since an earlier night is in the report, and not told every morning anew; what was stopped on
    request is known to who stopped it.
    """
    outcome = night.outcome
    if any(c.ending != "blocked" for c in night.causes) or outcome.remarks:
        return True
    blocked = {name for cause in night.causes for name in cause.names}
    return bool(blocked) and not blocked <= _blocked_before(outcome)


@never_fatal
def show_matrix(night: Night, page: Path | None) -> None:
    """Show machines by families as an artifact, with what is said of the night and where its report lies."""
    from prefect.artifacts import create_markdown_artifact

    lines = [f"# {verdict(night)}", "", *(f"- {line}" for line in (*sentences(night), *night.outcome.remarks)), ""]
    lines += as_markdown(matrix_of(night.outcome.cells))
    for cause in night.causes:
        lines += ["", f"- **{len(cause.names)} {cause.ending}**: {_flat(cause.what)} {_flat(cause.hint)}"]
        lines += [f"    `{command}`" for command in cause.commands]
    if page is not None:
        lines += ["", f"Report: `{page}`"]
    create_markdown_artifact("\n".join(lines), key="fleet-matrix", description="the fleet, machines by families")


def _config() -> FleetConfig:
    """Return the fleet's config; where it cannot be used, which ends a night, what it said last of whom to tell."""
    kept = home().machinery / "morning.json"
    try:
        config = load_fleet(home())
    except NightshiftError:
        try:
            return FleetConfig.model_validate_json(kept.read_bytes())
        except (OSError, ValidationError):
            return FleetConfig()
    said = config.model_dump_json(include={"timezone", "notify", "notify_on"}).encode()
    _tried("prepared", lambda: write_atomic(kept, said))
    return config


def _tried(what: str, do: Callable[[], T]) -> T | None:
    try:
        return do()
    except Exception as error:
        logger.warning("the morning report could not be %s: %s", what, _named(error))
        return None


def _is_told(config: FleetConfig, night: Night, plan: FleetPlan) -> bool:
    if not config.notify:
        return False
    if config.notify_on == "always":
        return bool(plan.cells)
    return bool(_tried("looked through", lambda: is_trouble(night)))


def _blocked_before(outcome: FleetOutcome) -> set[str]:
    earlier = (run for run in outcomes(home(), last=_RUNS_BACK) if run.run_id != outcome.run_id)
    return {cell.name for run in earlier for cell in run.cells if standing(cell).word == "blocked"}


def _send(config: FleetConfig, night: Night, page: Path | None) -> str:
    day = date_of(night.outcome.started_at, config.timezone)
    return _deliver(config, message(night, day, _found_at(page)))


def _deliver(config: FleetConfig, told: Message) -> str:
    """Send a message where one is wanted; returns what is to be remarked, "" for nothing."""
    if not config.notify:
        return ""
    why = send(config.notify, told)
    if not why:
        logger.info("told %s: %s", config.notify, told.subject)
        return ""
    unsent = f"The message was not sent by {why}."
    logger.warning("%s", unsent)
    return unsent


def _found_at(page: Path | None) -> str:
    return f"{page} on {socket.gethostname()}" if page is not None else ""


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, NightshiftError) else f"{type(error).__name__}: {error}"


def _flat(text: str) -> str:
    return " ".join(text.replace("<", "&lt;").split())
