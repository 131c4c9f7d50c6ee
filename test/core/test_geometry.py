# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Geometric constraints on which regions of two cameras can show one object."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.trust.fusion.geometry import CameraGeometry

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
HOMOGRAPHY = 'homography: [[1, 0, -40], [0, 1, 0], [0, 0, 1]]\ntolerance_px: 20\n'
FUNDAMENTAL = 'fundamental: [[0, 0, 0], [0, 0, -1], [0, 1, 0]]\ntolerance_px: 3\n'


def regions(pixels):
    """Return regions of 20×20 pixels centered on points `[N, 2]`."""
    return [Roi(round(x) - 10, round(y) - 10, 20, 20) for x, y in pixels]


def project(points, rotation, translation):
    """Return the pixels at which a camera sees points `[N, 3]`, meters."""
    return cv2.projectPoints(points, rotation, translation, K, None)[0][:, 0]


@given(st.integers(0, 1000), st.floats(-0.2, 0.2), st.floats(0.1, 0.5))
def test_keeps_all_true_pairs_and_excludes_most_others(seed, turn, baseline):
    """Use the true matrices of a second camera that is beside the first and turned from it."""
    rng = np.random.default_rng(seed)
    rotation, translation = np.array([0.05, turn, 0.02]), np.array([baseline, 0.02, 0.01])
    points = rng.uniform((-1, -1, 3), (1, 1, 6), (30, 3))
    x, y, z = translation
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = np.linalg.inv(K)
    fundamental = inverse.T @ cross @ cv2.Rodrigues(rotation)[0] @ inverse
    ours = project(points, np.zeros(3), np.zeros(3))
    theirs = project(points, rotation, translation)
    possible = CameraGeometry(fundamental, False, 5.0).possible(regions(ours), regions(theirs))
    assert possible.diagonal().all()
    assert possible.mean() < 0.4
    points[:, 2] = 4.0
    ours = project(points, np.zeros(3), np.zeros(3))
    theirs = project(points, rotation, translation)
    homography = cv2.findHomography(ours, theirs)[0]
    possible = CameraGeometry(homography, True, 5.0).possible(regions(ours), regions(theirs))
    assert possible.diagonal().all()
    assert possible.mean() < 0.2


@pytest.mark.parametrize('planar', [True, False])
def test_an_unknown_region_excludes_no_pair(planar):
    geometry = CameraGeometry(np.eye(3), planar, 1e-9)
    (far,) = regions([(300, 300)])
    near = Roi(0, 0, 4, 4)
    assert geometry.possible([near, None], [far, None]).tolist() == [[False, True], [True, True]]
    assert geometry.possible([], [far]).shape == (0, 1)
    assert geometry.possible([far], []).shape == (1, 0)


def test_reads_a_homography(tmp_path):
    path = tmp_path / 'cam1.yaml'
    path.write_text(HOMOGRAPHY)
    geometry = CameraGeometry.read(path)
    assert (geometry.planar, geometry.tolerance_px) == (True, 20.0)
    ours, theirs = regions([(100, 50)]), regions([(60, 50), (60, 69), (100, 50)])
    assert geometry.possible(ours, theirs).tolist() == [[True, True, False]]


def test_reads_a_fundamental_matrix(tmp_path):
    path = tmp_path / 'cam1.yaml'
    path.write_text(FUNDAMENTAL)
    geometry = CameraGeometry.read(path)
    ours, theirs = regions([(100, 50)]), regions([(400, 52), (400, 58)])
    assert geometry.possible(ours, theirs).tolist() == [[True, False]], 'the same row of pixels'


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'expected a mapping'),
        ('[]', 'expected a mapping'),
        ('{', 'line 1'),
        ('a: !x 1', 'line 1'),
        ('\0', 'special characters'),
        (b'\xff\xfe\x00', 'truncated'),
        ('[' * 5000, 'nested'),
        ('2024-13-45: 1', 'month'),
        ('homography: !!timestamp x', 'tag'),
        ('x' * (1 << 19), 'larger than'),
        ('tolerance_px: 3', 'homography or fundamental'),
        ('1: 2\ntolerance_px: 3', 'homography or fundamental'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\nfundamental: 1\ntolerance_px: 3', 'either'),
        ('homography: [[1]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[0,0,0],[0,0,0],[0,0,0]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[.nan,0,0],[0,1,0],[0,0,1]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: [[one,0,0],[0,1,0],[0,0,1]]\ntolerance_px: 3', '3 rows of 3'),
        (f'homography: [[1{"0" * 400},0,0],[0,1,0],[0,0,1]]\ntolerance_px: 3', '3 rows of 3'),
        ('homography: &a [*a, *a, *a]\ntolerance_px: 3', 'alias'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: 0', 'above 0'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: wide', 'above 0'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: [3]', 'above 0'),
        ('homography: [[1,0,0],[0,1,0],[0,0,1]]\ntolerance_px: .inf', 'above 0'),
    ],
)
def test_rejects_an_invalid_file_in_one_line(tmp_path, text, reason):
    path = tmp_path / 'cam1.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=reason) as rejected:
        CameraGeometry.read(path)
    assert str(path) in str(rejected.value)
    assert '\n' not in str(rejected.value)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r'none\.yaml cannot be read: No such file'):
        CameraGeometry.read(tmp_path / 'none.yaml')
