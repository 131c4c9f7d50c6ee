# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the maps of several cameras, and their fusion over time."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.pipeline.cue_volume import CueMap, CueProjector
from sage_perception.vision.camera_health import CameraHealth
from sage_perception.vision.sources import EndOfStream, SourceLost, open_source
from sage_perception.zspace import (
    DifferentialResonance,
    MultiViewFusion,
    SpectralWindow,
    TemporalResonanceBuffer,
    ViewDescriptor,
    VisionProjector,
    ZSpaceVolume,
    map_divergence,
)

MIN_BASELINE = 0.05
"""Smallest weight of a camera before normalization, so that it can return."""
DEFAULT_FPS = 25.0
"""Rate of a source that does not know its own, Hz."""
TIMEOUT_S = 5.0
"""Time to wait for a frame of a source, seconds."""


class FusedMaps(NamedTuple):
    """The maps of all cameras at one time.

    `images` are the frames, `cues` the maps of the cameras, `raw` and `weights` `[V]` the weights
    of the cameras before and after smoothing, `fused` the map `[H, W]` of all cameras, and
    `disagreement` in [0, 1] the largest divergence between the maps of two cameras.
    """

    stamp_s: float
    images: list[np.ndarray]
    cues: list[CueMap]
    raw: np.ndarray
    weights: np.ndarray
    fused: np.ndarray
    disagreement: float


class CameraMaps:
    """Fuses the maps of cameras; the baseline of a camera is its health.

    `names` are those of the cameras; `weight_time_s`, at least 0, is the time constant of their
    weights, seconds; 0: the weights are not smoothed.
    """

    def __init__(self, names: Sequence[str], weight_time_s: float = 0.35) -> None:
        self._projectors = [CueProjector() for _ in names]
        self._health = [CameraHealth() for _ in names]
        # Without poses all cameras face the scene equally well.
        views = [ViewDescriptor(name, (0, 0, 0), (0, 0, 1)) for name in names]
        self._fusion = MultiViewFusion(views).with_min_baseline(MIN_BASELINE)
        self._projector = VisionProjector(spread=2, window=SpectralWindow.rectangular())
        self._resonance = DifferentialResonance.uniform(len(names))
        self._smooth = TemporalResonanceBuffer(1.0)
        self._weight_time_s = weight_time_s
        self._stamps_s = [-math.inf] * len(names)

    def update(self, images: Sequence[np.ndarray], stamps_s: Sequence[float]) -> FusedMaps:
        """Return the maps of one frame per camera, captured at about one time.

        `images` are uint8 `[H, W, 3]` and `stamps_s` their times, seconds. A camera whose stamps
        stand still is faulty. Raises `ValueError` as `Attention.attend` does.
        """
        cues = [
            projector.update(image, stamp_s)
            for projector, image, stamp_s in zip(self._projectors, images, stamps_s, strict=True)
        ]
        for health, image, stamp_s in zip(self._health, images, stamps_s, strict=True):
            health.update(image, stamp_s, stamp_s)
        # The newest stamp can be that of a camera whose stamps stand still.
        steps_s = (new - old for new, old in zip(stamps_s, self._stamps_s, strict=True))
        elapsed_s = max(0.0, *steps_s)
        self._stamps_s = list(stamps_s)
        if self._weight_time_s:
            self._smooth.decay = -math.expm1(-elapsed_s / self._weight_time_s)
        volume = ZSpaceVolume.from_slices([cue.projection for cue in cues])
        fusion = self._fusion.with_baseline_weights([h.trust for h in self._health])
        raw = self._projector.depth_weights_multi_view(fusion, volume, self._resonance)
        fused = self._projector.project_multi_view_with_temporal(
            fusion, volume, self._resonance, self._smooth
        )
        weights = self._smooth.profile
        assert weights is not None  # the projection has set it
        pairs = itertools.combinations([cue.projection for cue in cues], 2)
        disagreement = max((map_divergence(a, b) for a, b in pairs), default=0.0)
        return FusedMaps(stamps_s[0], list(images), cues, raw, weights, fused, disagreement)


def fused_maps(uris: Sequence[str], count: int) -> Iterator[FusedMaps]:
    """Yield the maps of up to `count` frames of sources, read in step.

    The sources should deliver their frames without pacing. The end of one ends all. Raises
    `SourceError` for a source that cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(open_source(uri)) for uri in uris]
        fps = sources[0].fps
        step_s = 1 / (fps if math.isfinite(fps) and fps > 0 else DEFAULT_FPS)
        maps = CameraMaps(list(uris))
        for index in range(count):
            try:
                frames = [source.read(TIMEOUT_S) for source in sources]
            except (EndOfStream, SourceLost):
                return
            images = [frame.image for frame in frames if frame is not None]
            if len(images) < len(sources):
                return
            yield maps.update(images, [index * step_s] * len(images))
