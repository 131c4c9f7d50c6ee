# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions from calibrated cameras, with their covariance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.positions import (
    CalibratedCamera,
    CalibrationError,
    position_from_depth,
    triangulate,
)

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
PLUMB_BOB = (-0.2, 0.05, 0.001, -0.002, 0.0)


def pose(x=0.0, yaw=0.0):
    """Return a pose at (x, 0, 0) that is turned by `yaw` around the y axis."""
    matrix = np.eye(4)
    sine, cosine = np.sin(yaw), np.cos(yaw)
    matrix[:3, :3] = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]
    matrix[0, 3] = x
    return matrix


def rig(distortion=(), model='plumb_bob'):
    return [
        CalibratedCamera(K, distortion, pose(-0.3, 0.1), model),
        CalibratedCamera(K, distortion, pose(0.3, -0.1), model),
    ]


points = st.tuples(st.floats(-0.8, 0.8), st.floats(-0.6, 0.6), st.floats(1.5, 6))
lenses = st.sampled_from(
    [((), 'plumb_bob'), (PLUMB_BOB, 'plumb_bob'), ((-0.02, 0.003, 0, 0), 'equidistant')]
)


@given(points, lenses)
def test_exact_pixels_give_the_point(point, lens):
    cameras = rig(*lens)
    pixels = [camera.project(point) for camera in cameras]
    found = triangulate(cameras, pixels, [1, 1])
    np.testing.assert_allclose(found.point, point, atol=2e-3)
    np.testing.assert_allclose(found.covariance, found.covariance.T)
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


@given(points)
def test_bearing_points_from_the_camera_to_the_point(point):
    camera = rig(PLUMB_BOB)[0]
    expected = point - camera.center
    bearing = camera.bearing(camera.project(point))
    np.testing.assert_allclose(bearing, expected / np.linalg.norm(expected), atol=1e-4)


def test_a_third_camera_and_a_smaller_deviation_reduce_the_covariance():
    cameras = [*rig(), CalibratedCamera(K, (), pose(0, 0))]
    pixels = [camera.project((0.1, 0.2, 3)) for camera in cameras]
    two = triangulate(cameras[:2], pixels[:2], [2, 2]).deviation_m
    assert triangulate(cameras, pixels, [2, 2, 2]).deviation_m < two
    assert triangulate(cameras[:2], pixels[:2], [1, 1]).deviation_m == pytest.approx(two / 2)


def test_uncertainty_grows_with_the_square_of_the_distance():
    cameras = rig()
    deviations = [
        triangulate(cameras, [c.project((0, 0, z)) for c in cameras], [1, 1]).deviation_m
        for z in (2, 4, 8)
    ]
    assert deviations[1] / deviations[0] == pytest.approx(4, rel=0.1)
    assert deviations[2] / deviations[1] == pytest.approx(4, rel=0.1)


def test_covariance_is_calibrated():
    random, cameras = np.random.default_rng(0), rig(PLUMB_BOB)
    squares = []
    for _ in range(400):
        point = random.uniform((-0.8, -0.6, 1.5), (0.8, 0.6, 4))
        pixels = [c.project(point) + random.normal(0, 2, 2) for c in cameras]
        found = triangulate(cameras, pixels, [2, 2])
        error = found.point - point
        squares.append(error @ np.linalg.solve(found.covariance, error))
    # Quantiles of the chi-squared distribution with three degrees of freedom.
    for quantile, limit in ((0.1, 0.584), (0.3, 1.424), (0.5, 2.366), (0.7, 3.665), (0.9, 6.251)):
        assert np.mean(np.array(squares) <= limit) == pytest.approx(quantile, abs=0.07)


def test_parallel_bearings_and_points_behind_have_no_position():
    cameras = rig()
    far = [camera.project((0, 0, 1000)) for camera in cameras]
    assert triangulate(cameras, far, [1, 1]) is None
    parallel = [CalibratedCamera(K, (), pose(x)) for x in (-0.3, 0.3)]
    crossed = [camera.project((0, 0, 3)) for camera in parallel][::-1]
    assert triangulate(parallel, crossed, [1, 1]) is None
    assert cameras[0].project((0, 0, -1)) is None


def test_cameras_that_face_each_other_do_not_locate_an_object_between_them():
    opposite = np.diag([-1.0, 1, -1, 1])
    opposite[2, 3] = 4
    cameras = [CalibratedCamera(K, (), pose()), CalibratedCamera(K, (), opposite)]
    for point in ((0, 0, 2), (0, 0.004, 2)):
        assert triangulate(cameras, [c.project(point) for c in cameras], [1, 1]) is None
    beside = (0, 0.4, 2)
    found = triangulate(cameras, [c.project(beside) for c in cameras], [1, 1])
    np.testing.assert_allclose(found.point, beside, atol=1e-6)


def test_depth_gives_the_point_with_its_covariance():
    random, camera = np.random.default_rng(1), rig(PLUMB_BOB)[0]
    point = np.array([0.3, -0.2, 2.5])
    depth = (camera.pose[:3, :3].T @ (point - camera.center))[2]
    pixel = camera.project(point)
    exact = position_from_depth(camera, pixel, depth, 2, 0.05)
    np.testing.assert_allclose(exact.point, point, atol=1e-4)
    samples = [
        position_from_depth(
            camera, pixel + random.normal(0, 2, 2), depth + random.normal(0, 0.05), 2, 0.05
        ).point
        for _ in range(800)
    ]
    np.testing.assert_allclose(np.cov(np.transpose(samples)), exact.covariance, atol=3e-4)


@pytest.mark.parametrize('depth', [0, -1, float('nan'), float('inf')])
def test_unknown_depth_has_no_position(depth):
    assert position_from_depth(rig()[0], (320, 240), depth, 1, 0.1) is None


def test_deviation_of_a_bearing_is_that_of_the_pixel_over_the_focal_length():
    camera = rig()[0]
    assert camera.bearing_deviation((320, 240), 5) == pytest.approx(5 / 505, rel=1e-3)


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: CalibratedCamera(np.zeros((3, 3)), (), np.eye(4)), 'not calibrated'),
        (lambda: CalibratedCamera(np.eye(2), (), np.eye(4)), 'matrix has the shape'),
        (lambda: CalibratedCamera(K, (1, 2, 3), np.eye(4)), '3 coefficients'),
        (lambda: CalibratedCamera(K, (), 2 * np.eye(4)), 'pose'),
        (lambda: CalibratedCamera(K, (), np.eye(4), 'mirror'), "'mirror' is unknown"),
        (lambda: CalibratedCamera('K', (), np.eye(4)), 'not an array'),
        (lambda: triangulate(rig()[:1], [(0, 0)], [1]), 'two or more cameras'),
        (lambda: triangulate(rig(), [(0, 0), (0, float('nan'))], [1, 1]), 'not a place'),
        (lambda: triangulate(rig(), [(0, 0), (0, 0)], [1, 0]), 'above 0'),
    ],
)
def test_invalid_input_is_named(make, named):
    assert issubclass(CalibrationError, ValueError)
    with pytest.raises(ValueError, match=named):
        make()
