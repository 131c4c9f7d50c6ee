# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the effector node."""

from __future__ import annotations

from sage_perception.ros.identity import KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter

EFFECTOR = (
    Parameter(
        'joints',
        ['head_pan=head_pan:-1.5:1.5:1.0', 'head_tilt=head_tilt:-0.7:0.7:1.0'],
        'Joints that move, as PLACE=NAME:LOWER:UPPER:VELOCITY; PLACE is the name of a value of an '
        'action: head_pan, head_tilt, torso, left_arm_1 to left_arm_7, right_arm_1 to '
        'right_arm_7, left_gripper or right_gripper.',
        read_only=True,
    ),
    Parameter(
        'min_trust',
        0.5,
        'Smallest trust of an action that the joints follow.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'timeout_s',
        0.5,
        'Age from which an action or a joint state is not used, seconds. The joints stop when the '
        'last one is older.',
        minimum=0.05,
        maximum=5.0,
    ),
    Parameter(
        'speed',
        0.5,
        'Maximum speed, relative to the velocities of the joints.',
        minimum=0.01,
        maximum=1.0,
    ),
    Parameter(
        'rate',
        20.0,
        'Rate of the commands, Hz.',
        minimum=1.0,
        maximum=200.0,
        read_only=True,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    KEYS,
)
