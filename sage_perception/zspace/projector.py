# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Projection: the weighted sum of the slices of a volume."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from sage_perception.zspace.checks import ZSpaceError, normalized, number, whole_number
from sage_perception.zspace.resonance import DifferentialResonance
from sage_perception.zspace.telemetry import AtlasFrame, ChronoSummary
from sage_perception.zspace.temporal import WeightFilter
from sage_perception.zspace.views import MultiViewFusion
from sage_perception.zspace.volume import ZSpaceVolume
from sage_perception.zspace.windows import MAX_DEPTH, SpectralWindow

MIN_SPREAD, MAX_SPREAD = 0.05, 2.0
"""Range of the spread that telemetry sets."""
PRESSURE_SCALE = 32.0
"""Pressure of an atlas frame at which the spread is 1."""


@dataclass(frozen=True)
class VisionProjector:
    """Collapses volumes to maps with weights for the slices (spec 004, VisionProjector).

    The weight of slice i of D is, up to a common factor,

        r_i · max(exp(-½((i/(D-1) - focus) / spread)²), 1e-6) · max(1 + tanh bias, 0.1)
            · max(window_i, 1e-6)

    with the resonance weight r_i. The energy bias is the same for all slices and cancels; it is
    part of the formula of the specification. A Hann or Blackman window excludes the first and the
    last slice. `SpectralWindow.rectangular()` is the choice for slices that are cameras or cues.

    `focus` is in [0, 1], `spread` at least 0.001. `temporal_focus` in [0, 1] and
    `temporal_decay`, at least 0.001, are focus and spread of `temporal_weights`. Raises
    `ZSpaceError` for other values. All methods leave the projector unchanged.
    """

    focus: float = 0.5
    spread: float = 0.35
    energy_bias: float = 0.0
    window: SpectralWindow = field(default_factory=SpectralWindow)
    temporal_focus: float = 1.0
    temporal_decay: float = 0.35

    def __post_init__(self) -> None:
        number('focus', self.focus, 0, 1)
        number('spread', self.spread, 1e-3)
        number('energy_bias', self.energy_bias)
        number('temporal_focus', self.temporal_focus, 0, 1)
        number('temporal_decay', self.temporal_decay, 1e-3)

    def with_spectral_window(self, window: SpectralWindow) -> VisionProjector:
        """Return the projector with another window."""
        return replace(self, window=window)

    @classmethod
    def from_summary(cls, summary: ChronoSummary) -> VisionProjector:
        """Return a projector for the statistics of a time window.

        focus = ½(1 + tanh mean_drift): a rising signal moves it to the last slices.
        spread = mean_abs_drift + drift_std, limited to [0.05, 2]: an unsteady signal widens it.
        bias = tanh mean_decay.
        """
        return cls(
            focus=(1 + math.tanh(summary.mean_drift)) / 2,
            spread=_limited(summary.mean_abs_drift + summary.drift_std, MIN_SPREAD, MAX_SPREAD),
            energy_bias=math.tanh(summary.mean_decay),
        )

    def calibrate_from_atlas(self, atlas: AtlasFrame) -> VisionProjector:
        """Return the projector with the settings that an atlas frame has.

        focus = z_signal limited to [0, 1], spread = abs(suggested_pressure) / 32 limited to
        [0.05, 2], bias = tanh collapse_total.
        """
        changes: dict[str, float] = {}
        if atlas.z_signal is not None:
            changes['focus'] = _limited(atlas.z_signal, 0, 1)
        if atlas.suggested_pressure is not None:
            spread = abs(atlas.suggested_pressure / PRESSURE_SCALE)
            changes['spread'] = _limited(spread, MIN_SPREAD, MAX_SPREAD)
        if atlas.collapse_total is not None:
            changes['energy_bias'] = math.tanh(atlas.collapse_total)
        return replace(self, **changes)  # type: ignore[arg-type]

    def temporal_weights(self, frames: int) -> np.ndarray:
        """Return Gaussian weights of successive frames, oldest first, float64 `[frames]`, sum 1.

        w_t ∝ max(exp(-½((t/(frames-1) - temporal_focus) / temporal_decay)²), 1e-6).
        """
        whole_number('frames', frames, 1, MAX_DEPTH)
        return normalized(_gaussian(frames, self.temporal_focus, self.temporal_decay))

    def depth_weights(self, volume: ZSpaceVolume, resonance: DifferentialResonance) -> np.ndarray:
        """Return the weights of the slices, float64 `[D]` with the sum 1."""
        depth = volume.depth
        weights = (
            resonance.weights(depth)
            * _gaussian(depth, self.focus, self.spread)
            * max(1 + math.tanh(self.energy_bias), 0.1)
            * np.maximum(self.window.weights(depth), 1e-6)
        )
        # Relative to the largest one: the lower bounds may multiply to less than `EPSILON`.
        return normalized(weights / weights.max())

    def depth_weights_multi_view(
        self,
        fusion: MultiViewFusion,
        volume: ZSpaceVolume,
        resonance: DifferentialResonance,
    ) -> np.ndarray:
        """Return the weights of slices that are views, float64 `[D]` with the sum 1.

        They are the depth weights times `MultiViewFusion.view_bias_profile`. Raises `ZSpaceError`
        if the volume does not have one slice per view.
        """
        if volume.depth != len(fusion.views):
            raise ZSpaceError(
                f'a volume of {volume.depth} slices does not match a fusion of '
                f'{len(fusion.views)} views; it needs one slice per view'
            )
        weights = self.depth_weights(volume, resonance) * fusion.view_bias_profile()
        return normalized(weights / weights.max())

    def project(self, volume: ZSpaceVolume, resonance: DifferentialResonance) -> np.ndarray:
        """Return the weighted sum of the slices, float32 `[H, W]`."""
        return collapse(volume, self.depth_weights(volume, resonance))

    def project_with_temporal(
        self, volume: ZSpaceVolume, resonance: DifferentialResonance, temporal: WeightFilter
    ) -> np.ndarray:
        """Return the projection with weights that `temporal` smooths, float32 `[H, W]`."""
        return collapse(volume, temporal.apply(self.depth_weights(volume, resonance)))

    def project_multi_view(
        self,
        fusion: MultiViewFusion,
        volume: ZSpaceVolume,
        resonance: DifferentialResonance,
    ) -> np.ndarray:
        """Return the projection of slices that are views, float32 `[H, W]`."""
        return collapse(volume, self.depth_weights_multi_view(fusion, volume, resonance))

    def project_multi_view_with_temporal(
        self,
        fusion: MultiViewFusion,
        volume: ZSpaceVolume,
        resonance: DifferentialResonance,
        temporal: WeightFilter,
    ) -> np.ndarray:
        """Return the projection of views with weights that `temporal` smooths, float32 `[H, W]`.

        The smoothed weights hand the map over from one camera to another without a jump.
        """
        weights = self.depth_weights_multi_view(fusion, volume, resonance)
        return collapse(volume, temporal.apply(weights))


def collapse(volume: ZSpaceVolume, weights: np.ndarray) -> np.ndarray:
    """Return the sum of the slices, weighted by `weights` `[D]`, float32 `[H, W]`.

    Raises `ZSpaceError` if the number of weights differs from the depth.
    """
    if weights.shape != (volume.depth,):
        raise ZSpaceError(f'{weights.size} weights for a volume of {volume.depth} slices')
    flat = volume.values.reshape(volume.depth, -1)
    return (weights.astype(np.float32) @ flat).reshape(volume.shape[1:])


def _gaussian(count: int, focus: float, spread: float) -> np.ndarray:
    position = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
    return np.maximum(np.exp(-0.5 * np.square((position - focus) / spread)), 1e-6)


def _limited(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
