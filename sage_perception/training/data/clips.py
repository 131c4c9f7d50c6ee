# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read video clips and bags as frames with the regions that motion attention selects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from sage_perception.training.data import bags
from sage_perception.training.data.images import ImagePyramid
from sage_perception.vision.attention import Attention
from sage_perception.vision.sources.video_file import StampedImages, clip_frames

MAX_FRAMES = 150
"""Maximum number of frames kept of a clip."""
MAX_CROPS = 3000
"""Maximum number of crops kept of a topic of crops."""

RegionFrame = tuple[ImagePyramid, list[tuple[int, int, int]]]
"""A frame and the regions (x, y, side) in it, pixels."""
T = TypeVar('T')


def read_clips(path: Path) -> list[list[RegionFrame]]:
    """Return the frames of a clip in which attention selects regions, or of each topic of a bag.

    Each crop in a bag becomes a frame with one region. Raises `ValueError` for a broken file.
    """
    if not bags.is_bag(path):
        return [attended_frames(partial(clip_frames, path))]
    images, crops = bags.topics_of(path)
    return [
        *(attended_frames(partial(bags.images, path, topic)) for topic in images),
        *(crop_frames(bags.crops(path, topic)) for topic in crops),
    ]


def attended_frames(read: Callable[[], StampedImages]) -> list[RegionFrame]:
    """Return at most `MAX_FRAMES` frames with the regions that motion attention selects.

    `read` starts the clip from its beginning. The clip is played twice: attention learns the
    scene during the first pass, and frames are kept during the second.
    """
    attention = Attention()

    def selected() -> Iterator[tuple[np.ndarray, list[tuple[int, int, int]]]]:
        for image, stamp_s, first_pass in two_passes(read):
            crops = attention.attend(image, stamp_s)
            if crops and not first_pass:
                yield image, [(crop.roi.x, crop.roi.y, crop.roi.width) for crop in crops]

    return [
        (ImagePyramid(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), regions)
        for image, regions in reservoir_sample(selected(), MAX_FRAMES)
    ]


def crop_frames(crops: Iterable[np.ndarray]) -> list[RegionFrame]:
    """Return at most `MAX_CROPS` crops, uint8 RGB `[S, S, 3]`, as frames of one region each."""
    return [
        (ImagePyramid(crop), [(0, 0, crop.shape[0])])
        for crop in reservoir_sample(crops, MAX_CROPS)
    ]


def reservoir_sample(items: Iterable[T], count: int) -> list[T]:
    """Return at most `count` items, drawn uniformly (reservoir sampling, Vitter, 1985).

    The same items give the same sample.
    """
    rng = np.random.default_rng(0)
    drawn: list[T] = []
    for seen, item in enumerate(items, 1):
        place = len(drawn) if len(drawn) < count else int(rng.integers(seen))
        if place < count:
            drawn[place : place + 1] = [item]
    return drawn


def two_passes(
    read: Callable[[], StampedImages],
) -> Iterator[tuple[np.ndarray, float, bool]]:
    """Yield image, stamp and whether it is the first pass; stamps increase through both passes."""
    stamps = []
    for image, stamp_s in read():
        stamps.append(stamp_s)
        yield image, stamp_s, True
    if len(stamps) > 1:
        shift_s = (stamps[-1] - stamps[0]) * len(stamps) / (len(stamps) - 1)
        for image, stamp_s in read():
            yield image, stamp_s + shift_s, False
