"""What a synthesis is: what is refused at the border, and what makes it another one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from support.machines import SMALL, SMALL_ROWS, write_machine

from nightshift.errors import EXIT_USAGE, ConfigError, UnknownNameError, UsageError
from nightshift.plan import synthesis
from nightshift.plan.code import closure
from nightshift.plan.synthesis import MAX_SEED, ROWS, Synthesis, SynthesisOptions, plan_synthesis
from nightshift.settings import Home


def planned(home: Home, rows: int = SMALL_ROWS, seed: int = 7, **options: object) -> Synthesis:
    return plan_synthesis(home, SMALL, rows, seed, SynthesisOptions.model_validate(options))


@pytest.fixture
def machine(home: Home) -> Home:
    write_machine(home)
    return home


@pytest.mark.parametrize("rows", [ROWS[0] - 1, ROWS[1] + 1, -5])
def test_rows_outside_of_what_can_be_used_are_refused_with_the_figures(machine: Home, rows: int) -> None:
    with pytest.raises(UsageError, match=f"{rows:,}, expected 1,000 to 5,000,000") as raised:
        planned(machine, rows)
    assert raised.value.exit_code == EXIT_USAGE


def test_fewer_rows_than_thirty_runs_take_are_refused_with_the_figure(machine: Home) -> None:
    with pytest.raises(UsageError, match=r"rows is 3,299.*at least 3,300: 30 runs of 100 h"):
        planned(machine, 3_299)
    assert planned(machine, 3_300).rows == 3_300


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_that_no_generator_takes_is_refused(machine: Home, seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed is {seed}"):
        planned(machine, seed=seed)


def test_a_machine_without_a_profile_is_refused_with_the_nearest(machine: Home) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'motor_small'"):
        plan_synthesis(machine, "motor_smal", SMALL_ROWS, 7, SynthesisOptions())
    with pytest.raises(UsageError, match="not a machine id"):
        plan_synthesis(machine, "../motor", SMALL_ROWS, 7, SynthesisOptions())


@pytest.mark.parametrize(
    "wrong", [{"seed_units": 499}, {"generator_seeds": 0}, {"epochs": 0}, {"device": "tpu"}, {"x": 1}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SynthesisOptions.model_validate(wrong)


def test_a_gpu_that_is_not_here_is_refused_before_anything_is_made(
    machine: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match=r"device: cuda was asked for, and torch .* sees no GPU here"):
        planned(machine, device="cuda")
    assert not machine.work.exists() or not list(machine.work.iterdir())


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="colum_shapes"):
        SynthesisOptions.model_validate({"limits": {"colum_shapes": 0.5}})


def test_the_key_follows_what_makes_the_rows(machine: Home) -> None:
    first = planned(machine)
    assert planned(machine).key == first.key
    others = [
        planned(machine, rows=SMALL_ROWS + 1),
        planned(machine, seed=8),
        planned(machine, seed_units=501),
        planned(machine, epochs=3),
        planned(machine, limits={"column_shapes": 0.5}),
        first.model_copy(update={"code": "other"}),
    ]
    write_machine(machine, life={"mean_h": 101})
    others.append(planned(machine))
    assert len({first.key, *(job.key for job in others)}) == len(others) + 1


def test_how_it_is_run_and_told_does_not_make_it_another_one(machine: Home) -> None:
    assert {planned(machine, event=False, force=True, threads=1).key} == {planned(machine).key}


def test_the_code_is_what_makes_the_rows_and_not_what_shows_them() -> None:
    modules = [m for m in closure("nightshift.stages.synthesis.chain") if not m.startswith(synthesis._SHOWS_ONLY)]
    for name in (
        *(
            "simulate.physics.roll",
            "simulate.units",
            "simulate.generators.tvae",
            "simulate.quality.proxies",
            "nets.loop",
        ),
        *("stages.synthesis.compose", "data.splits", "simulate.describe"),
    ):
        assert f"nightshift.{name}" in modules, name
    assert not [m for m in modules if m.startswith(("nightshift.tracking", "nightshift.cli", "nightshift.plan"))]


def test_generator_seeds_are_as_many_as_asked_for_and_wrap_around(machine: Home) -> None:
    assert planned(machine, generator_seeds=3).generator_seeds == (7, 8, 9)
    assert planned(machine, seed=MAX_SEED, generator_seeds=2).generator_seeds == (MAX_SEED, 0)


def test_a_synthesis_reads_back_as_it_was(machine: Home) -> None:
    job = planned(machine, generator_seeds=2)
    assert job.key
    assert Synthesis.model_validate_json(job.model_dump_json()) == job
