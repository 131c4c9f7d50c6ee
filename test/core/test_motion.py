# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Motion detection on images with known motion."""

import cv2
import numpy as np
import pytest
from textures import shift_by, smooth_noise

from sage_perception.vision.motion import MotionDetector

FPS = 30
HEIGHT, WIDTH = 120, 160


SCENE = smooth_noise(0, HEIGHT, WIDTH)
OBJECT = smooth_noise(1, 24, 20)[..., ::-1] // 2 + 120


def view(rng, x=None, y=40, scene=SCENE):
    """Return the scene with pixel noise and, if `x` is given, the object at (x, y)."""
    image = scene.astype(np.float32)
    if x is not None:
        image[y : y + 24, x : x + 20] = OBJECT
    return np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8)


def detect(images, detector=None):
    """Return the result of the detector for each image."""
    detector = detector or MotionDetector(threshold=5.0, background_time_s=3.0)
    return [detector.update(image, 1 / FPS) for image in images]


def large(motion):
    """Return the blobs of more than single pixels."""
    return [blob for blob in motion.blobs if blob.area > 4]


def test_finds_only_the_moving_object_at_its_position():
    rng = np.random.default_rng(0)
    results = detect([view(rng) for _ in range(30)] + [view(rng, 10 + 2 * i) for i in range(40)])
    assert not any(motion.blobs for motion in results[:30])
    for index, motion in enumerate(results[32:], 2):
        (blob,) = motion.blobs
        assert blob.box == pytest.approx((10 + 2 * index, 40, 30 + 2 * index, 64), abs=3)
        assert blob.activity > 0.5
        assert motion.evidence[45:60, 14 + 2 * index : 26 + 2 * index].mean() > 0.5


def test_reports_no_motion_while_the_background_is_learnt():
    rng = np.random.default_rng(0)
    results = detect([view(rng, 10 + 2 * i) for i in range(40)])
    assert results[0].new
    assert not any(motion.new for motion in results[1:])
    for motion in results[:15]:
        assert not motion.ready
        assert not motion.blobs
    assert all(motion.ready for motion in results[16:])


def test_ghost_of_an_initial_object_disappears():
    rng = np.random.default_rng(0)
    images = [view(rng, 60)] * 40 + [view(rng, 60 + 3 * i) for i in range(27)]
    results = detect(images + [view(rng)] * 45)
    assert large(results[50])
    assert not large(results[-1])


def test_resting_object_becomes_background_after_the_configured_time():
    rng = np.random.default_rng(0)
    images = [view(rng) for _ in range(30)] + [view(rng, 10 + 3 * i) for i in range(30)]
    results = detect(images + [view(rng, 97) for _ in range(150)])
    assert results[60 + 45].blobs
    assert not results[-1].blobs


def test_camera_shake_is_not_motion_and_its_shift_is_measured():
    rng = np.random.default_rng(0)
    moves = [(0, 0)] * 3 + [tuple(rng.uniform(-1, 1, 2)) for _ in range(87)]
    results = detect([shift_by(view(rng), *move) for move in moves])
    assert not any(motion.blobs for motion in results)
    shifts = [motion.pose[:, 2] for motion in results[30:]]
    assert np.array(shifts) == pytest.approx(np.array(moves[30:]), abs=0.2)


def test_learns_new_background_within_a_second_after_a_camera_move():
    rng = np.random.default_rng(0)
    wide = smooth_noise(5, HEIGHT, WIDTH + 60)
    images = [view(rng, scene=wide[:, :WIDTH])] * 45 + [view(rng, scene=wide[:, 60:])] * 60
    results = detect(images)
    assert not any(motion.blobs for motion in results)
    assert any(motion.new for motion in results[45:])
    assert results[45 + FPS].ready


@pytest.mark.parametrize('move', [(4, 2), (7, -5)])
def test_small_camera_move_keeps_the_background(move):
    rng = np.random.default_rng(0)
    results = detect([view(rng)] * 45 + [shift_by(view(rng), *move)] * 30)
    assert not any(motion.new for motion in results[1:])
    assert results[-1].pose[:, 2] == pytest.approx(move, abs=0.2)
    assert not any(motion.blobs for motion in results)


@pytest.mark.parametrize(('pixels', 'turn'), [(0.3, 0.0), (0.0, 0.003)])
def test_background_moves_with_a_camera_that_pans_or_rolls_slowly(pixels, turn):
    rng = np.random.default_rng(0)
    wide = smooth_noise(5, 2 * HEIGHT, 2 * WIDTH)
    images = []
    for index in range(90):
        matrix = cv2.getRotationMatrix2D((WIDTH, HEIGHT), np.degrees(turn * index), 1)
        matrix[:, 2] -= WIDTH / 2 + pixels * index, HEIGHT / 2
        images.append(view(rng, scene=cv2.warpAffine(wide, matrix, (WIDTH, HEIGHT))))
    results = detect(images)
    assert not any(motion.new for motion in results[1:])
    assert not any(large(motion) for motion in results)
    assert results[-1].step[:, 2] == pytest.approx(
        (-pixels - turn * HEIGHT / 2, turn * WIDTH / 2), abs=0.05
    )


@pytest.mark.parametrize('factor', [0.5, 0.75, 1.4, 2.0])
def test_exposure_step_is_not_motion(factor):
    rng = np.random.default_rng(0)
    dark = [view(rng) for _ in range(30)]
    results = detect(dark + [cv2.convertScaleAbs(view(rng), alpha=factor) for _ in range(30)])
    assert not any(motion.blobs for motion in results)


@pytest.mark.parametrize('columns', [40, 80, 120])
def test_local_light_change_is_learnt_within_a_second(columns):
    rng = np.random.default_rng(0)
    light = np.ones((HEIGHT, WIDTH, 1))
    light[:, :columns] = 1.5
    images = [view(rng) for _ in range(90)]
    lit = [np.clip(p * light, 0, 255).astype(np.uint8) for p in images[30:]]
    results = detect(images[:30] + lit)
    assert not any(motion.blobs for motion in results[30 + FPS :])
    assert all(motion.ready for motion in results[30 + FPS :])


def test_flicker_bands_are_not_motion():
    rng = np.random.default_rng(0)
    rows = np.arange(HEIGHT)[:, None, None] / 75
    bands = [1 + 0.1 * np.sin(2 * np.pi * (rows + 0.37 * i)) for i in range(60)]
    results = detect([np.clip(view(rng) * band, 0, 255).astype(np.uint8) for band in bands])
    assert not any(motion.blobs for motion in results)


def test_covering_and_uncovering_the_camera_is_not_motion():
    rng = np.random.default_rng(0)
    black = [view(rng, scene=np.zeros_like(SCENE)) for _ in range(45)]
    results = detect([view(rng) for _ in range(45)] + black + [view(rng) for _ in range(45)])
    assert not any(motion.blobs for motion in results)
    assert results[-1].ready


def test_accepts_gray_images():
    rng = np.random.default_rng(0)
    images = [view(rng) for _ in range(30)] + [view(rng, 10 + 2 * i) for i in range(20)]
    results = detect([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images])
    assert len(results[-1].blobs) == 1
