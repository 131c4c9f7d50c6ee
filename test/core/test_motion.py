# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Registration, photometry and the background, on images whose motion is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.vision.motion import MotionDetector, photometry, register

FPS = 30
HEIGHT, WIDTH = 120, 160


def texture(seed, height=HEIGHT, width=WIDTH):
    """Smooth random colors, uint8 `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(110 + 25 * smooth / smooth.std(), 0, 255).astype(np.uint8)


SCENE = texture(0)
MOVER = texture(1, 24, 20)[..., ::-1] // 2 + 120


def seen(rng, x=None, y=40, scene=SCENE):
    """The scene with pixel noise and, where `x` is given, the mover at (x, y)."""
    image = scene.astype(np.float32)
    if x is not None:
        image[y : y + 24, x : x + 20] = MOVER
    return np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8)


def watched(images, detector=None):
    """What the detector says of each image."""
    detector = detector or MotionDetector(threshold=5.0, background_time_s=3.0)
    return [detector.update(image, 1 / FPS) for image in images]


def large(motion):
    """Its blobs, without single pixels."""
    return [blob for blob in motion.blobs if blob.area > 4]


def shifted(image, x, y):
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    size = image.shape[1::-1]
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)


@settings(max_examples=40)
@given(
    x=st.floats(-1.5, 1.5),
    y=st.floats(-1.5, 1.5),
    gain=st.floats(0.6, 1.4),
    offset=st.floats(-10, 10),
    hidden=st.booleans(),
)
def test_registration_finds_the_shift_whatever_the_exposure_and_in_spite_of_movers(
    x, y, gain, offset, hidden
):
    mean = SCENE.astype(np.float32).mean(axis=2)
    frame = gain * shifted(mean, x, y) + offset
    if hidden:
        frame[30:70, 50:100] = 250
    shift, weight = register(frame, mean, np.ones_like(mean), np.zeros(2))
    assert shift == pytest.approx((x, y), abs=0.15)
    if hidden:
        assert weight[35:65, 55:95].mean() < 0.3 * weight[80:].mean()


def test_registration_follows_no_mover_where_there_is_nothing_else_to_see():
    frame = np.full((HEIGHT, WIDTH), 128, np.float32)
    mean = frame.copy()
    patch = texture(3, 30, 30).astype(np.float32).mean(axis=2)
    mean[40:70, 60:90], frame[40:70, 62:92] = patch, patch
    believed = np.ones_like(mean)
    believed[30:80, 50:100] = 0.05
    shift, _ = register(frame, mean, believed, np.zeros(2))
    assert np.abs(shift).max() < 0.4


@given(
    gain=st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3),
    offset=st.lists(st.floats(-30, 30), min_size=3, max_size=3),
)
def test_photometry_finds_gain_and_offset_of_each_channel(gain, offset):
    mean = np.float32(cv2.split(SCENE))
    gain, offset = (np.float32(v)[:, None, None] for v in (gain, offset))
    found_gain, found_offset = photometry(gain * mean + offset, mean, np.ones(mean.shape[1:]))
    assert found_gain == pytest.approx(gain, abs=0.02)
    assert found_offset == pytest.approx(offset, abs=2)


def test_photometry_of_a_flat_image_is_an_offset():
    mean = np.full((1, 20, 20), 100, np.float32)
    gain, offset = photometry(mean + 30, mean, np.ones((20, 20), np.float32))
    assert gain.item() == pytest.approx(1)
    assert offset.item() == pytest.approx(30)


def test_a_mover_is_found_where_it_is_and_nothing_else():
    rng = np.random.default_rng(0)
    said = watched([seen(rng) for _ in range(30)] + [seen(rng, 10 + 2 * i) for i in range(40)])
    assert not any(motion.blobs for motion in said[:30])
    for index, motion in enumerate(said[32:], 2):
        (blob,) = motion.blobs
        assert blob.box == pytest.approx((10 + 2 * index, 40, 30 + 2 * index, 64), abs=3)
        assert blob.activity > 0.5
        assert motion.evidence[45:60, 14 + 2 * index : 26 + 2 * index].mean() > 0.5


def test_nothing_is_motion_while_the_scene_is_learnt():
    rng = np.random.default_rng(0)
    said = watched([seen(rng, 10 + 2 * i) for i in range(40)])
    assert said[0].new
    assert not any(motion.new for motion in said[1:])
    for motion in said[:15]:
        assert not motion.ready
        assert not motion.blobs
    assert all(motion.ready for motion in said[16:])


def test_what_stood_there_from_the_start_leaves_no_ghost_for_long():
    rng = np.random.default_rng(0)
    images = [seen(rng, 60)] * 40 + [seen(rng, 60 + 3 * i) for i in range(27)]
    said = watched(images + [seen(rng)] * 45)
    assert large(said[50])
    assert not large(said[-1])


def test_what_comes_to_rest_is_absorbed_after_the_time_it_was_told():
    rng = np.random.default_rng(0)
    images = [seen(rng) for _ in range(30)] + [seen(rng, 10 + 3 * i) for i in range(30)]
    said = watched(images + [seen(rng, 97) for _ in range(150)])
    assert said[60 + 45].blobs
    assert not said[-1].blobs


def test_a_camera_that_shakes_is_not_motion_and_its_shift_is_told():
    rng = np.random.default_rng(0)
    moves = [(0, 0)] * 3 + [tuple(rng.uniform(-1, 1, 2)) for _ in range(87)]
    said = watched([shifted(seen(rng), *move) for move in moves])
    assert not any(motion.blobs for motion in said)
    assert [m.shift for m in said[30:]] == pytest.approx(np.array(moves[30:]), abs=0.2)


def test_a_camera_that_was_moved_is_at_home_again_within_a_second():
    rng = np.random.default_rng(0)
    wide = texture(5, HEIGHT, WIDTH + 60)
    images = [seen(rng, scene=wide[:, :WIDTH])] * 45 + [seen(rng, scene=wide[:, 60:])] * 60
    said = watched(images)
    assert not any(motion.blobs for motion in said)
    assert any(motion.new for motion in said[45:])
    assert said[45 + FPS].ready


@pytest.mark.parametrize('move', [(4, 2), (7, -5)])
def test_a_small_lasting_move_needs_no_new_background(move):
    rng = np.random.default_rng(0)
    said = watched([seen(rng)] * 45 + [shifted(seen(rng), *move)] * 30)
    assert not any(motion.new for motion in said[1:])
    assert said[-1].shift == pytest.approx(move, abs=0.2)
    assert not any(motion.blobs for motion in said)


@pytest.mark.parametrize('factor', [0.5, 0.75, 1.4, 2.0])
def test_a_step_of_the_exposure_is_not_motion(factor):
    rng = np.random.default_rng(0)
    dark = [seen(rng) for _ in range(30)]
    said = watched(dark + [cv2.convertScaleAbs(seen(rng), alpha=factor) for _ in range(30)])
    assert not any(motion.blobs for motion in said)


@pytest.mark.parametrize('columns', [40, 80, 120])
def test_a_lamp_that_lights_a_part_of_the_scene_is_forgotten_within_a_second(columns):
    rng = np.random.default_rng(0)
    light = np.ones((HEIGHT, WIDTH, 1))
    light[:, :columns] = 1.5
    images = [seen(rng) for _ in range(90)]
    lit = [np.clip(p * light, 0, 255).astype(np.uint8) for p in images[30:]]
    said = watched(images[:30] + lit)
    assert not any(motion.blobs for motion in said[30 + FPS :])
    assert all(motion.ready for motion in said[30 + FPS :])


def test_bands_of_flickering_lamps_are_not_motion():
    rng = np.random.default_rng(0)
    rows = np.arange(HEIGHT)[:, None, None] / 75
    bands = [1 + 0.1 * np.sin(2 * np.pi * (rows + 0.37 * i)) for i in range(60)]
    said = watched([np.clip(seen(rng) * band, 0, 255).astype(np.uint8) for band in bands])
    assert not any(motion.blobs for motion in said)


def test_a_covered_camera_sees_no_motion_nor_does_it_when_it_is_uncovered():
    rng = np.random.default_rng(0)
    black = [seen(rng, scene=np.zeros_like(SCENE)) for _ in range(45)]
    said = watched([seen(rng) for _ in range(45)] + black + [seen(rng) for _ in range(45)])
    assert not any(motion.blobs for motion in said)
    assert said[-1].ready


def test_a_gray_image_will_do():
    rng = np.random.default_rng(0)
    images = [seen(rng) for _ in range(30)] + [seen(rng, 10 + 2 * i) for i in range(20)]
    said = watched([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images])
    assert len(said[-1].blobs) == 1
