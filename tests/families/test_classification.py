"""Failure classification: thresholds, unknown labels, unseen categories, and where labels come from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from support.bundles import write_bundle
from support.engines import land_engines
from support.family_runs import small_context

from nightshift.data.dataset import Dataset
from nightshift.data.importers.ai4i import import_ai4i
from nightshift.data.schema import LabelSource
from nightshift.edge.cli import predict
from nightshift.errors import ConfigError, DataError
from nightshift.families._tabular import WindowedModel
from nightshift.families.classification import FAMILY, ClassificationConfig
from nightshift.family import RunContext
from nightshift.graphs.ensemble import member_nodes
from nightshift.settings import Home
from nightshift.trainer.tree_cost import memory_mb

Made = tuple[WindowedModel, ClassificationConfig, RunContext]


@pytest.fixture(scope="module")
def engines(session_home: Home) -> Dataset:
    return land_engines(session_home)


@pytest.fixture(scope="module")
def made(session_home: Home, engines: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    config, ctx = small_context(session_home, "classification", tmp_path_factory.mktemp("classification"))
    changes = {"boost_rounds": 40, "model_types": ("GBM", "RF"), "window_rows": 8, "min_leaf_rows": 5}
    small = ClassificationConfig.model_validate(config.model_dump() | changes)
    return FAMILY.train(engines, small, ctx), small, ctx


def again(made: Made, data: Dataset, work: Path, **changes: object) -> WindowedModel:
    config = made[1].model_copy(update={"model_types": ("GBM",), "boost_rounds": 5} | changes)
    return FAMILY.train(data, config, dataclasses.replace(made[2], work=work, findings=[]))


class Changed(Dataset):
    """The same data with other labels: `label(frame, part)` gives them."""

    label = staticmethod(lambda frame, part: frame["failure_status"])

    def frame(self, part: str, columns=None):  # type: ignore[no-untyped-def]
        frame = super().frame(part, None).copy()
        frame["failure_status"] = type(self).label(frame, part)
        return frame if columns is None else frame[list(columns)]


def relabelled(data: Dataset, label) -> Dataset:  # type: ignore[no-untyped-def]
    kind = type("Relabelled", (Changed,), {"label": staticmethod(label)})
    return kind(**{f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.init})


def test_the_threshold_is_inside_the_graph_and_keeps_its_budget(made: Made, engines: Dataset) -> None:
    fitted, config, _ = made
    limit = fitted.interface.thresholds["probability"]
    _, second = engines.validation_halves()
    samples = FAMILY.samples(fitted.interface, engines, "val").select(second)
    answer = FAMILY.predict(fitted, samples.inputs)
    np.testing.assert_array_equal(answer["label"], answer["probability"][:, 1] >= np.float32(limit))
    well = samples.truth["label"] == 0
    assert answer["label"][well].mean() <= config.false_alarm_rate
    assert answer["label"][~well].mean() > 0.5


def test_best_f1_and_a_strict_budget_choose_different_thresholds(made: Made, engines: Dataset, tmp_path: Path) -> None:
    strict = again(made, engines, tmp_path / "a", false_alarm_rate=0.0)
    best = again(made, engines, tmp_path / "b", threshold="best_f1")
    assert strict.interface.thresholds["probability"] >= best.interface.thresholds["probability"]
    notes = FAMILY.evaluate(best, engines, made[1].model_copy(update={"threshold": "best_f1"}), made[2]).notes
    assert "false-alarm" not in notes[1]


def test_every_baseline_stands_beside_the_model(made: Made, engines: Dataset) -> None:
    evaluation = FAMILY.evaluate(made[0], engines, made[1], made[2])
    for part in ("train", "val", "test"):
        who = [r.who for r in evaluation.rows if r.part == part]
        assert who == ["model", "alarm limits", "best single threshold", "majority class"]
    assert evaluation.statistics is not None
    assert evaluation.statistics.positives == int(engines.labels("test").sum())
    assert {m.name for m in evaluation.members} >= {"LightGBM", "RandomForest"}
    assert "10 cycles ahead" in evaluation.notes[0]


def test_rows_without_a_label_are_left_out(made: Made, engines: Dataset, tmp_path: Path) -> None:
    data = relabelled(engines, lambda frame, _: frame["failure_status"].where(frame["time"] > 5))
    fitted = again(made, data, tmp_path)
    expected = int((engines.frame("train")["time"] > 5).sum())
    assert fitted.tabular.notes.train_rows == expected
    assert len(FAMILY.samples(fitted.interface, data, "train").unit) == expected


@pytest.mark.parametrize("part", ["train", "val"])
def test_one_class_only_is_a_clear_error(made: Made, engines: Dataset, tmp_path: Path, part: str) -> None:
    data = relabelled(engines, lambda frame, p: frame["failure_status"] * (p != part))
    with pytest.raises(DataError, match=f"the {part} part of 'engines' holds one class only"):
        again(made, data, tmp_path)


def test_a_half_of_validation_without_failures_gives_way_to_the_whole(
    made: Made, engines: Dataset, tmp_path: Path
) -> None:
    only = engines.runs("val")[0]
    data = relabelled(engines, lambda frame, p: frame["failure_status"] * ((frame["run"] == only) | (p != "val")))
    ctx = dataclasses.replace(made[2], work=tmp_path, findings=[])
    config = made[1].model_copy(update={"model_types": ("GBM",), "boost_rounds": 5})
    fitted = FAMILY.train(data, config, ctx)
    assert 0 < fitted.interface.thresholds["probability"] < 1
    [found] = [f for f in ctx.findings if f.code == "T014"]
    assert "used the first half of validation, the threshold the whole" in found.what
    notes = " ".join(FAMILY.evaluate(fitted, data, config, ctx).notes)
    assert "on the whole of validation" in notes
    assert "on the second half" not in notes


def test_whole_halves_of_validation_are_not_remarked_on(made: Made, engines: Dataset) -> None:
    assert "T014" not in {f.code for f in made[2].findings}
    assert "second half of validation" in " ".join(FAMILY.evaluate(made[0], engines, made[1], made[2]).notes)


def test_labels_made_from_thresholds_are_said_to_be(made: Made, engines: Dataset) -> None:
    ruled = dataclasses.replace(
        engines, metadata=engines.metadata.model_copy(update={"label_source": LabelSource.THRESHOLDS})
    )
    evaluation = FAMILY.evaluate(made[0], ruled, made[1], made[2])
    assert "T005" in {f.code for f in evaluation.findings}
    assert "sensor thresholds" in evaluation.notes[0]


def test_an_unseen_category_is_answered(made: Made, engines: Dataset) -> None:
    window = FAMILY.samples(made[0].interface, engines, "test").inputs["window"][:20].copy()
    place = [c.name for c in made[0].interface.columns].index("fuel")
    assert made[0].interface.columns[place].categories == ("A", "B")
    window[:, :, place] = made[0].interface.columns[place].unseen_code
    probability = FAMILY.predict(made[0], {"window": window})["probability"]
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-6)


def test_a_type_that_ai4i_has_not_seen_is_answered_alike_from_csv_text_and_by_the_library(
    made: Made, session_home: Home, tmp_path: Path
) -> None:
    data = land_milling(session_home, tmp_path / "ai4i2020.csv")
    fitted = again(made, data, tmp_path, window_rows=1)
    graph = FAMILY.export(fitted, made[2]).SerializeToString()
    bundle = write_bundle(tmp_path / "bundle", graph, interface=fitted.interface, time_kind="none")
    [column] = [c for c in fitted.interface.columns if c.categories]
    assert (column.name, column.categories, column.unseen_code) == ("type", ("H", "L", "M"), -1)
    cells = {"H": 0.0, "L": 1.0, "M": 2.0, "X": -1.0, "l": -1.0, "": -1.0}
    numbers = [300.1, 309.4, 1500, 40.5, 100]
    lines = [",".join(map(str, [text, *numbers])) for text in cells]
    names = ["type", "air_temperature_k", "process_temperature_k", "rotational_speed_rpm", "torque_nm", "tool_wear_min"]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(names), *lines]), encoding="utf-8")
    assert predict(bundle, tmp_path / "rows.csv", tmp_path / "answers.csv") == len(cells)
    answers = pd.read_csv(tmp_path / "answers.csv")
    place = [[c.name for c in fitted.interface.columns].index(name) for name in names]
    window = np.empty((len(cells), 1, len(names)), np.float32)
    window[:, 0, place] = [[code, *numbers] for code in cells.values()]
    library = FAMILY.predict(fitted, {"window": window})
    said = answers["probability_failing"]
    np.testing.assert_allclose(said, library["probability"][:, 1], atol=1e-6)
    np.testing.assert_array_equal(answers["label"], library["label"])
    assert len(set(library["probability"][:4, 1])) > 1, "the model reads the type"
    assert len(set(said[3:])) == 1, "another letter, another case and an empty cell have one code"


def land_milling(home: Home, path: Path) -> Dataset:
    """Land a file of AI4I's columns in which light parts fail."""
    rng = np.random.default_rng(4)
    n = 900
    kind = rng.choice(["L", "M", "H"], n)
    frame = pd.DataFrame(
        {
            "UDI": np.arange(n) + 1,
            "Product ID": [f"{k}{i}" for i, k in enumerate(kind)],
            "Type": kind,
            "Air temperature [K]": rng.normal(300, 2, n).round(1),
            "Process temperature [K]": rng.normal(310, 1.5, n).round(1),
            "Rotational speed [rpm]": rng.normal(1540, 180, n).round(),
            "Torque [Nm]": rng.normal(40, 10, n).round(1),
            "Tool wear [min]": rng.integers(0, 250, n),
            "Machine failure": ((kind == "L") & (rng.random(n) < 0.5)).astype(int),
        }
    )
    modes = dict.fromkeys(("TWF", "HDF", "PWF", "OSF", "RNF"), 0)
    frame.assign(**modes).to_csv(path, index=False)
    return import_ai4i(home, path, event=False, check=None)


