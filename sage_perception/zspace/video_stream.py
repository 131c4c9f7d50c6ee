# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Projection of the volumes of a video, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sage_perception.zspace.checks import ZSpaceError, number, whole_number
from sage_perception.zspace.diffusion import ZDiffuser
from sage_perception.zspace.generator import ResonanceGenerator
from sage_perception.zspace.interpolation import InterpolationMethod
from sage_perception.zspace.projector import VisionProjector
from sage_perception.zspace.resonance import DifferentialResonance
from sage_perception.zspace.telemetry import AtlasFrame, ChronoSummary
from sage_perception.zspace.temporal import TemporalResonanceBuffer, WeightFilter
from sage_perception.zspace.volume import ZSpaceVolume


class Projected(NamedTuple):
    """The result of a frame: the map, float32 `[H, W]`, and the resonance that weighed it."""

    projection: np.ndarray
    resonance: DifferentialResonance


class VideoStreamProjector:
    """Projects successive volumes (spec 004, Video-aware projection pipeline).

    A step calibrates the projector with the atlas frame, diffuses, interpolates and upscales the
    volume, generates a resonance with the previous one as feedback, and projects with smoothed
    weights. A scene cut resets smoothing and feedback.

    Attributes
    ----------
    projector : VisionProjector
        The projector with the latest calibration.
    temporal : WeightFilter
        The smoothing of the weights: a `TemporalResonanceBuffer` unless `with_temporal` sets
        another one.

    """

    def __init__(
        self, projector: VisionProjector, generator: ResonanceGenerator, temporal_decay: float
    ) -> None:
        """Set the weight of the newest frame, `temporal_decay` in [0, 1]."""
        self.projector = projector
        self.temporal: WeightFilter = TemporalResonanceBuffer(temporal_decay)
        self._generator = generator
        self._diffuser: ZDiffuser | None = None
        self._method: InterpolationMethod | None = None
        self._factor = 1
        self._scene_cut: float | None = None
        self._previous: ZSpaceVolume | None = None
        self._resonance: DifferentialResonance | None = None

    @property
    def last_resonance(self) -> DifferentialResonance | None:
        """Return the resonance of the last step; None before the first one and after a reset."""
        return self._resonance

    def with_diffuser(self, diffuser: ZDiffuser) -> VideoStreamProjector:
        """Set the diffusion of the volumes and return this object."""
        self._diffuser = diffuser
        return self

    def with_super_resolution(
        self, method: InterpolationMethod, factor: int
    ) -> VideoStreamProjector:
        """Set the interpolation of slices and the upscaling, 1 to 64, and return this object."""
        self._method, self._factor = method, whole_number('factor', factor, 1, 64)
        return self

    def with_temporal(self, temporal: WeightFilter) -> VideoStreamProjector:
        """Set the smoothing of the weights, such as a `TemporalStack`, and return this object."""
        self.temporal = temporal
        return self

    def with_scene_cut(self, threshold: float) -> VideoStreamProjector:
        """Reset when `scene_change` exceeds `threshold` in [0, 1], and return this object."""
        self._scene_cut = number('scene cut threshold', threshold, 0, 1)
        return self

    def reset(self) -> None:
        """Forget all frames; the calibration of the projector stays."""
        self.temporal.reset()
        self._generator.reset()
        self._resonance = self._previous = None

    def step(
        self,
        volume: ZSpaceVolume,
        summary: ChronoSummary | None = None,
        atlas: AtlasFrame | None = None,
    ) -> Projected:
        """Return the projection and the resonance of the next volume of the video.

        Raises `ZSpaceError` if its depth, after interpolation, is not that of the generator.
        """
        if self._scene_cut is not None:
            before = self._previous
            if before is not None and scene_change(before, volume) > self._scene_cut:
                self.reset()
            self._previous = ZSpaceVolume(volume.values)
        if atlas is not None:
            self.projector = self.projector.calibrate_from_atlas(atlas)
        if self._diffuser is not None:
            volume = self._diffuser.diffuse(volume)
        if self._method is not None:
            volume = volume.interpolate(self._method).upscale(self._factor)
        resonance = self._generator.generate(
            volume, self.projector, summary, atlas, self._resonance
        )
        projection = self.projector.project_with_temporal(volume, resonance, self.temporal)
        self._resonance = resonance
        return Projected(projection, resonance)

    def project_sequence(
        self,
        volumes: Sequence[ZSpaceVolume],
        summaries: Sequence[ChronoSummary | None] | None = None,
        atlas_frames: Sequence[AtlasFrame | None] | None = None,
    ) -> list[np.ndarray]:
        """Return the projection of each volume, float32 `[H, W]`, oldest first.

        `summaries` and `atlas_frames` have one item per volume, or are None. Raises `ZSpaceError`
        for other lengths.
        """
        count = len(volumes)
        for name, items in (('summaries', summaries), ('atlas_frames', atlas_frames)):
            if items is not None and len(items) != count:
                raise ZSpaceError(f'{len(items)} {name} for {count} volumes; pass one per volume')
        return [
            self.step(volume, summary, atlas).projection
            for volume, summary, atlas in zip(
                volumes,
                [None] * count if summaries is None else summaries,
                [None] * count if atlas_frames is None else atlas_frames,
                strict=True,
            )
        ]


def scene_change(before: ZSpaceVolume, after: ZSpaceVolume) -> float:
    """Return how much a volume changed, in [0, 1]: 1 - max(Pearson's correlation, 0).

    It is 0 for two constant volumes, and 1 for volumes of different shapes.
    """
    if before.shape != after.shape:
        return 1.0
    a, b = (each.values.astype(np.float64) - each.values.mean() for each in (before, after))
    squares = float(np.square(a).sum()), float(np.square(b).sum())
    if max(squares) <= 0:
        return 0.0
    correlation = float((a * b).sum()) / max(np.sqrt(squares[0]) * np.sqrt(squares[1]), 1e-30)
    return 1 - min(max(correlation, 0.0), 1.0)
