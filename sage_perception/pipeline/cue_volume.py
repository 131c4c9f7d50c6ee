# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Volumes of saliency cues of a camera, and their projection to one map."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.vision.attention import Attention
from sage_perception.vision.saliency import signature_saliency
from sage_perception.zspace import (
    ResonanceGenerator,
    SpectralWindow,
    VideoStreamProjector,
    VisionProjector,
    ZDiffuser,
    ZSpaceVolume,
)

HEIGHT, WIDTH = 60, 80
"""Size of the maps, cells."""
CUES = ('motion', 'saliency', 'contrast', 'change')
"""The slices of the volume: evidence of attention, image signature, local standard deviation,
and the difference from the average of the last second."""
ACCUMULATION = 0.35
"""Weight of the newest volume in the accumulated one."""
CONTRAST_LEVEL = 64.0
"""Standard deviation, or difference, that scores 1, gray levels."""


class CueMap(NamedTuple):
    """The cues of a frame: the volume, its projection `[H, W]`, and the weights of the cues."""

    volume: ZSpaceVolume
    projection: np.ndarray
    weights: np.ndarray


class CueProjector:
    """Computes the cues of one camera, accumulates them and projects them to one map.

    All cues are in [0, 1], so the map is, too. Only what exceeds the mean of a cue by its standard
    deviation counts, so that a cue that is high everywhere does not cover the others. The weights
    follow the energy of the cues.
    """

    def __init__(self) -> None:
        self._attention = Attention()
        self._stream = VideoStreamProjector(
            VisionProjector(spread=2, window=SpectralWindow.rectangular()),
            ResonanceGenerator('cues', 12, len(CUES)),
            temporal_decay=0.25,
        ).with_diffuser(ZDiffuser(3, 0.6, across_slices=False))
        self._volume: ZSpaceVolume | None = None
        self._average: np.ndarray | None = None
        self._stamp_s = 0.0

    def update(self, image: np.ndarray, stamp_s: float) -> CueMap:
        """Return the cues of a frame and the map.

        `image` is uint8 `[H, W, 3]` in BGR order, at least 16×16 pixels; `stamp_s` is its time,
        seconds. Raises `ValueError` as `Attention.attend` does.
        """
        self._attention.attend(image, stamp_s)
        small = cv2.resize(image, (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        mean = cv2.blur(gray, (9, 9))
        variance = np.maximum(cv2.blur(gray * gray, (9, 9)) - mean * mean, 0)
        cues = [
            self._attention.saliency_map(),
            signature_saliency(small).max(axis=0),
            np.minimum(np.sqrt(variance) / CONTRAST_LEVEL, 1),
            self._change(gray, stamp_s),
        ]
        volume = ZSpaceVolume.from_slices([_distinct(cue) for cue in cues])
        if self._volume is None:
            self._volume = volume
        else:
            self._volume.accumulate(volume, ACCUMULATION)
        result = self._stream.step(self._volume)
        weights = self._stream.projector.depth_weights(self._volume, result.resonance)
        return CueMap(ZSpaceVolume(self._volume.values), result.projection, weights)

    def _change(self, gray: np.ndarray, stamp_s: float) -> np.ndarray:
        """Return the difference from the average of the last second, float32 `[h, w]`."""
        if self._average is None:
            self._average = gray
        change = np.minimum(abs(gray - self._average) / CONTRAST_LEVEL, 1)
        rate = min(max(stamp_s - self._stamp_s, 0.0), 1.0)
        self._stamp_s = stamp_s
        self._average = self._average + np.float32(rate) * (gray - self._average)
        return change


def _distinct(cue: np.ndarray) -> np.ndarray:
    """Return what exceeds the mean of a cue `[h, w]` by its standard deviation, `[H, W]`."""
    small = cv2.resize(cue, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.maximum(small - small.mean() - small.std(), 0)