def test_a_target_of_little_memory_gets_a_lighter_ensemble_and_the_report_says_what_it_cost(
    made: Made, engines: Dataset, tmp_path: Path
) -> None:
    limits = made[2].limits.model_copy(update={"memory_mb": memory_mb(room := 600)})
    ctx = dataclasses.replace(made[2], limits=limits, work=tmp_path, findings=[])
    config = made[1].model_copy(update={"model_types": ("GBM", "XGB"), "boost_rounds": 25})
    fitted = FAMILY.train(engines, config, ctx)
    [said] = [f.what for f in ctx.findings if f.code == "T015"]
    assert "shipped without LightGBM" in said
    assert "log_loss on the tuning rows" in said
    assert FAMILY.evaluate(fitted, engines, config, ctx).notes[-1] == said
    nodes = member_nodes(fitted.tabular.predictor, weight_nodes=1.0)
    assert set(nodes) == {"XGBoost"}
    assert nodes["XGBoost"] == len(attribute(FAMILY.export(fitted, ctx), "nodes_treeids")) <= room


def attribute(graph: onnx.ModelProto, name: str) -> list[int]:
    """The integers of that attribute of all nodes."""
    return [n for node in graph.graph.node for given in node.attribute if given.name == name for n in given.ints]


def test_data_without_a_column_of_the_model_is_a_clear_error(made: Made, engines: Dataset) -> None:
    columns = tuple(c.model_copy(update={"name": f"{c.name}_2"}) for c in made[0].interface.columns)
    interface = made[0].interface.model_copy(update={"columns": columns})
    with pytest.raises(DataError, match="no column 'altitude_km_2'"):
        FAMILY.samples(interface, engines, "test")


def test_a_model_type_that_the_target_forbids_is_refused(made: Made, engines: Dataset, tmp_path: Path) -> None:
    limits = made[2].limits.model_copy(update={"model_types": ("RF",)})
    with pytest.raises(ConfigError, match="'GBM' is not allowed"):
        FAMILY.train(engines, made[1], dataclasses.replace(made[2], limits=limits, work=tmp_path))
