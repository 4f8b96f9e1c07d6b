from __future__ import annotations

import itertools

import pytest

from nightshift.plan.synthesis import STAGES
from nightshift.progress import ProgressEvent, percent_of
from tasks import synthesis
from tasks.stage import BACKOFF_S


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_of_a_synthesis_has_its_task_with_the_chain_s_habits(name: str) -> None:
    found = getattr(synthesis, name)
    task = found.task
    assert found.stage == task.name == name
    assert task.persist_result is True
    assert task.result_serializer == "json"
    assert task.retry_delay_seconds == [BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S]
    assert task.retry_condition_fn is not None


def test_progress_never_falls_along_the_stages() -> None:
    events = [ProgressEvent(cell="c", stage=s, step=n, total=4) for s in STAGES for n in range(5)]
    shown = [percent_of(e) for e in events]
    assert all(a <= b for a, b in itertools.pairwise(shown))
    assert (shown[0], shown[-1]) == (0.0, 100.0)
