"""Plain requests to a server that goes away in the middle of its answer."""

from __future__ import annotations

import pytest
from support.away import answering

from deployments.api import RefusedError, ask, health
from nightshift.errors import ServiceError


@pytest.mark.parametrize("loss", ["nothing", "half", "no status"])
def test_an_answer_that_is_lost_on_the_way_is_a_server_that_does_not_answer(loss: str) -> None:
    with answering(lambda _: (200, {"a": 1}), [loss, loss]) as url:
        with pytest.raises(ServiceError, match=r"does not answer: \w") as caught:
            ask("anything", url=url)
        assert not isinstance(caught.value, RefusedError)
        assert health(url) != ""
        assert ask("anything", url=url) == (200, {"a": 1})
        assert health(url) == ""


def test_a_refusal_knows_its_status_and_says_its_reason_in_one_line() -> None:
    with (
        answering(lambda _: (422, {"detail": [{"msg": "no\n UUID"}]})) as url,
        pytest.raises(RefusedError, match=r"answers 422 to flow_runs/x: no UUID\.$") as caught,
    ):
        ask("flow_runs/x", url=url)
    assert caught.value.status == 422
