"""Remaining life: caps, published tests, regimes, ages, and lives that are not known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.datasets import calendar_rows, describe
from support.engines import land_engines
from support.family_runs import small_context

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.errors import DataError
from nightshift.families._tabular import WindowedModel
from nightshift.families.rul import FAMILY, RulConfig, _cuts_runs
from nightshift.family import RunContext
from nightshift.graphs.parity import compare
from nightshift.settings import Home

CAP = 40.0


@pytest.fixture(scope="module")
def engines(session_home: Home) -> Dataset:
    return land_engines(session_home)


@pytest.fixture(scope="module")
def made(
    session_home: Home, engines: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WindowedModel, RulConfig, RunContext]:
    config, ctx = small_context(session_home, "rul", tmp_path_factory.mktemp("rul"))
    changes = {"cap": CAP, "boost_rounds": 60, "model_types": ("GBM", "XGB"), "window_rows": 12, "min_leaf_rows": 10}
    small = RulConfig.model_validate(config.model_dump() | changes)
    return FAMILY.train(engines, small, ctx), small, ctx


Made = tuple[WindowedModel, RulConfig, RunContext]


def test_regimes_ages_categories_and_derived_columns_reach_the_model(made: Made) -> None:
    spec = made[0].spec
    assert spec.regimes is not None
    assert len(spec.regimes.centres) == 2
    assert {"heat_per_flow__mean", "heat_k__slope", "age_cycles", "fuel"} < set(spec.feature_names)
    assert "age_cycles__mean" not in spec.feature_names
    assert "T011" in {f.code for f in made[2].findings}
    assert made[0].summary["regimes"] == 2
    assert made[0].summary["cap"] == CAP


def test_the_model_beats_what_needs_no_sensor_on_the_last_rows_of_test(made: Made, engines: Dataset) -> None:
    evaluation = FAMILY.evaluate(made[0], engines, made[1], made[2])
    best = evaluation.best_baseline()
    own = evaluation.score("test")
    assert best is not None
    assert own is not None
    assert own < best[1]
    assert {r.who for r in evaluation.rows if r.kind == "baseline"} == {"constant", "elapsed time"}
    assert len(evaluation.figures[0].series[1].x) == 5, "one point a test engine"
    assert evaluation.statistics is not None
    assert evaluation.statistics.runs == 5
    squares, rows = np.array(evaluation.statistics.values).sum(axis=0)
    assert rows == 5
    assert np.sqrt(squares / rows) == pytest.approx(own)
    assert any("last row of each of its 5 runs" in note for note in evaluation.notes)
    assert any("capped at 40 cycles" in note for note in evaluation.notes)


def test_the_gate_sees_the_same_figure_from_the_graph(made: Made, engines: Dataset) -> None:
    import onnxruntime as ort

    from nightshift.problems.regression import PROBLEM

    session = ort.InferenceSession(FAMILY.export(made[0], made[2]).SerializeToString())
    samples = FAMILY.samples(made[0].interface, engines, "test")
    value = session.run(None, dict(samples.inputs))[0]
    sums = np.array(PROBLEM.statistics({"value": value}, samples).values).sum(axis=0)
    own = FAMILY.evaluate(made[0], engines, made[1], made[2]).score("test")
    assert float(PROBLEM.from_sums(sums)) == pytest.approx(own, rel=1e-5)


def test_answers_stay_between_nothing_and_the_cap(made: Made, engines: Dataset) -> None:
    samples = FAMILY.samples(made[0].interface, engines, "test")
    value = FAMILY.predict(made[0], samples.inputs)["value"]
    assert value.min() >= 0
    assert value.max() <= CAP
    assert samples.truth["rul"].max() == CAP
    assert samples.truth["rul_uncapped"].max() > CAP
    assert samples.truth["headline"].sum() == 5


def test_parity_holds_through_regimes_and_categories(made: Made, engines: Dataset) -> None:
    model = FAMILY.export(made[0], made[2])
    inputs = FAMILY.parity_inputs(made[0], engines, made[2])
    assert np.isnan(inputs["window"]).any()
    parity = compare(
        model.SerializeToString(), lambda given: FAMILY.predict(made[0], given), inputs, FAMILY.tolerances(made[0])
    )
    assert parity.ok, parity


def with_rul(data: Dataset, change: str) -> Dataset:
    """The same data with remaining lives unknown in whole parts or after the cap."""

    class Changed(Dataset):
        def frame(self, part: str, columns=None):  # type: ignore[no-untyped-def]
            frame = super().frame(part, None).copy()
            if change == part:
                frame["rul"] = np.nan
            if change == "first run" and part == "train":
                frame.loc[frame["run"] == frame["run"].iloc[0], "rul"] = np.nan
            return frame if columns is None else frame[list(columns)]

    return Changed(**{f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.init})


def test_censored_runs_are_left_out(made: Made, engines: Dataset, tmp_path: Path) -> None:
    data = with_rul(engines, "first run")
    config = made[1].model_copy(update={"model_types": ("GBM",), "boost_rounds": 5})
    fitted = FAMILY.train(data, config, dataclasses.replace(made[2], work=tmp_path))
    frame = engines.frame("train")
    gone = int((frame["run"] == frame["run"].iloc[0]).sum())
    assert fitted.tabular.notes.train_rows == len(frame) - gone


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_part_without_any_known_life_is_a_clear_error(made: Made, engines: Dataset, part: str) -> None:
    with pytest.raises(DataError, match=f"no row of the {part} part .* known remaining life"):
        FAMILY.train(with_rul(engines, part), made[1], made[2])


def test_the_shipped_cap_is_500_hours_and_binds_only_longer_lives(
    session_home: Home, made: Made, engines: Dataset, tmp_path: Path
) -> None:
    shipped, _ = small_context(session_home, "rul", tmp_path)
    assert isinstance(shipped, RulConfig)
    assert shipped.cap == 500
    config = made[1].model_copy(update={"cap": shipped.cap, "model_types": ("GBM",), "boost_rounds": 5})
    fitted = FAMILY.train(engines, config, dataclasses.replace(made[2], work=tmp_path))
    longest = engines.frame("train")["rul"].max()
    assert longest < shipped.cap
    assert fitted.interface.thresholds == {"largest_answer": longest, "cap": 500}


def test_without_a_cap_the_longest_life_seen_is_the_bound(made: Made, engines: Dataset, tmp_path: Path) -> None:
    config = made[1].model_copy(update={"cap": None, "model_types": ("GBM",), "boost_rounds": 5})
    fitted = FAMILY.train(engines, config, dataclasses.replace(made[2], work=tmp_path))
    assert fitted.interface.thresholds == {"largest_answer": engines.frame("train")["rul"].max()}
    assert "not capped" in FAMILY.evaluate(fitted, engines, config, made[2]).notes[0]


@pytest.mark.parametrize(("runs", "cut"), [(1, True), (2, True), (4, False)])
def test_parts_that_cut_through_runs_are_told_from_whole_runs(session_home: Home, runs: int, cut: bool) -> None:
    data = split_and_land(session_home, calendar_rows(runs=runs, steps=120), describe(f"rul_runs_{runs}"))
    assert _cuts_runs(data) is cut


def test_a_network_ships_where_the_target_names_it(made: Made, engines: Dataset, tmp_path: Path) -> None:
    limits = made[2].limits.model_copy(update={"model_types": ("GBM", "NN_TORCH")})
    ctx = dataclasses.replace(made[2], limits=limits, work=tmp_path, findings=[])
    settings = {"NN_TORCH": {"num_epochs": 3}}
    config = made[1].model_copy(update={"model_types": ("NN_TORCH",), "hyperparameters": settings})
    fitted = FAMILY.train(engines, config, ctx)
    assert FAMILY.tolerances(fitted)["value"] == pytest.approx(5e-5 * CAP)
    assert FAMILY.tolerances(made[0])["value"] == pytest.approx(2e-6 * CAP)
    graph = FAMILY.export(fitted, ctx).SerializeToString()
    inputs = FAMILY.parity_inputs(fitted, engines, ctx)
    parity = compare(graph, lambda rows: FAMILY.predict(fitted, rows), inputs, FAMILY.tolerances(fitted))
    assert parity.ok
    assert len(np.unique(FAMILY.predict(fitted, inputs)["value"])) > 50, "a network is no staircase"
