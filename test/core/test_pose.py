# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Poses of cameras and the tree of coordinate frames."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sage_perception.core.pose import Pose
from sage_perception.core.rotations import body_matrix, optical_matrix, quaternion, rotation_of
from sage_perception.core.transforms import MAX_FRAMES, TransformTree

ANGLE = st.floats(-math.pi, math.pi)
POSES = st.builds(Pose, *[st.floats(-10, 10)] * 3, ANGLE, ANGLE, ANGLE)


@given(POSES)
def test_matrix_and_quaternion_are_those_of_the_angles(pose):
    expected = Rotation.from_euler('xyz', pose[3:])  # about fixed axes
    matrix = body_matrix(pose)
    np.testing.assert_allclose(matrix[:3, :3], expected.as_matrix(), atol=1e-9)
    np.testing.assert_array_equal(matrix[:3, 3], pose[:3])
    found = quaternion(matrix[:3, :3])
    assert abs(np.dot(found, expected.as_quat())) == pytest.approx(1)
    np.testing.assert_allclose(rotation_of(*found), matrix[:3, :3], atol=1e-9)


def test_a_camera_looks_along_x_of_its_body():
    ahead = optical_matrix(Pose.parse('1 2 3 0 0 0')) @ (0, 0, 5, 1)
    np.testing.assert_allclose(ahead, (6, 2, 3, 1))
    left = optical_matrix(Pose.parse(f'0 0 0 0 0 {math.pi / 2}')) @ (0, 0, 5, 1)
    np.testing.assert_allclose(left, (0, 5, 0, 1), atol=1e-9)
    right_of_the_image = optical_matrix(Pose.parse('0 0 0 0 0 0')) @ (1, 0, 0, 1)
    np.testing.assert_allclose(right_of_the_image, (0, -1, 0, 1))


@pytest.mark.parametrize(
    'text', ['', '1 2 3', '1 2 3 4 5 x', '1 2 3 4 5 nan', '0 0 0 0 0 0 0', '1e9 0 0 0 0 0']
)
def test_other_texts_are_no_poses(text):
    with pytest.raises(ValueError, match='is not a pose'):
        Pose.parse(text)


@pytest.mark.parametrize(
    'values', [(0, 0, 0, 0), (0, 0, 0, 2), (math.nan, 0, 0, 1), (1e200, 0, 0, 1)]
)
def test_other_numbers_are_no_rotations(values):
    with pytest.raises(ValueError, match='unit quaternion'):
        rotation_of(*values)


@given(POSES, POSES, POSES)
def test_transforms_are_composed_over_the_common_ancestor(a, b, c):
    tree = TransformTree()
    tree.add('base', 'arm', body_matrix(a))
    tree.add('arm', 'hand', body_matrix(b), 5.0)
    tree.add('/base', '/head', body_matrix(c))
    expected = np.linalg.inv(body_matrix(c)) @ body_matrix(a) @ body_matrix(b)
    np.testing.assert_allclose(tree.lookup('head', '/hand'), expected, atol=1e-6)
    np.testing.assert_allclose(tree.lookup('base', 'base'), np.eye(4))
    assert tree.lookup('base', 'elsewhere') is None


def test_old_transforms_are_ignored_unless_the_clock_jumped_back():
    tree = TransformTree()
    newer, older = body_matrix(Pose(2, 0, 0, 0, 0, 0)), body_matrix(Pose(1, 0, 0, 0, 0, 0))
    assert tree.add('base', 'hand', newer, 100.0)
    assert not tree.add('base', 'hand', older, 99.9)
    assert tree.lookup('base', 'hand')[0, 3] == 2
    assert tree.add('base', 'hand', older, 10.0)
    assert tree.lookup('base', 'hand')[0, 3] == 1


def test_circles_and_floods_do_no_harm():
    tree = TransformTree()
    tree.add('a', 'b', np.eye(4))
    tree.add('b', 'a', np.eye(4))
    assert tree.lookup('c', 'a') is None
    assert not tree.add('a', 'a', np.eye(4))
    assert not tree.add('', 'x', np.eye(4))
    used = sum(tree.add('a', f'f{n}', np.eye(4)) for n in range(MAX_FRAMES + 10))
    assert used == MAX_FRAMES - 2
