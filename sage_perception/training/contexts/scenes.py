# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes that virtual cameras record: parts of clips, and montages of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from sage_perception.training.contexts.montage import Montage
from sage_perception.training.contexts.virtual_camera import LabeledRegions
from sage_perception.vision.sources.video_file import clip_frames

RATE_HZ = 12.5
"""Frame rate of a scene."""
MAX_PIXELS = 640 * 480
"""Maximum number of pixels of a frame; larger clips are scaled down."""
REPEAT_NOISE = 1.0
"""Standard deviation of the noise in a clip that is played repeatedly, gray levels."""

Scene = Iterator[tuple[np.ndarray, LabeledRegions]]
"""Frames, uint8 BGR `[H, W, 3]`, with the objects of known position."""


@lru_cache(maxsize=1)  # one clip is played many times in succession
def _load_clip(path: Path) -> list[np.ndarray]:
    """Return the frames of a clip at about `RATE_HZ`, of at most `MAX_PIXELS`."""
    capture = cv2.VideoCapture(str(path))
    step = max(round((capture.get(cv2.CAP_PROP_FPS) or 25.0) / RATE_HZ), 1)
    capture.release()
    frames = []
    for image, _ in itertools.islice(clip_frames(path), 0, None, step):
        scale = (MAX_PIXELS / (image.shape[0] * image.shape[1])) ** 0.5
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frames.append(image)
    return frames


def clip_scene(path: Path, rng: np.random.Generator, seconds: float) -> Scene:
    """Yield `seconds` of a clip from a random start, mirrored in half of the cases.

    A clip that is too short is played forward and backward. Weak noise is then added to its
    frames, because `CameraHealth` reports identical frames as a fault.
    """
    frames, needed = _load_clip(path), int(seconds * RATE_HZ)
    start = int(rng.integers(max(len(frames) - needed, 0) + 1))
    mirrored = rng.random() < 0.5
    period = max(2 * len(frames) - 2, 1)
    repeated = needed > len(frames)
    for place in range(start, start + needed):
        image = frames[min(place % period, period - place % period)]
        if mirrored:
            image = image[:, ::-1]
        if repeated:
            noise = rng.normal(0, REPEAT_NOISE, (*image.shape[:2], 1)).astype(np.float32)
            image = np.rint(image + noise).clip(0, 255).astype(np.uint8)
        yield image, []


def montage_scene(files: Sequence[Path], rng: np.random.Generator, seconds: float) -> Scene:
    """Yield `seconds` of a random montage of images."""
    montage = Montage(files, int(rng.integers(2**31)))
    for index in range(int(seconds * RATE_HZ)):
        yield montage.render(index / RATE_HZ, index)
