"""Real roll-outs: fresh draws pass, a bad generator is refused with its gates named, nothing depends on threads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from nightshift.errors import DataError, InterruptedTraining
from nightshift.simulate.quality.judge import JudgeContext, judge
from nightshift.simulate.quality.report import QualityReport
from nightshift.simulate.units import SeedUnits, draw_units, split_units
from tests.simulate.quality.made import motor

pytestmark = pytest.mark.slow

PROFILE = motor()
SEEDS = (0, 1)
Tables = dict[int, pd.DataFrame]


@pytest.fixture(scope="module")
def seeds() -> SeedUnits:
    return split_units(draw_units(PROFILE, 1500, 1))


@pytest.fixture(scope="module")
def fresh() -> Tables:
    return {s: draw_units(PROFILE, 600, 100 + s) for s in SEEDS}


@pytest.fixture(scope="module")
def candidates(seeds: SeedUnits, fresh: Tables) -> Mapping[str, Tables]:
    copies = {s: seeds.train.sample(600, replace=True, random_state=s).reset_index(drop=True) for s in SEEDS}
    return {"tvae": fresh, "copula": {s: _bad(t, s) for s, t in fresh.items()}, "resample": copies}


@pytest.fixture(scope="module")
def report(seeds: SeedUnits, candidates: Mapping[str, Tables]) -> QualityReport:
    return _judge(seeds, candidates)


def _bad(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Columns shuffled one by one, loads shifted down."""
    rng = np.random.default_rng(seed)
    shuffled = pd.DataFrame({name: table[name].to_numpy()[rng.permutation(len(table))] for name in table})
    return shuffled.assign(load_level=np.clip(0.6 * shuffled["load_level"], 0.1, 1.2))


def _judge(seeds: SeedUnits, candidates: Mapping[str, Tables], **ctx: object) -> QualityReport:
    given = {"subject": "motor_1", "units": 32, **ctx}
    return judge(PROFILE, seeds, candidates, seed=7, ctx=JudgeContext(**given))  # type: ignore[arg-type]


def test_fresh_draws_of_the_machine_pass_everything_but_luck(report: QualityReport) -> None:
    scores = report.score("tvae")
    allowed = {line.name for line in scores.gates if "worse than" in line.name}
    assert {line.name for line in scores.gates if not line.ok} <= allowed
    assert scores.values("violations") == [0.0, 0.0]
    assert scores.mean("dcr_protection") == pytest.approx(0.95, abs=0.06)


def test_the_bad_generator_is_refused_by_name(report: QualityReport) -> None:
    missed = {line.name for line in report.score("copula").gates if not line.ok}
    assert {"column shapes", "pair trends", "sensor shapes", "daily-pattern match"} <= missed
    assert {"TSTR / TRTR: remaining life, R²"} <= missed
    assert report.chosen != "copula"


def test_alone_the_bad_generator_fails_the_gate(seeds: SeedUnits, candidates: Mapping[str, Tables]) -> None:
    alone = _judge(seeds, {"copula": {0: candidates["copula"][0]}}, units=16)
    assert not alone.passed
    assert "pair trends is" in alone.refusal()
    assert "column shapes" in alone.why


def test_copies_are_told_from_fresh_units(report: QualityReport) -> None:
    assert "DCR protection" in {line.name for line in report.score("resample").gates if not line.ok}


def test_real_units_are_judged_once_per_seed(report: QualityReport) -> None:
    assert len(report.trtr) == len(SEEDS)
    assert [s.seed for s in report.score("tvae").seeds] == list(SEEDS)
    f1 = [t.f1 for t in report.trtr]
    assert None not in f1
    assert f1[0] != f1[1]


def test_threads_change_nothing(seeds: SeedUnits, fresh: Tables) -> None:
    one, two = (_judge(seeds, {"tvae": fresh}, units=16, threads=n) for n in (1, 2))
    assert one == two


def test_it_tells_its_progress_and_stops_between_tables(seeds: SeedUnits, fresh: Tables) -> None:
    said: list[tuple[int, int, str]] = []
    asked = itertools.count()
    with pytest.raises(InterruptedTraining, match="stopped on request"):
        _judge(
            seeds,
            {"tvae": fresh},
            units=16,
            threads=1,
            progress=lambda *step: said.append(step),
            should_stop=lambda: next(asked) == 2,
        )
    assert said == [(1, 4, "real units, seed 0"), (2, 4, "real units, seed 1")]


def test_unpaired_tables_are_refused(seeds: SeedUnits, fresh: Tables) -> None:
    with pytest.raises(DataError, match=r"every one at the same seeds, got .*'copula': \[0\]"):
        _judge(seeds, {"tvae": fresh, "copula": {0: fresh[0]}})
    with pytest.raises(DataError, match="same seeds"):
        _judge(seeds, {})


def test_a_table_that_lacks_a_column_is_refused(seeds: SeedUnits, fresh: Tables) -> None:
    with pytest.raises(DataError, match="tvae, seed 1 lacks onset, severity"):
        _judge(seeds, {"tvae": {**fresh, 1: fresh[1].drop(columns=["onset", "severity"])}})
    with pytest.raises(DataError, match="tvae, seed 0 holds no unit"):
        _judge(seeds, {"tvae": {**fresh, 0: fresh[0].head(0)}})


def test_units_beyond_their_limits_are_counted_as_violations(seeds: SeedUnits, fresh: Tables) -> None:
    table = fresh[0].copy()
    table.loc[:4, "severity"] = 5.0
    report = _judge(seeds, {"tvae": {0: table}}, units=16)
    assert report.score("tvae").seeds[0].violations == {"units within their limits": 5}
    assert "physics violations is 5, wanted ≤ 0" in report.refusal()


def test_without_labels_the_report_has_no_f1(seeds: SeedUnits) -> None:
    plain = motor(labels={"horizon_h": 36, "failure_status": False})
    tables = {"tvae": {0: draw_units(plain, 300, 3)}}
    report = judge(plain, seeds, tables, seed=1, ctx=JudgeContext(units=16))
    assert report.subject == plain.title
    assert report.trtr[0].f1 is None
    assert report.score("tvae").mean("failure_share") is None
    assert "share of failing rows" not in {line.name for line in report.gates}
