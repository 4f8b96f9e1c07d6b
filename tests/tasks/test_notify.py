"""Why a message could not be sent, in words that anybody may read: a webhook's address is its password."""

from __future__ import annotations

from tasks.notify import reason_of


def test_the_reason_of_what_most_kinds_send_with_is_found_in_its_log() -> None:
    from prefect.blocks.abstract import NotificationError

    # As a chat's block says of a port that nobody listens on.
    refused = NotificationError(log="[WARNING]: A Connection error occurred sending JSON notification to 127.0.0.1.\n")
    assert reason_of(refused) == "A Connection error occurred sending JSON notification to 127.0.0.1"


def test_an_address_is_not_told() -> None:
    said = reason_of(ValueError("POST https://hooks.example.com/services/T0/B0/secret failed"))
    assert said == "POST <address> failed"
