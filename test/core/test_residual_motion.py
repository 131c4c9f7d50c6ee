# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving areas by the residual of the optical flow, with exact flow."""

import numpy as np
import pytest

from sage_perception.vision.boxes import contains
from sage_perception.vision.ego_motion import CameraMotion
from sage_perception.vision.near_objects import fits_still_object
from sage_perception.vision.residual_motion import ResidualMotion

HEIGHT, WIDTH, SIDE = 120, 160, 24
PAN = 2
"""Motion of the background to the left, pixels per frame."""
SLOW, FAST = 1, 8
"""Motion of the objects relative to the background, pixels per frame."""


class Scene:
    """A textured background that pans, and a slow and a fast square with textures of their own."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.tile = rng.integers(0, 256, (HEIGHT, WIDTH + 100), np.uint8)
        self.patches = rng.integers(0, 256, (2, SIDE, SIDE), np.uint8)

    def boxes(self, index):
        """Return left and top of both squares in a frame, and their motion in the image."""
        return (
            (100 + (SLOW - PAN) * index, 80, SLOW - PAN),
            (20 + (FAST - PAN) * index, 10, FAST - PAN),
        )

    def image(self, index):
        image = self.tile[:, PAN * index : PAN * index + WIDTH].copy()
        for patch, (x, y, _) in zip(self.patches, self.boxes(index), strict=True):
            image[y : y + SIDE, x : x + SIDE] = patch
        return image

    def camera(self, index):
        """Return the motion from the last frame to this one, with noise."""
        flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
        flow[..., 0] = PAN
        for x, y, step in self.boxes(index):
            flow[y : y + SIDE, x : x + SIDE, 0] = -step
        matrix = np.array([[1.0, 0, PAN], [0, 1, 0], [0, 0, 1]])
        return CameraMotion(matrix, flow, inliers=0.9, noise=0.1, valid=True)


@pytest.fixture(scope='module')
def blobs():
    """Return the blobs of both squares in the last of some frames, the slow one first."""
    scene, motion = Scene(), ResidualMotion()
    motion.remember(scene.image(0))
    for index in range(1, 9):
        found = motion.update(scene.image(index), scene.camera(index), 1 / 30)
    centers = [(x + SIDE / 2, y + SIDE / 2) for x, y, _ in scene.boxes(index)]
    return [next(b for b in found if contains(b.box, *center)) for center in centers]


def test_a_slow_object_far_from_a_fast_one_is_found(blobs):
    slow, _ = blobs
    x, y, _ = Scene().boxes(8)[0]
    assert slow.starts
    assert slow.box == pytest.approx((x, y, x + SIDE, y + SIDE), abs=3)


def test_blobs_have_the_motion_of_object_and_camera(blobs):
    for blob, own in zip(blobs, (SLOW, FAST), strict=True):
        # Some of the background that the object uncovers belongs to its blob.
        assert blob.residual.x == pytest.approx(-own, rel=0.1)
        assert blob.residual.camera_x == pytest.approx(PAN, abs=0.2)
        assert (blob.residual.y, blob.residual.camera_y) == pytest.approx((0, 0), abs=0.1)


@pytest.mark.parametrize(('near_objects', 'count'), [(False, 1), (True, 2)])
def test_a_moving_object_is_divided_from_a_still_one_that_it_touches(near_objects, count):
    rng = np.random.default_rng(1)
    tile = rng.integers(0, 256, (HEIGHT, WIDTH + 100), np.uint8)
    still, moving = rng.integers(0, 256, (2, SIDE, SIDE), np.uint8)

    def places(index):
        left = 100 - 2 * PAN * index
        return (left, 30, 0), (left + SIDE, 30 + index, 1)

    def image(index):
        found = tile[:, PAN * index : PAN * index + WIDTH].copy()
        for patch, (x, y, _) in zip((still, moving), places(index), strict=True):
            found[y : y + SIDE, x : x + SIDE] = patch
        return found

    motion = ResidualMotion()
    motion.remember(image(0))
    matrix = np.array([[1.0, 0, PAN], [0, 1, 0], [0, 0, 1]])
    for index in range(1, 9):
        flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
        flow[..., 0] = PAN
        for x, y, down in places(index):
            flow[y : y + SIDE, x : x + SIDE] = 2 * PAN, -down
        camera = CameraMotion(matrix, flow, inliers=0.9, noise=0.02, valid=True)
        blobs = motion.update(image(index), camera, 1 / 30, near_objects)
    assert len(blobs) == count
    kinds = [fits_still_object(blob.residual) for blob in blobs]
    assert sorted(kinds) == ([False, True] if near_objects else [False])
