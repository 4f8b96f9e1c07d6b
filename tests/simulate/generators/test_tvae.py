"""The TVAE: keeps shapes and dependence, repeats itself, goes on after an interruption, and copies no rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp

from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.settings import Home
from nightshift.simulate.generators.base import FitContext, Generator, TvaeConfig, fit
from nightshift.simulate.generators.modes import Block, fit_modes
from nightshift.simulate.generators.tvae import Tvae, TvaeLearner
from nightshift.simulate.profile import load_profile
from nightshift.simulate.units import SeedUnits, draw_units, split_units, unit_columns

pytestmark = pytest.mark.slow

PROFILE = load_profile(Home(Path("no-home")), "motor_siemens_1la7_001")
COLUMNS = unit_columns(PROFILE)
CONTINUOUS = [c.name for c in COLUMNS if not c.discrete]
TINY = TvaeConfig(epochs=4, hidden=(16,), embedding=8, batch_size=50, max_modes=3)


@pytest.fixture(scope="module")
def seeds() -> SeedUnits:
    return split_units(draw_units(PROFILE, 2000, 11))


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    return draw_units(PROFILE, 120, 12)


@pytest.fixture(scope="module")
def trained(seeds: SeedUnits) -> Generator:
    return fit("tvae", seeds.train, COLUMNS, FitContext(seed=5, device="cpu", threads=1))


@pytest.fixture(scope="module")
def drawn(trained: Generator) -> pd.DataFrame:
    return trained.sample(2000, 1)


def test_every_columns_shape_is_kept(drawn: pd.DataFrame, seeds: SeedUnits) -> None:
    distances = {c: ks_2samp(drawn[c], seeds.judge[c]).statistic for c in CONTINUOUS}
    assert max(distances.values()) < 0.14, distances
    assert np.mean(list(distances.values())) < 0.08


def test_categories_keep_their_shares(drawn: pd.DataFrame, seeds: SeedUnits) -> None:
    for column in ("usage_mode", "failure_mode"):
        off = drawn[column].value_counts(normalize=True) - seeds.train[column].value_counts(normalize=True)
        assert off.abs().max() < 0.06


def test_load_wear_and_life_hang_together_as_in_the_seeds(drawn: pd.DataFrame, seeds: SeedUnits) -> None:
    names = ["load_level", "wear_rate", "life_h"]
    off = drawn[names].corr() - seeds.train[names].corr()
    assert off.abs().to_numpy().max() < 0.1


def test_life_and_load_follow_the_usage_mode(drawn: pd.DataFrame, seeds: SeedUnits) -> None:
    for column in ("life_h", "load_level", "load_swing"):
        ours = drawn.groupby("usage_mode")[column].mean()
        theirs = seeds.train.groupby("usage_mode")[column].mean()
        np.testing.assert_allclose(ours, theirs, rtol=0.15)


def test_load_shortens_life_within_each_usage_mode_too(drawn: pd.DataFrame) -> None:
    for _, group in drawn.groupby("usage_mode"):
        assert group["load_level"].corr(group["life_h"]) < -0.4


def test_it_invents_units_instead_of_copying_rows(drawn: pd.DataFrame, seeds: SeedUnits) -> None:
    spread = seeds.train[CONTINUOUS].std()
    learnt, held_out, ours = ((t[CONTINUOUS] / spread).to_numpy() for t in (seeds.train.iloc[:400], seeds.judge, drawn))
    near_learnt, near_held_out = (cKDTree(t).query(ours)[0] for t in (learnt, held_out))
    # As near to units that it never saw as to as many of those it learnt from.
    assert (near_learnt < near_held_out).mean() < 0.575
    assert near_learnt.min() > 1e-3


def test_the_same_seeds_give_the_same_table(few: pd.DataFrame) -> None:
    tables = [
        fit("tvae", few, COLUMNS, FitContext(seed=s, device="cpu", threads=1), TINY).sample(200, draw)
        for s, draw in ((1, 1), (1, 1), (2, 1), (1, 2))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    assert not tables[0].equals(tables[2])
    assert not tables[0].equals(tables[3])


def test_an_interrupted_fit_goes_on_to_the_same_table(few: pd.DataFrame, tmp_path: Path) -> None:
    whole = fit("tvae", few, COLUMNS, FitContext(seed=1, device="cpu"), TINY).sample(300, 1)
    heard: list[int] = []

    def context(stop_at: int) -> FitContext:
        return FitContext(
            seed=1,
            device="cpu",
            checkpoints=tmp_path,
            progress=lambda step, total, message: heard.append(step),
            should_stop=lambda: len(heard) >= stop_at,
        )

    with pytest.raises(InterruptedTraining, match="after 2 of 4 epochs"):
        fit("tvae", few, COLUMNS, context(2), TINY)
    resumed = fit("tvae", few, COLUMNS, context(99), TINY)
    assert heard == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(resumed.sample(300, 1), whole, check_exact=True)


def test_a_second_fit_takes_the_finished_checkpoint(few: pd.DataFrame, tmp_path: Path) -> None:
    heard: list[int] = []

    def tell(step: int, total: int, message: str) -> None:
        assert total == TINY.epochs
        heard.append(step)

    context = FitContext(seed=1, device="cpu", checkpoints=tmp_path, progress=tell)
    tables = [fit("tvae", few, COLUMNS, context, TINY).sample(50, 1) for _ in range(2)]
    assert heard == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


def test_a_checkpoint_of_other_units_or_another_config_is_refused(few: pd.DataFrame, tmp_path: Path) -> None:
    context = FitContext(seed=1, device="cpu", checkpoints=tmp_path)
    fit("tvae", few, COLUMNS, context, TINY)
    with pytest.raises(TrainingError, match="belongs to another training"):
        fit("tvae", few.iloc[::-1], COLUMNS, context, TINY)
    with pytest.raises(TrainingError, match="belongs to another training"):
        fit("tvae", few, COLUMNS, context, TINY.model_copy(update={"loss_factor": 1.0}))


def test_the_loss_is_the_negative_evidence_lower_bound(few: pd.DataFrame) -> None:
    modes = fit_modes(few, COLUMNS, max_modes=3, min_weight=0.005, seed=1)
    rows = modes.encode(few, np.random.default_rng(1))
    learner = TvaeLearner(rows, modes, TINY, torch.device("cpu"))
    state = torch.get_rng_state()
    with torch.no_grad():
        loss = float(learner.loss(learner.rows))
        torch.set_rng_state(state)
        assert loss == pytest.approx(_by_the_book(learner.module, learner.rows, modes.blocks), rel=1e-4)


def _by_the_book(net: Tvae, rows: torch.Tensor, blocks: tuple[Block, ...]) -> float:
    """Column by column, with torch's own distributions instead of the vectorised sums."""
    posterior = torch.distributions.Normal(
        net.to_mean(net.encoder(rows)), torch.exp(net.to_log_variance(net.encoder(rows)) / 2)
    )
    latent = posterior.mean + torch.randn_like(posterior.mean) * posterior.stddev
    prior = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior).sum()
    places, logits = net.decode(latent)
    wrong, choice, mode = torch.zeros(()), 0, 0
    for block in blocks:
        n = block.choices.stop - block.choices.start
        code = rows[:, block.choices].argmax(dim=1)
        wrong = wrong - torch.distributions.Categorical(logits=logits[:, choice : choice + n]).log_prob(code).sum()
        choice += n
        if block.place is not None:
            each = torch.arange(len(rows))
            normal = torch.distributions.Normal(places[each, mode + code], net.sigma[mode + code])
            # Without the constant, which no training changes.
            wrong = wrong - (normal.log_prob(rows[:, block.place]) + np.log(2 * np.pi) / 2).sum()
            mode += n
    return float((TINY.loss_factor * wrong + divergence) / len(rows))


def test_learned_spreads_stay_within_their_limits(few: pd.DataFrame) -> None:
    wild = TINY.model_copy(update={"learning_rate": 0.5})
    generator = fit("tvae", few, COLUMNS, FitContext(seed=1, device="cpu"), wild)
    sigma = generator.net.sigma
    assert float(sigma.min()) >= 0.01
    assert float(sigma.max()) <= 1.0
