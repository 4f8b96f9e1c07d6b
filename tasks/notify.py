"""Sends a message through a Prefect notification block: chat, mail, pager or any webhook, as its owner made it."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from nightshift.errors import first_line
from nightshift.tracking.fleet_words import Message

logger = logging.getLogger("nightshift")

#: A night is worth more than one try: pauses before each, seconds.
PAUSES_S = (0.0, 2.0, 8.0)


def send(name: str, message: Message) -> str:
    """Send a message; returns "" when it is sent, else why it is not, in a few words.

    Args:
        name: the block, `<type>/<name>`, as configs/fleet.yaml has it.
        message: subject and text.
    """
    why = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        try:
            _notify(_block(name), message)
        except Exception as error:  # whatever a service does, the night is over and has its report
            why = reason_of(error)
        else:
            return ""
    return f"{name}: {why}"


def _block(name: str) -> Any:
    # Its classes are known once they are imported.
    import prefect.blocks.notifications  # noqa: F401
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    block: Any = Block.load(name)
    if not isinstance(block, NotificationBlock):
        raise TypeError(f"it is a {type(block).__name__}, which sends no notifications")
    return block


def _notify(block: Any, message: Message) -> None:
    # Some kinds fail in silence otherwise.
    with block.raise_on_failure():
        block.notify(message.body, subject=message.subject)


def reason_of(error: BaseException) -> str:
    """Return why a message could not be sent, without the address: that of a webhook is its password."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the service answers {status}"
    # Apprise, which most kinds send with, tells why in its log.
    log = str(getattr(error, "log", "")).strip()
    text = re.sub(r"^\[\w+\]: ", "", first_line(ValueError(log))) if log else first_line(error)
    return re.sub(r"\w+://\S+", "<address>", text)
