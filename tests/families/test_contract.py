"""The contract that every family keeps, run over every file in `nightshift/families`."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from support.family_runs import Trained, small_context, train_again

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.edge.manifest import Interface
from nightshift.errors import NightshiftError
from nightshift.family import Need
from nightshift.graphs.parity import compare
from nightshift.plan.config import find_config, read_yaml
from nightshift.problems.problem import NAMES as PROBLEMS
from nightshift.settings import Home
from nightshift.validation import validated


def answers(trained: Trained, fitted: object) -> dict[str, np.ndarray]:
    samples = trained.family.samples(fitted.interface, trained.data, "val")  # type: ignore[attr-defined]
    few = samples.select(np.arange(len(samples.unit))[:: max(1, len(samples.unit) // 200)])
    return dict(trained.family.predict(fitted, few.inputs))


def test_the_family_says_what_it_is(trained: Trained) -> None:
    family = trained.family
    assert family.name in families.names()
    assert family.problem in PROBLEMS
    assert family.needs <= set(typing.get_args(Need))
    assert isinstance(trained.fitted.interface, Interface)


def test_config_round_trip(trained: Trained, session_home: Home) -> None:
    kind = trained.family.config
    assert kind.model_validate(trained.config.model_dump(mode="json")) == trained.config
    shipped = find_config(session_home, "families", trained.family.name)
    assert shipped is not None, "a family has a YAML of its own"
    validated(kind, read_yaml(shipped), shipped.name)


def test_same_seed_gives_the_same_predictions(trained: Trained, tmp_path: Path) -> None:
    first, second = answers(trained, trained.fitted), answers(trained, train_again(trained, tmp_path / "again"))
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_saving_and_loading_gives_the_same_predictions(trained: Trained, tmp_path: Path) -> None:
    trained.family.save(trained.fitted, tmp_path / "native")
    loaded = trained.family.load(tmp_path / "native")
    assert loaded.interface == trained.fitted.interface
    for name, values in answers(trained, loaded).items():
        np.testing.assert_array_equal(values, answers(trained, trained.fitted)[name], err_msg=name)


def test_the_graph_answers_like_the_library(trained: Trained) -> None:
    model = trained.family.export(trained.fitted, trained.ctx)
    inputs = trained.family.parity_inputs(trained.fitted, trained.data, trained.ctx)
    parity = compare(
        model.SerializeToString(),
        lambda given: trained.family.predict(trained.fitted, given),
        inputs,
        trained.family.tolerances(trained.fitted),
    )
    assert parity.rows > 100
    assert parity.flips == 0
    assert parity.ok, parity
    assert {"real", "infinite"} <= set(parity.cases)
    assert sum(parity.cases.values()) == parity.rows
    assert parity.batches == (0, 1, 2, 7, 1000)


def test_the_graph_takes_any_batch_and_offers_what_the_interface_says(trained: Trained) -> None:
    model = trained.family.export(trained.fitted, trained.ctx).SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    interface = trained.fitted.interface
    assert [o.name for o in session.get_outputs()] == [o.name for o in interface.outputs]
    samples = trained.family.samples(interface, trained.data, "val")
    for rows in (0, 1, 7):
        few = samples.select(np.arange(rows))
        for value, output in zip(session.run(None, dict(few.inputs)), interface.outputs, strict=True):
            assert value.shape[0] == rows
            assert str(value.dtype) == output.dtype


def test_inputs_are_what_the_interface_says(trained: Trained) -> None:
    interface = trained.fitted.interface
    given = trained.family.samples(interface, trained.data, "test").inputs
    for name, (dtype, shape) in interface.inputs().items():
        assert str(given[name].dtype) == dtype
        assert given[name].shape[1:] == shape[1:]


def test_evaluation_stands_beside_its_baselines(trained: Trained) -> None:
    evaluation = trained.family.evaluate(trained.fitted, trained.data, trained.config, trained.ctx)
    assert evaluation.problem == trained.family.problem
    assert evaluation.score(evaluation.headline_part) is not None
    assert evaluation.best_baseline() is not None
    model_metrics = {m for row in evaluation.rows if row.kind == "model" for m in row.metrics}
    assert evaluation.primary in model_metrics
    assert evaluation.statistics is not None
    assert len(evaluation.statistics.units) == len(evaluation.statistics.values) > 0
    assert evaluation.figures


@pytest.mark.parametrize("name", families.names())
def test_data_without_what_the_family_needs_is_a_clear_error(
    name: str, session_home: Home, data_of: Callable[[str], Dataset], tmp_path: Path
) -> None:
    """All-NaN sensors leave nothing to learn from: one readable error, no traceback of a library."""
    import dataclasses

    family = families.get(name)
    config, ctx = small_context(session_home, name, tmp_path)
    small_data = data_of(family.group)

    class Blind(Dataset):
        def frame(self, part: str, columns=None):  # type: ignore[no-untyped-def]
            frame = super().frame(part, None).copy()
            frame[list(self.metadata.columns)] = np.float32("nan")
            return frame if columns is None else frame[list(columns)]

    fields = {f.name: getattr(small_data, f.name) for f in dataclasses.fields(small_data) if f.name != "_cache"}
    with pytest.raises(NightshiftError, match=r"."):
        family.train(Blind(**fields), config, ctx)
