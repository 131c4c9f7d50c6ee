# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the zspace node."""

from __future__ import annotations

from dataclasses import replace

from sage_perception.ros.common_parameters import (
    CAMERA_ENTITIES,
    CAMERAS,
    IMAGE_TRANSPORT,
    rate,
    threads,
)
from sage_perception.ros.identity import KEYS, OPERATORS, REQUIRE_SIGNATURES, UNSIGNED_IMAGES
from sage_perception.ros.parameters import Parameter

ZSPACE = (
    CAMERAS,
    IMAGE_TRANSPORT,
    rate(5.0, 'Maximum rate of the maps, Hz.', maximum=30.0),
    Parameter(
        'weight_time_s',
        0.7,
        'Time constant of the weights of the cameras, seconds; 0: not smoothed.',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    ),
    threads('OpenCV'),
    replace(
        CAMERA_ENTITIES,
        description='Entities that sign the images of the cameras, as camera=entity, separated by '
        'commas. Default for each camera: its namespace.',
    ),
    replace(
        REQUIRE_SIGNATURES,
        description='Use only images of nodes in the same process, and images that the entity of '
        'their camera has signed with a trusted key. Refuse changes of parameters that no '
        'operator has signed.',
    ),
    UNSIGNED_IMAGES,
    OPERATORS,
    KEYS,
)
