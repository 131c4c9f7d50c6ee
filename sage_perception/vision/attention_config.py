# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of attention, which are also the parameters of `attention_node`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from sage_perception.core.settings import Interval, check

T = TypeVar('T')


def _setting(default: T, description: str) -> T:
    return field(default=default, metadata={'description': description})


@dataclass(frozen=True)
class AttentionConfig:
    """Settings of `Attention`.

    The annotation of a field is its type and range, its metadata holds a `description`. Raises
    `ValueError` that names the field and the allowed range for a value out of range.
    """

    crop_size: Annotated[int, Interval(8, 512)] = _setting(64, 'Side length of a crop, pixels.')
    max_crops: Annotated[int, Interval(1, 24)] = _setting(8, 'Maximum number of crops per frame.')
    color: Literal['rgb', 'gray'] = _setting('rgb', 'Color format of the crops.')
    threshold: Annotated[float, Interval(2.0, 50.0)] = _setting(
        5.0,
        'Significant difference from the background, standard deviations. Lower values are more '
        'sensitive.',
    )
    min_object_px: Annotated[int, Interval(1, 512)] = _setting(
        12,
        'Minimum side length of a moving object, pixels of the frame. Frames are halved until '
        'they have 40,000 pixels: below 3 of these pixels, 24 in 1920x1080 and 48 in '
        '3840x2160, no object is found.',
    )
    min_roi_px: Annotated[int, Interval(8, 4096)] = _setting(
        32, 'Minimum side length of a region, pixels of the frame.'
    )
    max_roi_px: Annotated[int, Interval(8, 4096)] = _setting(
        480, 'Maximum side length of a region, pixels of the frame.'
    )
    ego_motion: Literal['auto', 'image', 'odometry', 'off'] = _setting(
        'auto',
        "Source of the camera's motion: 'image' estimates it by optical flow, 'odometry' takes "
        "the rotation from topic odom, 'auto' takes what fits the image better, 'off' requires "
        'a camera that stands.',
    )
    background_time_s: Annotated[float, Interval(0.1, 600.0)] = _setting(
        3.0, 'Time after which a resting object becomes part of the background, seconds.'
    )
    saliency_weight: Annotated[float, Interval(0.0, 1.0)] = _setting(
        0.5,
        'Maximum score of a salient still region; such regions fill the crops that moving objects '
        'leave free. 0 disables them.',
    )
    saliency_period_s: Annotated[float, Interval(0.0, 60.0)] = _setting(
        0.5, 'Time between two images with crops of salient still regions, seconds.'
    )
    max_salient: Annotated[int, Interval(1, 24)] = _setting(
        2, 'Maximum number of salient still regions in such an image; beside moving objects, one.'
    )
    inhibition: Annotated[float, Interval(0.0, 1.0)] = _setting(
        0.9,
        'Inhibition of return: fraction of its score that a still region loses while it is '
        'attended.',
    )
    inhibition_s: Annotated[float, Interval(0.1, 600.0)] = _setting(
        3.0, 'Time constant of the inhibition and of the recovery from it, seconds.'
    )
    goal_weight: Annotated[float, Interval(0.0, 1.0)] = _setting(
        0.8,
        'Weight of a goal in the score of a region: its factor is from 1 - goal_weight, for a '
        'track that all other words fit better, to 1 + goal_weight. 0: goals have no effect.',
    )

    def __post_init__(self) -> None:
        check(self)
        if self.min_roi_px > self.max_roi_px:
            raise ValueError(
                f'min_roi_px is {self.min_roi_px}; it must not exceed max_roi_px, '
                f'{self.max_roi_px}'
            )
