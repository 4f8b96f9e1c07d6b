"""Pictures of an episode: small files that move, and that show what happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageSequence
from support.driving import cars_at, scenario

from nightshift.driving import pictures
from nightshift.driving.drivers import ConstantSpeed
from nightshift.driving.history import History
from nightshift.driving.rollout import drive
from nightshift.driving.score import closed_loop


@pytest.fixture(scope="module")
def crash() -> History:
    """Constant speed into a slower car after some seconds."""
    slow = cars_at([(0, 90.0), (1, 80.0)], speed_mps=8.0, desired_mps=8.0)
    return drive(ConstantSpeed(), [scenario(traffic=slow)])[0]


def share(image: Image.Image, colour: str) -> float:
    """Share of the pixels that have a colour exactly."""
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return float((pixels == ImageColor.getrgb(colour)).all(axis=1).mean())


def test_an_animated_episode_runs_in_its_own_time(crash: History, tmp_path: Path) -> None:
    path = pictures.animated(crash, tmp_path / "new" / "episode.gif", score=closed_loop(crash))
    with Image.open(path) as image:
        frames = [(f.info["duration"], f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert len(frames) == len(crash.x)
    assert [pause for pause, _ in frames] == [200] * (len(frames) - 1) + [2000]
    # The crash is seen in the last frame, and not before; the road is seen in all of them.
    assert share(frames[-1][1], pictures._HIT) > 0.001
    assert share(frames[0][1], pictures._HIT) == 0.0
    assert share(frames[0][1], pictures._EGO) > 0.0005
    assert min(share(f, pictures._ROAD) for _, f in frames) > 0.05
    assert frames[0][1].tobytes() != frames[5][1].tobytes()


def test_an_animated_episode_leaves_frames_out_rather_than_grow(crash: History, tmp_path: Path) -> None:
    whole = pictures.animated(crash, tmp_path / "whole.gif")
    most = whole.stat().st_size // 2
    path = pictures.animated(crash, tmp_path / "small.gif", max_bytes=most)
    assert path.stat().st_size <= most
    with Image.open(path) as image:
        pauses = [f.info["duration"] for f in ImageSequence.Iterator(image)]
        assert 2 <= len(pauses) <= len(crash.x) // 2 + 2
        assert pauses[0] > 200
        assert share(image, pictures._HIT) > 0.001


def test_a_strip_shows_first_and_last_moments_beside_each_other(crash: History, tmp_path: Path) -> None:
    path = pictures.strip(crash, tmp_path / "strip.png", frames=4)
    with Image.open(path) as image:
        assert image.size == (2 * pictures.SIZE_PX[0] + 4, 2 * pictures.SIZE_PX[1] + 4)
        width, height = pictures.SIZE_PX
        assert share(image.crop((0, 0, width, height)), pictures._HIT) == 0.0
        assert share(image.crop((width + 4, height + 4, 2 * width + 4, 2 * height + 4)), pictures._HIT) > 0.001
    assert path.stat().st_size < 60_000
