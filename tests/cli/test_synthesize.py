"""`synthesize`, and the demo's half of it: refused at the border, up to date in a blink."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.homes import a_home
from support.machines import QUICK, SMALL, SMALL_ROWS, write_machine

from nightshift.cli import main
from nightshift.cli.app import build_parser
from nightshift.cli.demo import _planned
from nightshift.cli.synthesize import _options, close_synthesis, raise_refused, run_synthesis
from nightshift.errors import BlockedError, ConfigError, TrainingError
from nightshift.plan.synthesis import Synthesis, SynthesisOptions, outcome_of, plan_synthesis
from nightshift.settings import Home
from nightshift.stages.recorded import StageContext
from nightshift.stages.synthesis.chain import run_chain

pytestmark = pytest.mark.slow


def planned(home: Home, **options: object) -> Synthesis:
    return plan_synthesis(home, SMALL, SMALL_ROWS, 7, SynthesisOptions.model_validate({**QUICK, **options}))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("synthesize")) as place:
        write_machine(place)
        run_chain(planned(place), StageContext(place, threads=1))
        yield place


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["motor_smal"], "unknown machine profile 'motor_smal'. Did you mean 'motor_small'?"),
        (["../motor"], "'../motor' is not a machine id."),
        ([SMALL, "--rows", "999"], "rows is 999, expected 1,000 to 5,000,000."),
        ([SMALL, "--rows", "3299"], "needs at least 3,300"),
        ([SMALL, "--rows", "many"], "invalid int value: 'many'"),
        ([SMALL, "--seed", "-1"], "seed is -1"),
        ([SMALL, "--generator-seeds", "0"], "--generator-seeds is 0: input should be greater than or equal to 1."),
        ([SMALL, "--seed-units", "499"], "--seed-units is 499"),
        ([SMALL, "--device", "tpu"], "invalid choice: 'tpu'"),
        ([SMALL, "--row", "5000"], "Did you mean '--rows'?"),
    ],
)
def test_wrong_words_are_refused_on_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    write_machine(home)
    assert main(["synthesize", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_every_option_reaches_the_flow() -> None:
    words = f"synthesize {SMALL} --generator-seeds 2 --seed-units 600 --epochs 9 --device cpu --threads 1 --no-event"
    options = _options(build_parser(words.split()).parse_args([*words.split(), "--force"]))
    wanted = {"generator_seeds": 2, "seed_units": 600, "epochs": 9, "device": "cpu", "threads": 1, "event": False}
    assert options == SynthesisOptions.model_validate({**wanted, "force": True})


def test_what_is_up_to_date_is_said_without_a_server(landed: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_synthesis(landed, planned(landed)) == 0
    shown = capsys.readouterr().out
    assert f"{SMALL}: up to date, units of " in shown
    assert "Nothing to do" in shown
    assert "train" in shown
    assert "test" in shown
    assert f"quality: {landed.reports / SMALL / 'synthesis_report.html'}" in shown
    assert "no server was told: the landing waits for `nightshift up`" in shown
    assert "next: nightshift train-machine --machine motor_small" in shown
    assert not (landed.run / "server.json").exists()


def test_data_that_are_made_again_and_are_the_same_are_not_said_to_have_landed(
    landed: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = outcome_of(landed, planned(landed), "landed")
    close_synthesis(landed, outcome.model_copy(update={"new": False}))
    again = capsys.readouterr().out
    assert f"{SMALL}: nothing new, the same data were made, units of " in again
    assert ": landed" not in again
    close_synthesis(landed, outcome)
    assert f"{SMALL}: landed, units of " in capsys.readouterr().out


class Ended:
    """The final state of a run that failed."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self, *, raise_on_failure: bool) -> Exception:
        return self.error


def test_refused_data_show_their_table_and_the_report_before_the_error(
    landed: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    job = planned(landed, limits={**QUICK["limits"], "column_shapes": 1})
    refused = run_chain(job, StageContext(landed, threads=1))[-1]
    with pytest.raises(BlockedError, match="column shapes is 0") as raised:
        raise_refused(landed, job, Ended(BlockedError(refused.error, hint=refused.hint)))
    assert raised.value.exit_code == 3
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("tvae", "copula", "resample", "real units"))
    assert "missed: column shapes is 0." in shown
    assert f"quality: {landed.reports / SMALL / 'synthesis_refused.html'}" in shown


def test_what_failed_before_judging_shows_no_table(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(home)
    with pytest.raises(TrainingError):
        raise_refused(home, planned(home), Ended(TrainingError("no number")))
    assert capsys.readouterr().out == ""


def test_the_demo_reads_its_synthesis_from_its_config(home: Home) -> None:
    config, job = _planned(home)
    assert config.name == "demo.yaml"
    assert job.subject == "motor_siemens_1la7_001"
    assert job.options.event is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("families: {}", "must name machine, rows and seed"),
        ("synthesis: {machine: motor_small, rows: 4000, seed: 7, epoch: 3}", "synthesis.epoch"),
        ("synthesis: {machine: motor_small, rows: 4000, seed: 7, seed_units: 3}", "synthesis.seed_units"),
    ],
)
def test_a_demo_config_that_cannot_be_used_is_refused(home: Home, text: str, said: str) -> None:
    write_machine(home)
    (home.configs / "demo.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        _planned(home)
