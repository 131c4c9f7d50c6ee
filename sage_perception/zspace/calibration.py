# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Views of cameras from calibrations, transforms and odometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array
from sage_perception.zspace.views import ViewDescriptor


def view_from_camera(
    name: str,
    transform: ArrayLike,
    camera_matrix: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
    baseline_weight: float = 1.0,
) -> ViewDescriptor:
    """Return the view of a calibrated camera.

    Args:
        name: name of the camera.
        transform: `[4, 4]` from the camera's optical frame (REP-103: z forward) to the frame that
            the views share, as tf's lookup_transform gives it; meters.
        camera_matrix: K `[3, 3]` of `sensor_msgs/CameraInfo`. With `size`, the view looks along
            the ray through the center of the image, which differs from the optical axis where
            the principal point is off center.
        size: width and height of the image, pixels.
        baseline_weight: weight of the camera, at least 0.

    Raises:
        ZSpaceError: the transform is not rigid, or the matrix has no focal length.
    """
    matrix = rigid_transform(f'transform of {name}', transform)
    axis = np.array([0.0, 0.0, 1.0])
    if camera_matrix is not None and size is not None:
        k = finite_array(f'camera matrix of {name}', camera_matrix, 2)
        if k.shape != (3, 3) or min(k[0, 0], k[1, 1]) <= 0:
            raise ZSpaceError(
                f'camera matrix of {name} needs 3 rows of 3 with focal lengths above 0; '
                'a camera that is not calibrated has none'
            )
        center = (np.array(size, float) - 1) / 2
        axis[:2] = (center - k[:2, 2]) / k.diagonal()[:2]
    return ViewDescriptor(name, matrix[:3, 3], matrix[:3, :3] @ axis, baseline_weight)


def moved_view(view: ViewDescriptor, motion: ArrayLike) -> ViewDescriptor:
    """Return a view after the rig has moved by `motion` `[4, 4]`, for example from odometry.

    `motion` maps points of the rig from where they were to where they are, in the frame of the
    view. Rotation alone, as an IMU gives it, has no translation. Raises `ZSpaceError` if it is not
    rigid.
    """
    matrix = rigid_transform('motion', motion)
    return ViewDescriptor(
        view.name,
        matrix[:3, :3] @ np.asarray(view.position) + matrix[:3, 3],
        matrix[:3, :3] @ np.asarray(view.forward),
        view.baseline_weight,
    )


def rigid_transform(name: str, matrix: ArrayLike) -> np.ndarray:
    """Return a transform as float64 `[4, 4]`; raise `ZSpaceError` if it is not rigid.

    The rotation must be orthonormal within 1e-3 and the last row (0, 0, 0, 1).
    """
    transform = finite_array(name, matrix, 2)
    if transform.shape == (4, 4) and np.allclose(transform[3], (0, 0, 0, 1)):
        rotation = transform[:3, :3]
        orthonormal = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        if orthonormal and np.linalg.det(rotation) > 0:
            return transform
    raise ZSpaceError(
        f'{name} is not a rigid transform: 4 rows of 4, a rotation and a translation'
    )
