# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The rotation of a camera from odometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.ego_motion import transform_point
from sage_perception.vision.odometry import OdometryRotation

CAMERA = np.array([[300, 0, 160], [0, 300, 120], [0, 0, 1.0]])


def yaw(angle):
    return 0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)


@given(turn=st.floats(-0.3, 0.3), start=st.floats(-3, 3))
def test_turning_left_moves_the_image_to_the_right(turn, start):
    rotation = OdometryRotation()
    for step in range(11):
        rotation.add(10 + step / 10, yaw(start + turn * step / 10))
    # From the present frame to the previous one: the middle was further left before.
    u, v = transform_point(rotation.homography(10.05, 10.95, CAMERA), 160, 120)
    assert u == pytest.approx(160 - 300 * math.tan(0.9 * turn), abs=0.1)
    assert v == pytest.approx(120)


def test_unknown_times_have_no_rotation():
    rotation = OdometryRotation()
    assert rotation.homography(1.0, 1.1, CAMERA) is None
    rotation.add(1.0, yaw(0))
    rotation.add(1.1, yaw(0.1))
    assert rotation.homography(1.0, 1.1, CAMERA) is not None
    assert rotation.homography(1.0, 2.0, CAMERA) is None
    rotation.add(0.5, yaw(0))  # the clock went back
    assert rotation.homography(1.0, 1.1, CAMERA) is None


@pytest.mark.parametrize('quaternion', [(0, 0, 0, 0), (math.nan, 0, 0, 1)])
def test_rejects_what_is_not_a_rotation(quaternion):
    with pytest.raises(ValueError, match='not a rotation'):
        OdometryRotation().add(0.0, quaternion)
