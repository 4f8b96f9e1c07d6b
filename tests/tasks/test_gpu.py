"""Which runs hold their worker's GPU: those that came by its pool, and the runs within them."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from tasks.gpu import gpu_of_run, told_to_inner_runs


def a_run(pool: str | None) -> FlowRunContext:
    return FlowRunContext.model_construct(flow_run=FlowRun.model_construct(work_pool_name=pool))


@pytest.mark.parametrize(("pool", "holds"), [("gpu-pool", True), ("local-pool", False), (None, False)])
def test_a_run_holds_a_gpu_where_it_or_the_run_around_it_came_by_the_pool(pool: str | None, holds: bool) -> None:
    assert gpu_of_run(lambda: False) is None
    with a_run(pool):
        assert (gpu_of_run(lambda: False) is not None) == holds
        with told_to_inner_runs(), a_run(None):
            assert (gpu_of_run(lambda: False) is not None) == holds
    with a_run(None):
        assert gpu_of_run(lambda: False) is None
