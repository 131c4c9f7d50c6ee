# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the translator node."""

from __future__ import annotations

from sage_perception.ros.identity import ARBITER_ENTITY, KEY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.node_parameters.audio import RECOGNITION
from sage_perception.ros.node_parameters.proprioception import joints_parameter
from sage_perception.ros.parameters import Parameter

TRANSLATOR = (
    Parameter(
        'model',
        'fusion',
        'Name of a fusion network that ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    joints_parameter(
        'of the body, equal to those of the proprioception node; first the pan, then the '
        'tilt of the head that carries the camera'
    ),
    Parameter(
        'use_imu',
        False,
        'Whether the latents of the body have inertial measurements: as in proprioception_node.',
        read_only=True,
    ),
    Parameter(
        'head_camera',
        '',
        'Entity of the camera on the head, such as cam0: only its frames lead to actions. Empty: '
        'those of all cameras, for a graph with one.',
        read_only=True,
    ),
    Parameter(
        'horizontal_fov_deg',
        60.0,
        'Horizontal field of view of the camera, degrees.',
        minimum=1.0,
        maximum=170.0,
        read_only=True,
    ),
    Parameter(
        'vertical_fov_deg',
        45.0,
        'Vertical field of view of the camera, degrees.',
        minimum=1.0,
        maximum=170.0,
        read_only=True,
    ),
    Parameter(
        'min_trust',
        0.5,
        'Smallest trust of a latent that is published; translations below it are refused.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'sound_goals',
        False,
        'Whether the words in the latents on audio are goals. These latents are signed, so that '
        'their goals lead to actions with require_signatures, too. Those on the topic goal are '
        'then ignored, unless unsigned_goals is set.',
        read_only=True,
    ),
    Parameter(
        'sound_model',
        'audiovae',
        'Name of the model of the latents on audio, or folder of an artifact.',
        read_only=True,
    ),
    *RECOGNITION,
    Parameter(
        'unsigned_goals',
        False,
        'Whether goals lead to actions with require_signatures, too. They are not signed: anyone '
        'on the network can select the trusted crop that the head turns to.',
        read_only=True,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    ARBITER_ENTITY,
    KEYS,
    KEY,
)
