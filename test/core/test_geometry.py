# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Which regions of two cameras can be of one thing."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.trust.fusion.geometry import CameraGeometry

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def regions(pixels):
    """Return regions of 20×20 pixels around points, `[N, 2]`."""
    return [Roi(round(x) - 10, round(y) - 10, 20, 20) for x, y in pixels]


def projected(points, turn, shift):
    """Return the pixels at which a camera sees points, `[N, 3]` metres."""
    return cv2.projectPoints(points, turn, shift, K, None)[0][:, 0]


@given(st.integers(0, 1000), st.floats(-0.2, 0.2), st.floats(0.1, 0.5))
def test_what_is_one_thing_is_never_ruled_out_and_most_else_is(seed, turn, baseline):
    """With the matrices that OpenCV has of a second camera beside and turned from the first."""
    rng = np.random.default_rng(seed)
    turn, shift = np.array([0.05, turn, 0.02]), np.array([baseline, 0.02, 0.01])
    points = rng.uniform((-1, -1, 3), (1, 1, 6), (30, 3))
    x, y, z = shift
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = np.linalg.inv(K)
    fundamental = inverse.T @ cross @ cv2.Rodrigues(turn)[0] @ inverse
    ours = projected(points, np.zeros(3), np.zeros(3))
    theirs = projected(points, turn, shift)
    possible = CameraGeometry(fundamental, False, 5.0).possible(regions(ours), regions(theirs))
    assert possible.diagonal().all()
    assert possible.mean() < 0.4
    points[:, 2] = 4.0
    ours = projected(points, np.zeros(3), np.zeros(3))
    theirs = projected(points, turn, shift)
    homography = cv2.findHomography(ours, theirs)[0]
    possible = CameraGeometry(homography, True, 5.0).possible(regions(ours), regions(theirs))
    assert possible.diagonal().all()
    assert possible.mean() < 0.2


@pytest.mark.parametrize('planar', [True, False])
def test_a_region_that_is_not_known_is_ruled_out_by_nothing(planar):
    relation = CameraGeometry(np.eye(3), planar, 1e-9)
    (far,) = regions([(300, 300)])
    near = Roi(0, 0, 4, 4)
    assert relation.possible([near, None], [far, None]).tolist() == [[False, True], [True, True]]
    assert relation.possible([], [far]).shape == (0, 1)
    assert relation.possible([far], []).shape == (1, 0)


def test_a_file_says_it_all(tmp_path):
    path = tmp_path / 'cam1.yaml'
    path.write_text('homography: [[1, 0, -40], [0, 1, 0], [0, 0, 1]]\ntolerance_px: 20\n')
    relation = CameraGeometry.read(path)
    assert (relation.planar, relation.tolerance_px) == (True, 20.0)
    ours, theirs = regions([(100, 50)]), regions([(60, 50), (60, 69), (100, 50)])
    assert relation.possible(ours, theirs).tolist() == [[True, True, False]]
    path.write_text('fundamental: [[0, 0, 0], [0, 0, -1], [0, 1, 0]]\ntolerance_px: 3\n')
    relation = CameraGeometry.read(path)
    theirs = regions([(400, 52), (400, 58)])
    assert relation.possible(ours, theirs).tolist() == [[True, False]], 'the same row'


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('', 'no relation'),
        ('{', 'no relation'),
        ('tolerance_px: 3', 'homography or fundamental'),
        ('homography: [[1]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[0,0,0],[0,0,0],[0,0,0]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[.nan,0,0],[0,1,0],[0,0,1]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: 0', 'above 0'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: wide', 'no relation'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\nfundamental: 1\ntolerance_px: 3', 'or'),
    ],
)
def test_what_is_no_relation_is_explained(tmp_path, text, why):
    path = tmp_path / 'cam1.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=why) as refused:
        CameraGeometry.read(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match='No such file'):
        CameraGeometry.read(tmp_path / 'none.yaml')
