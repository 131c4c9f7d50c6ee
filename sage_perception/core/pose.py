# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Poses of cameras on a robot, as texts (REP-103); `core/rotations.py` has their matrices.

Launch files and `sage doctor` import this file, also where numpy is not installed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FORM = 'x y z roll pitch yaw, in meters and radians, such as "0.2 0.05 0.3 0 0 1.57"'
MAX_M = 1e6
"""Largest coordinate, meters."""


class Pose(NamedTuple):
    """Where the body of a camera is in the frame of the robot: x forward, y left, z up.

    Translation in meters; roll, pitch and yaw in radians about the fixed axes x, y and z, in this
    order.
    """

    x: float
    y: float
    z: float
    roll: float
    pitch: float
    yaw: float

    @classmethod
    def parse(cls, text: str) -> Pose:
        """Return the pose that a text of six numbers gives; raise `ValueError` with the form."""
        words = text.split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != 6 or not all(map(math.isfinite, values)):
            raise ValueError(f'{text!r:.80} is not a pose: {FORM}')
        if max(map(abs, values)) > MAX_M:
            raise ValueError(f'{text!r:.80} is not a pose: a number is above {MAX_M:g}')
        return cls(*values)

    def __str__(self) -> str:
        return ' '.join(f'{value:g}' for value in self)
