# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Joints with their limits, as parameters describe them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_JOINTS = 64
SYNTAX = 'NAME:LOWER:UPPER[:VELOCITY[:EFFORT]], such as head_pan:-1.5:1.5:2.0'


@dataclass(frozen=True)
class Joint:
    """A joint and its limits.

    Attributes:
        name: name in `sensor_msgs/JointState`.
        lower, upper: limits of the position, rad or m.
        velocity: maximum speed, rad/s or m/s.
        effort: maximum effort, N m or N.
    """

    name: str
    lower: float
    upper: float
    velocity: float = 1.0
    effort: float = 1.0

    def __post_init__(self) -> None:
        values = (self.lower, self.upper, self.velocity, self.effort)
        if not self.name or not all(map(math.isfinite, values)):
            raise ValueError(f'joint {self.name!r}: a name and finite limits are required')
        if self.lower >= self.upper:
            raise ValueError(
                f'joint {self.name!r}: the lower limit {self.lower:g} must be below the upper '
                f'limit {self.upper:g}'
            )
        if self.velocity <= 0 or self.effort <= 0:
            raise ValueError(f'joint {self.name!r}: velocity and effort must be positive')


def parse_joints(texts: Sequence[str]) -> tuple[Joint, ...]:
    """Return the joints of texts such as `head_pan:-1.5:1.5:2.0` (see `SYNTAX`).

    Raises `ValueError` for text of another form, limits that are not valid, a name that occurs
    twice, and more than `MAX_JOINTS`.
    """
    if len(texts) > MAX_JOINTS:
        raise ValueError(f'{len(texts)} joints: at most {MAX_JOINTS}')
    joints = tuple(_parse(text) for text in texts)
    names = [joint.name for joint in joints]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'joint {name!r} is given twice')
    return joints


def _parse(text: str) -> Joint:
    name, *numbers = text.split(':')
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if not 2 <= len(values) <= 4:
        raise ValueError(f'{text!r} is not a joint: write {SYNTAX}')
    return Joint(name.strip(), *values)
