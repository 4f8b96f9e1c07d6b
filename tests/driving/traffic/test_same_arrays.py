"""Traffic is the same bit for bit in a batch of any size, and the same on torch."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from nightshift.driving.cars import Cars
from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import STEP_S
from nightshift.driving.traffic import gipps, idm_mobil
from nightshift.driving.traffic.ways import Ways


def some(cars: Cars, which: list[int]) -> Cars:
    return Cars(**{f.name: getattr(cars, f.name)[which].copy() for f in fields(Cars)})


@pytest.mark.parametrize("model", [idm_mobil, gipps], ids=["idm", "gipps"])
def test_batches_of_any_size_and_torch_agree(model) -> None:  # type: ignore[no-untyped-def]
    import array_api_compat.torch as torch

    kinds = ("highway", "merge", "roundabout", "intersection")
    pack = Pack.of([make(kind, 3) for kind in kinds])
    ways, on_torch = Ways.of(np, pack.lanes), pack.to(torch)
    torch_ways = Ways.of(torch, on_torch.lanes)
    together, alone = some(pack.cars, [0, 1, 2, 3]), [some(pack.cars, [i]) for i in range(4)]
    tensors = replace(on_torch.cars, **{f.name: getattr(on_torch.cars, f.name).clone() for f in fields(Cars)})
    rng = np.random.default_rng(0)
    for _ in range(60):
        noise = rng.random((4, together.s.shape[1] - 1))
        model.step(np, ways, together, STEP_S, noise)
        model.step(torch, torch_ways, tensors, STEP_S, torch.asarray(noise))
        for i, cars in enumerate(alone):
            model.step(np, ways, cars, STEP_S, noise[i : i + 1])
    for field in fields(Cars):
        value = getattr(together, field.name)
        np.testing.assert_array_equal(value, np.concatenate([getattr(c, field.name) for c in alone]), field.name)
        np.testing.assert_allclose(value, getattr(tensors, field.name).numpy(), rtol=0, atol=1e-9, err_msg=field.name)
    assert (together.lane != pack.cars.lane).sum() > 20
