# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera frames and the crops that attention selects from them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import Roi


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a camera.

    `image` is uint8 `[H, W, 3]` in BGR order, as in OpenCV. `captured_ns` is the capture time on
    this host's monotonic clock (`time.monotonic_ns`), which a node converts to its own clock.
    `index` counts the frames of the source from 0; gaps are skipped frames.
    """

    image: np.ndarray
    captured_ns: int
    index: int


class CropSource(enum.IntEnum):
    """The origin of a crop; the values of the `SOURCE_*` constants of `sage_msgs/Crop`."""

    UNKNOWN = 0
    MOTION = 1
    SLOTS = 2
    SALIENCY = 3
    EXTERNAL = 4


@dataclass(frozen=True, eq=False)
class Crop:
    """A region that attention selected, scaled to the input size of the model.

    `image` is uint8 `[S, S, 3]` in RGB order, or `[S, S]` gray. `score` in [0, 1] ranks the
    crops of a frame. Crops of one object in successive frames have the same `track_id`; 0 means
    none.
    """

    image: np.ndarray
    roi: Roi
    score: float
    source: CropSource
    track_id: int = 0
