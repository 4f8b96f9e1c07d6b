"""What a stage's task promises, without a server: which failures are tried again, and what is kept."""

from __future__ import annotations

import errno
import importlib

import pytest

from nightshift.errors import BlockedError, ConfigError, TrainingError, TransientError
from nightshift.plan.records import STAGES
from tasks.stage import BACKOFF_S, StageTask, is_transient


def stage_tasks() -> dict[str, StageTask]:
    return {name: getattr(importlib.import_module(f"tasks.{name}"), name) for name in STAGES}


@pytest.mark.parametrize(
    "error",
    [
        TransientError("MLflow's database is locked."),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError("slow"),
        OSError(errno.EIO, "I/O error"),
    ],
)
def test_what_may_be_gone_a_moment_later_is_tried_again(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        BlockedError("no `rul` column"),
        ConfigError("unknown key"),
        TrainingError("no model"),
        ValueError("a fault of ours"),
        OSError(errno.ENOSPC, "disk full"),
        OSError(errno.EDQUOT, "quota"),
        OSError(errno.EFBIG, "too large"),
    ],
)
def test_bad_data_bad_config_and_a_full_disk_are_not_tried_again(error):
    assert not is_transient(error)


def test_every_stage_of_the_chain_has_its_task_in_a_file_of_its_own():
    assert [found.stage for found in stage_tasks().values()] == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_keeps_its_result_as_json_and_waits_longer_each_time(name):
    task = stage_tasks()[name].task
    assert task.persist_result is True
    assert task.result_serializer == "json"
    assert task.retry_delay_seconds == [BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S]
    assert task.retry_jitter_factor
    assert task.retry_condition_fn is not None
