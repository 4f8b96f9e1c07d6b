"""The table, the Markdown and the file that a report leaves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nightshift.simulate.quality.choose import decide
from nightshift.simulate.quality.limits import QualityLimits
from nightshift.simulate.quality.report import (
    FIGURES,
    PROBLEMS,
    ProblemScores,
    QualityReport,
    mean_trtr,
    shown,
    spread,
    utility,
)
from tests.simulate.quality.made import motor, problems, scores


@pytest.fixture
def report() -> QualityReport:
    every = [scores("tvae"), scores("copula", shift=-0.1), scores("resample", dcr_protection=0.5)]
    return decide("motor_1", motor(), every, (problems(0.7), problems(0.8), problems(0.9)), QualityLimits())


def test_the_table_has_a_column_per_generator_and_a_row_per_figure(report: QualityReport) -> None:
    table = report.table()
    assert table.headers == ("figure", "tvae (chosen)", "copula", "resample", "real units", "wanted")
    rows = {row[0]: row[1:] for row in table.rows}
    assert {*FIGURES.values(), *PROBLEMS.values()} < set(rows)
    assert rows["column shapes"][-1] == "≥ 0.9"
    assert rows["failure within the horizon, F1"] == (
        *("0.810 ± 0.010", "0.710 ± 0.010", "0.810 ± 0.010"),
        *("0.800 ± 0.100", "≥ 0.9 of real"),
    )
    assert rows["gate"] == ("passes", "misses 4", "misses 2", "", "")
    assert all(len(row) == len(table.headers) for row in table.rows)


def test_markdown_names_verdict_and_missed_lines(report: QualityReport) -> None:
    assert report.markdown().startswith("**motor_1: tvae passed.** tvae passes its gate")
    refused = decide("motor_1", motor(), [scores("tvae", pair_trends=0.5)], (problems(),), QualityLimits())
    text = refused.markdown()
    assert "tvae REFUSED" in text
    assert "- missed: pair trends is 0.500, wanted ≥ 0.9" in text
    bars = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in bars}) == 1


def test_a_report_survives_its_file_and_refuses_unknown_fields(report: QualityReport) -> None:
    text = report.model_dump_json()
    assert QualityReport.model_validate_json(text) == report
    with pytest.raises(ValidationError):
        QualityReport.model_validate({**report.model_dump(), "more": 1})


def test_utility_is_the_mean_of_the_ratios_to_what_real_units_teach() -> None:
    real = [problems(0.8, 0.5), problems(0.8, 0.7)]
    half = ProblemScores(f1=0.4, rul_r2=0.3, pr_auc=0.3, forecast_skill=0.2)
    assert utility(half, real) == pytest.approx(0.5)
    assert utility(ProblemScores(f1=-3.0), real) == 0.0


def test_a_problem_that_real_units_do_not_teach_is_left_out() -> None:
    real = [ProblemScores(f1=0.8, rul_r2=0.01)]
    assert mean_trtr(real, "rul_r2") is None
    assert mean_trtr(real, "pr_auc") is None
    assert utility(ProblemScores(f1=0.8, rul_r2=0.9), real) == pytest.approx(1.0)
    assert utility(ProblemScores(f1=0.8), []) == 0.0


def test_figures_read_well() -> None:
    assert spread([]) == "–"
    assert spread([0.0, 0.0]) == "0"
    assert spread([0.5]) == "0.500"
    assert spread([0.5, 0.7]) == "0.600 ± 0.141"
    assert [shown(v) for v in (None, 0.0, 1234.0, 0.12345)] == ["not known", "0", "1,234", "0.123"]
