# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of tracks from regions in several images, and from depth images."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.core.pose import Pose
from sage_perception.core.rotations import optical_matrix
from sage_perception.pipeline.object_positions import (
    TrackView,
    bearing_of,
    from_depth,
    triangulated,
)
from sage_perception.trust.fusion.geometry import PosedGeometry
from sage_perception.vision.depth_images import depth_image, depth_of
from sage_perception.vision.positions import CalibratedCamera, Position

SIZE = (640, 480)
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
CAMERAS = {
    name: CalibratedCamera(K, np.zeros(0), optical_matrix(Pose.parse(pose)))
    for name, pose in {'left': '0 0.3 0 0 0 -0.05', 'right': '0 -0.3 0 0 0 0.05'}.items()
}
POINTS = st.tuples(st.floats(2, 5), st.floats(-0.3, 0.3), st.floats(-0.4, 0.4))


def view(camera, point, side=40, track=3):
    """Return the region of an object at a point of the frame of the robot."""
    x, y = CAMERAS[camera].project(np.asarray(point))
    return TrackView(
        camera, track, Roi(round(x - side / 2), round(y - side / 2), side, side), SIZE
    )


@given(POINTS)
def test_two_regions_give_the_position(point):
    views = [view('left', point), view('right', point, track=8)]
    found = triangulated(views, CAMERAS)
    assert found.track_id == 3
    assert found.cameras == 2
    error = found.position.point - point
    assert np.linalg.norm(error) < 0.03 * point[0] ** 2, 'half a pixel of 60 cm and 500 pixels'
    assert error @ np.linalg.solve(found.position.covariance, error) < 30
    assert found.size_m == pytest.approx(40 * point[0] / 500, rel=0.15)


def test_regions_that_show_no_common_object_have_no_position():
    one, other = (3.0, 0.1, 0.1), (3.0, 0.1, -0.5)
    assert triangulated([view('left', one), view('right', other)], CAMERAS) is None
    assert triangulated([view('left', one)], CAMERAS) is None
    assert triangulated([view('left', one), view('right', one)], {'left': CAMERAS['left']}) is None


def test_regions_at_the_border_are_left_out():
    one = (3.0, 0.1, 0.1)
    cut = view('right', one)._replace(roi=Roi(0, 100, 40, 40))
    assert not cut.is_whole
    assert triangulated([view('left', one), cut], CAMERAS) is None


@given(POINTS)
def test_the_bearing_passes_through_the_object(point):
    found = bearing_of(view('left', point), CAMERAS['left'])
    toward = np.asarray(point) - found.origin
    cosine = found.direction @ toward / np.linalg.norm(toward)
    assert np.arccos(min(cosine, 1.0)) < 0.003
    assert np.linalg.norm(found.direction) == pytest.approx(1)
    assert found.deviation_rad == pytest.approx(0.5 / 500, rel=0.25)


def test_a_depth_image_gives_the_position():
    point = (2.5, 0.2, 0.1)
    seen = view('left', point)
    depths = np.full((240, 320), 4.0, np.float32)  # half of the resolution
    roi = seen.roi
    along = (np.linalg.inv(CAMERAS['left'].pose) @ (*point, 1))[2]
    depths[roi.y // 2 : (roi.y + 40) // 2, roi.x // 2 : (roi.x + 40) // 2] = along
    depths[roi.y // 2 + 5 : roi.y // 2 + 8] = np.nan
    found = from_depth(seen, CAMERAS['left'], depths)
    assert np.linalg.norm(found.position.point - point) < 0.02
    assert from_depth(seen, CAMERAS['left'], np.zeros((240, 320), np.float32)) is None


def test_depth_images_of_rep_118_are_read_in_meters():
    def message(encoding, values):
        return SimpleNamespace(
            encoding=encoding,
            height=1,
            width=2,
            step=values.nbytes,
            is_bigendian=0,
            data=values.tobytes(),
        )

    millimeters = depth_image(message('16UC1', np.array([[1500, 0]], np.uint16)))
    np.testing.assert_allclose(millimeters, [[1.5, 0]])
    meters = depth_image(message('32FC1', np.array([[1.5, np.nan]], np.float32)))
    np.testing.assert_allclose(meters, [[1.5, np.nan]])
    with pytest.raises(ValueError, match="'rgb8' is not that of a depth image"):
        depth_image(message('rgb8', np.zeros((1, 6), np.uint8)))
    with pytest.raises(ValueError, match='step 2 is less'):
        depth_image(message('16UC1', np.zeros((1, 1), np.uint16)))


def test_a_region_without_enough_depths_has_none():
    depths = np.full((100, 100), 2.0)
    assert depth_of(depths, Roi(10, 10, 40, 40)) == pytest.approx((2.0, 0.02))
    assert depth_of(depths, Roi(200, 200, 40, 40)) is None
    depths[:, ::2] = 2.4
    assert depth_of(depths, Roi(10, 10, 40, 40))[1] > 0.1, 'an edge of an object is uncertain'
    depths[10:48] = 0
    assert depth_of(depths, Roi(10, 10, 40, 40)) is None


def test_the_radius_of_an_ellipsoid_grows_with_its_level():
    position = Position(np.zeros(3), np.eye(3))
    radii = [position.radius(level) for level in (0.1, 0.5, 0.9, 0.99)]
    assert radii == sorted(radii)
    assert position.radius(0.9) > 2.5, 'that of a Gaussian distribution'
    with pytest.raises(ValueError, match='level is 1'):
        position.radius(1)


@given(POINTS, POINTS)
def test_poses_exclude_regions_away_from_the_epipolar_line(one, other):
    geometry = PosedGeometry(CAMERAS['left'], CAMERAS['right'], 3.0)
    ours, theirs = view('left', one).roi, view('right', one).roi
    assert geometry.possible([ours, None], [theirs]).all()
    moved = Roi(theirs.x, theirs.y + 30, theirs.width, theirs.height)
    assert not geometry.possible([ours], [moved]).any()
    assert geometry.possible([ours], [moved, None]).tolist() == [[False, True]]


def test_cameras_at_one_place_exclude_nothing():
    camera = CAMERAS['left']
    geometry = PosedGeometry(camera, camera, 3.0)
    assert geometry.possible([Roi(0, 0, 9, 9)], [Roi(300, 200, 9, 9)]).all()
