# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the slots node."""

from __future__ import annotations

from dataclasses import replace

from sage_perception.ros.common_parameters import (
    AUTOSTART,
    ENTITY_ID,
    FIRST_TRACK_ID,
    IMAGE_TRANSPORT,
    MAX_AGE,
    rate,
    threads,
)
from sage_perception.ros.identity import (
    KEY,
    KEYS,
    OPERATORS,
    REQUIRE_SIGNATURES,
    UNSIGNED_IMAGES,
)
from sage_perception.ros.parameters import Parameter

SLOTS = (
    AUTOSTART,
    Parameter(
        'model',
        'slots',
        'Name of a slot model that ships with sage, or folder of an artifact of sage export.',
        read_only=True,
    ),
    rate(10.0, 'Maximum rate of the slots, Hz.', maximum=60.0),
    Parameter(
        'min_area',
        0.002,
        'Area below which a slot has no region, fraction of the image.',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    ),
    IMAGE_TRANSPORT,
    MAX_AGE,
    FIRST_TRACK_ID,
    threads('ONNX Runtime'),
    ENTITY_ID,
    KEY,
    Parameter(
        'camera_entity',
        '',
        'Entity of the camera, which signs the images; empty: the namespace.',
        read_only=True,
    ),
    replace(
        REQUIRE_SIGNATURES,
        description='Use only images of nodes in the same process, and images that the entity of '
        'the camera has signed with a trusted key. Refuse changes of parameters, and of the state '
        'of the lifecycle, that no operator has signed.',
    ),
    UNSIGNED_IMAGES,
    OPERATORS,
    KEYS,
)
