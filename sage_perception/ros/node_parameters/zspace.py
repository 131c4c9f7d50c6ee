# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the zspace node."""

from __future__ import annotations

from sage_perception.ros.common_parameters import CAMERAS, IMAGE_TRANSPORT, rate, threads
from sage_perception.ros.identity import SIGNED_REQUESTS
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
    *SIGNED_REQUESTS,
)
