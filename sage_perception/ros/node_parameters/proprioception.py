# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the proprioception node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sage_perception.puzzle.joints import SYNTAX, parse_joints
from sage_perception.ros.common_parameters import rate
from sage_perception.ros.identity import KEY, SIGNED_REQUESTS
from sage_perception.ros.parameters import Parameter


def joints_parameter(what: str) -> Parameter:
    """Return the parameter `joints`; `what` continues the sentence "Joints …"."""
    return Parameter(
        'joints',
        ['head_pan:-1.5:1.5:2.0', 'head_tilt:-0.7:0.7:2.0'],
        f'Joints {what}, each as {SYNTAX}; rad and rad/s, for prismatic joints m and m/s.',
        read_only=True,
    )


def check_joints(values: dict, parse: Callable[[Sequence[str]], object] = parse_joints) -> None:
    """Raise `ValueError` unless `parse` reads the value of `joints`."""
    try:
        parse(values['joints'])
    except ValueError as error:
        raise ValueError(f"parameter 'joints': {error}") from None


PROPRIOCEPTION = (
    joints_parameter('of the latent'),
    Parameter(
        'use_imu',
        False,
        'Add the inertial measurements of the topic imu to the latent.',
        read_only=True,
    ),
    rate(
        30.0,
        'Maximum rate of the latents, Hz; without new joint states none is published.',
        maximum=200.0,
    ),
    Parameter(
        'max_age_s',
        0.2,
        'Values that are older than the newest joint state by more than this are not used, '
        'seconds.',
        minimum=0.01,
        maximum=10.0,
        read_only=True,
    ),
    KEY,
    *SIGNED_REQUESTS,
)
