# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera delivers and what attention cuts out of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Roi


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a camera.

    `image` is uint8 `[H, W, 3]` in OpenCV's order (blue, green, red). `captured_ns` is when it
    was captured on this host's monotonic clock (`time.monotonic_ns`), so that a node can carry
    it to whichever clock it runs on. `index` counts the frames of the source from 0; a gap means
    that frames were skipped.
    """

    image: np.ndarray
    captured_ns: int
    index: int


class CropSource(enum.IntEnum):
    """Why a crop was cut; the values of `sage_msgs/Crop`'s SOURCE_ constants."""

    UNKNOWN = 0
    MOTION = 1
    SLOTS = 2
    SALIENCY = 3
    EXTERNAL = 4


@dataclass(frozen=True, eq=False)
class Crop:
    """A region that attention chose, scaled to the model's input.

    `image` is uint8 `[S, S, 3]` in the order red, green, blue, or `[S, S]` gray. `score` is the
    share of the attention in [0, 1]; the same `track_id` is the same thing in successive frames.
    """

    image: np.ndarray
    roi: Roi
    score: float
    source: CropSource
    track_id: int = 0
