# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the positions node."""

from __future__ import annotations

from sage_perception.ros.camera_poses import BASE_FRAME, CAMERA_POSES
from sage_perception.ros.common_parameters import CAMERA_ENTITIES, CAMERAS, rate
from sage_perception.ros.identity import ARBITER_ENTITY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter

POSITIONS = (
    CAMERAS,
    CAMERA_ENTITIES,
    Parameter(
        'model',
        'tinyvae',
        'Model of the arbiter: a name or the folder of an artifact.',
        read_only=True,
    ),
    CAMERA_POSES,
    BASE_FRAME,
    rate(10.0, 'Maximum rate of the positions, Hz.', maximum=60.0),
    Parameter(
        'use_depth',
        False,
        'Subscribe to depth images that are aligned with the images of the primary camera. They '
        'give the positions of tracks that are not triangulated.',
        read_only=True,
    ),
    Parameter(
        'bearing_m',
        2.0,
        'Length of the rays in the markers, meters; 0: none.',
        minimum=0.0,
        maximum=1000.0,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    ARBITER_ENTITY,
    KEYS,
)
