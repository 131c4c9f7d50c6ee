# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the views of a track by their consistency with its recent past.

A faulty view, blurred or covered, has a small variance and decodes well: neither precision nor
trust reveals it. It differs from the latents that were fused for its track before, though, and
the other view does not (docs/zspace.md has the figures).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.zspace import TemporalResonanceBuffer

MEMORY_S = 0.45
"""Time constant of the average of fused latents, seconds."""
SMOOTHING_S = 0.144
"""Time constant of the weights, seconds: half of a change arrives within 0.1 s."""
GAP_S = 1.0
"""Time without a frame after which a track has no past, seconds."""
HOLD_S = 5.0
"""Time for which the view of another camera belongs to a track although it no longer agrees with
the primary view, seconds. It bounds the time that a dishonest camera can hold the past."""
MIN_WEIGHT = 0.001
"""Smallest weight of a view before smoothing, so that it can return."""
MIN_CONSISTENCY = 0.2
"""Cosine with the past that at least one view must have; otherwise the scene was cut."""
MAX_TRACKS = 256
"""Maximum number of tracks with a past; the least recently seen one is dropped."""


@dataclass
class _Track:
    """The past of a track: average latent `[D]`, its stamp, weights, tracks of other cameras."""

    latent: np.ndarray
    stamp_ns: int
    weights: TemporalResonanceBuffer = field(default_factory=lambda: TemporalResonanceBuffer(1.0))
    partners: dict[str, tuple[int, int]] = field(default_factory=dict)


class ViewHistory:
    """Keeps the fused latents of tracks of the primary camera, and weighs new views by them.

    Parameters
    ----------
    cameras : sequence of str
        All cameras.
    mean : np.ndarray
        Mean latent `[D]` of the model. Here latents are compared without the weights of
        dimensions that tell objects apart: those weigh a blurred view like a sharp one.
    power : float
        Exponent of the cosine with the past.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        mean: np.ndarray,
        power: float,
    ) -> None:
        self._places = {camera: place for place, camera in enumerate(cameras)}
        self._mean, self._power = np.asarray(mean, np.float64), power
        self._tracks: OrderedDict[int, _Track] = OrderedDict()

    def past(self, track_id: int, stamp_ns: int) -> np.ndarray | None:
        """Return the average latent `[D]` of a track; None without one of the last `GAP_S`."""
        track = self._tracks.get(track_id)
        if track is None or not 0 < stamp_ns - track.stamp_ns <= GAP_S * 1e9:
            return None
        return track.latent

    def consistency(
        self, track_id: int, stamp_ns: int, latents: Sequence[np.ndarray]
    ) -> np.ndarray | None:
        """Return the cosine of each latent with the past of a track; None without a past."""
        past = self.past(track_id, stamp_ns)
        if past is None:
            return None
        vectors = center(np.stack([*latents, past]), self._mean)
        # The length of a vanishing vector is rounded.
        return cosine_matrix(vectors[:-1], vectors[-1:])[:, 0].clip(-1, 1)

    def partner(self, track_id: int, camera: str, stamp_ns: int) -> int:
        """Return the track of another camera that agreed within `HOLD_S`; 0 if there is none."""
        if self.past(track_id, stamp_ns) is None:
            return 0
        partner, agreed_ns = self._tracks[track_id].partners.get(camera, (0, 0))
        return partner if stamp_ns - agreed_ns <= HOLD_S * 1e9 else 0

    def weigh(
        self,
        track_id: int,
        stamp_ns: int,
        cameras: Sequence[str],
        latents: Sequence[np.ndarray],
        trusts: Sequence[float],
    ) -> np.ndarray | None:
        """Return the weights `[V]` of the views of a track, with the sum 1; None without a past.

        A weight is the trust in the view times max(cosine with the past, 0) to the `power`,
        relative to the largest one and at least `MIN_WEIGHT`, smoothed over time. If no view
        reaches `MIN_CONSISTENCY`, the scene was cut, and the track loses its past.
        """
        cosines = self.consistency(track_id, stamp_ns, latents)
        if cosines is None:
            return None
        if cosines.max() < MIN_CONSISTENCY:
            del self._tracks[track_id]
            return None
        raw = np.asarray(trusts, np.float64) * np.maximum(cosines, 0.0) ** self._power
        if raw.max() <= 0:
            return None
        track, places = self._tracks[track_id], [self._places[camera] for camera in cameras]
        present = np.zeros(len(self._places))
        present[places] = np.maximum(raw / raw.max(), MIN_WEIGHT)
        track.weights.decay = _rate(stamp_ns - track.stamp_ns, SMOOTHING_S)
        smoothed = track.weights.apply(present / present.sum())[places]
        return smoothed / smoothed.sum()

    def note(
        self, track_id: int, stamp_ns: int, fused: np.ndarray, agreed: Mapping[str, int]
    ) -> None:
        """Add the fused latent `[D]` of a track, and the tracks that agreed with it, by camera."""
        if not track_id:
            return
        latent = np.asarray(fused, np.float64)
        if self.past(track_id, stamp_ns) is None:
            self._tracks[track_id] = _Track(latent, stamp_ns)
        track = self._tracks[track_id]
        rate = _rate(stamp_ns - track.stamp_ns, MEMORY_S)
        track.latent = track.latent + rate * (latent - track.latent)
        track.stamp_ns = stamp_ns
        track.partners |= {camera: (other, stamp_ns) for camera, other in agreed.items() if other}
        self._tracks.move_to_end(track_id)
        while len(self._tracks) > MAX_TRACKS:
            self._tracks.popitem(last=False)


def _rate(elapsed_ns: int, time_s: float) -> float:
    """Return the weight of the newest value in an average with a time constant."""
    return -math.expm1(-elapsed_ns * 1e-9 / time_s)
